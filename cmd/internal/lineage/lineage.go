// Package lineage knows which job comes from which: a job of a pipeline that reads another one's events from that one's job, and
// the next generation of a recording's job from the one before.
package lineage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
)

// A Lineage looks jobs up in the managers of the pipelines that a process runs. Its methods may be called concurrently.
type Lineage struct {
	Spec     *spec.Spec
	Engine   *engine.Engine
	Managers map[string]*job.Manager
}

const maxGenerations = 1000

// Home is the pipeline at the head of a chain of `from`: the one that reads recordings.
func (l Lineage) Home(pipelineName string) string {
	for range l.Spec.Pipelines {
		up := l.above(pipelineName)
		if up == "" {
			break
		}
		pipelineName = up
	}
	return pipelineName
}

// above is the pipeline whose events one reads; "" when it reads recordings.
func (l Lineage) above(pipelineName string) string {
	if p := l.Spec.Pipeline(pipelineName); p != nil && len(p.From) > 0 {
		return p.From[0].Pipeline
	}
	return ""
}

// Tree is a pipeline and those that read its events, or theirs; upstream before downstream.
func (l Lineage) Tree(home string) []string {
	names := []string{home}
	for _, p := range l.Engine.Pipelines() {
		if p != home && l.Home(p) == home {
			names = append(names, p)
		}
	}
	return names
}

// Source is the job that reads the recording which a job's events come from: itself, where it does. Foreign says that one of
// the jobs between the two, these included, was made with another configuration; ok is false when one of them is not known.
func (l Lineage) Source(pipelineName string, id schemas.JobID) (source job.Job, foreign, ok bool) {
	for range l.Managers {
		m := l.Managers[pipelineName]
		if m == nil {
			return job.Job{}, foreign, false
		}
		if source, ok = m.Job(id); !ok {
			return job.Job{}, foreign, false
		}
		foreign = foreign || source.Foreign
		up := l.above(pipelineName)
		if up == "" {
			return source, foreign, true
		}
		pipelineName, id = up, source.Upstream
	}
	return job.Job{}, foreign, false
}

// after is the submission of the generation behind that of a recording's job.
func (l Lineage) after(home string, j job.Job) (job.Submission, error) {
	var it pipeline.Item
	if err := json.Unmarshal(j.Source, &it); err != nil {
		return job.Submission{}, fmt.Errorf("job %s: its item: %w", j.ID, err)
	}
	for n := range maxGenerations {
		if l.Engine.JobID(home, it, n) == j.ID {
			return job.Submission{ID: l.Engine.JobID(home, it, n+1), Item: j.Item, Source: j.Source, Run: j.Run, Priority: j.Priority}, nil
		}
	}
	return job.Submission{}, fmt.Errorf("job %s was made of another version of the pipeline: run it again", j.ID)
}

// Successor is the next generation of the recording's job that a job comes from. Once it exists it computes everything anew, and
// its results replace the old: whatever the job has yet to do is superseded.
func (l Lineage) Successor(pipelineName string, id schemas.JobID) (schemas.JobID, bool) {
	source, foreign, ok := l.Source(pipelineName, id)
	if !ok || foreign {
		return "", false
	}
	home := l.Home(pipelineName)
	sub, err := l.after(home, source)
	if err != nil {
		return "", false
	}
	_, ok = l.Managers[home].Job(sub.ID)
	return sub.ID, ok
}

// Again queues the next generation of the recording's job that a job comes from, and the jobs that derive from it, in the place
// of the old ones: those that are not over are cancelled, so that never two generations are at work. The recording's own job
// comes last: it says that all are queued (Successor), and whoever is stopped or refused before it can do all of it again.
func (l Lineage) Again(ctx context.Context, pipelineName string, id schemas.JobID) error {
	home := l.Home(pipelineName)
	old, _, ok := l.Source(pipelineName, id)
	if !ok {
		return fmt.Errorf("job %s: its recording's job in %s is not known", id, home)
	}
	sub, err := l.after(home, old)
	if err != nil {
		return err
	}
	names := l.Tree(home)
	subs := map[string]job.Submission{home: sub}
	for _, name := range names[1:] {
		sub.Upstream = subs[l.above(name)].ID
		sub.ID = l.Engine.Derived(name, sub.Upstream)
		subs[name] = sub
	}
	for _, name := range slices.Backward(names) {
		if name == home {
			if err := l.Supersede(ctx, home, old.ID, subs[home].ID); err != nil {
				return err
			}
		}
		l.Managers[name].Proceed(sub.Run)
		if _, err := l.Managers[name].Submit(ctx, subs[name]); err != nil {
			return err
		}
	}
	return nil
}

// Supersede cancels what is not over, or failed, of a recording's job and of those that derive from it: another generation takes
// its place.
func (l Lineage) Supersede(ctx context.Context, home string, old, by schemas.JobID) error {
	ids := map[string]schemas.JobID{home: old}
	for _, name := range l.Tree(home) {
		if name != home {
			ids[name] = l.Engine.Derived(name, ids[l.above(name)])
		}
		if err := l.Managers[name].Supersede(ctx, ids[name], by); err != nil {
			return err
		}
	}
	return nil
}

// SupersedeBefore is Supersede of the generation before that of a recording's job which is to be made, or was.
func (l Lineage) SupersedeBefore(ctx context.Context, home string, s job.Submission) error {
	var it pipeline.Item
	if err := json.Unmarshal(s.Source, &it); err != nil {
		return fmt.Errorf("job %s: its item: %w", s.ID, err)
	}
	for n := range maxGenerations {
		before, id := l.Engine.JobID(home, it, n), l.Engine.JobID(home, it, n+1)
		if before == s.ID {
			return nil // the first one
		}
		if id == s.ID {
			return l.Supersede(ctx, home, before, id)
		}
	}
	return nil
}
