package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

const (
	idleCheckpoint = 150 * time.Millisecond // without an input for so long, what was taken is checkpointed
	brokerBackoff  = 200 * time.Millisecond // between two tries of a broker that does not answer
)

// outcome is what becomes of the deliveries about a job when its instance leaves.
type outcome uint8

const (
	giveBack outcome = iota // hand them to anybody
	settled                 // ack
	leave                   // another process holds the job: say nothing
)

// An instance executes what the settlement core decides for one job at one node. It is used by one goroutine.
type instance struct {
	n     *node
	w     work
	core  *settle.Instance
	news  func() []order // what the job's events asked since the last call
	wake  <-chan struct{}
	drain <-chan struct{} // closed when the process stops

	chain     transport.Chain
	floor     transport.Chain // of a sink: see publish
	published time.Time
	flow      *flow
	stage     *stage
	store     *store
	edges     []*edge
	before    tried // when the chain was opened
	arrivals  chan arrival

	input   transport.Stored
	outputs []output
	err     error // of the last step
	fails   map[schemas.InputRef]failing
	pages   map[transport.PageHash]bool // of the last checkpoint
	saved   time.Time                   // when the last checkpoint was written
	taken   int                         // inputs since
	due     bool                        // a checkpoint is to be asked for
	slot    bool
	began   time.Time     // of pacing: when this instance's first batch left
	origin  time.Duration // and its place
	paced   bool
}

// failing remembers the tries of an input for its dead letter.
type failing struct{ first, last time.Time }

// perform works on one job until it is closed, halted, lost or given back.
func (n *node) perform(ctx context.Context, id schemas.JobID, news func() []order, wake <-chan struct{}) outcome {
	w, err := n.look(ctx, id)
	if err != nil {
		if ctx.Err() == nil {
			n.log.Error("a job cannot be read", "job", id, "error", err)
			rest(ctx, time.Second)
		}
		return giveBack
	}
	i := &instance{n: n, w: w, core: settle.New(n.rules()), news: news, wake: wake, drain: ctx.Done(), fails: map[schemas.InputRef]failing{}}
	i.arrivals = make(chan arrival, 1)
	for k, in := range n.inputs {
		i.edges = append(i.edges, &edge{index: k, from: in, id: schemas.ChainID{Job: i.jobAt(in), Stage: in.name}})
	}
	if n.parts.Sink != nil {
		i.store = &store{sink: n.parts.Sink, of: i.edges[0].id}
	}
	n.meter.Active.Add(1)
	defer n.meter.Active.Add(-1)
	defer i.close()
	// The work outlives ctx by the drain: broker calls must still go through then.
	return i.run(context.WithoutCancel(ctx))
}

// look finds the job's item in its own chain.
func (n *node) look(ctx context.Context, id schemas.JobID) (work, error) {
	w := work{id: id, upstream: id}
	r, err := n.jobs.Read(ctx, schemas.ChainID{Job: id, Stage: transport.JobStage}, 0)
	if err != nil {
		return w, err
	}
	defer r.Close()
	s, err := r.Next(ctx)
	if err != nil {
		return w, err
	}
	var e schemas.JobEvent
	if err := json.Unmarshal(s.Event.Data, &e); err != nil {
		return w, err
	}
	if e.Upstream != "" {
		w.upstream = e.Upstream
	}
	return w, json.Unmarshal(e.Item, &w.item)
}

// rules configure the core.
func (n *node) rules() settle.Config {
	s := n.settings
	c := settle.Config{Nondeterministic: n.info.Nondeterministic, Attempts: s.Retry.Attempts, Backoff: s.Retry.Backoff, MaxBackoff: s.Retry.MaxBackoff,
		CheckpointInputs: uint64(max(0, s.Checkpoint.Inputs)), CheckpointBytes: checkpointBytes, Naive: n.e.naive}
	c.OnError = map[string]schemas.Decision{"skip": schemas.Skip, "stop": schemas.Stop}[string(s.OnError)]
	switch {
	case n.parts.Sink != nil:
		c.Role = settle.Sink
	case n.parts.Reader != nil:
		c.Role = settle.Reader
	}
	for _, in := range n.inputs {
		c.Edges = append(c.Edges, in.name)
	}
	if n.feedsJoin {
		c.ProgressEvery = progressEvery
	}
	return c
}

// jobAt is the job of the input node whose events this job reads.
func (i *instance) jobAt(in *node) schemas.JobID {
	if in.pipeline == i.n.pipeline {
		return i.w.id
	}
	return i.w.upstream
}

// run is the dumb loop: actions of the core, one after another, and what came of them. Commands go before answers.
func (i *instance) run(ctx context.Context) outcome {
	queue := []settle.Input{{Op: settle.Start}}
	for {
		queue = append(i.told(), queue...)
		if len(queue) == 0 {
			queue = append(queue, i.wait(ctx))
		}
		next := queue[0]
		queue = queue[1:]
		for _, a := range i.core.Handle(next) {
			if a.Do == settle.Leave {
				return i.left(ctx, a)
			}
			if answer, ok := i.execute(ctx, a); ok {
				queue = append(queue, answer)
			}
		}
	}
}

// told makes commands of what the job's events asked, of a stop, and of a checkpoint that is due.
func (i *instance) told() (commands []settle.Input) {
	command := func(r settle.Request) {
		commands = append(commands, settle.Input{Op: settle.Command, Command: r})
	}
	for _, o := range i.news() {
		switch {
		case o.cancel:
			command(settle.Request{Want: settle.WantCancel})
		case o.resume != nil:
			command(settle.Request{Want: settle.WantResume, Input: o.resume.Input, Letter: o.resume.Letter})
		}
	}
	select {
	case <-i.drain:
		i.drain = nil
		command(settle.Request{Want: settle.WantDrain})
	default:
	}
	if every := i.n.settings.Checkpoint.Interval; i.taken > 0 && every > 0 && time.Since(i.saved) > every {
		i.due = true
	}
	if i.due {
		i.due, i.taken = false, 0
		command(settle.Request{Want: settle.WantCheckpoint})
	}
	return commands
}

// wait is idle until an event arrives or a command comes. What was taken before is checkpointed meanwhile: somebody may wait
// for the room.
func (i *instance) wait(ctx context.Context) settle.Input {
	i.release()
	var idle <-chan time.Time
	if i.taken > 0 {
		t := time.NewTimer(idleCheckpoint)
		defer t.Stop()
		idle = t.C
	}
	for {
		select {
		case a := <-i.arrivals:
			if in, ok := i.arrived(a); ok {
				return in
			}
		case <-i.wake:
			return settle.Input{}
		case <-i.drain:
			return settle.Input{}
		case <-idle:
			i.taken = 0
			return settle.Input{Op: settle.Command, Command: settle.Request{Want: settle.WantCheckpoint}}
		}
	}
}

// arrived hands an event to the core and keeps it; one of a reader that was replaced is dropped.
func (i *instance) arrived(a arrival) (settle.Input, bool) {
	e := i.edges[a.edge]
	if a.reading != e.reading {
		return settle.Input{}, false
	}
	if a.err != nil {
		return settle.Input{Op: settle.Gone, Reason: fmt.Sprintf("read %s of %s: %v", e.id, e.from.key(), a.err)}, true
	}
	e.keep(a.stored)
	return settle.Input{Op: settle.Arrived, Event: settle.EventOf(a.edge, a.reading, &a.stored)}, true
}

// left cleans up behind the core's last action.
func (i *instance) left(ctx context.Context, a settle.Action) outcome {
	log := i.n.log.With("recording", i.w.item.Name, "job", i.w.id)
	if i.n.parts.Reader != nil && a.Ending == settle.Ended {
		i.n.e.progress.Store(i.w.id, 1.0)
	}
	switch {
	case a.Ending.Settled():
		return settled
	case a.Ending == settle.Lost:
		log.Info("another process holds this job", "reason", a.Reason)
		return leave
	case a.Ending == settle.Broken:
		log.Error("the job cannot go on here", "reason", a.Reason)
		i.pause(time.Second)
	}
	return giveBack
}

// acquire takes one of the node's worker slots; it is given back when the instance has nothing to do.
func (i *instance) acquire() {
	if !i.slot {
		i.n.slots <- struct{}{}
		i.slot = true
	}
}

func (i *instance) release() {
	if i.slot {
		<-i.n.slots
		i.slot = false
	}
}

// pause waits, or less when a command or the process's stop comes.
func (i *instance) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-i.wake:
	case <-i.drain:
	}
}

func (i *instance) close() {
	i.release()
	i.drop()
	if i.flow != nil {
		i.n.e.flows.drop(i.n, i.w.id)
	}
}

// rest waits a while outside any instance.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
