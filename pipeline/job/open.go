package job

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
)

// Settle returns when the jobs are over and no other one of this configuration is open: none is queued, started, or about to go on;
// or with ctx's error. Jobs that wait for an upstream job of another configuration, or of none, are not waited for unless they are
// named: nobody here works on that one.
func (m *Manager) Settle(ctx context.Context, ids []schemas.JobID) error {
	for {
		changed := m.Changed()
		if m.Settled(ids) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Settled says whether Settle would return at once.
func (m *Manager) Settled(ids []schemas.JobID) bool {
	return !m.isOpen() && !slices.ContainsFunc(ids, func(id schemas.JobID) bool { return !m.over(id) })
}

// isOpen says whether a job of this configuration is open.
func (m *Manager) isOpen() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.table.started {
		if m.ours(j) {
			return true
		}
	}
	for _, j := range m.table.bereft {
		if _, err := m.next(j); err == nil {
			return true
		}
	}
	m.table.next() // drops from the queue's head what is not queued any more
	for _, j := range m.table.queue {
		if j.State == schemas.JobQueued && m.ours(j) {
			return true
		}
	}
	return false
}

// Ours says whether a job was made with this configuration, and the jobs that it comes from were with theirs.
func (m *Manager) Ours(j Job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ours(&j)
}

// ours is Ours; m.mu is held, and upstream's is taken.
func (m *Manager) ours(j *Job) bool {
	if j.Foreign || m.upstream == nil || j.Upstream == "" {
		return !j.Foreign
	}
	m.upstream.mu.Lock()
	defer m.upstream.mu.Unlock()
	up := m.upstream.table.jobs[j.Upstream]
	return up != nil && up.State != "" && m.upstream.ours(up)
}

// Supersede cancels a job in whose place another one does everything anew; one that is not known, or over and not failed, is left
// as it is.
func (m *Manager) Supersede(ctx context.Context, id, by schemas.JobID) error {
	if _, ok := m.Job(id); !ok {
		return nil
	}
	err := m.write(ctx, id, func(j *Job) (schemas.JobEvent, error) {
		if j.State.Over() && j.State != schemas.JobFailed {
			return schemas.JobEvent{}, errNothing
		}
		return schemas.JobEvent{State: schemas.JobCancelled, Error: fmt.Sprintf("superseded: %s does it anew", by)}, nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}
