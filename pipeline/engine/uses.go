package engine

import (
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
)

// A Part is what a process does with the pipelines of a file.
type Part struct {
	Pipelines []string // none is all
	Stages    []string // none is all
	Owner     bool     // it owns the jobs and keeps the results (`run`), and makes the logs
	Watcher   bool     // it only looks: no stage runs
}

// Uses lists what a process with this part does with logs, in order of pipelines and stages. It is what New and Run do, said
// without a broker: whoever gives permissions has to know it before (cmd.TestRolesRun has a server that permits just this).
func Uses(s *spec.Spec, p Part) []transport.LogUse {
	if len(p.Stages) > 0 {
		p.Stages = wholeGroups(s, p.Stages)
	}
	u := uses{spec: s, part: p, at: map[string]int{}}
	for _, line := range s.Pipelines {
		if len(p.Pipelines) == 0 || slices.Contains(p.Pipelines, line.Name) {
			u.line(line)
		}
	}
	for _, line := range s.Pipelines {
		for _, st := range line.Stages {
			if !st.Chained && u.runs(st) {
				u.work(st)
			}
		}
	}
	return u.all
}

// Logs lists the logs of all pipelines as New opens them, inputs before who reads them.
func Logs(s *spec.Spec) (all []transport.LogConfig) {
	most := int64(s.Transport.Limits().MaxBytes)
	for _, u := range Uses(s, Part{Owner: true}) {
		c := transport.LogConfig{Pipeline: u.Pipeline, Stage: u.Stage}
		if u.Stage != transport.JobStage && !strings.HasSuffix(u.Stage, floorSuffix) {
			c.MaxBytes, c.Reserve = most, most/logReserve
		}
		all = append(all, c)
	}
	return all
}

// uses are collected log by log.
type uses struct {
	spec *spec.Spec
	part Part
	all  []transport.LogUse
	at   map[string]int
}

// log is the use of a log, which New opens whatever else is done with it.
func (u *uses) log(pipeline, stage string) *transport.LogUse {
	key := pipeline + "/" + stage
	k, known := u.at[key]
	if !known {
		k = len(u.all)
		u.at[key] = k
		u.all = append(u.all, transport.LogUse{Pipeline: pipeline, Stage: stage})
	}
	return &u.all[k]
}

func (u *uses) line(p *spec.Pipeline) {
	jobs := u.log(p.Name, transport.JobStage)
	jobs.Read = true
	if u.part.Owner {
		jobs.Make, jobs.Write = true, true
	}
	for _, st := range p.Stages {
		if st.Chained {
			continue
		}
		for _, name := range nodesOf(st) {
			l := u.log(p.Name, name)
			if u.part.Watcher {
				l.Read = true
			}
			if u.part.Owner {
				l.Make, l.Read, l.Purge = true, true, true
			}
			if name != st.Name {
				f := u.log(p.Name, name+floorSuffix)
				f.Read = u.part.Owner || u.part.Watcher
				f.Make = u.part.Owner
			}
		}
	}
}

// nodesOf are the names of the nodes that a stage makes: its own, the result store's behind it, and those of its sinks.
func nodesOf(st *spec.Stage) []string {
	names := []string{st.Name, storeNode(st.Name)}
	for _, sk := range st.Sinks {
		if sk.Info.Name != storeSink {
			names = append(names, sinkNode(sk.Name, st.Name))
		}
	}
	return names
}

// runs says whether the process runs the stage's nodes.
func (u *uses) runs(st *spec.Stage) bool {
	_, open := u.at[st.Pipeline+"/"+st.Name]
	return open && !u.part.Watcher && (len(u.part.Stages) == 0 || slices.Contains(u.part.Stages, st.Name) || slices.Contains(u.part.Stages, st.Ref().String()))
}

// work is what running a stage, its sinks and, of the owner, the result store does.
func (u *uses) work(st *spec.Stage) {
	u.log(st.Pipeline, transport.JobStage).Take = true
	for _, name := range nodesOf(st) {
		if name == storeNode(st.Name) && !u.part.Owner {
			continue
		}
		l := u.log(st.Pipeline, name)
		l.Read, l.Write, l.Trim = true, true, true
		if name != st.Name {
			f := u.log(st.Pipeline, name+floorSuffix)
			f.Read, f.Write, f.Trim = true, true, true
		}
	}
	for _, in := range chainedTo(u.spec, st)[0].Inputs {
		l := u.log(in.Pipeline, in.Stage)
		l.Read = true
		if in.Pipeline != st.Pipeline { // what waited for this pipeline alone
			l.Trim = true
			u.progress(u.spec.Stage(in))
		}
	}
	u.progress(st)
}

// progress is how far the consumers of a stage's events are, by which its chain is trimmed and throttled; of a join, what its
// other inputs hold too.
func (u *uses) progress(st *spec.Stage) {
	for _, name := range nodesOf(st) {
		u.log(st.Pipeline, name).Read = true
		if name != st.Name {
			u.log(st.Pipeline, name+floorSuffix).Read = true
		}
	}
	for _, line := range u.spec.Pipelines {
		for _, c := range line.Stages {
			inputs := chainedTo(u.spec, c)[0].Inputs
			if _, open := u.at[c.Pipeline+"/"+c.Name]; c.Chained || !open || !slices.Contains(inputs, st.Ref()) {
				continue
			}
			u.log(c.Pipeline, c.Name).Read = true
			for _, in := range inputs {
				u.log(in.Pipeline, in.Stage).Read = true
			}
		}
	}
}
