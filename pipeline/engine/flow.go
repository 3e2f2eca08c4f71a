package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A flow is the account of one chain's out events: how many bytes its slowest consumer has not checkpointed yet. It throttles
// the producer (design.md §6 rule 7: a budget per job and edge, so that a halted job stops only its own reader) and says what
// may be trimmed (rule 9).
type flow struct {
	mu      sync.Mutex
	total   uint64 // bytes of all out events
	last    uint64 // sequence of the last of them
	below   uint64 // of those at and below the slowest consumer's floor
	extra   uint64 // granted beyond the budget while a join is starved
	trimmed uint64 // below, at the last trim
	marks   []mark // of events above that floor, in order
	floors  map[*node]schemas.EdgeCursor
	changed chan struct{}

	// A floor may be from before a loss of the log (a power cut of its server): its position is another event's by now. That can only be
	// where it was found stored, or was there before the chain was opened again.
	doubt bool
}

// mark is the account right behind one event.
type mark struct{ sequence, total uint64 }

// flows holds the accounts of the chains that this process writes.
type flows struct {
	mu    sync.Mutex
	all   map[flowKey]*flow
	known map[flowKey]map[*node]schemas.EdgeCursor // how far consumers in this process are, whether or not the writer is
}

type flowKey struct {
	producer *node
	job      schemas.JobID
}

func newFlows() *flows {
	return &flows{all: map[flowKey]*flow{}, known: map[flowKey]map[*node]schemas.EdgeCursor{}}
}

// open starts the account of a chain that holds out events of so many bytes; the consumers' floors are looked up.
func (f *flows) open(ctx context.Context, n *node, job schemas.JobID, out, bytes uint64) (*flow, error) {
	a := &flow{total: bytes, last: out, floors: map[*node]schemas.EdgeCursor{}, changed: make(chan struct{}), doubt: out > 0}
	for _, c := range n.consumers {
		a.floors[c] = schemas.EdgeCursor{}
	}
	if out > 0 {
		a.marks = append(a.marks, mark{sequence: out, total: bytes})
		if err := a.lookUp(ctx, n, job); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[flowKey{n, job}] = a
	for consumer, to := range f.known[flowKey{n, job}] {
		a.floor(consumer, to, true)
	}
	return a, nil
}

// has says whether the chain's writer is in this process.
func (f *flows) has(n *node, job schemas.JobID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[flowKey{n, job}] != nil
}

// drop closes the account.
func (f *flows) drop(n *node, job schemas.JobID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, flowKey{n, job})
}

// consumed tells the producer, if it is in this process, what a consumer's checkpoint covers; found is one that was stored before.
func (f *flows) consumed(producer, consumer *node, job schemas.JobID, to schemas.EdgeCursor, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := flowKey{producer, job}
	if f.known[key] == nil {
		f.known[key] = map[*node]schemas.EdgeCursor{}
	}
	f.known[key][consumer] = to
	if a := f.all[key]; a != nil {
		a.floor(consumer, to, found)
	}
}

// leaves forgets what a consumer said that goes.
func (f *flows) leaves(producer, consumer *node, job schemas.JobID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := flowKey{producer, job}
	if delete(f.known[key], consumer); len(f.known[key]) == 0 {
		delete(f.known, key)
	}
}

func (a *flow) floor(consumer *node, to schemas.EdgeCursor, found bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doubt = a.doubt || found && to.Sequence > 0 || to.Sequence > a.last
	if old, ok := a.floors[consumer]; !ok || to.Sequence <= old.Sequence {
		return
	}
	a.floors[consumer] = to
	close(a.changed)
	a.changed = make(chan struct{})
}

// catchUp books what was stored though nobody said so, when the chain is opened again: the outcome of an append may be unknown.
func (a *flow) catchUp(behind []transport.Stored) {
	a.mu.Lock()
	a.doubt = true
	a.mu.Unlock()
	for k := range behind {
		if r := &behind[k]; r.Kind == transport.Out {
			a.produced(r.Event.Sequence, r.Bytes)
		}
	}
}

// produced books an out event, once.
func (a *flow) produced(sequence uint64, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sequence <= a.last {
		return
	}
	a.last = sequence
	a.total += uint64(bytes)
	a.marks = append(a.marks, mark{sequence, a.total})
}

// lowest is the floor of the slowest consumer; false without consumers. a.mu is held.
func (a *flow) lowest() (low schemas.EdgeCursor, ok bool) {
	for _, c := range a.floors {
		if !ok || c.Sequence < low.Sequence {
			low, ok = c, true
		}
	}
	return low, ok
}

// pending is the number of bytes above the slowest consumer's floor; a.mu is held.
func (a *flow) pending() uint64 {
	low, ok := a.lowest()
	if !ok {
		return 0
	}
	for len(a.marks) > 0 && a.marks[0].sequence <= low.Sequence {
		a.below, a.marks = a.marks[0].total, a.marks[1:]
	}
	return a.total - a.below
}

// full says whether budget bytes, and what was granted beyond them, or more are pending. A grant ends when it is not needed
// any more.
func (a *flow) full(budget uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.pending()
	if n < budget {
		a.extra = 0
	}
	return n >= budget+a.extra
}

// grant lets the producer, whose budget is full, go on for so many bytes above what is pending.
func (a *flow) grant(budget, bytes uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.pending(); n >= budget {
		a.extra = max(a.extra, n-budget) + max(1, bytes)
	}
}

// slowest are the consumers that have come least far.
func (a *flow) slowest() (all []*node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	low, _ := a.lowest()
	for n, c := range a.floors {
		if c.Sequence == low.Sequence {
			all = append(all, n)
		}
	}
	return all
}

// change is closed when a consumer's floor moves.
func (a *flow) change() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// lookUp reads the consumers' floors from their chains' last checkpoints and ends.
func (a *flow) lookUp(ctx context.Context, n *node, job schemas.JobID) error {
	for _, c := range n.consumers {
		of := c.jobOf(n, job)
		to, err := c.lastCursor(ctx, of)
		if err == nil && c.pipeline != n.pipeline {
			err = a.lookWhetherCancelled(ctx, c, of)
		}
		if err != nil {
			return fmt.Errorf("look up how far %s is: %w", c.name, err)
		}
		for k, e := range to.Edges {
			if c.inputs[k] == n {
				a.floor(c, e, true)
			}
		}
	}
	return nil
}

// lookWhetherCancelled waits no longer for a consumer in another pipeline whose job was cancelled, while this one goes on.
func (a *flow) lookWhetherCancelled(ctx context.Context, c *node, job schemas.JobID) error {
	last, err := c.lastControl(ctx, job)
	if err == nil && last == schemas.ControlCancel {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.floors, c)
	}
	return err
}

// lastCursor is how far the node's stored checkpoint, or end, of a job reaches. That a sink has ended only its own chain says.
func (n *node) lastCursor(ctx context.Context, job schemas.JobID) (schemas.Cursor, error) {
	last, _, err := n.lookUp(ctx, job)
	if err != nil || n.info.Role != pipeline.RoleSink {
		return last, err
	}
	id := schemas.ChainID{Job: job, Stage: n.name}
	return last, newest(ctx, n.out, id, func(s *transport.Stored) { last = n.furthest(last, s) }, transport.Control)
}

// furthest is the cursor that reaches further: last, or that of a record of this node.
func (n *node) furthest(last schemas.Cursor, s *transport.Stored) schemas.Cursor {
	if s.Cursor != nil && len(s.Cursor.Edges) == len(n.inputs) && reachOf(*s.Cursor) >= reachOf(last) {
		return s.Cursor.Clone()
	}
	return last
}

// reachOf is how many events lie before a cursor, over all edges.
func reachOf(c schemas.Cursor) (n uint64) {
	for k := range c.Edges {
		n += c.Edges[k].Sequence
	}
	return n
}

// covers says whether every consumer has checkpointed the event of that sequence.
func (a *flow) covers(sequence uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	low, ok := a.lowest()
	return ok && low.Sequence >= sequence
}

// A cut is a place to trim a chain at: up to the event of that sequence, which lies at that position. In doubt, it may not.
type cut struct {
	sequence uint64
	position schemas.Position
	doubt    bool
}

// trimmable is where the chain may be trimmed: below every consumer's floor and not above the chain's own last checkpoint.
// It is false when that would free less than step bytes.
func (a *flow) trimmable(ownCheckpoint uint64, step uint64) (cut, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending()
	below, ok := settle.Floor(ownCheckpoint, false, slices.Collect(maps.Values(a.floors)))
	if !ok || a.below-a.trimmed < step {
		return cut{}, false
	}
	a.trimmed = a.below
	low, _ := a.lowest()
	return cut{low.Sequence, below, a.doubt}, true
}

// lies says whether a cut is where the log has its event: what lies at a position that is another event's was not taken yet.
func (n *node) lies(ctx context.Context, id schemas.ChainID, c cut) (lies bool, err error) {
	w, err := n.out.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &id, Headers: true, From: c.position - 1, Drain: true})
	if err != nil {
		return false, err
	}
	defer w.Close()
	s, err := w.Next(ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return s.Position == c.position && s.Event.Sequence == c.sequence, err
}
