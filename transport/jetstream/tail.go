package jetstream

import (
	"context"
	"fmt"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A tail tells the readers of a log which chains have new out events. It watches the stream's headers, once for all
// readers of the process, so that a reader that waits costs the server nothing. It begins behind what is stored, again where its
// consumer breaks, and then has all readers look for themselves: what came meanwhile, and whether what they have read is still there.
type tail struct {
	mu      sync.Mutex
	readers map[schemas.JobID]map[*reader]struct{}
}

// follow makes sure that the log's tail runs and has r told of what is stored from now on.
func (l *log) follow(ctx context.Context, r *reader) (*tail, error) {
	l.mu.Lock()
	t := l.tail
	l.mu.Unlock()
	if t == nil {
		var err error
		if t, err = l.startTail(ctx); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readers[r.id.Job] == nil {
		t.readers[r.id.Job] = map[*reader]struct{}{}
	}
	t.readers[r.id.Job][r] = struct{}{}
	return t, nil
}

// startTail begins the log's tail; two callers at once make one.
func (l *log) startTail(ctx context.Context) (*tail, error) {
	t := &tail{readers: map[schemas.JobID]map[*reader]struct{}{}}
	w := l.newWatcher(transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Headers: true})
	w.begun = t.lookAll
	if err := w.start(ctx); err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.stream, l.broker.apiError(ctx, err))
	}
	used, err := l.useTail(t, w)
	if used != t {
		_ = w.Close() // it always returns nil
	}
	return used, err
}

// useTail makes t the log's tail unless it has one, and returns that.
func (l *log) useTail(t *tail, w *watcher) (*tail, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tail != nil {
		return l.tail, nil
	}
	if !l.broker.run(func(ctx context.Context) { t.run(ctx, w) }) {
		return nil, transport.ErrClosed
	}
	l.tail = t
	return t, nil
}

func (t *tail) run(ctx context.Context, w *watcher) {
	defer w.Close()
	for {
		m, err := w.next(ctx)
		if err != nil {
			return // only at the Broker's end: a watcher survives everything else
		}
		if id, _, err := w.log.parse(m.subject); err == nil {
			t.tell(id.Job, m.at)
		}
	}
}

func (t *tail) tell(job schemas.JobID, at schemas.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for r := range t.readers[job] {
		r.hint(at)
	}
}

// lookAll has every reader look for itself.
func (t *tail) lookAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, readers := range t.readers {
		for r := range readers {
			r.lookAnew()
		}
	}
}

func (t *tail) leave(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers[r.id.Job], r)
	if len(t.readers[r.id.Job]) == 0 {
		delete(t.readers, r.id.Job)
	}
}
