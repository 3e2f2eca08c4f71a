package memory

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A reader reads one chain's out events.
type reader struct {
	client *logClient
	id     schemas.ChainID
	from   schemas.Position // the last one handed out
	closed bool
}

// Read is transport.Log.Read.
func (c *logClient) Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (transport.EventReader, error) {
	if err := c.checkChain(ctx, id); err != nil {
		return nil, err
	}
	return &reader{client: c, id: id, from: from}, nil
}

// Next is transport.EventReader.Next.
func (r *reader) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if r.closed {
			return transport.Stored{}, transport.ErrClosed
		}
		if err := r.client.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		e, wait, err := r.poll()
		if e != nil || err != nil {
			return r.take(e), err
		}
		if err := r.client.broker.wait(ctx, wait); err != nil {
			return transport.Stored{}, err
		}
	}
}

func (r *reader) take(e *record) transport.Stored {
	if e == nil {
		return transport.Stored{}
	}
	r.from = e.Position
	return e.Stored
}

// poll looks once: an event, or what to wait for.
func (r *reader) poll() (*record, <-chan struct{}, error) {
	l := r.client.log
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.chains[r.id.Job]
	if c == nil {
		return nil, l.changed.wait(), nil
	}
	if r.from < c.trimmed {
		return nil, nil, fmt.Errorf("read %s behind %d: trimmed up to %d: %w", r.id, r.from, c.trimmed, transport.ErrGone)
	}
	i, _ := slices.BinarySearchFunc(c.records, r.from+1, func(e *record, p schemas.Position) int { return int(e.Position) - int(p) })
	for _, e := range c.records[i:] {
		if e.Kind == transport.Out {
			return e, nil, nil
		}
	}
	return nil, l.changed.wait(), nil
}

// Ready says whether Next has something to say at once.
func (r *reader) Ready() bool {
	if r.closed {
		return true
	}
	e, _, err := r.poll()
	return e != nil || err != nil
}

// Close ends the reader.
func (r *reader) Close() error {
	r.closed = true
	return nil
}

// wait returns when ch is closed, the Broker is, or ctx ends.
func (b *Broker) wait(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-b.done:
		return transport.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A watcher reads records of many chains.
type watcher struct {
	client *logClient
	config transport.WatchConfig
	from   schemas.Position
	end    schemas.Position   // with Drain: the last one stored when it began
	first  []transport.Stored // with Newest: what comes before all behind from
	closed bool
}

// Watch is transport.Log.Watch.
func (c *logClient) Watch(ctx context.Context, w transport.WatchConfig) (transport.Watcher, error) {
	if err := c.broker.check(ctx); err != nil {
		return nil, err
	}
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	out := &watcher{client: c, config: w, from: w.From, end: l.last}
	if w.Newest {
		out.first, out.from = l.newest(out.matches), l.last
	}
	return out, nil
}

// newest returns the last record of each chain and kind that match takes, in log order.
func (l *log) newest(match func(*record) bool) []transport.Stored {
	type key struct {
		id schemas.ChainID
		k  transport.Kind
	}
	seen := map[key]bool{}
	var found []transport.Stored
	for _, r := range slices.Backward(l.records) {
		if k := (key{r.Chain, r.Kind}); match(r) && !seen[k] {
			seen[k] = true
			found = append(found, r.Stored)
		}
	}
	slices.Reverse(found)
	return found
}

func (w *watcher) matches(r *record) bool {
	return slices.Contains(w.config.Kinds, r.Kind) && r.Kind != transport.Page && (w.config.Chain == nil || *w.config.Chain == r.Chain)
}

// Next is transport.Watcher.Next.
func (w *watcher) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if w.closed {
			return transport.Stored{}, transport.ErrClosed
		}
		if err := w.client.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		s, wait := w.poll()
		if s != nil {
			return w.strip(*s), nil
		}
		if w.config.Drain {
			return transport.Stored{}, io.EOF
		}
		if err := w.client.broker.wait(ctx, wait); err != nil {
			return transport.Stored{}, err
		}
	}
}

func (w *watcher) poll() (*transport.Stored, <-chan struct{}) {
	if len(w.first) > 0 {
		s := w.first[0]
		w.first = w.first[1:]
		return &s, nil
	}
	l := w.client.log
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.after(w.from, w.matches)
	if r == nil {
		w.from = l.last // not to look at the same records again
	}
	if r == nil || w.config.Drain && r.Position > w.end {
		return nil, l.changed.wait()
	}
	w.from = r.Position
	return &r.Stored, nil
}

// strip takes off what the watch did not ask for.
func (w *watcher) strip(s transport.Stored) transport.Stored {
	if s.Checkpoint != nil {
		c := clone(*s.Checkpoint)
		s.Checkpoint, s.Cursor = &c, &c.Cursor
	}
	if !w.config.Headers {
		return s
	}
	s.Event.Data = nil
	if s.Checkpoint != nil {
		s.Checkpoint.Snapshot = nil
	}
	return s
}

// Close ends the watcher.
func (w *watcher) Close() error {
	w.closed = true
	return nil
}
