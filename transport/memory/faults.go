package memory

import (
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// An Append is what a hook is told of one append that is about to happen.
type Append struct {
	Chain    schemas.ChainID
	Kind     transport.Kind // Snapshot for a checkpoint
	Sequence uint64         // the event's; of a checkpoint, its Out
}

// A Fault is what becomes of an append.
type Fault uint8

// What a hook may make of an append. After both faults the appender gets ErrUnknown.
const (
	NoFault    Fault = iota
	LoseAppend       // it is not stored
	LoseAnswer       // it is stored, if the fence lets it
)

type hooks struct {
	append func(Append) Fault
	ack    func(transport.Stored) bool
}

// OnAppend has f asked before every append of every client, nil for none. It is called on the appender's goroutine without
// a lock, so it may use the broker itself, wait, or count.
func (b *Broker) OnAppend(f func(Append) Fault) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.hooks.append = f
}

// OnAck has f asked about every ack of every client, nil for none; when it says false the ack is forgotten, though the
// acker is told that it went well.
func (b *Broker) OnAck(f func(transport.Stored) bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.hooks.ack = f
}

// Redeliver makes the durable consumer of a log forget all that was ever acked and delivered: everything comes again, and what a
// consumer that began with the newest events was never handed, too. It is false when there is none of that name.
func (b *Broker) Redeliver(pipeline, stage, durable string) bool {
	l := b.store.log(logKey{pipeline, stage})
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.durables[durable]
	if d == nil {
		return false
	}
	d.next, d.pending, d.began = 0, map[schemas.Position]*pending{}, 0
	l.changed.broadcast()
	return true
}

// Forget makes a log forget its durable consumer altogether: who subscribes next makes a new one. It is false when there is none of
// that name.
func (b *Broker) Forget(pipeline, stage, durable string) bool {
	l := b.store.log(logKey{pipeline, stage})
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.durables[durable] != nil
	delete(l.durables, durable)
	return known
}

func (s *store) appendFault(id schemas.ChainID, k transport.Kind, sequence uint64) Fault {
	s.mu.Lock()
	f := s.hooks.append
	s.mu.Unlock()
	if f == nil {
		return NoFault
	}
	return f(Append{id, k, sequence})
}

func (s *store) ackHolds(e transport.Stored) bool {
	s.mu.Lock()
	f := s.hooks.ack
	s.mu.Unlock()
	return f == nil || f(e)
}
