package transporttest

import (
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var aheadCases = []testCase{
	{"what is appended ahead is stored soon, in order", aheadSoon},
	{"a decision is stored with all that was appended ahead of it", aheadDecision},
	{"an event that is not to wait is stored with all that was appended ahead of it", aheadSync},
	{"a checkpoint is stored with the pages that were appended ahead", aheadCheckpoint},
	{"a holder whose appends ahead are lost learns it", aheadLost},
	{"opening a chain shows what was appended ahead in this process", aheadOpened},
}

func (b *bundle) ahead() {
	b.Helper()
	b.use(transport.LogConfig{Pipeline: "suite", Stage: b.config.Stage + "-ahead", Ahead: true})
}

func aheadSoon(b *bundle) {
	b.ahead()
	ch := b.chain()
	want := outs(b.id, 1, 100)
	for _, r := range want {
		b.append(ch, r)
	}
	b.written(b.id, want) // nothing else is appended
	for _, r := range outs(b.id, 101, 5) {
		b.append(ch, r)
		want = append(want, r)
	}
	b.written(b.id, want)
}

func aheadDecision(b *bundle) {
	b.ahead()
	ch := b.chain()
	letter := decision(b.id, transport.DeadLetter, cursor(1))
	b.append(ch, outs(b.id, 1, 3)...)
	b.append(ch, letter)
	_, s := b.openChain(b.client(), b.id)
	b.behind(s, append(outs(b.id, 1, 3), letter)...)
}

func aheadSync(b *bundle) {
	b.ahead()
	ch := b.chain()
	for n := uint64(1); n <= 20; n++ {
		r := out(b.id, n)
		r.Sync = n%2 == 0
		b.append(ch, r)
		if r.Sync {
			_, s := b.openChain(b.client(), b.id)
			b.behind(s, outs(b.id, 1, int(n))...)
		}
	}
}

func aheadCheckpoint(b *bundle) {
	b.ahead()
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 3)...)
	c, wrote := b.commitPaged(ch, nil, transport.Checkpoint{Cursor: cursor(3), Out: 3}, noise(1, 3*transport.PageBytes))
	if wrote != 3 {
		b.Fatalf("%d pages written, want 3", wrote)
	}
	b.append(ch, out(b.id, 4))
	c2, wrote := b.commitPaged(ch, c.Pages, transport.Checkpoint{Cursor: cursor(4), Out: 4}, append(noise(1, 2*transport.PageBytes), noise(7, 1000)...))
	if wrote != 1 {
		b.Fatalf("%d pages written for one change", wrote)
	}
	_, s := b.openChain(b.client(), b.id)
	b.behind(s)
	b.checkpoint(s, c2)
	if s.Out != 4 {
		b.Fatalf("last out event is %d, want 4", s.Out)
	}
}

func aheadLost(b *bundle) {
	b.ahead()
	old := b.chain()
	b.append(old, out(b.id, 1), decision(b.id, transport.Control, cursor(1)))
	held, _ := b.openChain(b.client(), b.id)
	b.append(held, out(b.id, 2), decision(b.id, transport.Control, cursor(2)))
	_, err := old.Append(b.ctx, out(b.id, 2))
	if err == nil { // taken ahead; what comes behind it cannot be stored
		err = b.log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{old: {Cursor: cursor(9), Out: 2}})
	}
	if b.f.Doubt && err != nil {
		b.reopenedAs(held.ID(), 2)
		return
	}
	b.want(err, transport.ErrStale)
	b.reopenedAs(held.ID(), 2)
}

// reopenedAs fails the case unless the chain holds so many out events and no checkpoint.
func (b *bundle) reopenedAs(id schemas.ChainID, n uint64) {
	b.Helper()
	_, s := b.openChain(b.log, id)
	if s.Out != n || s.Checkpoint != nil {
		b.Fatalf("state is %+v, want %d out events and no checkpoint", s, n)
	}
}

func aheadOpened(b *bundle) {
	b.ahead()
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 3)...)
	b.behind(b.state(), outs(b.id, 1, 3)...)
	b.append(ch, out(b.id, 4))
}
