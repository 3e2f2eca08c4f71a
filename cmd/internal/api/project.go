package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/view"
)

// project keeps the result store's table of one pipeline's jobs as its manager has it, until ctx ends. The table can be made
// again at any time, so a row that was not stored is stored at the next change.
func (s *Server) project(ctx context.Context, pipelineName string, m *job.Manager) {
	known := map[string]string{}
	for ctx.Err() == nil {
		changed := m.Changed()
		if err := s.putJobs(ctx, pipelineName, m.Jobs(), known); err != nil && ctx.Err() == nil {
			s.c.Log.Warn("the table of jobs was not stored; trying again", "pipeline", pipelineName, "error", err)
			changed = closedAfter(ctx, time.Second)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func closedAfter(ctx context.Context, d time.Duration) <-chan struct{} {
	wait, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(wait, cancel)
	return wait.Done()
}

// putJobs stores the jobs that changed; known holds what was stored, by job.
func (s *Server) putJobs(ctx context.Context, pipelineName string, jobs []job.Job, known map[string]string) error {
	var rows []view.Job
	now := map[string]string{}
	for _, j := range jobs {
		mark := fmt.Sprint(j.State, j.Resumed, j.Started, j.Ended, j.Priority)
		if known[string(j.ID)] == mark {
			continue
		}
		now[string(j.ID)] = mark
		rows = append(rows, rowOf(pipelineName, j))
	}
	if len(rows) == 0 {
		return nil
	}
	if err := s.c.Store.PutJobs(ctx, rows...); err != nil {
		return err
	}
	for id, mark := range now {
		known[id] = mark
	}
	return nil
}

// rowOf is a job as the store has it. Its source is what was submitted: an item, or nothing that this pipeline knows.
func rowOf(pipelineName string, j job.Job) view.Job {
	var it pipeline.Item
	_ = json.Unmarshal(j.Source, &it) // a job without an item's data has no size and no labels
	return view.Job{Job: j.ID, Pipeline: pipelineName, Item: j.Item, URL: it.URL, Bytes: it.Bytes, Run: j.Run, State: j.State, Priority: j.Priority,
		Labels: it.Labels, Queued: j.Queued, Started: instant(j.Started), Ended: instant(j.Ended), Resumed: j.Resumed, Stage: j.Stage, Error: j.Error}
}
