package transporttest

import (
	"errors"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var fenceCases = []testCase{
	{"a holder is stale once a new one has appended", staleHolder},
	{"openers that append nothing do not disturb each other", quietOpeners},
	{"every kind of append moves the fence", everyKindFences},
	{"a checkpoint of a stale holder is refused", staleCommit},
	{"of many that append to one chain exactly one is stored each time", raceOfOpeners},
	{"a fence is of one chain alone", fencesAreApart},
	{"a chain takes nothing more after it was stale", staleForGood},
	{"a stale append of several stores none of them", staleBatch},
}

func staleHolder(b *bundle) {
	old := b.chain()
	b.append(old, out(b.id, 1))
	log := b.client()
	held, state := b.openChain(log, b.id)
	if state.Out != 1 {
		b.Fatalf("the new holder sees %d out events, want 1", state.Out)
	}
	b.append(old, out(b.id, 2)) // nobody has appended yet
	_, err := held.Append(b.ctx, out(b.id, 2))
	b.want(err, transport.ErrStale)
	held, _ = b.openChain(log, b.id)
	b.append(held, out(b.id, 3))
	n, err := old.Append(b.ctx, out(b.id, 3))
	b.want(err, transport.ErrStale)
	if n != 0 {
		b.Fatalf("a stale append says that it stored %d", n)
	}
	b.written(b.id, outs(b.id, 1, 3))
}

func quietOpeners(b *bundle) {
	first := b.chain()
	b.append(first, out(b.id, 1))
	for range 3 {
		b.openChain(b.client(), b.id)
	}
	b.append(first, out(b.id, 2))
	b.commit(first, transport.Checkpoint{Cursor: cursor(1), Out: 2})
	b.written(b.id, outs(b.id, 1, 2))
}

func everyKindFences(b *bundle) {
	appends := map[string]func(ch transport.Chain, id schemas.ChainID){
		"out": func(ch transport.Chain, id schemas.ChainID) { b.append(ch, out(id, 1)) },
		"dlq": func(ch transport.Chain, id schemas.ChainID) {
			b.append(ch, decision(id, transport.DeadLetter, cursor(1)))
		},
		"ctl":  func(ch transport.Chain, id schemas.ChainID) { b.append(ch, decision(id, transport.Control, cursor(1))) },
		"page": func(ch transport.Chain, id schemas.ChainID) { b.append(ch, page([]byte("page"))) },
		"ckpt": func(ch transport.Chain, _ schemas.ChainID) { b.commit(ch, transport.Checkpoint{Cursor: cursor(1)}) },
	}
	i := 0
	for kind, put := range appends {
		i++
		id := b.job(i)
		old, _ := b.openChain(b.log, id)
		held, _ := b.openChain(b.log, id)
		put(held, id)
		if _, err := old.Append(b.ctx, out(id, 1)); !errors.Is(err, transport.ErrStale) {
			b.Errorf("after an append of kind %s: %v", kind, err)
		}
	}
}

func staleCommit(b *bundle) {
	old := b.chain()
	held := b.chain()
	b.append(held, out(b.id, 1))
	err := b.log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{old: {Cursor: cursor(9), Out: 9}})
	b.want(err, transport.ErrStale)
	if s := b.state(); s.Checkpoint != nil {
		b.Fatalf("a stale checkpoint was stored: %+v", s.Checkpoint)
	}
}

func raceOfOpeners(b *bundle) {
	const rounds, racers = 12, 8
	logs := []transport.Log{b.log, b.client()}
	for round := range rounds {
		var wg sync.WaitGroup
		chains, errs := make([]transport.Chain, racers), make([]error, racers)
		for i := range racers {
			chains[i], _ = b.openChain(logs[i%len(logs)], b.id)
		}
		for i, ch := range chains {
			wg.Go(func() { _, errs[i] = ch.Append(b.ctx, out(b.id, uint64(round+1))) })
		}
		wg.Wait()
		b.oneWon(errs)
	}
	b.written(b.id, outs(b.id, 1, rounds))
}

func (b *bundle) oneWon(errs []error) {
	b.Helper()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case b.f.Doubt && errors.Is(err, transport.ErrUnknown):
		case !errors.Is(err, transport.ErrStale):
			b.Fatalf("a loser got %v", err)
		}
	}
	if won != 1 {
		b.Fatalf("%d appends behind the same record were stored", won)
	}
}

func fencesAreApart(b *bundle) {
	ch := b.chain()
	b.append(ch, out(b.id, 1))
	for i := range 3 {
		other, _ := b.openChain(b.log, b.job(i))
		b.append(other, out(b.job(i), 1))
	}
	b.append(ch, out(b.id, 2))
}

func staleForGood(b *bundle) {
	old := b.chain()
	held := b.chain()
	b.append(held, out(b.id, 1))
	_, err := old.Append(b.ctx, out(b.id, 1))
	b.want(err, transport.ErrStale)
	if _, err := old.Append(b.ctx, out(b.id, 1)); err == nil {
		b.Fatal("a chain went on after it was stale")
	}
	if err := b.log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{old: {}}); err == nil {
		b.Fatal("a chain took a checkpoint after it was stale")
	}
}

func staleBatch(b *bundle) {
	old := b.chain()
	held := b.chain()
	b.append(held, out(b.id, 1))
	n, err := old.Append(b.ctx, outs(b.id, 1, 5)...)
	b.want(err, transport.ErrStale)
	if n != 0 {
		b.Fatalf("%d records of a stale append were stored", n)
	}
	if s := b.state(); s.Out != 1 {
		b.Fatalf("%d out events, want 1", s.Out)
	}
}
