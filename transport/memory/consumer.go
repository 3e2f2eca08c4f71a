package memory

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// DefaultMaxPending is how many deliveries of one durable consumer are out at once where the subscription does not say.
const DefaultMaxPending = 1024

// A durable is what the log keeps of a consumer name.
type durable struct {
	ackWait time.Duration
	max     int
	next    schemas.Position // delivered up to it at least once
	pending map[schemas.Position]*pending

	began  schemas.Position          // of one that began with the newest events: of what was stored up to here,
	newest map[schemas.Position]bool // these alone
}

// wants says whether the record is one to be handed out.
func (d *durable) wants(r *record) bool {
	return r.Kind == transport.Out && (r.Position > d.began || d.newest[r.Position])
}

// startNewest has a new durable begin with the newest out event of each chain; l.mu is held.
func (l *log) startNewest(d *durable) {
	d.began, d.newest = l.last, map[schemas.Position]bool{}
	for _, r := range l.newest(func(r *record) bool { return r.Kind == transport.Out }) {
		d.newest[r.Position] = true
	}
}

// pending is an event handed out and not acked; from due on it goes to whoever asks.
type pending struct{ due time.Time }

// A consumer is one process's share in a durable.
type consumer struct {
	client  *logClient
	durable *durable
	closed  atomic.Bool
	done    chan struct{}
}

// Subscribe is transport.Log.Subscribe.
func (c *logClient) Subscribe(ctx context.Context, s transport.Subscription) (transport.Consumer, error) {
	if err := c.broker.check(ctx); err != nil {
		return nil, err
	}
	if s.Durable == "" || s.AckWait <= 0 {
		return nil, fmt.Errorf("subscribe to %s/%s: durable %q with ack wait %s", c.log.key.pipeline, c.log.key.stage, s.Durable, s.AckWait)
	}
	if s.MaxPending == 0 {
		s.MaxPending = DefaultMaxPending
	}
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.durables[s.Durable]
	if d == nil {
		d = &durable{pending: map[schemas.Position]*pending{}}
		if s.Newest {
			l.startNewest(d)
		}
		l.durables[s.Durable] = d
	}
	d.ackWait, d.max = s.AckWait, s.MaxPending
	l.changed.broadcast()
	return &consumer{client: c, durable: d, done: make(chan struct{})}, nil
}

// Next is transport.Consumer.Next.
func (c *consumer) Next(ctx context.Context) (transport.Delivery, error) {
	for {
		if c.closed.Load() {
			return nil, transport.ErrClosed
		}
		if err := c.client.broker.check(ctx); err != nil {
			return nil, err
		}
		e, wait, stop := c.poll()
		if e != nil {
			return &delivery{consumer: c, event: e.Stored}, nil
		}
		err := c.wait(ctx, wait)
		stop()
		if err != nil {
			return nil, err
		}
	}
}

func (c *consumer) wait(ctx context.Context, wait <-chan struct{}) error {
	select {
	case <-c.done:
		return transport.ErrClosed
	case <-wait:
		return nil
	case <-c.client.broker.done:
		return transport.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poll hands out an event: first one that is due again, then the next new one. Without one it says what to wait for.
func (c *consumer) poll() (e *record, wait <-chan struct{}, stop func()) {
	l, d := c.client.log, c.durable
	clock := l.store.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := clock.Now()
	if p := d.overdue(now); p != 0 {
		if e = l.at(p); e == nil { // trimmed meanwhile
			delete(d.pending, p)
			return c.retry()
		}
	} else if len(d.pending) < d.max {
		if e = l.after(d.next, d.wants); e == nil {
			d.next = l.last // not to look at the same records again
		}
	}
	if e == nil {
		return nil, l.changed.wait(), c.alarm(clock)
	}
	d.next = max(d.next, e.Position)
	d.pending[e.Position] = &pending{due: now.Add(d.ackWait)}
	return e, nil, nil
}

// retry has poll called again at once.
func (c *consumer) retry() (*record, <-chan struct{}, func()) {
	ch := make(chan struct{})
	close(ch)
	return nil, ch, func() {}
}

// alarm wakes the waiters when the next pending event is due.
func (c *consumer) alarm(clock Clock) (stop func()) {
	var next time.Time
	for _, p := range c.durable.pending {
		if next.IsZero() || p.due.Before(next) {
			next = p.due
		}
	}
	if next.IsZero() {
		return func() {}
	}
	cancel := clock.At(next, c.client.log.wake)
	return func() { cancel() }
}

func (l *log) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.broadcast()
}

func (l *log) at(p schemas.Position) *record {
	if r := l.after(p-1, func(*record) bool { return true }); r != nil && r.Position == p {
		return r
	}
	return nil
}

// overdue returns the lowest position that nobody acked in time, 0 for none.
func (d *durable) overdue(now time.Time) (lowest schemas.Position) {
	for at, p := range d.pending {
		if !p.due.After(now) && (lowest == 0 || at < lowest) {
			lowest = at
		}
	}
	return lowest
}

// Close ends the consumer's share; what it did not ack goes to others after its time.
func (c *consumer) Close() error {
	if !c.closed.Swap(true) {
		close(c.done)
	}
	return nil
}

// A delivery is an out event handed out.
type delivery struct {
	consumer *consumer
	event    transport.Stored
}

// Event is the event handed out.
func (d *delivery) Event() transport.Stored { return d.event }

// Ack ends the event for this durable, whoever holds it now.
func (d *delivery) Ack(ctx context.Context) error {
	if !d.consumer.client.log.store.ackHolds(d.event) {
		return nil
	}
	return d.settle(ctx, func(all *durable, _ time.Time) { delete(all.pending, d.event.Position) })
}

// Nak makes the event due after the delay.
func (d *delivery) Nak(ctx context.Context, delay time.Duration) error {
	return d.settle(ctx, func(all *durable, now time.Time) { all.extend(d.event.Position, now.Add(delay)) })
}

// InProgress makes the event due after AckWait from now.
func (d *delivery) InProgress(ctx context.Context) error {
	return d.settle(ctx, func(all *durable, now time.Time) { all.extend(d.event.Position, now.Add(all.ackWait)) })
}

func (d *delivery) settle(ctx context.Context, f func(*durable, time.Time)) error {
	if err := d.consumer.client.broker.check(ctx); err != nil {
		return err
	}
	l := d.consumer.client.log
	clock := l.store.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	f(d.consumer.durable, clock.Now())
	l.changed.broadcast()
	return nil
}

func (d *durable) extend(at schemas.Position, due time.Time) {
	if p := d.pending[at]; p != nil {
		p.due = due
	}
}
