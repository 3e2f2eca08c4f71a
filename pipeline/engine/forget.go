package engine

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// bulk is how many finished jobs have to wait for what is left of all of them to be looked up at once.
const bulk = 16

// finished has a job trimmed that is over, beside the node's other work. All that ever finished may come at once: each waits
// its turn, its delivery is kept meanwhile, and one that comes again takes the other's place. Another event of the job is not
// taken: it comes again.
func (h *held) finished(ctx context.Context, d transport.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := d.Event().Chain.Job
	if before, waits := h.over[id]; waits && before.Event().Position != d.Event().Position {
		return
	}
	h.over[id] = d
	if !h.trim {
		h.trim = true
		h.wg.Go(func() { h.forgetAll(ctx) })
	}
}

// forgetAll trims finished jobs until none waits. Where many do, most were trimmed long ago, and what waits behind them is in a
// hurry: which ones have anything left is then asked once.
func (h *held) forgetAll(ctx context.Context) {
	for {
		waiting := h.waiting()
		if waiting == nil {
			return
		}
		var left map[schemas.JobID]bool
		if len(waiting) >= bulk && ctx.Err() == nil {
			var err error
			if left, err = h.n.leftovers(ctx); err != nil {
				h.n.log.Debug("looking what finished jobs have left", "error", err)
				left = nil
			}
		}
		for _, id := range waiting {
			h.forget(ctx, id, left == nil || left[id])
		}
	}
}

// waiting are the finished jobs that are to be trimmed; nil, and nobody is at it any more, when there are none.
func (h *held) waiting() (ids []schemas.JobID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.over {
		ids = append(ids, id)
	}
	h.trim = len(ids) > 0
	slices.Sort(ids)
	return ids
}

// forget trims a finished job, where anything may be left of it. What goes wrong is tried again; what was not begun when the
// process stops is given back, since it may be much.
func (h *held) forget(ctx context.Context, id schemas.JobID, left bool) {
	trimmed, again := !left, time.Duration(0)
	if left && ctx.Err() == nil {
		trimmed, again = h.n.forget(ctx, id) == nil, time.Second
	}
	h.mu.Lock()
	d := h.over[id]
	delete(h.over, id)
	h.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if trimmed {
		h.settle(ctx, d)
	} else {
		h.giveBack(ctx, d, again)
	}
}

// leftovers are the jobs for which forget may find anything to trim: in the node's own log, or in those of other pipelines that it
// reads. Of those jobs alone that this configuration makes of what these still hold: who else reads that is asked for them.
func (n *node) leftovers(ctx context.Context) (map[schemas.JobID]bool, error) {
	left := map[schemas.JobID]bool{}
	if n.e.retain || n.keeps {
		return left, nil
	}
	if len(n.consumers) > 0 {
		if err := n.untrimmed(ctx, func(id schemas.JobID) { left[id] = true }); err != nil {
			return nil, err
		}
	}
	for _, in := range n.inputs {
		if in.pipeline == n.pipeline {
			continue
		}
		if err := in.untrimmed(ctx, func(id schemas.JobID) { left[n.jobOf(in, id)] = true }); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// untrimmed hands over each job of which the node's log has something that a trim removes.
func (n *node) untrimmed(ctx context.Context, take func(schemas.JobID)) error {
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out, transport.Snapshot}, Headers: true, Newest: true, Drain: true}
	return transport.Each(ctx, n.out, c, func(s *transport.Stored) error { take(s.Chain.Job); return nil })
}

// forget trims what the chain of a finished job holds and nobody needs any more, and what the chains of other pipelines hold
// that only waited for this one.
func (n *node) forget(ctx context.Context, job schemas.JobID) error {
	if n.e.retain || n.keeps {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // a process that stops finishes this
	err := n.trimRead(ctx, job)
	for _, in := range n.inputs {
		if in.pipeline != n.pipeline && err == nil {
			err = n.trimAbove(ctx, in, job)
		}
	}
	if err != nil {
		n.log.Warn("trimming a finished job", "job", job, "error", err)
	}
	return err
}

// trimAbove trims what an input of another pipeline holds for a job of this node.
func (n *node) trimAbove(ctx context.Context, in *node, job schemas.JobID) error {
	w, err := n.look(ctx, job)
	if err != nil {
		return err
	}
	if known, err := in.knowsReaders(ctx, w.upstream); err != nil || !known {
		return err
	}
	return in.trimRead(ctx, w.upstream)
}

// knowsReaders says whether every stage of the node's own pipeline that may yet read its events of a job is among its
// consumers. A job that was made with another configuration may have others, until it is finished.
func (n *node) knowsReaders(ctx context.Context, job schemas.JobID) (bool, error) {
	e, err := n.newestOf(ctx, job)
	if err != nil || e.State == "" || e.State == schemas.JobFinished {
		return e.State != "", err
	}
	w, err := n.look(ctx, job)
	return err == nil && w.version == n.line.version, err
}

// newestOf is the newest event of a job; one without a state when there is no such job.
func (n *node) newestOf(ctx context.Context, job schemas.JobID) (e schemas.JobEvent, err error) {
	id := schemas.ChainID{Job: job, Stage: transport.JobStage}
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &id, Newest: true, Drain: true}
	err = transport.Each(ctx, n.jobs, c, func(s *transport.Stored) error { return json.Unmarshal(s.Event.Data, &e) })
	return e, err
}

// trimRead removes the out events of a job when it is over for every consumer. All that ever finished may come again: whether there
// is anything to remove is asked first, since it costs the least.
func (n *node) trimRead(ctx context.Context, job schemas.JobID) error {
	if n.keeps || len(n.consumers) == 0 { // the only copy
		return nil
	}
	if trimmed, err := n.isTrimmed(ctx, job); err != nil || trimmed {
		return err
	}
	for _, c := range n.consumers {
		if over, err := c.isOver(ctx, c.jobOf(n, job)); err != nil || !over {
			return err
		}
	}
	return n.out.Trim(ctx, schemas.ChainID{Job: job, Stage: n.name}, ^schemas.Position(0))
}

// isTrimmed says whether the chain of a job has nothing left that a trim removes.
func (n *node) isTrimmed(ctx context.Context, job schemas.JobID) (bool, error) {
	trimmed := true
	id := schemas.ChainID{Job: job, Stage: n.name}
	err := newest(ctx, n.out, id, func(*transport.Stored) { trimmed = false }, transport.Out, transport.Snapshot)
	return trimmed, err
}
