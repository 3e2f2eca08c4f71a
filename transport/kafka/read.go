package kafka

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A reader reads the records of a partition that match takes. The client fetches ahead, one fetch at most.
type reader struct {
	log    *log
	client *kgo.Client
	match  func(job schemas.JobID, k transport.Kind) bool
	queue  []transport.Stored
	end    schemas.Position // io.EOF behind it; 0 never
	at     schemas.Position
	closed bool
}

// Read is transport.Log.Read.
func (l *log) Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (transport.EventReader, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, err
	}
	w := l.partition(id.Job)
	return l.newReader(w.partition, from, func(job schemas.JobID, k transport.Kind) bool { return job == id.Job && k == transport.Out })
}

func (l *log) newReader(partition int32, from schemas.Position, match func(schemas.JobID, transport.Kind) bool) (*reader, error) {
	c, err := l.broker.follow(l.topics[dataTopic], partition, int64(from)) // the offset behind position from is from itself
	if err != nil {
		return nil, fmt.Errorf("read topic %s/%d: %w", l.topics[dataTopic], partition, err)
	}
	return &reader{log: l, client: c, match: match, at: from}, nil
}

// Watch is transport.Log.Watch for logs of one partition, without checkpoints and without Newest.
func (l *log) Watch(ctx context.Context, c transport.WatchConfig) (transport.Watcher, error) {
	if err := l.broker.check(ctx); err != nil {
		return nil, err
	}
	if len(l.writers) > 1 || c.Newest || slices.Contains(c.Kinds, transport.Snapshot) {
		return nil, fmt.Errorf("watch topic %s: %w", l.topics[dataTopic], ErrUnsupported)
	}
	r, err := l.newReader(0, c.From, func(job schemas.JobID, k transport.Kind) bool {
		return slices.Contains(c.Kinds, k) && (c.Chain == nil || c.Chain.Job == job)
	})
	if err != nil || !c.Drain {
		return &watcher{r, c.Headers, false}, err
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	_, end, err := l.broker.bounds(limited, l.topics[dataTopic], 0)
	r.end = schemas.Position(end)
	return &watcher{r, c.Headers, true}, err
}

// A watcher is a reader that may end and may leave out data.
type watcher struct {
	*reader
	headers, drain bool
}

// Next is transport.Watcher.Next.
func (w *watcher) Next(ctx context.Context) (transport.Stored, error) {
	for w.drain && len(w.queue) == 0 {
		if w.at >= w.end {
			return transport.Stored{}, io.EOF
		}
		if err := w.poll(ctx); err != nil {
			return transport.Stored{}, err
		}
	}
	if w.drain && w.queue[0].Position > w.end {
		return transport.Stored{}, io.EOF
	}
	s, err := w.reader.Next(ctx)
	if w.headers {
		s.Event.Data = nil
	}
	return s, err
}

// Next is transport.EventReader.Next.
func (r *reader) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if r.closed {
			return transport.Stored{}, transport.ErrClosed
		}
		if err := r.log.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		if len(r.queue) > 0 {
			s := r.queue[0]
			r.queue = r.queue[1:]
			return s, nil
		}
		if err := r.poll(ctx); err != nil {
			return transport.Stored{}, err
		}
	}
}

// poll waits for a fetch and queues what matches.
func (r *reader) poll(ctx context.Context) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.log.broker.ctx, cancel)()
	fetches := r.client.PollFetches(both)
	if err := r.log.broker.check(ctx); err != nil {
		return err
	}
	for _, e := range fetches.Errors() {
		return fmt.Errorf("read topic %s/%d: %w", e.Topic, e.Partition, fetchError(e.Err))
	}
	for _, f := range fetches.Records() {
		if err := r.take(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) take(f *kgo.Record) error {
	r.at = position(f)
	if f.Attrs.IsControl() {
		return nil
	}
	kind, err := kindOf(f)
	if err != nil || !r.match(jobOf(f), kind) {
		return err
	}
	s, err := r.log.decode(f, jobOf(f))
	r.queue = append(r.queue, s)
	return err
}

// Ready says whether something was fetched already.
func (r *reader) Ready() bool {
	return r.closed || len(r.queue) > 0 || r.client.BufferedFetchRecords() > 0
}

// Close ends the reader.
func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.client.Close()
	}
	return nil
}
