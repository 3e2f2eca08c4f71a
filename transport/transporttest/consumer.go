package transporttest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/transport"
)

var consumerCases = []testCase{
	{"a consumer gets every out event once, of all chains", consumeAll},
	{"two processes share a consumer", shared},
	{"what nobody acks goes to another worker", redelivered},
	{"an ack ends the matter", acked},
	{"a nak with a delay comes again later than what is there", nakDelay},
	{"a delivery in progress is not handed out again", inProgress},
	{"consumers of different names do not share", apart},
	{"a consumer remembers across a new subscription", remembers},
	{"not more deliveries are out than allowed", maxPending},
	{"a consumer waits for an event, and waiting ends with the context", consumerWaits},
	{"a closed consumer hands its place to others", closedConsumer},
	{"events that were trimmed are not delivered", trimmedNotDelivered},
	{"a new consumer may begin with the newest event of each chain", newestFirst},
	{"a consumer that began with the newest events remembers what it has taken", newestRemembered},
}

// ackWait is short enough to wait for on a real clock, and long against a call.
const ackWait = time.Second

func (b *bundle) subscribe(log transport.Log, name string, pending int) transport.Consumer {
	b.Helper()
	c, err := log.Subscribe(b.ctx, transport.Subscription{Durable: name, AckWait: ackWait, MaxPending: pending})
	b.must(err)
	b.Cleanup(func() { b.noError(c.Close()) })
	return c
}

func (b *bundle) next(c transport.Consumer) transport.Delivery {
	b.Helper()
	d, err := c.Next(b.ctx)
	b.must(err)
	return d
}

// pass lets d pass where the driver can; elsewhere the caller's next wait takes as long.
func (b *bundle) pass(d time.Duration) {
	if b.f.Advance != nil {
		b.f.Advance(b.broker, d)
	}
}

func (b *bundle) delivered(d transport.Delivery, want transport.Record) {
	b.Helper()
	b.same(d.Event(), want)
}

func consumeAll(b *bundle) {
	c := b.subscribe(b.log, "all", 0)
	b.mixed(5)
	seen := map[string]int{}
	for range 10 {
		d := b.next(c)
		e := d.Event().Event
		seen[e.ID()]++
		b.must(d.Ack(b.ctx))
	}
	for i := range 2 {
		for n := range uint64(5) {
			if id := b.job(i).EventID(n + 1); seen[id] != 1 {
				b.Errorf("%s came %d times", id, seen[id])
			}
		}
	}
}

func shared(b *bundle) {
	const events = 40
	b.append(b.chain(), outs(b.id, 1, events)...)
	var mu sync.Mutex
	seen, byWorker := map[uint64]int{}, [2]int{}
	ctx, done := context.WithCancel(b.ctx)
	defer done()
	var wg sync.WaitGroup
	for i, log := range []transport.Log{b.log, b.client()} {
		c := b.subscribe(log, "shared", 0)
		wg.Go(func() {
			for {
				d, err := c.Next(ctx)
				if err != nil {
					return
				}
				b.noError(d.Ack(b.ctx))
				mu.Lock()
				seen[d.Event().Event.Sequence]++
				byWorker[i]++
				if len(seen) == events {
					done()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n := range uint64(events) {
		if seen[n+1] != 1 {
			b.Errorf("event %d came %d times", n+1, seen[n+1])
		}
	}
	b.Logf("the two workers took %v", byWorker)
}

// first is the delivery that comes to one of the workers, and which one: a broker may have decided that before.
func (b *bundle) first(workers []transport.Consumer) (int, transport.Delivery) {
	b.Helper()
	type result struct {
		worker int
		d      transport.Delivery
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	got := make(chan result, len(workers))
	for i, c := range workers {
		go func() {
			if d, err := c.Next(ctx); err == nil {
				got <- result{i, d}
			}
		}()
	}
	select {
	case r := <-got:
		return r.worker, r.d
	case <-b.ctx.Done():
		b.Fatal("no delivery")
	}
	return 0, nil
}

func redelivered(b *bundle) {
	b.append(b.chain(), out(b.id, 1))
	workers := []transport.Consumer{b.subscribe(b.log, "d", 0), b.subscribe(b.client(), "d", 0)}
	dead, d := b.first(workers)
	b.delivered(d, out(b.id, 1))
	b.must(workers[dead].Close())
	b.pass(ackWait)
	d = b.next(workers[1-dead])
	b.delivered(d, out(b.id, 1))
	b.must(d.Ack(b.ctx))
}

func acked(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 2)...)
	c := b.subscribe(b.log, "d", 0)
	first, second := b.next(c), b.next(c)
	b.must(first.Ack(b.ctx))
	b.delivered(second, out(b.id, 2))
	b.pass(ackWait)
	b.delivered(b.next(c), out(b.id, 2)) // the first would have been due before
}

func nakDelay(b *bundle) {
	ch := b.chain()
	b.append(ch, out(b.id, 1))
	c := b.subscribe(b.log, "d", 0)
	d := b.next(c)
	b.must(d.Nak(b.ctx, ackWait/2))
	b.append(ch, out(b.id, 2))
	d = b.next(c)
	b.delivered(d, out(b.id, 2))
	b.must(d.Ack(b.ctx))
	b.pass(ackWait / 2)
	d = b.next(c)
	b.delivered(d, out(b.id, 1))
	b.must(d.Nak(b.ctx, 0))
	d = b.next(c)
	b.delivered(d, out(b.id, 1))
	b.must(d.Ack(b.ctx))
}

// inProgress keeps the first of two deliveries alive until the second, which nobody looks after, has come again twice.
func inProgress(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 2)...)
	c := b.subscribe(b.log, "d", 0)
	kept, left := b.next(c), b.next(c)
	b.delivered(left, out(b.id, 2))
	again := make(chan transport.Delivery)
	go func() {
		defer close(again)
		for range 2 {
			d, err := c.Next(b.ctx)
			if err != nil {
				b.Error(err)
				return
			}
			again <- d
		}
	}()
	tick := time.NewTicker(ackWait / 5)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.must(kept.InProgress(b.ctx))
			b.pass(ackWait / 5)
		case d, ok := <-again:
			if !ok {
				return
			}
			b.delivered(d, out(b.id, 2))
		}
	}
}

func apart(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 3)...)
	for _, name := range []string{"one", "two"} {
		c := b.subscribe(b.log, name, 0)
		for i := range uint64(3) {
			d := b.next(c)
			b.delivered(d, out(b.id, i+1))
			b.must(d.Ack(b.ctx))
		}
	}
}

func remembers(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 4)...)
	for i := range uint64(4) {
		c := b.subscribe(b.client(), "d", 0)
		d := b.next(c)
		b.delivered(d, out(b.id, i+1))
		b.must(d.Ack(b.ctx))
		b.must(c.Close())
	}
}

func maxPending(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 4)...)
	c := b.subscribe(b.log, "d", 2)
	first := b.next(c)
	b.next(c)
	got := make(chan transport.Delivery, 1)
	go func() {
		d, err := c.Next(b.ctx)
		b.noError(err)
		got <- d
	}()
	b.must(first.Ack(b.ctx))
	if d := <-got; d == nil || d.Event().Event.Sequence != 3 && d.Event().Event.Sequence != 2 {
		b.Fatalf("after an ack came %v", d)
	}
}

func consumerWaits(b *bundle) {
	c := b.subscribe(b.log, "d", 0)
	ctx, cancel := context.WithCancel(b.ctx)
	errs := make(chan error)
	go func() {
		_, err := c.Next(ctx)
		errs <- err
	}()
	cancel()
	b.want(<-errs, context.Canceled)
	ch := b.chain()
	for i := range uint64(5) { // an event that a cancelled Next had asked for is not lost either
		b.append(ch, out(b.id, i+1))
		d := b.next(c)
		b.delivered(d, out(b.id, i+1))
		b.must(d.Ack(b.ctx))
	}
}

func closedConsumer(b *bundle) {
	gone := b.subscribe(b.log, "d", 0)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := gone.Next(ctx); err == nil {
		b.Fatal("a delivery from an empty log")
	}
	b.must(gone.Close())
	b.must(gone.Close())
	if _, err := gone.Next(b.ctx); err == nil {
		b.Fatal("a closed consumer goes on")
	}
	c := b.subscribe(b.client(), "d", 0)
	b.append(b.chain(), outs(b.id, 1, 3)...)
	for i := range uint64(3) {
		d := b.next(c)
		b.delivered(d, out(b.id, i+1))
		b.must(d.Ack(b.ctx))
	}
}

func trimmedNotDelivered(b *bundle) {
	if !b.f.Trim {
		return
	}
	b.append(b.chain(), outs(b.id, 1, 5)...)
	all := b.read(b.log, b.id, 0, 5)
	b.trim(all[2])
	c := b.subscribe(b.log, "d", 0)
	for i := range uint64(2) {
		b.delivered(b.next(c), out(b.id, i+4))
	}
}

// newest subscribes so that a new durable begins with the newest events.
func (b *bundle) newest(log transport.Log) transport.Consumer {
	b.Helper()
	c, err := log.Subscribe(b.ctx, transport.Subscription{Durable: "newest", AckWait: ackWait, Newest: true})
	b.must(err)
	b.Cleanup(func() { b.noError(c.Close()) })
	return c
}

// takes has the next deliveries be these events, in whatever order: chains may lie in several partitions.
func (b *bundle) takes(c transport.Consumer, want ...string) {
	b.Helper()
	for left := slices.Clone(want); len(left) > 0; {
		d := b.next(c)
		e := d.Event().Event
		k := slices.Index(left, e.ID())
		if k < 0 {
			b.Fatalf("%s was delivered, of %q", e.ID(), want)
		}
		left = slices.Delete(left, k, k+1)
		b.must(d.Ack(b.ctx))
	}
}

func newestFirst(b *bundle) {
	const chains = 8
	var want []string
	for round := range uint64(3) {
		for i := range chains {
			ch, _ := b.openChain(b.log, b.job(i))
			b.append(ch, out(b.job(i), round+1))
		}
	}
	for i := range chains {
		want = append(want, b.job(i).EventID(3))
	}
	c := b.newest(b.log)
	b.takes(c, want...)
	for i := range 2 {
		ch, _ := b.openChain(b.log, b.job(i))
		b.append(ch, outs(b.job(i), 4, 2)...)
	}
	b.takes(c, b.job(0).EventID(4), b.job(0).EventID(5), b.job(1).EventID(4), b.job(1).EventID(5))
}

func newestRemembered(b *bundle) {
	ch := b.chain()
	b.append(ch, outs(b.id, 1, 3)...)
	c := b.newest(b.log)
	b.takes(c, b.id.EventID(3))
	b.must(c.Close())
	b.append(ch, outs(b.id, 4, 3)...) // while nobody listens
	c = b.newest(b.client())
	b.takes(c, b.id.EventID(4), b.id.EventID(5))
	d := b.next(c)
	b.delivered(d, out(b.id, 6))
	b.must(c.Close()) // which nobody has acked
	b.pass(ackWait)
	b.takes(b.newest(b.log), b.id.EventID(6))
}
