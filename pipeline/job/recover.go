package job

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// atWork are the jobs that are started.
func (m *Manager) atWork() (ids []schemas.JobID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.table.started))
}

// sayAgain tells all stages of a job that was started before this manager opened. A disk that forgets at a power cut may have kept
// that a stage acked the job, and not the end that the ack was for: nobody would work on it any more. To a stage that is at
// work, or has ended the job, it says nothing new.
func (m *Manager) sayAgain(ctx context.Context, id schemas.JobID) {
	for ctx.Err() == nil {
		err := m.write(ctx, id, func(j *Job) (schemas.JobEvent, error) {
			if j.State != schemas.JobStarted {
				return schemas.JobEvent{}, errNothing
			}
			return schemas.JobEvent{State: schemas.JobStarted, Again: true}, nil
		})
		if err == nil || errors.Is(err, errNothing) || ctx.Err() != nil {
			return
		}
		m.c.Log.Warn("a job's change was not stored; trying again", "pipeline", m.c.Pipeline, "job", id, "error", err)
		wait(ctx, 200*time.Millisecond)
	}
}

// Lacking are the stages whose end of a finished job the log does not hold any more: its disk forgot it at a power cut, and what
// came before it, maybe.
func (m *Manager) Lacking(id schemas.JobID) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.table.jobs[id]
	if j == nil || j.State != schemas.JobFinished {
		return nil
	}
	return j.lacking(m.c.Stages)
}

// Restart starts a finished job again, of which stages are Lacking: they compute again what is gone, to the same bytes, where all
// that they read is there or can be computed again too. The other stages find that they have ended it.
func (m *Manager) Restart(ctx context.Context, id schemas.JobID) error {
	err := m.write(ctx, id, func(j *Job) (schemas.JobEvent, error) {
		if j.State != schemas.JobFinished || j.Foreign || j.complete(m.c.Stages) {
			return schemas.JobEvent{}, errNothing
		}
		return schemas.JobEvent{State: schemas.JobStarted, Again: true}, nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}
