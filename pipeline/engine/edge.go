package engine

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// An edge reads one input chain by position, on a goroutine of its own, and holds its events until they are settled.
type edge struct {
	index   int
	from    *node
	id      schemas.ChainID
	reading uint64
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	kept  []transport.Stored // in order of sequence
	count int                // of events that were read and are not settled, kept or on their way
	bytes int                // of their data
	freed chan struct{}      // has a token when bytes went down
}

// arrivalsAtOnce is how many events may be on their way from an instance's edges: were it one, every small event would cost a
// switch of goroutines.
const arrivalsAtOnce = 64

// arrival is an event that was read, or why there is none.
type arrival struct {
	edge    int
	reading uint64
	stored  transport.Stored
	err     error // transport.ErrGone
}

// place is where an edge is read on: behind the event of that sequence, which lay at that position. The sequence is the truth.
type place struct {
	position schemas.Position
	sequence uint64
}

// read starts reading behind a place, in the place of the reader before.
func (e *edge) read(ctx context.Context, from place, reading uint64, to chan<- arrival) {
	e.close()
	e.reading = reading
	e.kept, e.count, e.bytes, e.freed = nil, 0, 0, make(chan struct{}, 1)
	ctx, e.stop = context.WithCancel(ctx)
	e.done = make(chan struct{})
	go func() {
		defer close(e.done)
		e.follow(ctx, from, reading, to)
	}()
}

// follow reads until ctx ends; a reader that breaks is opened again where it was. Where the log has lost events that were taken
// already (a power cut, and a disk that was not written through), their producer makes the same again: they are passed.
func (e *edge) follow(ctx context.Context, from place, reading uint64, to chan<- arrival) {
	for ctx.Err() == nil {
		err := e.readFrom(ctx, &from, reading, to)
		if err == errEnd { // nothing comes behind it, and to look for more is to read what others have written there
			return
		}
		if errors.Is(err, transport.ErrGone) {
			send(ctx, to, arrival{edge: e.index, reading: reading, err: err})
			return
		}
		if errors.Is(err, transport.ErrLost) {
			err = e.lost(ctx, &from, err)
		}
		if ctx.Err() == nil && err != nil {
			e.from.log.Warn("reading an edge was interrupted", "error", err)
			rest(ctx, brokerBackoff)
		}
	}
}

// lost says that the log has lost what was taken, and looks where to go on.
func (e *edge) lost(ctx context.Context, from *place, why error) (err error) {
	e.from.log.Warn("the log lost events that were stored and taken, as in a power cut with sync other than always; they are computed again",
		"job", e.id.Job, "taken", from.sequence, "error", why)
	from.position, err = e.find(ctx, from.sequence)
	return err
}

// find looks for the position of the last event up to a sequence that the log has; 0 where it has none.
func (e *edge) find(ctx context.Context, sequence uint64) (at schemas.Position, err error) {
	w, err := e.from.out.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &e.id, Headers: true, Drain: true})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil || s.Event.Sequence > sequence {
			return at, err
		}
		at = s.Position
	}
}

func (e *edge) readFrom(ctx context.Context, from *place, reading uint64, to chan<- arrival) error {
	r, err := e.from.out.Read(ctx, e.id, from.position)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		s, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if s.Event.Sequence > from.sequence+1 { // another event has the position by now, or there is one missing
			if at, err := e.find(ctx, from.sequence); err != nil || at != from.position {
				return errors.Join(err, transport.ErrLost)
			}
		}
		if from.position = s.Position; s.Event.Sequence <= from.sequence {
			continue
		}
		from.sequence = s.Event.Sequence
		e.mu.Lock()
		e.count, e.bytes = e.count+1, e.bytes+len(s.Event.Data)
		e.mu.Unlock()
		send(ctx, to, arrival{edge: e.index, reading: reading, stored: s})
		if s.Event.Type == schemas.TypeEnd {
			return errEnd
		}
		e.room(ctx)
	}
}

func send(ctx context.Context, to chan<- arrival, a arrival) {
	select {
	case to <- a:
	case <-ctx.Done():
	}
}

// room waits until the edge holds less than its window.
func (e *edge) room(ctx context.Context) {
	for ctx.Err() == nil {
		e.mu.Lock()
		full := e.bytes >= edgeWindow && e.count > 1
		e.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-e.freed:
		case <-ctx.Done():
		}
	}
}

func (e *edge) keep(s transport.Stored) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, s)
}

// take returns an event that was kept and forgets those before it: they are settled.
func (e *edge) take(sequence uint64) (transport.Stored, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.kept) > 0 && e.kept[0].Event.Sequence < sequence {
		e.count, e.bytes = e.count-1, e.bytes-len(e.kept[0].Event.Data)
		e.kept[0] = transport.Stored{}
		e.kept = e.kept[1:]
	}
	select {
	case e.freed <- struct{}{}:
	default:
	}
	if len(e.kept) == 0 || e.kept[0].Event.Sequence != sequence {
		return transport.Stored{}, false
	}
	return e.kept[0], true
}

// close stops reading and forgets what was read.
func (e *edge) close() {
	if e.stop != nil {
		e.stop()
		<-e.done
		e.stop, e.kept, e.reading = nil, nil, 0
	}
}
