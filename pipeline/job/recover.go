package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// forsaken are the jobs that nobody may be working on: those that are started, and those whose failure rests on a dead letter that
// is not there.
func (m *Manager) forsaken() (ids []schemas.JobID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, j := range m.table.jobs {
		if m.isForsaken(j) {
			ids = append(ids, id)
		}
	}
	return ids
}

// isForsaken says whether a job is among those; m.mu is held.
func (m *Manager) isForsaken(j *Job) bool {
	_, _, halted := j.halted(m.c.Stages)
	return !j.Foreign && (j.State == schemas.JobStarted || j.State == schemas.JobFailed && j.Stage != "" && !halted)
}

// sayAgain tells all stages of a job that is forsaken when a manager begins. A disk that forgets at a power cut may have kept
// that a stage acked the job, and not the end, or the dead letter, that the ack was for: nobody would work on it any more. To a
// stage that is at work, or has ended the job, it says nothing new.
func (m *Manager) sayAgain(ctx context.Context, id schemas.JobID) {
	m.insist(ctx, id, func(j *Job) (schemas.JobEvent, error) {
		if !m.isForsaken(j) {
			return schemas.JobEvent{}, errNothing
		}
		return schemas.JobEvent{State: schemas.JobStarted, Again: true}, nil
	})
}

// insist writes a change until it is stored, or nothing is to be changed.
func (m *Manager) insist(ctx context.Context, id schemas.JobID, next func(*Job) (schemas.JobEvent, error)) {
	for ctx.Err() == nil {
		err := m.write(ctx, id, next)
		if err == nil || errors.Is(err, errNothing) || ctx.Err() != nil {
			return
		}
		m.c.Log.Warn("a job's change was not stored; trying again", "pipeline", m.c.Pipeline, "job", id, "error", err)
		wait(ctx, 200*time.Millisecond)
	}
}

// relearn has the table say what the logs hold after a loss, and makes again what users were told is done: jobs that were
// submitted, those that were cancelled, and those that were resumed. All else follows from what the stages say.
func (m *Manager) relearn(ctx context.Context) {
	before, err := m.reread(ctx)
	for ; err != nil && ctx.Err() == nil; before, err = m.reread(ctx) {
		m.c.Log.Warn("reading the logs again", "pipeline", m.c.Pipeline, "error", err)
		wait(ctx, time.Second)
	}
	for _, j := range before {
		if j.Foreign {
			continue
		}
		m.insist(ctx, j.ID, m.queued(Submission{ID: j.ID, Item: j.Item, Source: j.Source, Run: j.Run, Priority: j.Priority, Upstream: j.Upstream}))
		if j.State == schemas.JobCancelled {
			m.insist(ctx, j.ID, func(now *Job) (schemas.JobEvent, error) {
				if now.State == schemas.JobCancelled {
					return schemas.JobEvent{}, errNothing
				}
				return schemas.JobEvent{State: schemas.JobCancelled, Stage: j.Stage, Error: j.Error}, nil
			})
		}
		m.insist(ctx, j.ID, m.resumedBefore)
	}
}

// resumedBefore lets a failed job go on that was resumed before a loss; of one that is not failed yet, outcome does. m.mu is held.
func (m *Manager) resumedBefore(j *Job) (schemas.JobEvent, error) {
	stage, o, halted := j.halted(m.c.Stages)
	if halted && j.State == schemas.JobFailed {
		if e, asked := j.again(stage, o); asked {
			return e, nil
		}
	}
	return schemas.JobEvent{}, errNothing
}

// read folds what the logs hold now.
func (c *Config) read(ctx context.Context) (*table, error) {
	t := newTable(c.Version)
	err := transport.Each(ctx, c.Jobs, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true}, func(s *transport.Stored) error {
		_, err := t.changed(*s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the jobs of %s: %w", c.Pipeline, err)
	}
	for stage, log := range c.Logs {
		err := transport.Each(ctx, log, transport.WatchConfig{Kinds: decisions(), Newest: true, Drain: true}, func(s *transport.Stored) error {
			_, err := t.decided(stage, *s)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the decisions of %s/%s: %w", c.Pipeline, stage, err)
		}
	}
	t.bare()
	return t, nil
}

// reread replaces the table, and returns the jobs of the old one.
func (m *Manager) reread(ctx context.Context) ([]Job, error) {
	if err := m.take(ctx); err != nil {
		return nil, err
	}
	defer m.release()
	t, err := m.c.read(ctx)
	if err != nil {
		return nil, err
	}
	before := m.Jobs()
	m.mu.Lock()
	defer m.mu.Unlock()
	t.missed = m.table.now() + 1 // whoever has seen the old one sees all of this one
	for _, j := range before {
		for _, r := range j.asked {
			t.job(j.ID).ask(r)
		}
	}
	m.table, m.chains = t, map[schemas.JobID]transport.Chain{}
	m.signal()
	return before, nil
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
