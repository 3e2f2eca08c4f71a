package settle

import (
	"encoding/binary"

	"github.com/milepost-dev/milepost/schemas"
)

// A world is one seeded schedule: a graph of stages, one job, a broker, stores, and the holders that work on it.
type world struct {
	seed, state uint64
	stages      []*node
	chains      []*chain
	holders     []*holder
	spare       []*holder
	inbox       []*delivery
	now         int
	faults      int // how many are left
	position    schemas.Position
	nonce       uint64
	window      int
	temp        map[uint64]int // how often an input still fails
	passed      map[uint64]uint8
	healed      map[uint64]bool // inputs that fail no more
	trouble     map[uint64]int  // tries of an input that ended badly, as an outside observer counts them
	late        []func()
	unopened    int         // how often an instance could not be opened
	unsaved     int         // how often a state could not be taken
	openings    map[int]int // by node: how often a new holder opened its chain
	through     map[int]int // by node: of those that are counted still, how many got through
	cancelled   bool
	patient     bool // the user resumes what is halted
	ahead       bool // the broker answers before outputs are stored
	wrong       string
	tracing     bool
	stats       stats
}

type stats struct{ steps, letters, resumes, crashes, zombies, unknown, attempts, stale, trims, cancels int }

// A node is one stage of the graph.
type node struct {
	index     int
	salt      uint64
	cfg       Config
	from      []int // upstream nodes
	to        []int
	reads     uint64 // of a reader
	tail      bool   // of a reader: stages are chained to it, which emit at its end
	quiet     bool   // emits next to nothing
	flaky     bool   // is not deterministic, though it says so
	failing   bool
	cursed    bool // a reader that kills its worker when it is opened
	grim      int  // a stage that kills its worker: 1 when it is restored, 2 when it computes again what is stored
	consumers []schemas.EdgeCursor
}

// An ev is an event on the simulated wire.
type ev struct {
	seq  uint64
	pos  schemas.Position
	kind EventKind
	time int64
	val  uint64
	src  uint64 // what a non-deterministic stage made it of
	end  *schemas.End
}

func (e *ev) hash() (h schemas.Hash) {
	binary.LittleEndian.PutUint64(h[:], e.val)
	binary.LittleEndian.PutUint64(h[8:], e.seq)
	binary.LittleEndian.PutUint64(h[16:], uint64(e.time))
	h[24] = byte(e.kind)
	return h
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (w *world) draw(n int) int {
	w.state++
	return int(mix(w.state^w.seed*0x9e3779b97f4a7c15) % uint64(n))
}

func (w *world) chance(one, in int) bool { return w.draw(in) < one }

// A memory is the state of a stage's instance.
type memory struct{ sum, n uint64 }

func (m memory) bytes() []byte {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b, m.sum)
	binary.LittleEndian.PutUint64(b[8:], m.n)
	return b
}

func memoryOf(b []byte) (m memory) {
	if len(b) == 16 {
		m.sum, m.n = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	}
	return m
}

// read, process and finish are the stages: pure functions of state and input.
func (n *node) read(m *memory, at uint64, out []ev) []ev {
	m.sum, m.n = mix(m.sum^n.salt^at), m.n+1
	count := 1
	switch m.sum % 8 {
	case 0:
		count = 0
	case 1:
		count = 2
	}
	return n.emit(m, count, int64(at), out)
}

func (n *node) process(m *memory, edge int, in *ev, out []ev) []ev {
	m.sum, m.n = mix(m.sum^in.val^n.salt+uint64(edge)), m.n+1
	return n.emit(m, n.many(m), in.time, out)
}

func (n *node) many(m *memory) int {
	switch {
	case n.cfg.Nondeterministic:
		return 1
	case n.quiet:
		return int(m.sum%16) / 15
	}
	return [...]int{0, 0, 1, 1, 1, 1, 2, 3}[m.sum%8]
}

func (n *node) finish(m *memory, time int64, out []ev) []ev {
	m.sum = mix(m.sum ^ 77)
	return n.emit(m, int(m.sum%3), time, out)
}

func (n *node) emit(m *memory, count int, time int64, out []ev) []ev {
	for k := range count {
		out = append(out, ev{time: time, val: mix(m.sum + uint64(k) + 1)})
	}
	return out
}

// A plan says how an input fails.
type plan uint8

const (
	fine plan = iota
	fails
	permanent
	poison
)

func (n *node) key(edge int, seq uint64) uint64 { return uint64(n.index)<<56 | uint64(edge)<<48 | seq }

func (w *world) plan(n *node, edge int, seq uint64) plan {
	k := n.key(edge, seq)
	if !n.failing || w.healed[k] {
		return fine
	}
	switch p := mix(w.seed ^ k*31); {
	case p%100 < 6:
		left, ok := w.temp[k]
		if !ok {
			left = 1 + int(mix(p)%uint64(max(1, n.cfg.Attempts-1)))
		}
		w.temp[k] = left - 1
		if left > 0 && n.cfg.Attempts > 1 {
			return fails
		}
	case p%100 < 9:
		return permanent
	case p%100 < 11:
		return poison
	case p%100 < 20 && n.cfg.Attempts > 1 && w.passed[k] == once:
		w.passed[k] = twice
		return permanent // and never again: somebody's error, not the input's
	}
	return fine
}

// How an input fares that fails only when it is computed again.
const (
	once  = 1 // it was computed, and will fail the next time
	twice = 2 // it has failed
)

// pass notes that an input was computed.
func (w *world) pass(n *node, edge int, seq uint64) {
	if k := n.key(edge, seq); n.failing && w.passed[k] == 0 {
		w.passed[k] = once
	}
}

// planned says whether the input was meant to be given up.
func (w *world) planned(n *node, edge int, seq uint64) bool {
	p := mix(w.seed ^ n.key(edge, seq)*31)
	return n.failing && (p%100 >= 6 && p%100 < 9 || p%100 >= 11 && p%100 < 20 && n.cfg.Attempts > 1)
}

// reset draws a new schedule.
func (w *world) reset(seed uint64, naive bool) {
	*w = world{seed: seed, holders: w.holders[:0], spare: append(w.spare, w.holders...), inbox: w.inbox[:0], late: w.late[:0], chains: w.chains, temp: w.temp, openings: w.openings, through: w.through, passed: w.passed, healed: w.healed, trouble: w.trouble}
	if w.temp == nil {
		w.passed, w.openings, w.through = map[uint64]uint8{}, map[int]int{}, map[int]int{}
		w.temp, w.healed, w.trouble = map[uint64]int{}, map[uint64]bool{}, map[uint64]int{}
	}
	clear(w.temp)
	clear(w.openings)
	clear(w.through)
	clear(w.passed)
	clear(w.healed)
	clear(w.trouble)
	w.faults, w.patient, w.ahead = w.draw(6), !w.chance(1, 8), mix(seed)%3 == 0 && !naive
	w.graph(naive)
}

func (w *world) graph(naive bool) {
	base := Config{Attempts: 1 + w.draw(4), CheckpointInputs: uint64(1 + w.draw(6)), Naive: naive}
	if w.chance(1, 4) {
		base.CheckpointInputs = 100
	}
	failing := w.chance(1, 2)
	add := func(role Role, from ...int) *node {
		n := &node{index: len(w.stages), salt: mix(w.seed + uint64(len(w.stages))), cfg: base, from: from, failing: failing}
		n.cfg.Role, n.cfg.OnError = role, [...]schemas.Decision{schemas.Halt, schemas.Skip, schemas.Skip, schemas.Stop}[w.draw(4)]
		for _, f := range from {
			n.cfg.Edges = append(n.cfg.Edges, names[f])
			w.stages[f].to = append(w.stages[f].to, n.index)
		}
		w.stages = append(w.stages, n)
		return n
	}
	w.shape(add)
	if n := w.stages[w.draw(len(w.stages))]; failing && n.cfg.Role == Processor && w.chance(1, 6) {
		n.grim = 1 + w.draw(2)
	}
	for k, n := range w.stages {
		if k == len(w.chains) {
			w.chains = append(w.chains, &chain{})
		}
		w.chains[k].reset()
		w.inbox = append(w.inbox, &delivery{node: n, ready: true})
	}
	w.chains = w.chains[:len(w.stages):cap(w.chains)]
}

var names = [...]string{"s0", "s1", "s2", "s3", "s4", "s5"}

func (w *world) shape(add func(Role, ...int) *node) {
	reader := add(Reader)
	reader.reads, w.window = uint64(2+w.draw(7)), 8
	reader.tail = w.chance(1, 3)
	reader.cursed = reader.failing && w.chance(1, 30)
	switch w.draw(6) {
	case 0:
		add(Processor, 0)
		add(Sink, 1)
	case 1:
		add(Processor, 0).quiet = w.chance(1, 3)
		add(Processor, 1)
	case 2, 3:
		w.join(reader, add)
	case 4:
		add(Processor, 0).cfg.Nondeterministic = true
		add(Processor, 1)
		add(Sink, 1)
	case 5:
		add(Processor, 0).flaky = w.chance(1, 2)
		add(Sink, 0)
	}
}

// join: the edge of a stage that emits next to nothing and the reader's own, or another stage's, meet.
func (w *world) join(reader *node, add func(Role, ...int) *node) {
	reader.reads, w.window = uint64(4+w.draw(9)), 4
	k := uint64(1 + w.draw(3))
	reader.cfg.ProgressEvery = k
	a, b := add(Processor, 0), add(Processor, 0)
	a.cfg.ProgressEvery, b.cfg.ProgressEvery = k, k
	b.quiet = w.chance(2, 3)
	if NoProgressHere.on() {
		b.cfg.ProgressEvery = 0
	}
	if w.chance(1, 4) {
		a.cfg.Nondeterministic = true
	}
	add(Processor, 1, 2)
	if w.chance(1, 2) {
		add(Sink, 3)
	}
}
