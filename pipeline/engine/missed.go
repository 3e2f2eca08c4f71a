package engine

import (
	"context"
	"encoding/json"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// startedAt is the sequence of the event that says that a job is started for the first time: it is queued before.
const startedAt = 2

// missed is what the job's events before the newest one asked of the node: a consumer that is new is not handed them, whether it is
// another configuration's, the server forgot the one before, or the logs were mirrored. Idle says that the job is failed and the
// node has had it in hand before: then nothing is to be done until it goes on.
func (h *held) missed(ctx context.Context, id schemas.JobID, of *holding) (orders []order, idle bool, err error) {
	h.mu.Lock()
	newest, late := of.event, of.late && len(of.orders) == 0
	h.mu.Unlock()
	if late {
		if idle, err = h.n.hasBegun(ctx, id); idle || err != nil {
			return nil, idle, err
		}
	}
	if newest <= startedAt {
		return nil, false, nil
	}
	chain := schemas.ChainID{Job: id, Stage: transport.JobStage}
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &chain, Drain: true}
	err = transport.Each(ctx, h.n.jobs, c, func(s *transport.Stored) error {
		var e schemas.JobEvent
		if err := json.Unmarshal(s.Event.Data, &e); err != nil {
			return err
		}
		if e.Resume != nil && e.Resume.Stage == h.n.name { // one that was carried out changes nothing
			orders = []order{{resume: e.Resume}}
		}
		return nil
	})
	return orders, false, err
}

// hasBegun says whether the node has stored anything of a job.
func (n *node) hasBegun(ctx context.Context, job schemas.JobID) (begun bool, err error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	take := func(*transport.Stored) { begun = true }
	return begun, newest(ctx, n.out, id, take, transport.Control, transport.Snapshot, transport.DeadLetter, transport.Out)
}
