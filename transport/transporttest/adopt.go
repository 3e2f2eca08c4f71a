package transporttest

import (
	"bytes"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var adoptCases = []testCase{
	{"a chain that began elsewhere is gone on with", adopt},
	{"a chain that is adopted may begin with a checkpoint", adoptCheckpoint},
	{"a chain that has a record is not adopted", adoptNonEmpty},
}

func (b *bundle) adopt(id schemas.ChainID, out, bytes uint64) (transport.Chain, error) {
	b.Helper()
	a, ok := b.log.(transport.Adopter)
	if !ok {
		b.Fatalf("%T is no transport.Adopter", b.log)
	}
	return a.Adopt(b.ctx, id, out, bytes)
}

// elsewhere is what the chains of these cases have had before: so many events, with so many bytes.
const elsewhere, elsewhereBytes = 40, 4000

func adopt(b *bundle) {
	other, _ := b.openChain(b.log, b.job(1))
	b.append(other, outs(b.job(1), 1, 3)...) // it may lie between
	_, err := b.adopt(b.id, elsewhere, elsewhereBytes)
	b.must(err)
	if s := b.state(); s.Out != 0 || len(s.Behind) != 0 {
		b.Fatalf("before the first append its state is %+v", s)
	}
	ch, err := b.adopt(b.id, elsewhere, elsewhereBytes)
	if err != nil {
		b.Fatalf("adopted again: %v", err)
	}
	want := outs(b.id, elsewhere+1, 5)
	_, err = ch.Append(b.ctx, out(b.id, elsewhere+3))
	if err == nil {
		b.Fatal("an event behind a gap was taken")
	}
	ch, err = b.adopt(b.id, elsewhere, elsewhereBytes)
	b.must(err)
	b.append(ch, want...)
	bytes := uint64(elsewhereBytes)
	for _, r := range want {
		bytes += uint64(len(r.Event.Data))
	}
	s := b.state()
	if s.Out != elsewhere+5 || s.OutBytes != bytes {
		b.Fatalf("it ends with event %d and %d bytes, want %d and %d", s.Out, s.OutBytes, elsewhere+5, bytes)
	}
	b.behind(s, want...)
	b.written(b.id, want)
	again, _ := b.openChain(b.client(), b.id)
	b.append(again, out(b.id, elsewhere+6))
}

func adoptCheckpoint(b *bundle) {
	ch, err := b.adopt(b.id, elsewhere, elsewhereBytes)
	b.must(err)
	saved := transport.Checkpoint{Cursor: cursor(9), Out: elsewhere, OutBytes: elsewhereBytes, Inputs: 9, Snapshot: bytes.Repeat([]byte("s"), 100)}
	b.commit(ch, saved)
	next := out(b.id, elsewhere+1)
	b.append(ch, next)
	s := b.state()
	b.checkpoint(s, saved)
	b.behind(s, next)
	if want := uint64(elsewhereBytes + len(next.Event.Data)); s.OutBytes != want {
		b.Fatalf("%d bytes, want %d", s.OutBytes, want)
	}
	b.written(b.id, []transport.Record{next})
}

func adoptNonEmpty(b *bundle) {
	b.append(b.chain(), out(b.id, 1))
	_, err := b.adopt(b.id, elsewhere, elsewhereBytes)
	b.want(err, transport.ErrStale)
}
