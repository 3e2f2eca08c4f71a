package job

import (
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// Follow makes this the Manager of a pipeline that reads events of upstream's pipeline, from these of its stages. A job whose
// upstream job ends without them fails, and goes on when that one does. To be called before Run; upstream may run already.
func (m *Manager) Follow(upstream *Manager, stages ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.upstream, m.reads = upstream, stages
}

// changedAbove is closed at the next change of an upstream job; nil, which is never closed, where there is none.
func (m *Manager) changedAbove() <-chan struct{} {
	m.mu.Lock()
	above := m.upstream
	m.mu.Unlock()
	if above == nil {
		return nil
	}
	return above.Changed()
}

// lost is the upstream job of j when that one does not go on; false when it does, or when what is read of it is complete all the
// same. m.mu is held; upstream's is taken, never the other way round.
func (m *Manager) lost(j *Job) (up Job, is bool) {
	if m.upstream == nil || j.Upstream == "" {
		return Job{}, false
	}
	m.upstream.mu.Lock()
	defer m.upstream.mu.Unlock()
	u := m.upstream.table.jobs[j.Upstream]
	if u == nil || !u.State.Over() || u.State == schemas.JobFinished || u.complete(m.reads) {
		return Job{}, false
	}
	return *u, true
}

// busy is how many started jobs count against Active: not those whose upstream job is still being read. They may wait for it, and
// it for room in a limited log, which the jobs behind them would give back: what they read is complete. m.mu is held.
func (m *Manager) busy() int {
	n := len(m.table.started)
	if m.upstream == nil {
		return n
	}
	m.upstream.mu.Lock()
	defer m.upstream.mu.Unlock()
	for _, j := range m.table.started {
		if u := m.upstream.table.jobs[j.Upstream]; u != nil && u.State == schemas.JobStarted && !u.complete(m.reads) {
			n--
		}
	}
	return n
}

// bereave is what becomes of a job whose upstream job is lost.
func (m *Manager) bereave(up Job) schemas.JobEvent {
	reason := fmt.Sprintf("upstream job %s of %s in %s %s", up.ID, up.Item, m.upstream.c.Pipeline, up.State)
	if up.Error != "" {
		reason += ": " + up.Error
	}
	return schemas.JobEvent{State: schemas.JobFailed, Error: reason}
}
