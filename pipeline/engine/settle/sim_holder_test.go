package settle

import (
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// A delivery is the job as handed out to one stage, with what the job log's event asks for.
type delivery struct {
	node    *node
	command *Request
	ready   bool // may be handed out
	out     bool
	due     int // when a delivery that is out is handed out again, 0: kept in progress
}

// A holder is one worker's hold of a (job, stage): the shell around one Instance, as dumb as the engine's.
type holder struct {
	w        *world
	node     *node
	chain    *chain
	core     *Instance
	delivery *delivery
	paused   int // until when; a zombie
	dead     bool

	todo    Action
	asked   bool // todo is to be done
	answer  Input
	ready   bool // answer is to be given
	known   schemas.Position
	useless bool     // the chain's handle
	ahead   []stored // what was answered and is not stored
	memory  memory
	calls   []Output
	events  []ev
	rows    map[uint64]uint64
	readers []reader
	through bool   // he had opened the stage, and waited
	late    bool   // an append of his may still arrive
	current uint64 // key of the input that is tried
	differs bool   // what it computed differs from what is stored
	behind  []Record
	orders  []*delivery // that were handed to him while he worked
}

type reader struct {
	on      bool
	next    int // index in the upstream archive
	reading uint64
}

func (w *world) start(d *delivery) {
	h := w.hire(d)
	d.ready, d.out, d.due = false, true, 0
	if AckBeforeAppend.on() {
		d.out = false
	}
	w.holders = append(w.holders, h)
	h.handle(Input{Op: Start})
	if d.command != nil {
		h.handle(Input{Op: Command, Command: *d.command})
	}
}

// hire makes a holder of a dead one where there is one: making them anew is half the time of a schedule.
func (w *world) hire(d *delivery) *holder {
	h := &holder{}
	if n := len(w.spare); n > 0 {
		h, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	core, n := h.core, len(d.node.from)
	*h = holder{w: w, node: d.node, chain: w.chains[d.node.index], delivery: d, readers: h.readers[:0], behind: h.behind[:0], ahead: h.ahead[:0], calls: h.calls, events: h.events}
	for range n {
		h.readers = append(h.readers, reader{})
	}
	if core == nil {
		h.core = New(d.node.cfg)
		return h
	}
	clear(core.ledger.entries)
	cfg := d.node.cfg.withDefaults()
	*core = Instance{cfg: cfg, actions: core.actions, outs: core.outs[:0], held: core.held[:0], ledger: ledger{entries: core.ledger.entries}, queues: core.queues[:0]}
	for range len(cfg.Edges) {
		core.queues = append(core.queues, queue{})
	}
	h.core = core
	return h
}

// hinder notes, for the legitimacy of dead letters, whose tries a new holder may spoil.
func (h *holder) hinder() {
	for _, o := range h.w.holders {
		if o.node == h.node && o != h {
			h.w.trouble[o.current]++
		}
	}
}

func (h *holder) handle(in Input) {
	h.w.trace(h, in)
	for _, a := range h.core.Handle(in) {
		h.w.trace(h, a)
		h.do(a)
	}
	h.gotThrough()
}

func (h *holder) do(a Action) {
	switch a.Do {
	case Drop:
		for k := range h.readers {
			h.readers[k].on = false
		}
	case Read:
		h.readers[a.Edge] = reader{on: true, next: h.upstream(a.Edge).find(a.Position), reading: a.Reading}
		if seen := h.chain.seen; TrustOffsets.on() && a.Edge < len(seen) {
			h.readers[a.Edge].next = max(h.readers[a.Edge].next, int(seen[a.Edge]))
		}
	case Leave:
		h.leave(a)
	default:
		h.todo, h.asked, h.ready = a, true, false
	}
}

func (h *holder) upstream(edge int) *chain { return h.w.chains[h.node.from[edge]] }

// find is the index of the first event behind a position that is still there.
func (c *chain) find(p schemas.Position) int {
	for k := c.trimmed; k < len(c.archive); k++ {
		if c.archive[k].pos > p {
			return k
		}
	}
	return max(len(c.archive), c.trimmed)
}

// act does one thing; false when there is nothing to do.
func (h *holder) act() bool {
	if len(h.ahead) > 0 && h.w.chance(1, 12) {
		h.flush()
	}
	switch {
	case h.ready && h.w.chance(1, 4) && h.arrive():
		return true
	case h.ready:
		h.ready = false
		h.handle(h.answer)
		return true
	case h.asked && !h.blocked():
		h.execute()
		return true
	case h.arrive():
		return true
	case h.core.want.checkpoint || h.core.since.inputs == 0:
		return false
	}
	h.handle(Input{Op: Command, Command: Request{Want: WantCheckpoint}}) // idle: a checkpoint lets others go on
	h.withhold()
	return true
}

// withhold answers, when a command came, what waits for room.
func (h *holder) withhold() {
	switch {
	case !h.asked || !h.blocked():
	case h.todo.Do == Step:
		h.reply(Input{Op: Stepped, Failure: NotBegun})
	case h.todo.Do == Append:
		h.reply(Input{Op: Appended, Outcome: Withheld})
	}
}

// blocked: too far ahead of the slowest consumer.
func (h *holder) blocked() bool {
	first := h.todo.Step.First
	switch {
	case len(h.node.to) == 0:
		return false
	case h.todo.Do == Append && h.todo.Append.Control == schemas.ControlAttempt && h.todo.Append.Input.Sequence > 0:
		first = h.core.at.out + 1
	case h.todo.Do != Step:
		return false
	}
	slowest := ^uint64(0)
	for _, t := range h.node.to {
		if !h.w.chains[t].over() {
			slowest = min(slowest, h.w.consumed(h.w.stages[t], h.node.index).Sequence)
		}
	}
	return slowest != ^uint64(0) && first > slowest+uint64(h.w.window)
}

func (h *holder) reply(in Input) { h.answer, h.ready, h.asked = in, true, false }

// arrive hands in one event from one edge.
func (h *holder) arrive() bool {
	if len(h.readers) == 0 {
		return false
	}
	first := h.w.draw(len(h.readers))
	for k := range h.readers {
		edge := (first + k) % len(h.readers)
		r, up := &h.readers[edge], h.upstream(edge)
		q := &h.core.queues[edge]
		if r.on && len(q.events)-q.head < 4 && r.next < len(up.archive) {
			h.arriveFrom(edge, r, up)
			return true
		}
	}
	return false
}

func (h *holder) arriveFrom(edge int, r *reader, up *chain) {
	k := r.next
	switch {
	case h.w.faults > 0 && k > up.trimmed && h.w.chance(1, 30):
		k-- // again
	case h.w.faults > 0 && k+1 < len(up.archive) && h.w.chance(1, 30):
		k++ // the one before is lost
		r.next = k + 1
	default:
		r.next++
	}
	for len(h.chain.seen) <= edge {
		h.chain.seen = append(h.chain.seen, 0)
	}
	h.chain.seen[edge] = uint64(k + 1)
	e := &up.archive[k]
	h.handle(Input{Op: Arrived, Event: Event{Edge: edge, Reading: r.reading, Kind: e.kind, Sequence: e.seq, Position: e.pos, Time: e.time, Bytes: 1, Hash: e.hash()}})
}

// execute does the action that awaits an answer. The answer is given later: in between, anything may happen.
func (h *holder) execute() {
	if h.w.faults > 0 && h.w.chance(1, 80) && h.trip() {
		h.w.faults--
		return
	}
	switch h.todo.Do {
	case Load:
		h.rows = nil
		h.reply(Input{Op: Loaded, Cursor: h.chain.cursor})
	case Open:
		if !h.useless {
			h.flush()
		}
		h.ahead = h.ahead[:0]
		if !h.core.opened {
			h.hinder()
			h.w.openings[h.node.index]++
		}
		h.known, h.useless = h.chain.last(), false
		s := h.chain.state(h.behind[:0])
		h.behind = s.Behind
		h.reply(Input{Op: Opened, State: s})
	case Restore:
		h.restore()
	case Step:
		h.step(&h.todo.Step)
	case Append:
		h.append(&h.todo.Append)
	case SaveCheckpoint:
		h.save()
	case CommitStore:
		h.commitStore()
	case Wait:
		h.reply(Input{Op: Waited})
	}
}

// trip lets an action fail that stores nothing.
func (h *holder) trip() bool {
	switch h.todo.Do {
	case Load:
		h.reply(Input{Op: Loaded, Outcome: Failed})
	case Open:
		h.reply(Input{Op: Opened, Outcome: Failed})
	case SaveCheckpoint, CommitStore:
		h.rows = nil
		if h.todo.Do == SaveCheckpoint && !h.todo.Kept && h.w.chance(1, 3) {
			h.w.unsaved++
			h.reply(Input{Op: Saved, Outcome: Failed, Failure: Failure(1 + h.w.draw(2))})
			break
		}
		h.reply(Input{Op: Saved, Outcome: [...]Outcome{Failed, Full}[h.w.draw(2)]})
	case Restore:
		if h.node.failing || h.node.cfg.Attempts < 2 {
			return false
		}
		h.w.unopened++
		h.memory = memory{sum: 666} // whoever asks this state has no instance
		h.reply(Input{Op: Restored, Failure: Failure(1 + h.w.draw(2))})
	default:
		return false
	}
	return true
}

func (h *holder) restore() {
	if h.node.cursed && h.todo.Checkpoint == nil && len(h.chain.archive) == 0 && !h.w.healed[h.node.key(0, 1)] {
		h.die()
		return
	}
	if h.node.grim == 1 && len(h.chain.archive) > 1 && !h.w.healed[h.node.opening()] {
		h.die()
		return
	}
	h.memory, h.differs = memory{}, false
	if c := h.todo.Checkpoint; c != nil && !StateForgotten.on() {
		h.memory = memoryOf(c.Snapshot)
	}
	if h.node.flaky {
		h.w.nonce++
		h.memory.sum ^= h.w.nonce
	}
	h.reply(Input{Op: Restored})
}

// opening is the key of what is wrong with a stage that kills its worker whatever the input.
func (n *node) opening() uint64 { return n.key(255, 0) }

func (h *holder) step(c *Call) {
	if h.node.grim == 2 && c.First <= uint64(len(h.chain.archive)) && !h.w.healed[h.node.opening()] {
		h.die()
		return
	}
	if c.Method != CallNothing {
		h.tries(inputKey{c.Event.Edge, c.Event.Sequence})
	}
	h.events = h.events[:0]
	if c.Method != CallNothing {
		switch p := h.w.plan(h.node, c.Event.Edge, c.Event.Sequence); p {
		case poison:
			h.die()
			return
		case fails, permanent:
			h.run(c) // half done
			h.w.trouble[h.node.key(c.Event.Edge, c.Event.Sequence)]++
			h.reply(Input{Op: Stepped, Failure: Failure(p), Outputs: h.outputs(c)})
			return
		}
	}
	if h.run(c) {
		h.reply(Input{Op: Stepped, EOF: true, Outputs: h.outputs(c)})
		return
	}
	h.w.pass(h.node, c.Event.Edge, c.Event.Sequence)
	h.reply(Input{Op: Stepped, Outputs: h.outputs(c)})
}

func (h *holder) run(c *Call) (eof bool) {
	n, in := h.node, h.input(c)
	switch c.Method {
	case CallRead:
		if c.Event.Sequence > n.reads {
			if n.tail {
				h.events = n.finish(&h.memory, int64(c.Event.Sequence), h.events)
			}
			return true
		}
		h.events = n.read(&h.memory, c.Event.Sequence, h.events)
	case CallProcess:
		if n.cfg.Nondeterministic {
			h.w.nonce++
			h.events = append(h.events, ev{time: in.time, val: mix(h.w.nonce), src: in.val})
			break
		}
		h.events = n.process(&h.memory, c.Event.Edge, in, h.events)
	case CallFinish:
		h.events = n.finish(&h.memory, in.time, h.events)
	case CallWrite:
		if h.rows == nil {
			h.rows = map[uint64]uint64{}
		}
		h.rows[in.seq] = in.val
		if StoreApart.on() {
			h.chain.rows[in.seq] = in.val
		}
	}
	if len(h.events) == 0 && c.Progress {
		h.events = append(h.events, ev{kind: Progress, time: progressTime(c)})
	}
	return false
}

func (h *holder) input(c *Call) *ev {
	if c.Method == CallRead {
		return nil
	}
	return &h.upstream(c.Event.Edge).archive[c.Event.Sequence-1]
}

func (h *holder) outputs(c *Call) []Output {
	h.calls = h.calls[:0]
	for k := range h.events {
		e := &h.events[k]
		e.seq = c.First + uint64(k)
		h.calls = append(h.calls, Output{Hash: e.hash(), Bytes: 1})
		if s := h.chain.archive; e.seq <= uint64(len(s)) && s[e.seq-1].hash() != e.hash() {
			h.differs = true
		}
	}
	return h.calls
}

// die is the end of the process that runs the holder.
func (h *holder) die() {
	w := h.w
	w.trouble[h.current]++
	w.stats.crashes++
	h.dead = true
	h.delivery.expire(w)
	for _, d := range h.orders {
		d.expire(w)
	}
}

func (d *delivery) expire(w *world) {
	if d.out && d.due == 0 {
		d.due = w.now + 5 + w.draw(60)
	}
}

func (h *holder) leave(a Action) {
	h.dead = true
	h.flush()
	h.settle(a, h.delivery)
	for _, d := range h.orders {
		h.settle(a, d)
	}
}

// settle is what becomes of a delivery when he leaves.
func (h *holder) settle(a Action, d *delivery) {
	w := h.w
	switch {
	case a.Ending == Broken:
		w.fault("%s: %s", names[h.node.index], a.Reason)
	case a.Ending == Lost:
		w.trouble[h.current]++
		d.expire(w)
	case a.Ending == Drained:
		d.out, d.ready = false, true
		w.trouble[h.current]++
		if in := &h.core.input; h.node.key(in.Edge, in.Sequence) != h.current { // it may be counted, and not be begun
			w.trouble[h.node.key(in.Edge, in.Sequence)]++
		}
	case w.faults > 0 && w.chance(1, 10): // the ack is forgotten
		w.faults--
		d.expire(w)
	default:
		d.out, d.due = false, 0
	}
}

func (w *world) fault(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

func (w *world) trace(h *holder, x any) {
	if !w.tracing {
		return
	}
	switch v := x.(type) {
	case Input:
		fmt.Printf("%4d %s %p    %s\n", w.now, names[h.node.index], h, sayInput(&v))
	case Action:
		fmt.Printf("%4d %s %p -> %s\n", w.now, names[h.node.index], h, sayAction(&v))
	}
}

// progressTime is the input's time; a reader's input is the read.
func progressTime(c *Call) int64 {
	if c.Method == CallRead {
		return int64(c.Event.Sequence)
	}
	return c.Event.Time
}
