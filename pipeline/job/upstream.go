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

// lost is what becomes of a job whose upstream job does not go on; false when that one does, or when what is read of it is
// complete all the same. m.mu is held; upstream's is taken, never the other way round.
func (m *Manager) lost(j *Job) (schemas.JobEvent, bool) {
	if m.upstream == nil || j.Upstream == "" {
		return schemas.JobEvent{}, false
	}
	m.upstream.mu.Lock()
	defer m.upstream.mu.Unlock()
	up := m.upstream.table.jobs[j.Upstream]
	if up == nil || !up.State.Over() || up.State == schemas.JobFinished || up.complete(m.reads) {
		return schemas.JobEvent{}, false
	}
	reason := fmt.Sprintf("upstream job %s of %s in %s %s", up.ID, up.Item, m.upstream.c.Pipeline, up.State)
	if up.Error != "" {
		reason += ": " + up.Error
	}
	return schemas.JobEvent{State: schemas.JobFailed, Error: reason}, true
}
