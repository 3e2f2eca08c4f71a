package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

const (
	idleCheckpoint = 150 * time.Millisecond // without an input for so long, what was taken is checkpointed
	parkAfter      = 5 * time.Second        // a failed job with nothing to do for so long leaves the process
	brokerBackoff  = 200 * time.Millisecond // between two tries of a broker that does not answer
)

// outcome is what becomes of the deliveries about a job when its instance leaves.
type outcome uint8

const (
	giveBack outcome = iota // hand them to anybody
	settled                 // ack
	leave                   // another process holds the job: say nothing
	foreign                 // ack, unless it was cancelled meanwhile: another configuration's
	parked                  // ack, if the job is failed still: whatever lets it go on is a new event
)

// An instance executes what the settlement core decides for one job at one node. It is used by one goroutine.
type instance struct {
	n     *node
	w     work
	core  *settle.Instance
	of    *holding
	h     *held
	wake  <-chan struct{} // has a token when there are orders, or the job failed
	drain <-chan struct{} // closed when the process stops
	news  []order         // not made commands yet

	chain     transport.Chain
	floor     transport.Chain // of a sink: see publish
	published time.Time
	publishes int

	unpublished *schemas.Cursor // of a sink: how far its store is, where that is not published; see toPublish
	flow        *flow
	stage       *stage
	store       *store
	edges       []*edge
	before      tried // when the chain was opened
	arrivals    chan arrival

	input        transport.Stored
	outputs      []output
	err          error // of the last step
	fails        map[schemas.InputRef]failing
	pages        map[transport.PageHash]bool // of the last checkpoint
	saved        time.Time                   // when the last checkpoint was written
	taken        int                         // inputs since
	due          bool                        // a checkpoint is to be asked for
	trimmed      uint64                      // when the log was full: up to which event it was trimmed
	roomMade     time.Time                   // when it was last trimmed for that
	stateBytes   uint64                      // of what the last checkpoint wrote: its snapshot, or new pages of it
	outdated     uint64                      // bytes of what earlier ones wrote, which a trim removes
	savedOut     uint64                      // sequence of the last out event before the last checkpoint
	unsavedBytes int64                       // of out events behind it
	parking      bool                        // the instance is to leave a failed job
	stepped      bool                        // a step was begun here
	wasRead      bool                        // of a reader: this instance stored its end
	over         bool                        // it has ended or was cancelled, whoever did it
	parkSaid     bool                        // and the core knows
	slot         bool
	alone        func()        // of a suspect: lets the next one have its turn
	began        time.Time     // of pacing: when this instance's first batch left
	origin       time.Duration // and its place
	paced        bool
}

// failing remembers the tries of an input for its dead letter.
type failing struct {
	first, last time.Time
	stage       string // of a group, the member that failed
}

// perform works on one job until it is closed, halted, lost or given back.
func (h *held) perform(ctx context.Context, id schemas.JobID, of *holding) outcome {
	n := h.n
	w, err := n.look(ctx, id)
	if err != nil {
		return n.unread(ctx, id, err)
	}
	if w.version != n.line.version && !of.toCancel() {
		return foreign // its results are another configuration's, whose workers have it too
	}
	missed, idle, err := h.missed(ctx, id, of)
	switch {
	case err != nil:
		return n.unread(ctx, id, err)
	case idle:
		return settled
	}
	i := &instance{n: n, w: w, core: settle.New(n.rules()), h: h, of: of, wake: of.wake, drain: ctx.Done(), news: missed, fails: map[schemas.InputRef]failing{}}
	i.arrivals = make(chan arrival, arrivalsAtOnce)
	for k, in := range n.inputs {
		i.edges = append(i.edges, &edge{index: k, from: in, id: schemas.ChainID{Job: i.jobAt(in), Stage: in.name}})
	}
	if n.parts.Sink != nil {
		i.store = &store{n: n, sink: n.parts.Sink, of: n.origin(i.edges[0].id, w.item.Name)}
		if i.edges[0].id.Job == w.id {
			i.store.of.After = w.after
		}
	}
	n.meter.Active.Add(1)
	defer n.meter.Active.Add(-1)
	defer i.close()
	// The work outlives ctx by the drain: broker calls must still go through then.
	return i.run(context.WithoutCancel(ctx))
}

// unread is what becomes of a job that cannot be read.
func (n *node) unread(ctx context.Context, id schemas.JobID, err error) outcome {
	if ctx.Err() == nil {
		n.log.Error("a job cannot be read", "job", id, "error", err)
		rest(ctx, time.Second)
	}
	return giveBack
}

// toCancel says whether the job was cancelled, which its stages store whatever their configuration.
func (w *holding) toCancel() bool {
	select {
	case <-w.cancelled:
		return true
	default:
		return false
	}
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
	w.version, w.after = e.Version, e.After
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
	for _, in := range n.inputs { // before the producer's budget is full
		if share := in.share(); share > 0 {
			c.CheckpointBytes = min(c.CheckpointBytes, max(1, uint64(share)/2))
		}
	}
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
	if n.leadsToJoin {
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
		if commands := i.told(); len(commands) > 0 {
			queue = append(commands, queue...)
		}
		if len(queue) == 0 {
			queue = append(queue, i.wait(ctx))
		}
		next := queue[0]
		queue = slices.Delete(queue, 0, 1) // of one or two, whose memory is used again
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

// hear fetches what the job's events asked, and says whether a cancel is among it.
func (i *instance) hear() (cancel bool) {
	i.news = append(i.news, i.h.orders(i.of)...)
	return slices.ContainsFunc(i.news, func(o order) bool { return o.cancel })
}

// told makes commands of what the job's events asked, of a stop, and of a checkpoint that is due.
func (i *instance) told() (commands []settle.Input) {
	command := func(r settle.Request) {
		commands = append(commands, settle.Input{Op: settle.Command, Command: r})
	}
	i.hear()
	for _, o := range i.news {
		switch {
		case o.cancel:
			command(settle.Request{Want: settle.WantCancel})
		case o.resume != nil:
			command(settle.Request{Want: settle.WantResume, Input: o.resume.Input, Letter: o.resume.Letter})
		}
	}
	i.news = i.news[:0]
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
	if i.parking && !i.parkSaid {
		i.parkSaid = true
		command(settle.Request{Want: settle.WantDrain})
	}
	return commands
}

// wait is idle until an event arrives or a command comes, and does meanwhile what is put off until then.
func (i *instance) wait(ctx context.Context) settle.Input {
	i.release()
	i.cleared()
	select {
	case a := <-i.arrivals: // at hand: no timer is needed
		if in, ok := i.arrived(a); ok {
			return in
		}
	default:
	}
	for begun := time.Now(); ; {
		var due <-chan time.Time
		if d, ok := i.chore(begun); ok {
			due = time.After(d)
		}
		select {
		case a := <-i.arrivals:
			if in, ok := i.arrived(a); ok {
				return in
			}
		case <-i.wake:
			return settle.Input{}
		case <-i.drain:
			return settle.Input{}
		case <-due:
			if i.idle(ctx, begun) {
				return settle.Input{}
			}
		}
	}
}

// chore says when something is to be done if nothing comes before; false when nothing is.
func (i *instance) chore(begun time.Time) (in time.Duration, ok bool) {
	next := func(at time.Time) {
		if d := max(time.Until(at), time.Millisecond); !ok || d < in {
			in, ok = d, true
		}
	}
	if i.taken > 0 {
		next(begun.Add(idleCheckpoint))
	}
	if i.n.full.stands() {
		next(i.roomMade.Add(pollFloors))
	}
	if i.toPublish() {
		next(i.published.Add(pollFloors))
	}
	if i.h.isFailed(i.of) {
		next(begun.Add(max(parkAfter, time.Since(begun)+time.Second)))
	}
	return in, ok
}

// idle does what is due after a while with nothing to take: what was taken before is checkpointed, since somebody may wait
// for the room, and told to producers elsewhere. It is true when the core is to be told of it.
func (i *instance) idle(ctx context.Context, begun time.Time) bool {
	i.publish(ctx, pollFloors)
	if i.n.full.stands() {
		i.makeRoom(ctx)
	}
	if i.taken > 0 && time.Since(begun) >= idleCheckpoint {
		i.due = true
	}
	return i.due || !i.fed() && i.park(begun)
}

// park says whether the job is failed and nothing has come, or moved, since for so long that its instance here is to go until
// somebody resumes the job: thousands of failed jobs must not fill the process, nor what the broker lets be pending.
func (i *instance) park(begun time.Time) bool {
	i.parking = i.parking || time.Since(begun) >= parkAfter && i.h.isFailed(i.of)
	return i.parking
}

// fed says whether an input's own instance is at work in this process: more may come.
func (i *instance) fed() bool {
	return slices.ContainsFunc(i.edges, func(e *edge) bool { return i.n.e.flows.has(e.from, e.id.Job) })
}

// arrived hands an event to the core and keeps it; one of a reader that was replaced is dropped.
func (i *instance) arrived(a arrival) (settle.Input, bool) {
	e := i.edges[a.edge]
	if a.reading != e.reading {
		return settle.Input{}, false
	}
	if a.err != nil {
		return settle.Input{Op: settle.Gone, Event: settle.Event{Edge: a.edge, Reading: a.reading}, Reason: fmt.Sprintf("read %s of %s: %v", e.id, e.from.key(), a.err)}, true
	}
	e.keep(a.stored)
	return settle.Input{Op: settle.Arrived, Event: settle.EventOf(a.edge, a.reading, &a.stored)}, true
}

// left cleans up behind the core's last action.
func (i *instance) left(ctx context.Context, a settle.Action) outcome {
	log := i.n.log.With("recording", i.w.item.Name, "job", i.w.id)
	i.over = a.Ending == settle.Ended || a.Ending == settle.Cancelled
	i.publish(ctx, 0)
	if a.Ending == settle.Ended && !i.stepped { // the job may be over for long, and nobody would forget it again
		i.n.reach.forget(i.w.id)
	}
	switch {
	case a.Ending.Settled():
		return settled
	case a.Ending == settle.Drained && i.parking:
		return parked
	case a.Ending == settle.Lost:
		log.Info("another process holds this job", "reason", a.Reason)
		return leave
	case a.Ending == settle.Broken:
		log.Error("the job cannot go on here", "reason", a.Reason)
		i.pause(time.Second)
	}
	return giveBack
}

// acquire takes one of the node's worker slots; it is given back when the instance has nothing to do. It is false when a
// command or the process's stop came first: other jobs may hold the slots for as long as a paced drive takes.
func (i *instance) acquire() bool {
	if i.slot {
		return true
	}
	select {
	case i.n.slots <- struct{}{}:
		i.slot = true
	case <-i.wake:
	case <-i.drain:
	}
	return i.slot
}

func (i *instance) release() {
	if i.slot {
		<-i.n.slots
		i.slot = false
	}
}

// sleep waits, or less when something is asked or the process stops. A delivery that comes again asks nothing: it must not make
// a paced drive faster, nor a retry.
func (i *instance) sleep(d time.Duration) {
	i.cleared()
	for due := time.Now().Add(d); time.Until(due) > 0 && !i.stopping(); {
		i.hear()
		if slices.ContainsFunc(i.news, func(o order) bool { return o.cancel || o.resume != nil }) {
			return
		}
		i.pause(time.Until(due))
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

// stopping says whether the process stops, and the core was not told yet.
func (i *instance) stopping() bool {
	select {
	case <-i.drain:
		return true
	default:
		return false
	}
}

func (i *instance) close() {
	i.release()
	i.cleared()
	i.drop()
	if i.flow != nil {
		i.n.e.flows.drop(i.n, i.w.id)
		if !i.over {
			i.moved()
		}
	}
	if i.n.parts.Reader != nil && !i.wasRead { // somebody else may go on, or nobody
		i.n.e.progress.Delete(i.w.id)
	}
	for _, e := range i.edges {
		i.n.e.flows.leaves(e.from, i.n, e.id.Job)
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
