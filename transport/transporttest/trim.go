package transporttest

import (
	"context"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var trimCases = []testCase{
	{"trimming removes out events at and below the position", trimOut},
	{"reading on at a position that was removed is an error", readGone},
	{"the last record under a prefix stays, whatever it is", trimKeepsLast},
	{"dead letters and controls stay", trimKeepsDecisions},
	{"checkpoints and pages go when the last checkpoint does not need them", trimCheckpoints},
	{"pages behind the last checkpoint stay", trimKeepsNewPages},
	{"trimming one chain leaves the others", trimApart},
	{"trimming does not disturb the holder nor let a zombie in", trimFence},
	{"a trimmed chain still knows how far it was", trimState},
	{"purging removes the dead letters named, and nothing else", purgeLetters},
	{"purging keeps the last record under a prefix", purgeKeepsLast},
	{"trimming again, or where nothing is, is harmless", trimAgain},
}

func (b *bundle) records() uint64 {
	b.Helper()
	s, err := b.log.Stats(b.ctx)
	b.must(err)
	return s.Records
}

func (b *bundle) trim(below transport.Stored) {
	b.Helper()
	b.must(b.log.Trim(b.ctx, b.id, below.Position))
}

func trimOut(b *bundle) {
	ch := b.chain()
	want := outs(b.id, 1, 10)
	b.append(ch, want...)
	all := b.written(b.id, want)
	b.trim(all[5])
	if n := b.records(); n != 4 {
		b.Fatalf("%d records left of 10 after trimming 6", n)
	}
	for i, s := range b.read(b.log, b.id, all[5].Position, 4) {
		b.same(s, want[6+i])
	}
	for i, s := range b.watched(transport.WatchConfig{Kinds: everything}) {
		b.same(s, want[6+i])
	}
}

func readGone(b *bundle) {
	ch := b.chain()
	want := outs(b.id, 1, 10)
	b.append(ch, want...)
	all := b.written(b.id, want)
	open, err := b.log.Read(b.ctx, b.id, all[1].Position)
	b.must(err)
	defer open.Close()
	b.trim(all[5])
	for i := range 5 {
		from := all[i].Position - 1
		r, err := b.log.Read(b.ctx, b.id, from)
		if err == nil {
			_, err = r.Next(b.ctx)
			b.must(r.Close())
		}
		b.want(err, transport.ErrGone)
	}
	for next := 2; err == nil; next++ { // an open reader may have fetched ahead, but leaves nothing out
		var s transport.Stored
		if s, err = open.Next(b.ctx); err == nil {
			b.same(s, want[next])
		}
		if next == 9 {
			break
		}
	}
	if err != nil {
		b.want(err, transport.ErrGone)
	}
	b.commit(ch, transport.Checkpoint{Out: 10})
	b.trim(all[9]) // no out event is left, and still a reader must not wait for the tenth
	r, err := b.log.Read(b.ctx, b.id, all[8].Position)
	if err == nil {
		_, err = r.Next(b.ctx)
		b.must(r.Close())
	}
	b.want(err, transport.ErrGone)
	b.append(ch, out(b.id, 11))
	b.same(b.read(b.log, b.id, all[9].Position, 1)[0], out(b.id, 11))
}

func trimKeepsLast(b *bundle) {
	ch := b.chain()
	want := outs(b.id, 1, 5)
	b.append(ch, want...)
	all := b.written(b.id, want)
	b.must(b.log.Trim(b.ctx, b.id, all[4].Position+1000))
	if n := b.records(); n != 1 {
		b.Fatalf("%d records left, want the last", n)
	}
	b.same(b.read(b.log, b.id, all[3].Position, 1)[0], want[4])
	stale, _ := b.openChain(b.log, b.id)
	b.append(ch, out(b.id, 6))
	_, err := stale.Append(b.ctx, out(b.id, 6))
	b.want(err, transport.ErrStale)
}

func trimKeepsDecisions(b *bundle) {
	ch := b.chain()
	letter, control := decision(b.id, transport.DeadLetter, cursor(1)), decision(b.id, transport.Control, cursor(2))
	b.append(ch, out(b.id, 1), letter, out(b.id, 2), control, out(b.id, 3))
	b.commit(ch, transport.Checkpoint{Out: 3})
	all := b.watched(transport.WatchConfig{Kinds: everything})
	b.must(b.log.Trim(b.ctx, b.id, all[len(all)-1].Position))
	left := b.watched(transport.WatchConfig{Kinds: everything})
	if len(left) != 3 {
		b.Fatalf("%d records left, want dead letter, control and checkpoint", len(left))
	}
	b.same(left[0], letter)
	b.same(left[1], control)
}

func trimCheckpoints(b *bundle) {
	ch := b.chain()
	pages := []transport.Record{page([]byte("one")), page([]byte("two")), page([]byte("three"))}
	hashes := func(i ...int) (h []transport.PageHash) {
		for _, i := range i {
			h = append(h, pages[i].Page.Hash)
		}
		return h
	}
	b.append(ch, pages[0], pages[1])
	b.commit(ch, transport.Checkpoint{Pages: hashes(0, 1)})
	b.append(ch, pages[2])
	b.commit(ch, transport.Checkpoint{Pages: hashes(1, 2), Inputs: 1})
	b.append(ch, pages[0]) // again, for the next one
	b.must(b.log.Trim(b.ctx, b.id, 0))
	if n := b.records(); n != 4 { // two, three, the checkpoint, and the page behind it
		b.Fatalf("%d records left, want 4", n)
	}
	b.checkpoint(b.state(), transport.Checkpoint{Pages: hashes(1, 2), Inputs: 1, Snapshot: []byte("twothree")})
	b.commit(ch, transport.Checkpoint{Pages: hashes(0), Inputs: 2})
	b.must(b.log.Trim(b.ctx, b.id, 0))
	if n := b.records(); n != 2 {
		b.Fatalf("%d records left, want a page and a checkpoint", n)
	}
	b.checkpoint(b.state(), transport.Checkpoint{Pages: hashes(0), Inputs: 2, Snapshot: []byte("one")})
}

func trimKeepsNewPages(b *bundle) {
	ch := b.chain()
	first, second := page([]byte("first")), page([]byte("second"))
	b.append(ch, first)
	b.must(b.log.Trim(b.ctx, b.id, 1000))
	b.commit(ch, transport.Checkpoint{Pages: []transport.PageHash{first.Page.Hash}})
	b.append(ch, second)
	b.must(b.log.Trim(b.ctx, b.id, 1000))
	b.commit(ch, transport.Checkpoint{Pages: []transport.PageHash{first.Page.Hash, second.Page.Hash}})
	s := b.state()
	if string(s.Checkpoint.Snapshot) != "firstsecond" {
		b.Fatalf("snapshot is %q", s.Checkpoint.Snapshot)
	}
}

func trimApart(b *bundle) {
	for i := range 3 {
		ch, _ := b.openChain(b.log, b.job(i))
		b.append(ch, outs(b.job(i), 1, 5)...)
	}
	b.must(b.log.Trim(b.ctx, b.job(1), 1_000_000))
	for _, i := range []int{0, 2} {
		b.written(b.job(i), outs(b.job(i), 1, 5))
	}
	if n := b.records(); n != 11 {
		b.Fatalf("%d records left, want 11", n)
	}
}

func trimFence(b *bundle) {
	zombie := b.chain()
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 5)...)
	b.commit(ch, transport.Checkpoint{Out: 5})
	b.must(b.client().Trim(b.ctx, b.id, 1_000_000))
	_, err := zombie.Append(b.ctx, out(b.id, 1))
	b.want(err, transport.ErrStale)
	b.append(ch, out(b.id, 6))
}

func trimState(b *bundle) {
	ch := b.chain()
	want := outs(b.id, 1, 5)
	b.append(ch, want...)
	before := b.state()
	all := b.written(b.id, want)
	b.trim(all[2])
	s := b.state()
	if s.Out != 5 || s.OutBytes != before.OutBytes {
		b.Fatalf("out %d, %d bytes, want 5 and %d", s.Out, s.OutBytes, before.OutBytes)
	}
	b.behind(s, want[3:]...)
	b.append(ch, decision(b.id, transport.Control, cursor(1)))
	b.trim(all[4])
	ch, s = b.openChain(b.log, b.id)
	if s.Out != 5 || s.OutBytes != before.OutBytes {
		b.Fatalf("out %d, %d bytes, want 5 and %d", s.Out, s.OutBytes, before.OutBytes)
	}
	b.append(ch, out(b.id, 6))
}

func (b *bundle) purge(want int, letters ...schemas.Position) {
	b.Helper()
	n, err := b.log.Purge(b.ctx, b.id, letters)
	b.must(err)
	if n != want {
		b.Fatalf("%d dead letters were purged, want %d", n, want)
	}
}

func purgeLetters(b *bundle) {
	zombie, ch := b.chain(), b.chain()
	other, _ := b.openChain(b.log, b.job(1))
	letter := decision(b.id, transport.DeadLetter, cursor(1))
	b.append(ch, out(b.id, 1), letter, out(b.id, 2), letter, decision(b.id, transport.Control, cursor(2)))
	b.append(other, decision(b.job(1), transport.DeadLetter, cursor(1)), decision(b.job(1), transport.Control, cursor(1)))
	var all []schemas.Position
	for _, s := range b.watched(transport.WatchConfig{Kinds: everything}) {
		all = append(all, s.Position)
	}
	b.purge(1, all[1], all[0], all[2], all[4], all[5], 1000) // of all these only one is a dead letter of the chain
	left := b.watched(transport.WatchConfig{Kinds: everything})
	if len(left) != 6 {
		b.Fatalf("%d records left, want 6", len(left))
	}
	b.purge(1, all[1], all[3])
	b.purge(0, all[1], all[3])
	if n := len(b.watched(transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}})); n != 1 {
		b.Fatalf("%d dead letters left, want the other chain's", n)
	}
	_, err := zombie.Append(b.ctx, out(b.id, 1))
	b.want(err, transport.ErrStale)
	b.append(ch, out(b.id, 3))
}

func purgeKeepsLast(b *bundle) {
	zombie, ch := b.chain(), b.chain()
	b.append(ch, decision(b.id, transport.DeadLetter, cursor(1)), decision(b.id, transport.DeadLetter, cursor(2)))
	all := b.watched(transport.WatchConfig{Kinds: everything})
	b.purge(1, all[0].Position, all[1].Position)
	_, err := zombie.Append(b.ctx, out(b.id, 1))
	b.want(err, transport.ErrStale)
	b.append(ch, decision(b.id, transport.Control, cursor(2)))
	b.purge(1, all[1].Position)
	if n := b.records(); n != 1 {
		b.Fatalf("%d records left, want the control", n)
	}
}

func trimAgain(b *bundle) {
	b.must(b.log.Trim(b.ctx, b.id, 10))
	b.append(b.chain(), outs(b.id, 1, 3)...)
	b.must(b.log.Trim(b.ctx, b.id, 0))
	all := b.written(b.id, outs(b.id, 1, 3))
	for range 3 {
		b.trim(all[1])
	}
	b.trim(all[0])
	if n := b.records(); n != 1 {
		b.Fatalf("%d records left, want 1", n)
	}
	done, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := b.log.Trim(done, b.id, 1); err == nil {
		b.Fatal("trimmed with a cancelled context")
	}
}
