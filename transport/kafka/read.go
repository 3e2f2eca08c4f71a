package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A reader reads a chain's out events. It fetches by itself until it has caught up, and is then handed what is new by the
// log's feed. One that does not keep up with the feed reads by itself again.
type reader struct {
	log  *log
	part *part
	id   schemas.ChainID

	mu      sync.Mutex
	queue   []transport.Stored
	bytes   int
	at      int64 // next offset to read, or to be handed
	joined  bool  // the feed hands it what is new
	failed  error
	closed  bool
	changed chan struct{} // has a token when any of these changed
}

// Read is transport.Log.Read.
func (l *log) Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (transport.EventReader, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, err
	}
	r := &reader{log: l, part: l.partition(id.Job), id: id, at: offset(from), changed: make(chan struct{}, 1)}
	if n := int32(from >> partitionShift); from != 0 && n != r.part.n {
		return nil, fmt.Errorf("read %s behind a position of partition %d of topic %s, and it lies in partition %d: %w", id, n, l.topics[outTopic], r.part.n, transport.ErrLost)
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	var err error
	if from == 0 {
		r.at, err = r.first(limited)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	return r, nil
}

// first is where the chain begins: for one that nobody has written yet, behind all that is committed now.
func (r *reader) first(ctx context.Context) (int64, error) {
	ends, err := r.log.list(ctx, r.log.topics[outTopic], r.log.broker.admin.ListCommittedOffsets)
	if err != nil {
		return 0, err
	}
	complete, err := r.part.index.refresh(ctx)
	if err != nil {
		return 0, err
	}
	e, _ := r.part.index.lookup(r.id.Job)
	switch {
	case e.trimmed > 0:
		return 0, nil // whether what is missing was trimmed, the fetch will show
	case e.head.First == 0 && !complete:
		return 0, nil // its head may not be committed in the state topic yet, and its events be
	case e.head.First == 0:
		return ends[r.part.n], nil
	}
	return offset(e.head.First) - 1, nil
}

// Next is transport.EventReader.Next.
func (r *reader) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if err := r.log.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		s, ok, joined, err := r.pop()
		switch {
		case ok || err != nil:
			return s, err
		case !joined:
			err = r.readOn(ctx)
		default:
			err = r.wait(ctx)
		}
		if err != nil {
			return transport.Stored{}, err
		}
	}
}

func (r *reader) pop() (s transport.Stored, ok, joined bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return s, false, false, transport.ErrClosed
	case len(r.queue) > 0:
		s = r.queue[0]
		r.queue[0] = transport.Stored{}
		r.queue = r.queue[1:]
		r.bytes -= len(s.Event.Data)
		return s, true, r.joined, nil
	}
	return s, false, r.joined, r.failed
}

func (r *reader) wait(ctx context.Context) error {
	select {
	case <-r.changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.log.broker.ctx.Done():
		return transport.ErrClosed
	}
}

// readOn fetches one portion, or joins the feed when there is none.
func (r *reader) readOn(ctx context.Context) error {
	both, cancel := r.log.broker.both(ctx)
	defer cancel()
	topic := r.log.topics[outTopic]
	p, err := r.log.fetch(both, topic, r.part.n, r.at, 0)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		if err = r.skip(both, p.start); err == nil {
			return nil
		}
	}
	if err != nil {
		if e := r.log.broker.check(ctx); e != nil {
			return e
		}
		return err
	}
	r.mu.Lock()
	r.queue = slices.Grow(r.queue, len(p.records))
	r.mu.Unlock()
	for _, k := range p.records {
		if schemas.JobID(k.Key) == r.id.Job && !r.offer(k) {
			return nil
		}
	}
	r.mu.Lock()
	r.at = max(r.at, p.next)
	at, idle := r.at, len(r.queue) == 0
	r.mu.Unlock()
	if !idle || at < p.stable {
		return nil
	}
	return r.join(at)
}

func (r *reader) join(at int64) error {
	r.mu.Lock()
	r.joined = true // before the feed may hand it something
	r.mu.Unlock()
	ok, err := r.log.feed.join(r, at)
	if !ok {
		r.mu.Lock()
		r.joined = false
		r.mu.Unlock()
	}
	return err
}

// skip goes on where the partition begins now, if nothing of the chain was there that this reader has to see.
func (r *reader) skip(ctx context.Context, start int64) error {
	if start <= r.at {
		return fmt.Errorf("read topic %s/%d at %d: it ends before that (%w)", r.log.topics[outTopic], r.part.n, r.at, transport.ErrLost)
	}
	complete, err := r.part.index.refresh(ctx)
	if err != nil || !complete {
		return err // what was there cannot be told yet: it will be tried again
	}
	e, _ := r.part.index.lookup(r.id.Job)
	needs := e.needs()
	if r.at < offset(e.trimmed) || needs != 0 && offset(needs)-1 < start && r.at <= offset(e.head.OutAt)-1 {
		return fmt.Errorf("read %s behind offset %d of topic %s/%d, which begins at %d: %w (retention, or somebody's DeleteRecords: set retention.ms=-1 and retention.bytes=-1, then `milepost run --again` computes what is lost)",
			r.id, r.at, r.log.topics[outTopic], r.part.n, start, transport.ErrGone)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = start
	return nil
}

// offer queues one of the chain's records, if it is not known yet; false when the queue is full, and the reader will fetch
// this one and what follows by itself.
func (r *reader) offer(k *kgo.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case k.Offset < r.at:
		return true
	case r.closed || r.failed != nil:
		return false
	case len(r.queue) > 0 && r.bytes+len(k.Value) > windowBytes:
		r.joined = false
		return false
	}
	s, err := r.log.decode(k, transport.Out, false)
	if err != nil {
		r.failed = err
	} else {
		r.queue = append(r.queue, s)
		r.bytes += len(s.Event.Data)
		r.at = k.Offset + 1
	}
	r.poke()
	return err == nil
}

// drift has the reader fetch by itself.
func (r *reader) drift(int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined = false
	r.poke()
}

func (r *reader) poke() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Ready says whether an event is at hand.
func (r *reader) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0 || r.closed || r.failed != nil
}

// Close ends the reader.
func (r *reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.poke()
	r.mu.Unlock()
	r.log.feed.leave(r)
	return nil
}
