package cmd

import (
	"context"
	"slices"

	"github.com/milepost-dev/milepost/cmd/internal/lineage"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// A run works on every job of its configuration that is open, not only on those of the items that it lists: one that was redriven
// or interrupted, and whose recording is listed no more, has nobody else. So it waits for them too, and says what became of them.

func (x *session) lineage() lineage.Lineage {
	return lineage.Lineage{Spec: x.spec, Engine: x.engine, Managers: x.managers}
}

// noteOver remembers which jobs are over before the run begins.
func (x *session) noteOver() {
	for _, m := range x.managers {
		for _, j := range m.Jobs() {
			if j.State.Over() {
				x.overThen[j.ID] = j.Resumed
			}
		}
	}
}

// supersede ends what is left of the generation before each of the run's, and tells of open jobs that are not on the run's list.
func (x *session) supersede(ctx context.Context) error {
	l := x.lineage()
	for _, name := range x.engine.Pipelines() {
		if l.Home(name) != name {
			continue
		}
		for _, s := range x.submitted[name] {
			if err := l.SupersedeBefore(ctx, name, s); err != nil {
				return err
			}
		}
	}
	for _, name := range x.engine.Pipelines() {
		if n := len(x.others(name)); n > 0 {
			x.log.Info("jobs of recordings that are not listed now were not over: the run goes on with them", "pipeline", name, "jobs", n)
		}
	}
	return nil
}

// others are the jobs of this configuration that are not of the run's list, and are open, or were when it began, or went on since.
func (x *session) others(name string) (jobs []job.Job) {
	x.mu.Lock()
	defer x.mu.Unlock()
	listed := map[schemas.JobID]bool{}
	for _, s := range x.submitted[name] {
		listed[s.ID] = true
	}
	m, l := x.managers[name], x.lineage()
	for _, j := range m.Jobs() {
		resumed, over := x.overThen[j.ID]
		if listed[j.ID] || over && j.State.Over() && j.Resumed == resumed || !m.Ours(j) {
			continue
		}
		if _, superseded := l.Successor(name, j.ID); !superseded {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// wait returns when no job of any of the run's pipelines is open.
func (x *session) wait(ctx context.Context) error {
	for !x.settled() {
		for _, name := range x.engine.Pipelines() {
			if err := x.managers[name].Settle(ctx, x.ids(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *session) settled() bool {
	x.renew()
	return !slices.ContainsFunc(x.engine.Pipelines(), func(name string) bool { return !x.managers[name].Settled(x.ids(name)) })
}

// ids are those of the run's jobs of a pipeline.
func (x *session) ids(name string) (ids []schemas.JobID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.submitted[name] {
		ids = append(ids, s.ID)
	}
	return ids
}
