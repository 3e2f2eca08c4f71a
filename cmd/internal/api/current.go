package api

import (
	"context"
	"time"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// runs lists the runs of a pipeline, the last one first; none where this process keeps no results.
func (s *Server) runs(pipelineName string) []view.Run {
	if s.c.Store == nil {
		return nil
	}
	return s.c.Store.Runs(pipelineName)
}

// current are the jobs that the totals of a pipeline count, in the order of submission: of each item of the last run the newest
// one of this configuration, and whatever else of this configuration is not over, since it is worked on too. Jobs that another
// configuration left behind are none of them.
func (s *Server) current(pipelineName string) []job.Job {
	if list := s.runs(pipelineName); len(list) > 0 {
		return s.jobsOfRun(pipelineName, &list[0])
	}
	return s.jobsOfRun(pipelineName, nil)
}

// jobsOfRun is the same of any run; nil is all items.
func (s *Server) jobsOfRun(pipelineName string, r *view.Run) (list []job.Job) {
	m := s.c.Managers[pipelineName]
	if m == nil {
		return nil
	}
	items := map[string]bool{}
	if r != nil {
		for _, name := range r.Items {
			items[name] = true
		}
	}
	jobs := m.Jobs()
	newest := map[string]schemas.JobID{}
	for _, j := range jobs {
		if !j.Foreign && (r == nil || items[j.Item]) {
			newest[j.Item] = j.ID
		}
	}
	for _, j := range jobs {
		if !j.Foreign && (newest[j.Item] == j.ID || !j.State.Over()) {
			list = append(list, j)
		}
	}
	return list
}

// everyCurrent are the current jobs of all pipelines.
func (s *Server) everyCurrent() map[string][]job.Job {
	all := map[string][]job.Job{}
	for name := range s.c.Managers {
		all[name] = s.current(name)
	}
	return all
}

// leftBehind is how many jobs of a pipeline another configuration left unfinished.
func (s *Server) leftBehind(pipelineName string) (n int) {
	if m := s.c.Managers[pipelineName]; m != nil {
		for _, j := range m.Jobs() {
			if j.LeftBehind() {
				n++
			}
		}
	}
	return n
}

func ids(jobs []job.Job) []schemas.JobID {
	list := make([]schemas.JobID, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, j.ID)
	}
	return list
}

// Looking at what other processes do is paid for by the broker: at most once in lookEvery, and for at most a quarter of the time.
const lookEvery = time.Second

// look keeps the engine's picture of what other processes do, until ctx ends.
func (s *Server) look(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		if err := s.c.Engine.Look(ctx, s.everyCurrent()); err != nil && ctx.Err() == nil {
			s.c.Log.Debug("looking how far other processes are", "error", err)
		}
		<-closedAfter(ctx, max(lookEvery, 3*time.Since(begun)))
	}
}
