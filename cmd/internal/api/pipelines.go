package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// A Pipeline is one pipeline with what its stages do now. Rates are means over three seconds.
type Pipeline struct {
	PipelineSummary
	Bytes      int64   `json:"bytes"`       // of the recordings' files, read so far
	TotalBytes int64   `json:"total_bytes"` // of the recordings' files
	BytesPerS  float64 `json:"bytes_per_s"`
	Events     int64   `json:"events"` // stored by its stages
	EventsPerS float64 `json:"events_per_s"`
	Lag        int64   `json:"lag"`
	P95        float64 `json:"p95_ms"`
	Slowest    string  `json:"slowest,omitempty"` // the stage whose p95 that is
	Nodes      []Node  `json:"nodes"`             // inputs before consumers
}

// A Node is one stage or sink of a pipeline. State, jobs, events and lag are what its chains hold of the current jobs, whichever
// process wrote them; bytes, rows, latencies, errors, retries and reruns are this process's.
type Node struct {
	Pipeline     string        `json:"pipeline"`
	Stage        string        `json:"stage"` // of a sink, "<sink>@<stage>"
	Uses         string        `json:"uses"`
	Role         pipeline.Role `json:"role"`
	Inputs       []string      `json:"inputs"` // pipeline/stage
	Parallelism  int           `json:"parallelism"`
	Local        bool          `json:"local"` // runs in this process
	State        string        `json:"state"` // running, full, retrying, attention, waiting, interrupted, done, idle
	Active       int64         `json:"active"`
	Open         int           `json:"open"`  // jobs in work that it has not ended
	Ended        int           `json:"ended"` // jobs that it has ended
	In           int64         `json:"in"`    // events taken; of a sink, what it has written
	Out          int64         `json:"out"`   // events stored
	InBytes      int64         `json:"in_bytes"`
	OutBytes     int64         `json:"out_bytes"`
	Rows         int64         `json:"rows"`
	InRate       float64       `json:"in_per_s"`
	OutRate      float64       `json:"out_per_s"`
	OutBytesRate float64       `json:"out_bytes_per_s"`
	Lag          int64         `json:"lag"`
	P50          float64       `json:"p50_ms"`
	P95          float64       `json:"p95_ms"`
	Errors       int64         `json:"errors"`
	Retries      int64         `json:"retries"`
	Reruns       int64         `json:"reruns"`
	DeadLetters  int           `json:"dead_letters"`      // open ones
	Full         bool          `json:"full"`              // its log takes no more events: it waits for its consumers
	HeldBy       *engine.Held  `json:"held_by,omitempty"` // what keeps room in a full log: redrive or cancel the failed jobs, purge the dead letters
	Chained      bool          `json:"chained"`           // what it emits is handed on without being stored
}

// JobCounts counts jobs by state.
type JobCounts struct {
	Queued    int `json:"queued"` // scheduled and deferred ones too
	Started   int `json:"started"`
	Finished  int `json:"finished"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	Expired   int `json:"expired"`
	Total     int `json:"total"`

	LeftBehind int `json:"left_behind"` // unfinished ones of another configuration, which nobody works on; in no other count
}

func (c *JobCounts) add(s schemas.JobState) {
	c.Total++
	switch s {
	case schemas.JobStarted:
		c.Started++
	case schemas.JobFinished:
		c.Finished++
	case schemas.JobFailed:
		c.Failed++
	case schemas.JobCancelled:
		c.Cancelled++
	case schemas.JobExpired:
		c.Expired++
	default:
		c.Queued++
	}
}

func countJobs(jobs []job.Job) (c JobCounts) {
	for _, j := range jobs {
		c.add(j.State)
	}
	return c
}

// state sums up a pipeline's jobs in a word. Without a process that works, what is not finished is interrupted.
func (c JobCounts) state(working bool) string {
	switch {
	case c.Started+c.Queued > 0 && !working:
		return "interrupted"
	case c.Started > 0:
		return "running"
	case c.Queued > 0:
		return "queued"
	case c.Failed > 0:
		return "failed"
	case c.Total > 0:
		return "done"
	}
	return "idle"
}

func (s *Server) pipelineList(ctx context.Context, q query) (any, error) {
	list, err := s.pipelines(ctx, q)
	return map[string][]Pipeline{"pipelines": list}, err
}

func (s *Server) pipeline(ctx context.Context, q query) (any, error) {
	list, err := s.pipelines(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.Name == q.Get("pipeline") {
			return p, nil
		}
	}
	return nil, s.noPipeline(q.Get("pipeline"))
}

// CodePipeline is the code of a refusal of a name that no pipeline has; CodeParam of a value that a parameter cannot have.
const (
	CodePipeline = "E-pipeline"
	CodeParam    = "E-param"
)

func (s *Server) noPipeline(name string) error {
	all, meant := s.c.Engine.Pipelines(), ""
	if near := pipeline.Nearest(name, all); near != "" {
		meant = fmt.Sprintf("; did you mean %q?", near)
	}
	return &apiError{http.StatusNotFound, guard.Refusal{Message: fmt.Sprintf("no pipeline %q; there are %s%s", name, strings.Join(all, ", "), meant), Code: CodePipeline}}
}

// pipelines are those that the engine runs, upstream before downstream.
func (s *Server) pipelines(ctx context.Context, q query) ([]Pipeline, error) {
	letters, err := s.letters.all(ctx, q.streamed())
	if err != nil {
		return nil, err
	}
	open := map[string]int{}
	for _, l := range letters {
		if l.State == LetterOpen {
			open[l.Pipeline+"/"+l.Stage]++
		}
	}
	jobs := s.everyCurrent()
	g := gathered{jobs: jobs, nodes: s.c.Engine.Status(), standings: s.c.Engine.Standings(jobs), open: open}
	list := []Pipeline{}
	for _, name := range s.c.Engine.Pipelines() {
		list = append(list, s.assemble(name, g))
	}
	return list, nil
}

// gathered is what an answer about pipelines is made of, all of the same moment.
type gathered struct {
	jobs      map[string][]job.Job
	nodes     []engine.NodeStatus
	standings map[string]engine.Standing
	open      map[string]int // dead letters, by pipeline/stage
}

func (s *Server) assemble(name string, g gathered) Pipeline {
	p := Pipeline{PipelineSummary: PipelineSummary{Name: name, From: []string{}}, Nodes: []Node{}}
	if sp := s.c.Spec.Pipeline(name); sp != nil {
		p.Description = sp.Description
		for _, r := range sp.From {
			p.From = append(p.From, r.String())
		}
	}
	p.Jobs = countJobs(g.jobs[name])
	p.Jobs.LeftBehind = s.leftBehind(name)
	p.State = p.Jobs.state(!s.c.Idle)
	p.Bytes, p.TotalBytes = s.bytesRead(g.jobs[name])
	p.BytesPerS = s.meters.bytesRate(name)
	for _, st := range g.nodes {
		if key := name + "/" + st.Stage; st.Pipeline == name {
			p.add(s.node(st, g.standings[name+"/"+st.Node], g.open[name+"/"+st.Node], s.meters.rates(key)))
		}
	}
	return p
}

// bytesRead is how much of the jobs' files is read, and how much there is.
func (s *Server) bytesRead(jobs []job.Job) (read, total int64) {
	for _, j := range jobs {
		var it pipeline.Item
		if json.Unmarshal(j.Source, &it) != nil {
			continue // a job without an item's data has no size
		}
		share := s.c.Engine.Progress(j.ID)
		if j.State == schemas.JobFinished {
			share = 1
		}
		read, total = read+int64(share*float64(it.Bytes)), total+it.Bytes
	}
	return read, total
}

func (p *Pipeline) add(n Node) {
	p.Nodes = append(p.Nodes, n)
	p.DeadLetters += n.DeadLetters
	p.Lag += n.Lag
	if n.P95 > p.P95 {
		p.P95, p.Slowest = n.P95, n.Stage
	}
	if n.Role != pipeline.RoleSink {
		p.Events += n.Out
		p.EventsPerS += n.OutRate
	}
}

func (s *Server) node(st engine.NodeStatus, at engine.Standing, letters int, r rates) Node {
	n := Node{Pipeline: st.Pipeline, Stage: st.Stage, Uses: st.Uses, Role: st.Role, Inputs: st.Inputs, Parallelism: st.Parallelism,
		Local: st.Local, Active: st.Active, Open: at.Open, Ended: at.Ended, In: at.In, Out: at.Out, InBytes: st.InBytes, OutBytes: st.OutBytes, Rows: st.Rows,
		InRate: r.In, OutRate: r.Out, OutBytesRate: r.OutBytes, Lag: at.Lag, P50: millis(st.StepP50), P95: millis(st.StepP95),
		Errors: st.Errors, Retries: st.Retries, Reruns: st.Reruns, DeadLetters: letters, Full: st.Full, HeldBy: st.HeldBy, Chained: st.Chained}
	if !st.Takes { // inside of a group nothing is stored: what this process did is all there is to say
		n.In, n.Lag = st.In, 0
	}
	if st.Chained {
		n.Out, n.DeadLetters = st.Out, 0
	}
	n.State = nodeState(n, at, r, !s.c.Idle)
	return n
}

func nodeState(n Node, at engine.Standing, r rates, working bool) string {
	switch {
	case n.DeadLetters > 0:
		return "attention"
	case n.Full:
		return "full"
	case r.Retried:
		return "retrying"
	case at.Open > 0 && working:
		return "running"
	case at.Open > 0:
		return "interrupted"
	case at.Halted > 0:
		return "waiting" // for a job that is halted elsewhere
	case at.Ended > 0:
		return "done"
	}
	return "idle"
}

func (s *Server) history(_ context.Context, q query) (any, error) {
	h, ok := s.meters.history(q.Get("pipeline"), q.Get("stage"))
	if !ok {
		return nil, notFound("no stage %s/%s", q.Get("pipeline"), q.Get("stage"))
	}
	return h, nil
}

// pageHistory is the history of the stage that a page has open, "stage=<pipeline>/<stage>"; null without.
func (s *Server) pageHistory(_ context.Context, q query) (any, error) {
	pipelineName, stage, _ := strings.Cut(q.Get("stage"), "/")
	h, ok := s.meters.history(pipelineName, stage)
	if !ok {
		return nil, nil
	}
	return h, nil
}
