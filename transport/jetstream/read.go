package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A reader reads one chain's out events ahead of its caller, at most a window of them.
type reader struct {
	log    *log
	id     schemas.ChainID
	span   *span
	tail   *tail
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	queue  []transport.Stored
	bytes  int
	known  schemas.Position // the newest out event that the tail told of since it began
	anew   bool             // the tail has begun anew: look, whatever is known
	err    error            // after the queue
	closed bool
	filled chan struct{} // capacity 1: queue or err has something
	room   chan struct{} // capacity 1: the queue has room
	hinted chan struct{} // capacity 1: known has grown
}

// Read is transport.Log.Read.
func (l *log) Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (transport.EventReader, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, err
	}
	r := &reader{log: l, id: id, done: make(chan struct{}), filled: make(chan struct{}, 1), room: make(chan struct{}, 1), hinted: make(chan struct{}, 1)}
	var err error
	if r.tail, err = l.follow(ctx, r); err != nil { // before the first look, so that nothing falls between
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	if r.span, err = l.newRange(l.chain(id.Job)+transport.Out.String(), from); err != nil {
		r.tail.leave(r)
		return nil, l.broker.unreachable(ctx, err)
	}
	own, cancel := context.WithCancel(l.broker.ctx)
	r.cancel = cancel
	if !l.broker.run(func(context.Context) { r.pump(own) }) {
		cancel()
		return nil, transport.ErrClosed
	}
	return r, nil
}

// Next is transport.EventReader.Next.
func (r *reader) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if err := r.log.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		s, ok, err := r.pop()
		if ok || err != nil {
			return s, err
		}
		select {
		case <-r.filled:
		case <-ctx.Done():
		case <-r.log.broker.ctx.Done():
		}
	}
}

func (r *reader) pop() (s transport.Stored, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return s, false, transport.ErrClosed
	}
	if len(r.queue) == 0 {
		return s, false, r.err
	}
	s, r.queue[0] = r.queue[0], transport.Stored{}
	r.queue = r.queue[1:]
	r.bytes -= s.Bytes
	signal(r.room)
	return s, true, nil
}

// Ready says whether something is fetched already.
func (r *reader) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0 || r.err != nil || r.closed
}

// Close ends the reader.
func (r *reader) Close() error {
	r.mu.Lock()
	was := r.closed
	r.closed, r.queue = true, nil
	r.mu.Unlock()
	if !was {
		r.cancel()
		<-r.done
		signal(r.filled)
	}
	return nil
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// hint is what the tail calls.
func (r *reader) hint(at schemas.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = max(r.known, at)
	signal(r.hinted)
}

// lookAnew is what the tail calls when it has begun anew. What it told before may be of events that the log has forgotten.
func (r *reader) lookAnew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.anew = 0, true
	signal(r.hinted)
}

// pump keeps the queue filled.
func (r *reader) pump(ctx context.Context) {
	defer close(r.done)
	defer r.span.close()
	defer r.tail.leave(r)
	for empty := 0; r.hasRoom(ctx); {
		from, told := r.span.from, r.takeTold()
		err := r.span.fetch(ctx, windowBytes/2, windowMessages/2, r.push)
		switch {
		case err != nil && !errors.Is(err, errRangeEnd):
			r.fail(ctx, err)
			return
		case r.span.from > from:
			empty = 0
		default:
			empty++
			if err := r.nothing(ctx, told, empty); err != nil {
				r.fail(ctx, err)
				return
			}
		}
		if err != nil && !r.await(ctx) {
			return
		}
	}
}

// nothing is what to do about a fetch that brought nothing, for the nth time in a row: at first and where there should have
// been something, find out whether it was removed; else a replica lags, and is given time.
func (r *reader) nothing(ctx context.Context, told bool, n int) error {
	if n > 1 && !told {
		return nil
	}
	if err := r.missing(ctx); err != nil {
		return err
	}
	if told && !r.log.broker.pause(ctx, n) {
		return ctx.Err()
	}
	return nil
}

// told says whether there is a reason to look: the tail knows of an event that was not read yet, or has begun anew.
func (r *reader) told() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.anew || r.known > r.span.from
}

// takeTold is told of a reader that looks now.
func (r *reader) takeTold() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.anew || r.known > r.span.from
	r.anew = false
	return told
}

// await waits until the tail knows of more.
func (r *reader) await(ctx context.Context) bool {
	for !r.told() {
		select {
		case <-r.hinted:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// hasRoom waits until half of the window is free.
func (r *reader) hasRoom(ctx context.Context) bool {
	for {
		r.mu.Lock()
		free := r.bytes <= windowBytes/2 && len(r.queue) <= windowMessages/2
		r.mu.Unlock()
		if free {
			return ctx.Err() == nil
		}
		select {
		case <-r.room:
		case <-ctx.Done():
			return false
		}
	}
}

// push queues an event, if none is missing between it and the one before.
func (r *reader) push(m *raw) error {
	s, err := r.log.decode(m, false)
	if err != nil {
		return err
	}
	b, err := parseBefore(m.header)
	if err != nil {
		return fmt.Errorf("event %s: %w", s.Event.ID(), err)
	}
	if b.at > r.span.from {
		return fmt.Errorf("the event at %d was removed, the next is at %d: %w", b.at, s.Position, transport.ErrGone)
	}
	if b.at < r.span.from {
		return fmt.Errorf("the event before that at %d is at %d, not %d: %w", s.Position, b.at, r.span.from, transport.ErrLost)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, s)
	r.bytes += s.Bytes
	signal(r.filled)
	return nil
}

// missing says that there were out events behind the reader which nobody will ever read: ErrGone; or that the chain ends before
// the reader's place: ErrLost.
func (r *reader) missing(ctx context.Context) error {
	prefix := r.log.chain(r.id.Job)
	last, err := r.log.get(ctx, prefix+">")
	if err != nil {
		return err
	}
	ch := chain{log: r.log, id: r.id}
	if last != nil {
		if err := ch.progress(last); err != nil {
			return err
		}
	}
	if ch.before.at < r.span.from {
		return fmt.Errorf("the chain's last event is at %d: %w", ch.before.at, transport.ErrLost)
	}
	if ch.before.at == r.span.from {
		return nil
	}
	next, err := r.log.leader(ctx, map[string]any{"seq": r.span.from + 1, "next_by_subj": prefix + transport.Out.String()})
	if err != nil {
		return err
	}
	if next != nil { // the replica that was asked lags, or it has come just now
		r.hint(next.at)
		return nil
	}
	return fmt.Errorf("the events up to %d were removed: %w", ch.before.at, transport.ErrGone)
}

func (r *reader) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = fmt.Errorf("read %s behind %d: %w", r.id, r.span.from, err)
	signal(r.filled)
}
