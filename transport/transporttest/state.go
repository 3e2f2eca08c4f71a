package transporttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var stateCases = []testCase{
	{"a chain that nobody wrote is empty", emptyChain},
	{"records are stored in the order of the append", appendOrder},
	{"what was stored comes back whole, behind the last checkpoint", behind},
	{"of several checkpoints the last one counts", lastCheckpoint},
	{"bytes of out events are counted on over a checkpoint", outBytes},
	{"a large snapshot is pages, and unchanged ones are not written again", pagedSnapshot},
	{"a checkpoint names no page that may be gone", unknownPage},
	{"pages behind a checkpoint are not among what is behind", pagesLeftOut},
	{"a page must hash to its name", pageHash},
	{"checkpoints of several chains are committed together", commitSeveral},
	{"chains in one log do not mix", interleaved},
	{"a refused record stores nothing", refused},
	{"a cursor with a large merge state comes back", largeMerge},
	{"an out event may carry a cursor", outCursor},
	{"one record of every kind, then the same state for every opener", sameState},
}

func emptyChain(b *bundle) {
	s := b.state()
	if s.Out != 0 || s.OutBytes != 0 || s.Checkpoint != nil || len(s.Behind) != 0 {
		b.Fatalf("state of an empty chain is %+v", s)
	}
}

func appendOrder(b *bundle) {
	ch := b.chain()
	want := outs(b.id, 1, 20)
	b.append(ch, want[:13]...)
	b.append(ch, want[13:]...)
	b.append(ch)
	b.written(b.id, want)
}

// behind fails the case unless the state's records are these.
func (b *bundle) behind(s transport.State, want ...transport.Record) {
	b.Helper()
	if len(s.Behind) != len(want) {
		b.Fatalf("%d records behind the checkpoint, want %d", len(s.Behind), len(want))
	}
	for i, got := range s.Behind {
		b.same(got, want[i])
	}
}

func behind(b *bundle) {
	ch := b.chain()
	first := outs(b.id, 1, 3)
	b.append(ch, first...)
	b.behind(b.state(), first...)
	before := decision(b.id, transport.DeadLetter, cursor(2))
	b.append(ch, before)
	b.commit(ch, transport.Checkpoint{Cursor: cursor(3), Out: 3, OutBytes: 99, Snapshot: []byte("state"), InputHash: []byte{1, 2}, Inputs: 3})
	after := []transport.Record{out(b.id, 4), decision(b.id, transport.DeadLetter, cursor(4)), out(b.id, 5), decision(b.id, transport.Control, cursor(5))}
	after[0].Event.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	b.append(ch, after...)
	s := b.state()
	b.behind(s, after...)
	b.checkpoint(s, transport.Checkpoint{Cursor: cursor(3), Out: 3, OutBytes: 99, Snapshot: []byte("state"), InputHash: []byte{1, 2}, Inputs: 3})
	if s.Out != 5 {
		b.Fatalf("last out event is %d, want 5", s.Out)
	}
}

// checkpoint fails the case unless the state's checkpoint is that one.
func (b *bundle) checkpoint(s transport.State, want transport.Checkpoint) {
	b.Helper()
	got := s.Checkpoint
	if got == nil {
		b.Fatal("no checkpoint")
	}
	same := sameCursor(got.Cursor, want.Cursor) && bytes.Equal(got.Cursor.Merge, want.Cursor.Merge) && got.Out == want.Out && got.OutBytes == want.OutBytes &&
		bytes.Equal(got.Snapshot, want.Snapshot) && bytes.Equal(got.InputHash, want.InputHash) && got.Inputs == want.Inputs && fmt.Sprint(got.Pages) == fmt.Sprint(want.Pages)
	if !same {
		b.Fatalf("checkpoint is %+v, want %+v", short(*got), short(want))
	}
}

func short(c transport.Checkpoint) transport.Checkpoint {
	c.Snapshot = c.Snapshot[:min(40, len(c.Snapshot))]
	return c
}

func lastCheckpoint(b *bundle) {
	ch := b.chain()
	for i := range uint64(5) {
		b.append(ch, out(b.id, i+1))
		b.commit(ch, transport.Checkpoint{Cursor: cursor(i + 1), Out: i + 1, Snapshot: fmt.Appendf(nil, "state %d", i+1)})
	}
	s := b.state()
	b.behind(s)
	b.checkpoint(s, transport.Checkpoint{Cursor: cursor(5), Out: 5, Snapshot: []byte("state 5")})
	if s.Out != 5 {
		b.Fatalf("last out event is %d, want 5", s.Out)
	}
}

func outBytes(b *bundle) {
	ch := b.chain()
	var total uint64
	for i := range uint64(4) {
		r := out(b.id, i+1)
		r.Event.Data = make([]byte, 1000*(i+1))
		total += 1000 * (i + 1)
		b.append(ch, r, decision(b.id, transport.Control, cursor(i)))
		if s := b.state(); s.OutBytes != total {
			b.Fatalf("%d bytes of out events, want %d", s.OutBytes, total)
		}
		if i == 1 {
			b.commit(ch, transport.Checkpoint{Cursor: cursor(2), Out: 2, OutBytes: total})
		}
	}
}

// noise is data that is the same in every run and does not compress.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

// commitPaged appends the pages that the chain's last checkpoint does not name and commits; it returns how many it wrote.
func (b *bundle) commitPaged(ch transport.Chain, have []transport.PageHash, c transport.Checkpoint, snapshot []byte) (transport.Checkpoint, int) {
	b.Helper()
	known := map[transport.PageHash]bool{}
	for _, h := range have {
		known[h] = true
	}
	wrote := 0
	for _, p := range transport.SplitPages(snapshot) {
		c.Pages = append(c.Pages, p.Hash)
		if known[p.Hash] {
			continue
		}
		known[p.Hash] = true
		wrote++
		b.append(ch, transport.Record{Kind: transport.Page, Page: &p})
	}
	b.commit(ch, c)
	c.Snapshot = snapshot
	return c, wrote
}

func pagedSnapshot(b *bundle) {
	ch := b.chain()
	snapshot := append(noise(1, 5*transport.PageBytes), noise(2, 1000)...)
	copy(snapshot[4*transport.PageBytes:], snapshot[:transport.PageBytes]) // a page that comes twice
	c, wrote := b.commitPaged(ch, nil, transport.Checkpoint{Cursor: cursor(1)}, snapshot)
	if wrote != 5 {
		b.Fatalf("%d pages written, want 5", wrote)
	}
	b.checkpoint(b.state(), c)
	snapshot = bytes.Clone(snapshot)
	snapshot[2*transport.PageBytes]++
	ch, s := b.openChain(b.log, b.id) // what the last checkpoint names is known to the next holder too
	c, wrote = b.commitPaged(ch, s.Checkpoint.Pages, transport.Checkpoint{Cursor: cursor(2)}, snapshot)
	if wrote != 1 {
		b.Fatalf("%d pages written for one change", wrote)
	}
	b.must(b.log.Trim(b.ctx, b.id, 0))
	b.checkpoint(b.state(), c)
}

func unknownPage(b *bundle) {
	ch := b.chain()
	first, second := page([]byte("first")), page([]byte("second"))
	b.append(ch, first, second)
	b.commit(ch, transport.Checkpoint{Pages: []transport.PageHash{second.Page.Hash}})
	err := b.log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{ch: {Pages: []transport.PageHash{first.Page.Hash}}})
	if err == nil {
		b.Fatal("a checkpoint names a page that the one before does not name, though Trim may have removed it")
	}
	s := b.state()
	b.checkpoint(s, transport.Checkpoint{Pages: []transport.PageHash{second.Page.Hash}, Snapshot: []byte("second")})
}

func pagesLeftOut(b *bundle) {
	ch := b.chain()
	b.append(ch, out(b.id, 1), page([]byte("page")), out(b.id, 2), page([]byte("last")))
	b.behind(b.state(), outs(b.id, 1, 2)...)
}

func pageHash(b *bundle) {
	p := page([]byte("page"))
	p.Page.Data = []byte("other")
	if _, err := b.chain().Append(b.ctx, p); err == nil {
		b.Fatal("a page was stored under another's name")
	}
}

func commitSeveral(b *bundle) {
	all := map[transport.Chain]transport.Checkpoint{}
	for i := range 5 {
		ch, _ := b.openChain(b.log, b.job(i))
		b.append(ch, out(b.job(i), 1))
		all[ch] = transport.Checkpoint{Cursor: cursor(uint64(i)), Out: 1, Snapshot: fmt.Append(nil, i)}
	}
	b.must(b.log.Commit(b.ctx, all))
	b.must(b.log.Commit(b.ctx, nil))
	for ch, c := range all {
		_, s := b.openChain(b.log, ch.ID())
		b.checkpoint(s, c)
		b.append(ch, out(ch.ID(), 2)) // the commit moved the chain's own fence along
	}
}

func interleaved(b *bundle) {
	const jobs, events = 4, 10
	var chains []transport.Chain
	for i := range jobs {
		ch, _ := b.openChain(b.log, b.job(i))
		chains = append(chains, ch)
	}
	for n := range uint64(events) {
		for i, ch := range chains {
			b.append(ch, out(b.job(i), n+1))
		}
	}
	for i := range jobs {
		b.written(b.job(i), outs(b.job(i), 1, events))
		_, s := b.openChain(b.log, b.job(i))
		b.behind(s, outs(b.job(i), 1, events)...)
	}
}

func refused(b *bundle) {
	foreign := out(b.job(1), 2)
	gap, untyped, header, ref := out(b.id, 3), out(b.id, 2), out(b.id, 2), out(b.id, 2)
	untyped.Event.Type, header.Event.ContentType, ref.Event.DataRef = "", "a\r\nb", "https://x.test/ä"
	bad := map[string]transport.Record{
		"an event of another chain": foreign, "a gap in the sequence": gap, "an event without a type": untyped,
		"a content type that breaks a header": header, "a dataref that is no URI": ref,
		"a checkpoint": {Kind: transport.Snapshot}, "a page without data": {Kind: transport.Page},
	}
	for name, r := range bad {
		ch := b.chain()
		s := b.state()
		if n, err := ch.Append(b.ctx, out(b.id, s.Out+1), r); err == nil || n != 0 {
			b.Errorf("%s: %d stored, error %v", name, n, err)
		}
	}
	if s := b.state(); s.Out != 0 {
		b.Fatalf("%d out events stored", s.Out)
	}
	if _, _, err := b.log.Open(b.ctx, schemas.ChainID{Job: "j-1", Stage: "other"}); err == nil {
		b.Fatal("a chain of another stage was opened")
	}
}

func largeMerge(b *bundle) {
	ch := b.chain()
	c := cursor(1)
	c.Merge = noise(3, 100_000)
	r := decision(b.id, transport.DeadLetter, c)
	b.append(ch, r)
	s := b.state()
	b.behind(s, r)
	b.commit(ch, transport.Checkpoint{Cursor: c, Snapshot: []byte("state")})
	b.checkpoint(b.state(), transport.Checkpoint{Cursor: c, Snapshot: []byte("state")})
}

func outCursor(b *bundle) {
	r := out(b.id, 1)
	c := cursor(4)
	r.Cursor = &c
	b.append(b.chain(), r)
	b.behind(b.state(), r)
	b.written(b.id, []transport.Record{r})
}

func sameState(b *bundle) {
	ch := b.chain()
	b.append(ch, out(b.id, 1), page([]byte("p")), decision(b.id, transport.Control, cursor(1)))
	b.commit(ch, transport.Checkpoint{Cursor: cursor(1), Out: 1, Pages: []transport.PageHash{page([]byte("p")).Page.Hash}})
	b.append(ch, decision(b.id, transport.DeadLetter, cursor(2)), out(b.id, 2))
	for range 3 {
		_, s := b.openChain(b.client(), b.id)
		b.behind(s, decision(b.id, transport.DeadLetter, cursor(2)), out(b.id, 2))
		b.checkpoint(s, transport.Checkpoint{Cursor: cursor(1), Out: 1, Snapshot: []byte("p"), Pages: []transport.PageHash{page([]byte("p")).Page.Hash}})
	}
}
