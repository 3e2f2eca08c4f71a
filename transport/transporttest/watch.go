package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var watchCases = []testCase{
	{"a watch sees the kinds it asked for, of all chains, in log order", watchKinds},
	{"a watch of one chain sees that one alone", watchChain},
	{"a watch with headers gets no data", watchHeaders},
	{"a watch starts behind a position", watchFrom},
	{"the newest of each chain and kind, then all that follow", watchNewest},
	{"a drained watch of an empty log ends at once", drainEmpty},
	{"a drained watch ends though writers go on", drainEnds},
	{"a drained watch ends though what is left is removed", trimmedDrainEnds},
	{"a watch waits for more", watchWaits},
	{"a checkpoint that is watched says how far the stage is", watchCheckpoint},
}

var everything = []transport.Kind{transport.Out, transport.DeadLetter, transport.Control, transport.Snapshot}

// watched drains a watch.
func (b *bundle) watched(c transport.WatchConfig) []transport.Stored {
	b.Helper()
	c.Drain = true
	w, err := b.log.Watch(b.ctx, c)
	b.must(err)
	defer w.Close()
	var all []transport.Stored
	last := map[string]schemas.Position{}
	for {
		s, err := w.Next(b.ctx)
		if errors.Is(err, io.EOF) {
			return all
		}
		b.must(err)
		if last[b.order(s)] >= s.Position {
			b.Fatalf("position %d comes after %d", s.Position, last[b.order(s)])
		}
		last[b.order(s)] = s.Position
		all = append(all, s)
	}
}

// order names what a record's position is compared within.
func (b *bundle) order(s transport.Stored) string {
	switch {
	case !b.f.Partitioned:
		return ""
	case s.Kind == transport.Control:
		s.Kind = transport.DeadLetter // decisions have one order
	}
	return fmt.Sprint(s.Chain, s.Kind)
}

// mixed writes two chains, each out, dlq, ctl, ckpt in turn, a page between.
func (b *bundle) mixed(rounds uint64) {
	b.Helper()
	var chains []transport.Chain
	for i := range 2 {
		ch, _ := b.openChain(b.log, b.job(i))
		chains = append(chains, ch)
	}
	for n := range rounds {
		for _, ch := range chains {
			id := ch.ID()
			b.append(ch, out(id, n+1), decision(id, transport.DeadLetter, cursor(n)), page([]byte(id.Job)), decision(id, transport.Control, cursor(n)))
			b.commit(ch, transport.Checkpoint{Cursor: cursor(n), Out: n + 1})
		}
	}
}

func kindsOf(all []transport.Stored) map[transport.Kind]int {
	n := map[transport.Kind]int{}
	for _, s := range all {
		n[s.Kind]++
	}
	return n
}

func watchKinds(b *bundle) {
	b.mixed(3)
	if n := kindsOf(b.watched(transport.WatchConfig{Kinds: everything})); len(n) != 4 || n[transport.Out] != 6 || n[transport.Snapshot] != 6 || n[transport.Control] != 6 || n[transport.DeadLetter] != 6 {
		b.Fatalf("kinds seen: %v", n)
	}
	for _, k := range everything {
		if n := kindsOf(b.watched(transport.WatchConfig{Kinds: []transport.Kind{k}})); len(n) != 1 || n[k] != 6 {
			b.Fatalf("kinds seen of %s: %v", k, n)
		}
	}
	two := b.watched(transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter, transport.Control}})
	seen := map[schemas.ChainID]int{}
	for i, s := range two {
		k := seen[s.Chain] // of its own chain's
		seen[s.Chain]++
		if !b.f.Partitioned && s.Chain != b.job(i/2%2) {
			b.Fatalf("the %dth decision is of chain %s", i, s.Chain)
		}
		b.same(s, decision(s.Chain, []transport.Kind{transport.DeadLetter, transport.Control}[k%2], cursor(uint64(k/2))))
	}
	if len(two) != 12 {
		b.Fatalf("%d dead letters and controls, want 12", len(two))
	}
}

func watchChain(b *bundle) {
	b.mixed(2)
	id := b.job(1)
	all := b.watched(transport.WatchConfig{Kinds: everything, Chain: &id})
	if len(all) != 8 {
		b.Fatalf("%d records, want 8", len(all))
	}
	for _, s := range all {
		if s.Chain != id || s.Event.Chain != id {
			b.Fatalf("a record of %s", s.Chain)
		}
	}
}

func watchHeaders(b *bundle) {
	b.mixed(1)
	ch, _ := b.openChain(b.log, b.job(0))
	c := cursor(1)
	c.Merge = noise(5, 100_000)
	b.append(ch, decision(b.job(0), transport.DeadLetter, c))
	for _, s := range b.watched(transport.WatchConfig{Kinds: everything, Headers: true}) {
		if len(s.Event.Data) != 0 || s.Checkpoint != nil && len(s.Checkpoint.Snapshot) != 0 {
			b.Fatalf("%s came with %d bytes of data", s.Event.ID(), len(s.Event.Data))
		}
		if want := len(out(s.Chain, 1).Event.Data); s.Kind == transport.Out && (s.Bytes != want || s.Event.Type != "suite.v1") {
			b.Fatalf("%s: %d bytes of type %s", s.Event.ID(), s.Bytes, s.Event.Type)
		}
		if s.Kind != transport.Out && s.Cursor == nil {
			b.Fatalf("%s at %d came without its cursor", s.Kind, s.Position)
		}
	}
}

func watchFrom(b *bundle) {
	b.mixed(2)
	c := transport.WatchConfig{Kinds: everything}
	if id := b.job(0); b.f.Partitioned {
		c.Kinds, c.Chain = []transport.Kind{transport.DeadLetter, transport.Control}, &id
	}
	all := b.watched(c)
	for i, s := range all {
		c.From = s.Position
		rest := b.watched(c)
		if len(rest) != len(all)-i-1 || len(rest) > 0 && rest[0].Position != all[i+1].Position {
			b.Fatalf("%d records behind the %dth of %d", len(rest), i+1, len(all))
		}
	}
}

func watchNewest(b *bundle) {
	b.mixed(4)
	all := b.watched(transport.WatchConfig{Kinds: everything, Newest: true})
	if len(all) != 8 && !(b.f.Lag && len(all) > 8) {
		b.Fatalf("%d newest records of two chains and four kinds", len(all))
	}
	w, err := b.log.Watch(b.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Newest: true})
	b.must(err)
	defer w.Close()
	for i := 0; i < 2; {
		s, err := w.Next(b.ctx)
		b.must(err)
		if b.f.Lag && s.Event.Sequence < 4 {
			continue
		}
		b.same(s, out(b.job(i), 4))
		i++
	}
	ch, _ := b.openChain(b.log, b.job(0))
	b.append(ch, outs(b.job(0), 5, 3)...)
	for i := range uint64(3) {
		s, err := w.Next(b.ctx)
		b.must(err)
		b.same(s, out(b.job(0), 5+i))
	}
}

func drainEmpty(b *bundle) {
	for _, newest := range []bool{false, true} {
		if all := b.watched(transport.WatchConfig{Kinds: everything, Newest: newest}); len(all) != 0 {
			b.Fatalf("%d records of an empty log", len(all))
		}
	}
	b.append(b.chain(), out(b.id, 1))
	for _, newest := range []bool{false, true} {
		if all := b.watched(transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Newest: newest}); len(all) != 0 {
			b.Fatalf("%d controls of a log without one", len(all))
		}
	}
}

func drainEnds(b *bundle) {
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 10)...)
	w, err := b.log.Watch(b.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true})
	b.must(err)
	defer w.Close()
	for i := range uint64(10) {
		s, err := w.Next(b.ctx)
		b.must(err)
		b.same(s, out(b.id, i+1))
		b.append(ch, out(b.id, 11+i))
	}
	for range 2 {
		_, err = w.Next(b.ctx)
		b.want(err, io.EOF)
	}
}

// trimmedDrainEnds: what a drained watch has yet to hand out is removed under it.
func trimmedDrainEnds(b *bundle) {
	const many = 600 // more than a driver asks for at a time
	ch := b.chain()
	b.append(ch, outs(b.id, 1, many)...)
	b.append(ch, decision(b.id, transport.Control, cursor(0)))
	w, err := b.log.Watch(b.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true})
	b.must(err)
	defer w.Close()
	s, err := w.Next(b.ctx)
	b.must(err)
	b.same(s, out(b.id, 1))
	b.must(b.log.Trim(b.ctx, b.id, ^schemas.Position(0)))
	for err == nil {
		_, err = w.Next(b.ctx)
	}
	b.want(err, io.EOF)
}

func watchWaits(b *bundle) {
	w, err := b.client().Watch(b.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}})
	b.must(err)
	defer w.Close()
	ctx, cancel := context.WithCancel(b.ctx)
	got := make(chan error)
	go func() {
		_, err := w.Next(ctx)
		got <- err
	}()
	cancel()
	b.want(<-got, context.Canceled)
	ch := b.chain()
	for i := range uint64(5) {
		r := decision(b.id, transport.Control, cursor(i))
		b.append(ch, out(b.id, i+1), r)
		s, err := w.Next(b.ctx)
		b.must(err)
		b.same(s, r)
	}
}

func watchCheckpoint(b *bundle) {
	ch := b.chain()
	p := page([]byte("page"))
	b.append(ch, outs(b.id, 1, 2)...)
	b.commit(ch, transport.Checkpoint{Cursor: cursor(3), Out: 2, OutBytes: 44, Inputs: 3, Snapshot: []byte("state")})
	b.append(ch, p)
	b.commit(ch, transport.Checkpoint{Cursor: cursor(4), Out: 2, Inputs: 4, Pages: []transport.PageHash{p.Page.Hash}})
	all := b.watched(transport.WatchConfig{Kinds: []transport.Kind{transport.Snapshot}})
	if len(all) != 2 {
		b.Fatalf("%d checkpoints, want 2", len(all))
	}
	want := []transport.Checkpoint{
		{Cursor: cursor(3), Out: 2, OutBytes: 44, Inputs: 3, Snapshot: []byte("state")},
		{Cursor: cursor(4), Out: 2, Inputs: 4, Pages: []transport.PageHash{p.Page.Hash}},
	}
	for i, s := range all {
		b.checkpoint(transport.State{Checkpoint: s.Checkpoint}, want[i])
		if s.Chain != b.id || s.Event.Chain != b.id || s.Event.Pipeline != "suite" || !sameCursor(*s.Cursor, want[i].Cursor) {
			b.Fatalf("checkpoint comes as %+v", s)
		}
	}
}
