package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/transport"
)

const (
	defaultMaxPending = 1024
	commitEvery       = 250 * time.Millisecond
	closeLimit        = 3 * time.Second
	maxMetadata       = 4000 // of a committed offset: offset.metadata.max.bytes is 4096
)

// A consumer is this process's share in a consumer group: some partitions, and what of them is out. The group's offsets are
// a hint where to go on; what was acked beyond them stands in their metadata.
type consumer struct {
	log    *log
	sub    transport.Subscription
	client *kgo.Client
	ended  chan struct{} // closed when run has returned
	stop   context.CancelFunc
	until  []int64 // where the partitions ended when a subscription for the newest events began

	mu      sync.Mutex
	parts   map[int32]*assigned
	failed  error
	closed  bool
	changed chan struct{} // closed and replaced at each change
	dirty   bool          // something is to be committed
}

// group is the name of a durable's consumer group.
func (l *log) group(durable string) string { return l.topics[outTopic] + "." + durable }

// Subscribe is transport.Log.Subscribe.
func (l *log) Subscribe(ctx context.Context, s transport.Subscription) (transport.Consumer, error) {
	if err := l.broker.check(ctx); err != nil {
		return nil, err
	}
	if s.Durable == "" || s.AckWait <= 0 {
		return nil, fmt.Errorf("subscribe to topic %s: durable %q with ack wait %s", l.topics[outTopic], s.Durable, s.AckWait)
	}
	if s.MaxPending == 0 {
		s.MaxPending = defaultMaxPending
	}
	c := &consumer{log: l, sub: s, parts: map[int32]*assigned{}, changed: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if s.Newest {
		limited, cancel := l.broker.limit(ctx)
		defer cancel()
		if c.until, err = l.ends(limited, l.topics[outTopic]); err != nil {
			return nil, fmt.Errorf("subscribe to topic %s: %w", l.topics[outTopic], err)
		}
	}
	c.client, err = l.broker.newClient(kgo.ConsumerGroup(l.group(s.Durable)), kgo.ConsumeTopics(l.topics[outTopic]),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.SessionTimeout(sessionTime), kgo.HeartbeatInterval(sessionTime/6),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(windowBytes),
		kgo.KeepControlRecords(), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.RebalanceTimeout(sessionTime),
		kgo.OnPartitionsAssigned(c.assign), kgo.OnPartitionsRevoked(c.revoke), kgo.OnPartitionsLost(c.lose), kgo.OnOffsetsFetched(c.fetched))
	if err != nil {
		return nil, fmt.Errorf("subscribe to topic %s: %w", l.topics[outTopic], err)
	}
	var running context.Context
	running, c.stop = context.WithCancel(l.broker.ctx)
	started := l.broker.run(func(context.Context) { c.run(running) })
	if !started {
		c.client.Close()
		return nil, transport.ErrClosed
	}
	return c, nil
}

// run fetches and commits until ctx ends, then leaves the group.
func (c *consumer) run(ctx context.Context) {
	defer close(c.ended)
	var committing sync.WaitGroup
	committing.Go(func() { c.commitNow(ctx) })
	for ctx.Err() == nil {
		if !c.thirsty(ctx) {
			break
		}
		fetches := c.client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			c.fail(ctx, e.Err)
		}
		c.take(fetches)
		c.client.AllowRebalance()
	}
	committing.Wait()
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	c.commit(limited)
	_ = c.client.LeaveGroupContext(limited)
	c.client.CloseAllowingRebalance()
}

// thirsty waits while enough is at hand; false when ctx ended.
func (c *consumer) thirsty(ctx context.Context) bool {
	for {
		c.mu.Lock()
		n, changed := 0, c.changed
		for _, a := range c.parts {
			n += len(a.waiting)
		}
		c.mu.Unlock()
		if n < c.sub.MaxPending {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// fail notes an error that does not pass by itself; Next tells it.
func (c *consumer) fail(ctx context.Context, err error) {
	if ctx.Err() != nil || passing(err) || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = fmt.Errorf("consume topic %s as group %s: %w", c.log.topics[outTopic], c.log.group(c.sub.Durable), c.log.broker.advise(err))
	c.signal()
}

// signal wakes whoever waits; mu is held.
func (c *consumer) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *consumer) take(fetches kgo.Fetches) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		if a := c.parts[r.Partition]; a != nil && r.Offset >= a.next {
			c.keep(a, r)
		}
	})
	c.signal()
}

// keep has a record wait to be handed out; c.mu is held.
func (c *consumer) keep(a *assigned, r *kgo.Record) {
	a.next = r.Offset + 1
	switch {
	case r.Attrs.IsControl(): // the end of a transaction: nothing to hand out, but who measures lag by offsets counts it
		c.dirty = true
	case r.Offset < a.skip && !a.open[r.Offset]:
	case r.Offset < a.until:
		a.newest[string(r.Key)] = r
		c.dirty = true
	default:
		a.gathered()
		a.waiting = append(a.waiting, r)
	}
	if a.next >= a.until {
		a.gathered()
	}
}

func (c *consumer) assign(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range parts[c.log.topics[outTopic]] {
		c.parts[n] = &assigned{open: map[int64]bool{}, out: map[int64]*given{}, newest: map[string]*kgo.Record{}}
	}
}

// revoke commits before the partitions go to another process.
func (c *consumer) revoke(ctx context.Context, _ *kgo.Client, parts map[string][]int32) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	c.commit(limited)
	c.lose(ctx, nil, parts)
}

func (c *consumer) lose(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range parts[c.log.topics[outTopic]] {
		delete(c.parts, n)
	}
	c.signal()
}

// fetched reads what the committed offsets' metadata say. What they do not say comes again, which is harmless.
func (c *consumer) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	note := func(n int32, base int64, metadata *string, code int16) {
		a := c.parts[n]
		switch {
		case a == nil || code != 0:
		case base < 0: // the group was never here
			if int(n) < len(c.until) {
				a.until = c.until[n]
			}
		case metadata != nil:
			a.skip, a.open = parseOpen(*metadata, base)
		}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			note(p.Partition, p.Offset, p.Metadata, p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				note(p.Partition, p.Offset, p.Metadata, p.ErrorCode)
			}
		}
	}
	return nil
}

// commitNow commits every while what changed.
func (c *consumer) commitNow(ctx context.Context) {
	t := time.NewTicker(commitEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			limited, cancel := context.WithTimeout(ctx, closeLimit)
			c.commit(limited)
			cancel()
		}
	}
}

// commit tells the group how far this process's partitions are.
func (c *consumer) commit(ctx context.Context) {
	c.mu.Lock()
	offsets, metadata := map[int32]kgo.EpochOffset{}, map[int32]string{}
	if c.dirty {
		for n, a := range c.parts {
			if a.next == 0 {
				continue
			}
			base, text := a.progress()
			offsets[n], metadata[n] = kgo.EpochOffset{Epoch: -1, Offset: base}, text
		}
	}
	c.dirty = false
	c.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for k := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[k]
				text := metadata[p.Partition]
				p.Metadata = &text
			}
		}
		return nil
	})
	c.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{c.log.topics[outTopic]: offsets}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			c.mu.Lock()
			c.dirty = true
			c.mu.Unlock()
		}
	})
}

// Next is transport.Consumer.Next.
func (c *consumer) Next(ctx context.Context) (transport.Delivery, error) {
	for {
		if err := c.log.broker.check(ctx); err != nil {
			return nil, err
		}
		d, changed, due, err := c.hand()
		if d != nil || err != nil {
			return d, err
		}
		if err := c.wait(ctx, changed, due); err != nil {
			return nil, err
		}
	}
}

func (c *consumer) wait(ctx context.Context, changed <-chan struct{}, due time.Time) error {
	var again <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		again = t.C
	}
	select {
	case <-changed:
	case <-again:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.log.broker.ctx.Done():
		return transport.ErrClosed
	}
	return nil
}

// hand gives out an event: first one that is due again, then a new one. Without one it says what to wait for.
func (c *consumer) hand() (d transport.Delivery, changed <-chan struct{}, due time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, nil, due, transport.ErrClosed
	case c.failed != nil:
		err, c.failed = c.failed, nil
		return nil, nil, due, err
	}
	now, out := time.Now(), 0
	var fresh *assigned
	for _, a := range c.parts {
		out += len(a.out)
		for _, g := range a.out {
			if !g.due.After(now) {
				d, err = c.deliver(a, g, now)
				return d, nil, due, err
			}
			if due.IsZero() || g.due.Before(due) {
				due = g.due
			}
		}
		if len(a.waiting) > 0 && (fresh == nil || a.waiting[0].Timestamp.Before(fresh.waiting[0].Timestamp)) {
			fresh = a
		}
	}
	if fresh == nil || out >= c.sub.MaxPending {
		return nil, c.changed, due, nil
	}
	g := &given{record: fresh.waiting[0]}
	fresh.waiting = fresh.waiting[1:]
	fresh.out[g.record.Offset] = g
	if len(fresh.waiting) == 0 {
		c.signal() // there is room to fetch more
	}
	d, err = c.deliver(fresh, g, now)
	return d, nil, due, err
}

func (c *consumer) deliver(a *assigned, g *given, now time.Time) (transport.Delivery, error) {
	g.due = now.Add(c.sub.AckWait)
	s, err := c.log.decode(g.record, transport.Out, false)
	if err != nil {
		return nil, err
	}
	return &delivery{consumer: c, from: a, event: s, offset: g.record.Offset}, nil
}

// Close leaves the group. What was not acked goes to others.
func (c *consumer) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	if !closed {
		c.signal()
	}
	c.mu.Unlock()
	if !closed {
		c.stop()
	}
	<-c.ended
	return nil
}

// A delivery is an event handed out, of a partition as it was assigned then.
type delivery struct {
	consumer *consumer
	from     *assigned
	event    transport.Stored
	offset   int64
}

// errMoved: the partition went to another process, and the event with it.
var errMoved = errors.New("the partition was assigned to another process")

// Event is the event handed out.
func (d *delivery) Event() transport.Stored { return d.event }

// Ack ends the event for this durable.
func (d *delivery) Ack(ctx context.Context) error {
	return d.settle(ctx, func(*given) {
		delete(d.from.out, d.offset)
		d.consumer.dirty = true
	})
}

// Nak makes the event due after the delay.
func (d *delivery) Nak(ctx context.Context, delay time.Duration) error {
	return d.settle(ctx, func(g *given) { g.due = time.Now().Add(delay) })
}

// InProgress makes the event due after AckWait from now.
func (d *delivery) InProgress(ctx context.Context) error {
	return d.settle(ctx, func(g *given) { g.due = time.Now().Add(d.consumer.sub.AckWait) })
}

func (d *delivery) settle(ctx context.Context, f func(*given)) error {
	c := d.consumer
	if err := c.log.broker.check(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := d.from.out[d.offset]
	if c.parts[int32(d.event.Position>>partitionShift)] != d.from {
		return errMoved
	}
	if g != nil {
		f(g)
		c.signal()
	}
	return nil
}
