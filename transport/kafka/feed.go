package kafka

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A feed hands what is new in a log's out topic to the readers of this process that have caught up, with one client for all
// of them. It consumes the partitions that somebody follows.
type feed struct {
	log *log

	mu     sync.Mutex
	client *kgo.Client
	parts  map[int32]*followed
}

// followed is a partition that is consumed.
type followed struct {
	next    int64 // everything before it was handed out
	readers map[schemas.JobID]map[*reader]struct{}
}

func newFeed(l *log) *feed { return &feed{log: l, parts: map[int32]*followed{}} }

// join has the reader told of what lies at and behind at, if the feed has not gone past that; false when it has, and the
// reader is to read on by itself.
func (f *feed) join(r *reader, at int64) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.start(); err != nil {
		return false, err
	}
	p := f.parts[r.part.n]
	if p == nil {
		p = &followed{next: at, readers: map[schemas.JobID]map[*reader]struct{}{}}
		f.parts[r.part.n] = p
		f.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{f.topic(): {r.part.n: kgo.NewOffset().At(at)}})
	}
	if p.next > at {
		return false, nil
	}
	if p.readers[r.id.Job] == nil {
		p.readers[r.id.Job] = map[*reader]struct{}{}
	}
	p.readers[r.id.Job][r] = struct{}{}
	return true, nil
}

func (f *feed) topic() string { return f.log.topics[outTopic] }

// start makes the client; mu is held.
func (f *feed) start() error {
	b := f.log.broker
	if f.client != nil {
		return nil
	}
	c, err := b.follow(map[string]map[int32]kgo.Offset{})
	if err != nil {
		return err
	}
	if !b.run(func(ctx context.Context) { f.run(ctx, c) }) {
		c.Close()
		return transport.ErrClosed
	}
	f.client = c
	return nil
}

// follow makes a client that consumes partitions of topics from offsets on, what is committed alone.
func (b *Broker) follow(from map[string]map[int32]kgo.Offset) (*kgo.Client, error) {
	return b.newClient(kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(windowBytes), kgo.FetchMaxPartitionBytes(windowBytes), kgo.MaxConcurrentFetches(2))
}

// run starts a goroutine that ends with the Broker; false when that was closed.
func (b *Broker) run(f func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Go(func() { f(b.ctx) })
	return true
}

func (f *feed) run(ctx context.Context, c *kgo.Client) {
	defer c.Close()
	for {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, e := range fetches.Errors() {
			f.lost(c, e.Partition) // its readers look for themselves, and find what is wrong
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				f.hand(c, p.Partition, p.Records)
			}
		})
	}
}

// hand gives records to their readers. A partition that nobody follows any more is not consumed further.
func (f *feed) hand(c *kgo.Client, n int32, records []*kgo.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[n]
	if p == nil {
		return // fetched before it was given up
	}
	for _, r := range records {
		if r.Offset < p.next {
			continue
		}
		p.next = r.Offset + 1
		for reader := range p.readers[schemas.JobID(r.Key)] {
			if !reader.offer(r) {
				p.leave(reader)
			}
		}
	}
	if len(p.readers) == 0 {
		f.forget(c, n)
	}
}

// lost lets the readers of a partition go that cannot be consumed.
func (f *feed) lost(c *kgo.Client, n int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[n]
	if p == nil {
		return
	}
	for _, readers := range p.readers {
		for r := range readers {
			r.drift(p.next)
		}
	}
	f.forget(c, n)
}

// forget ends consuming a partition; mu is held.
func (f *feed) forget(c *kgo.Client, n int32) {
	delete(f.parts, n)
	c.RemoveConsumePartitions(map[string][]int32{f.topic(): {n}})
}

func (p *followed) leave(r *reader) {
	delete(p.readers[r.id.Job], r)
	if len(p.readers[r.id.Job]) == 0 {
		delete(p.readers, r.id.Job)
	}
}

// leave ends what join began.
func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.parts[r.part.n]; p != nil {
		p.leave(r)
	}
}
