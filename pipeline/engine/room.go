package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// How often a producer without room looks for checkpoints that consumers in other processes wrote: soon at first, then ever
// more rarely, since one whose consumer is halted may wait for days.
const (
	pollFloors   = 100 * time.Millisecond
	pollSlowest  = 5 * time.Second
	trimFloors   = 16 // checkpoints of a floor chain between two trims
	starvedGrant = 4  // a producer that a starved join waits for gets one part in so many of its budget more
)

// budget is how many bytes a job's chain may be ahead of its slowest consumer: in a limited log never more than its share, so that
// all jobs at work have room there, whatever each of them waits for.
func (n *node) budget() uint64 {
	most := edgeBudget
	if n.feedsJoin {
		most = joinBudget
	}
	if share := n.share(); share > 0 {
		most = min(most, uint64(share))
	}
	return most
}

// room waits until the slowest consumer has room. It is false when a command, or the process's stop, came first, or a
// checkpoint is due.
func (i *instance) room(ctx context.Context) bool {
	if i.flow == nil || len(i.n.consumers) == 0 {
		return true
	}
	for every, begun := pollFloors, time.Now(); ; every = min(2*every, pollSlowest) {
		changed := i.flow.change()
		if !i.flow.full(i.n.budget()) {
			return true
		}
		if i.taken > 0 {
			i.due = true // somebody upstream may wait for it
			return false
		}
		i.release()
		i.cleared()
		if !i.await(changed, every) || i.park(begun) {
			return false
		}
		if err := i.lookForRoom(ctx); err != nil {
			i.n.log.Warn("looking for room", "error", err)
		}
	}
}

// await is false when a command or the process's stop came before the change and the time.
func (i *instance) await(changed <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-i.wake:
		return false
	case <-i.drain:
		return false
	}
	return true
}

// lookForRoom looks how far consumers in other processes are, and whether one waits for what it can have only when this
// stage goes on.
func (i *instance) lookForRoom(ctx context.Context) error {
	if err := i.flow.lookUp(ctx, i.n, i.w.id); err != nil || !i.flow.full(i.n.budget()) {
		return err
	}
	for _, c := range i.flow.slowest() {
		starved, err := c.starved(ctx, i.w.id, i.n)
		if err != nil {
			return err
		}
		if starved {
			i.flow.grant(i.n.budget(), i.n.budget()/starvedGrant)
			return nil
		}
	}
	return nil
}

// starved says whether the join has taken all that some other edge than the producer's holds, and waits for more there. What
// it waits for may depend on the producer, over stages that emit rarely: then the producer must go on, whatever its budget,
// or both wait for ever.
func (n *node) starved(ctx context.Context, job schemas.JobID, producer *node) (bool, error) {
	if len(n.inputs) < 2 {
		return false, nil
	}
	cursor, err := n.lastCursor(ctx, n.jobOf(producer, job))
	if err != nil {
		return false, err
	}
	for k, in := range n.inputs {
		var at schemas.EdgeCursor
		if k < len(cursor.Edges) {
			at = cursor.Edges[k]
		}
		if in == producer || at.Ended {
			continue
		}
		of := job
		if in.pipeline != producer.pipeline { // the join is in another pipeline, and so is this input
			of = n.jobOf(producer, job)
		}
		if end, err := in.lastOut(ctx, of); err != nil || end <= at.Sequence {
			return err == nil, err
		}
	}
	return false, nil
}

// lastOut is the sequence of the last out event of a job's chain.
func (n *node) lastOut(ctx context.Context, job schemas.JobID) (last uint64, err error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	err = newest(ctx, n.out, id, func(s *transport.Stored) { last = max(last, s.Event.Sequence) }, transport.Out)
	return last, err
}

// newest reads the headers of the last record of each of these kinds in a chain.
func newest(ctx context.Context, log transport.Log, id schemas.ChainID, take func(*transport.Stored), kinds ...transport.Kind) error {
	c := transport.WatchConfig{Kinds: kinds, Chain: &id, Headers: true, Newest: true, Drain: true}
	return transport.Each(ctx, log, c, func(s *transport.Stored) error { take(s); return nil })
}

// consumed tells the producers how far this node's checkpoint or store is: when it is opened, since a producer that was
// started again may wait for just that (then it was found stored), and whenever it moves. Of a sink it may have to be published too.
func (i *instance) consumed(c schemas.Cursor, found bool) {
	i.n.reach.tookAll(i.w.id, c)
	for k := range i.edges {
		if k < len(c.Edges) {
			i.n.e.flows.consumed(i.edges[k].from, i.n, i.edges[k].id.Job, c.Edges[k], found)
		}
	}
	if i.store != nil {
		i.unpublished = &c
	}
}

// toPublish says whether others need to read how far this sink is: who shows how far all is, or a producer in another process. A
// producer that was here may have moved there since. What is taken to the end is not told: soon the sink's own chain says so.
func (i *instance) toPublish() bool {
	switch {
	case i.unpublished == nil:
		return false
	case i.n.e.watched:
		return true
	}
	return slices.ContainsFunc(i.edges, func(e *edge) bool {
		return e.index < len(i.unpublished.Edges) && !i.unpublished.Edges[e.index].Ended && !i.n.e.flows.has(e.from, e.id.Job)
	})
}

// moved has the sinks behind this node, whose job goes on elsewhere if at all, look again whether they have to publish.
func (i *instance) moved() {
	for _, c := range i.n.consumers {
		if c.info.Role == pipeline.RoleSink {
			c.held.poke(c.jobOf(i.n, i.w.id))
		}
	}
}

// floorStage is the log where a sink writes how far its store is: its own chain holds decisions only.
func (n *node) floorStage() string { return n.name + floorSuffix }

const floorSuffix = ".floor"

// floorLog opens that log, which only processes that do not hold both ends of an edge need.
func (n *node) floorLog(ctx context.Context) (transport.Log, error) {
	n.floorMu.Lock()
	defer n.floorMu.Unlock()
	if n.floors != nil {
		return n.floors, nil
	}
	l, err := n.e.broker.Log(ctx, transport.LogConfig{Pipeline: n.pipeline, Stage: n.floorStage()})
	if err != nil {
		return nil, fmt.Errorf("open the floors of %s: %w", n.key(), err)
	}
	n.floors = l
	return l, nil
}

// publish writes a sink's progress where a producer in another process finds it, when that was not done for a while. What is
// left is published when the sink is idle: the producer may wait for just that.
func (i *instance) publish(ctx context.Context, every time.Duration) {
	if !i.toPublish() || time.Since(i.published) < every {
		return
	}
	i.published = time.Now()
	if err := i.tryPublish(ctx, *i.unpublished); err != nil {
		i.n.log.Debug("publishing how far a sink is", "recording", i.w.item.Name, "error", err)
		i.floor = nil
		return
	}
	i.unpublished = nil
}

func (i *instance) tryPublish(ctx context.Context, c schemas.Cursor) error {
	log, err := i.n.floorLog(ctx)
	if err != nil {
		return err
	}
	if i.floor == nil {
		if i.floor, _, err = log.Open(ctx, schemas.ChainID{Job: i.w.id, Stage: i.n.floorStage()}); err != nil {
			return err
		}
	}
	if err := log.Commit(ctx, map[transport.Chain]transport.Checkpoint{i.floor: {Cursor: c}}); err != nil {
		return err
	}
	if i.publishes++; i.publishes%trimFloors != 0 {
		return nil
	}
	return log.Trim(ctx, i.floor.ID(), 0)
}
