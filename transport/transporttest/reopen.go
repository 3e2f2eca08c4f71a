package transporttest

import (
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/transport"
)

var reopenCases = []testCase{
	{"a store that is closed and opened again holds everything", reopened},
	{"the fence holds over a restart", fenceOverRestart},
	{"what was acked does not come again after a restart in peace", acksOverRestart},
	{"a closed broker says so", closed},
}

// restart closes the case's broker and opens its store again.
func (b *bundle) restart() {
	b.Helper()
	b.must(b.broker.Close())
	b.broker = b.f.Reopen(b, b.broker)
	again := b.broker
	b.Cleanup(func() { closeBroker(b, again) })
	b.log = b.on(b.broker)
}

// own gives the case a broker and store that nobody else uses.
func (b *bundle) own() {
	b.Helper()
	b.broker = b.open(b)
	first := b.broker
	b.Cleanup(func() { b.noError(first.Close()) })
	b.log = b.on(b.broker)
}

func reopened(b *bundle) {
	b.own()
	snapshot := noise(1, 3*transport.PageBytes)
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 20)...)
	c, _ := b.commitPaged(ch, nil, transport.Checkpoint{Cursor: cursor(3), Out: 20, OutBytes: 5}, snapshot)
	after := []transport.Record{out(b.id, 21), decision(b.id, transport.DeadLetter, cursor(4)), decision(b.id, transport.Control, cursor(5))}
	b.append(ch, after...)
	before := b.watched(transport.WatchConfig{Kinds: everything})
	for range 2 {
		b.restart()
		s := b.state()
		b.behind(s, after...)
		b.checkpoint(s, c)
		b.written(b.id, outs(b.id, 1, 21))
		again := b.watched(transport.WatchConfig{Kinds: everything})
		if fmt.Sprint(b.positions(again)) != fmt.Sprint(b.positions(before)) {
			b.Fatalf("positions are %v, were %v", b.positions(again), b.positions(before))
		}
	}
}

func (b *bundle) positions(all []transport.Stored) (p []string) {
	for _, s := range all {
		p = append(p, fmt.Sprintf("%s %d %d", s.Kind, s.Position, s.At.UnixNano()))
	}
	if b.f.Partitioned {
		slices.Sort(p)
	}
	return p
}

func fenceOverRestart(b *bundle) {
	b.own()
	ch := b.chain()
	b.append(ch, out(b.id, 1))
	b.restart()
	if _, err := ch.Append(b.ctx, out(b.id, 2)); err == nil {
		b.Fatal("a chain of a closed broker took a record")
	}
	first, second := b.chain(), b.chain()
	b.append(first, out(b.id, 2))
	_, err := second.Append(b.ctx, out(b.id, 2))
	b.want(err, transport.ErrStale)
	b.written(b.id, outs(b.id, 1, 2))
}

func acksOverRestart(b *bundle) {
	if !b.f.Consumers {
		return
	}
	b.own()
	b.append(b.chain(), outs(b.id, 1, 3)...)
	c := b.subscribe(b.log, "d", 0)
	for range 2 {
		b.must(b.next(c).Ack(b.ctx))
	}
	b.restart()
	b.delivered(b.next(b.subscribe(b.log, "d", 0)), out(b.id, 3))
}

func closed(b *bundle) {
	b.own()
	ch := b.chain()
	r, err := b.log.Read(b.ctx, b.id, 0)
	b.must(err)
	w, err := b.log.Watch(b.ctx, transport.WatchConfig{Kinds: everything})
	b.must(err)
	errs := make(chan error, 2)
	go func() { _, err := r.Next(b.ctx); errs <- err }()
	go func() { _, err := w.Next(b.ctx); errs <- err }()
	b.must(b.broker.Close())
	b.must(b.broker.Close())
	for range 2 {
		b.want(<-errs, transport.ErrClosed)
	}
	if _, err := ch.Append(b.ctx, out(b.id, 1)); err == nil {
		b.Fatal("a closed broker took a record")
	}
	if _, err := b.broker.Log(b.ctx, b.config); err == nil {
		b.Fatal("a closed broker made a log")
	}
}
