package transporttest

import (
	"errors"
	"fmt"
	"io"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var overCases = []testCase{
	{"trimming a chain that has ended leaves no checkpoint and no page", overTrimmed(schemas.ControlEnd)},
	{"trimming a chain that was cancelled leaves no checkpoint and no page", overTrimmed(schemas.ControlCancel)},
	{"trimming a chain whose last record is another control keeps what its holder goes on from", attemptKeeps},
}

// control is a record that decides what the kind says.
func control(id schemas.ChainID, k schemas.ControlKind, c schemas.Cursor) transport.Record {
	r := decision(id, transport.Control, c)
	r.Event.Type, r.Event.Data = schemas.TypeControl, fmt.Appendf(nil, `{"kind":%q}`, k)
	return r
}

// ran writes what a stage does: pages and two checkpoints that name some, a dead letter, out events, and a control at the end.
func (b *bundle) ran(id schemas.ChainID, last schemas.ControlKind) (transport.Chain, transport.Checkpoint) {
	b.Helper()
	was := b.id
	defer func() { b.id = was }()
	b.id = id
	ch := b.chain()
	b.append(ch, out(id, 1), decision(id, transport.DeadLetter, cursor(1)))
	b.commitPaged(ch, nil, transport.Checkpoint{Cursor: cursor(2), Out: 1}, noise(1, 3*transport.PageBytes))
	c, _ := b.commitPaged(ch, nil, transport.Checkpoint{Cursor: cursor(3), Out: 1}, noise(2, 3*transport.PageBytes))
	b.append(ch, out(id, 2), control(id, last, cursor(4)))
	return ch, c
}

func overTrimmed(last schemas.ControlKind) func(b *bundle) {
	return func(b *bundle) {
		zombie := b.chain()
		ch, _ := b.ran(b.id, last)
		other, kept := b.ran(b.job(1), schemas.ControlAttempt)
		for range 2 {
			b.must(b.client().Trim(b.ctx, b.id, ^schemas.Position(0)))
		}
		for _, log := range []transport.Log{b.log, b.client()} {
			b.over(log, last)
		}
		b.id = other.ID()
		b.checkpoint(b.state(), kept)
		b.id = ch.ID()
		_, err := zombie.Append(b.ctx, out(b.id, 1))
		b.want(err, transport.ErrStale)
	}
}

// over fails the case unless the chain is known to be over, with nothing of its state left.
func (b *bundle) over(log transport.Log, last schemas.ControlKind) {
	b.Helper()
	_, s := b.openChain(log, b.id)
	if s.Checkpoint != nil || s.Out != 2 {
		b.Fatalf("out %d, want 2; a checkpoint is left: %t", s.Out, s.Checkpoint != nil)
	}
	if n := len(s.Behind); n == 0 || !s.Behind[n-1].Over() {
		b.Fatalf("the chain does not end with its %s: %+v", last, s.Behind)
	}
	n := 0
	err := transport.Each(b.ctx, log, transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter, transport.Control}, Chain: &b.id, Drain: true},
		func(*transport.Stored) error { n++; return nil })
	b.must(err)
	if n != 2 {
		b.Fatalf("%d decisions left of 2", n)
	}
	w, err := log.Watch(b.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Snapshot}, Chain: &b.id, Newest: true, Drain: true})
	b.must(err)
	defer w.Close()
	if s, err := w.Next(b.ctx); !errors.Is(err, io.EOF) {
		b.Fatalf("a checkpoint is left at %d (%v)", s.Position, err)
	}
	if b.f.Trim {
		if s, err := log.Stats(b.ctx); err != nil || s.Bytes > 2*3*transport.PageBytes+64<<10 {
			b.Fatalf("%d bytes are left (%v): more than the other chain's pages", s.Bytes, err)
		}
	}
}

func attemptKeeps(b *bundle) {
	for _, k := range []schemas.ControlKind{schemas.ControlAttempt, schemas.ControlResume, schemas.ControlHalt} {
		b.id.Job = schemas.NewJobID(string(k))
		ch, kept := b.ran(b.id, k)
		b.must(b.log.Trim(b.ctx, b.id, ^schemas.Position(0)))
		b.checkpoint(b.state(), kept)
		b.append(ch, out(b.id, 3))
	}
}
