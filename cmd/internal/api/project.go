package api

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// project keeps the result store's table of one pipeline's jobs as its manager has it, until ctx ends. The table can be made
// again at any time, so a row that was not stored is stored at the next change.
func (s *Server) project(ctx context.Context, pipelineName string, m *job.Manager) {
	known := map[schemas.JobID]shown{}
	for seen := uint64(0); ctx.Err() == nil; {
		wait := m.Changed()
		jobs, now := m.Since(seen)
		if err := s.putJobs(ctx, pipelineName, jobs, known); err == nil {
			seen = now
		} else if ctx.Err() == nil {
			s.c.Log.Warn("the table of jobs was not stored; trying again", "pipeline", pipelineName, "error", err)
			wait = closedAfter(ctx, time.Second)
		}
		select {
		case <-ctx.Done():
		case <-wait:
		}
	}
}

// shown is what changes in a row that is stored.
type shown struct {
	state          schemas.JobState
	resumed        int
	started, ended int64
	priority       int
}

func closedAfter(ctx context.Context, d time.Duration) <-chan struct{} {
	wait, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(wait, cancel)
	return wait.Done()
}

// putJobs stores those of the jobs that differ from what was stored, which known holds.
func (s *Server) putJobs(ctx context.Context, pipelineName string, jobs []job.Job, known map[schemas.JobID]shown) error {
	var rows []view.Job
	now := map[schemas.JobID]shown{}
	for _, j := range jobs {
		mark := shown{j.State, j.Resumed, j.Started.UnixNano(), j.Ended.UnixNano(), j.Priority}
		if known[j.ID] == mark {
			continue
		}
		now[j.ID] = mark
		rows = append(rows, rowOf(pipelineName, j))
	}
	if len(rows) == 0 {
		return nil
	}
	if err := s.c.Store.PutJobs(ctx, rows...); err != nil {
		return err
	}
	maps.Copy(known, now)
	return nil
}

// rowOf is a job as the store has it. Its source is what was submitted: an item, or nothing that this pipeline knows.
func rowOf(pipelineName string, j job.Job) view.Job {
	var it pipeline.Item
	_ = json.Unmarshal(j.Source, &it) // a job without an item's data has no size and no labels
	return view.Job{Job: j.ID, Pipeline: pipelineName, Item: j.Item, URL: it.URL, Bytes: it.Bytes, Run: j.Run, State: j.State, Priority: j.Priority,
		Labels: it.Labels, Queued: j.Queued, Started: instant(j.Started), Ended: instant(j.Ended), Resumed: j.Resumed, Stage: j.Stage, Error: j.Error}
}
