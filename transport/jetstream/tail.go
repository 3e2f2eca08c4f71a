package jetstream

import (
	"context"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A tail tells the readers of a log which chains have new out events. It watches the stream's headers, once for all
// readers of the process, so that a reader that waits costs the server nothing.
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

// startTail begins behind what is stored now; two callers at once make one tail.
func (l *log) startTail(ctx context.Context) (*tail, error) {
	i, err := l.info(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tail != nil {
		return l.tail, nil
	}
	t := &tail{readers: map[schemas.JobID]map[*reader]struct{}{}}
	w := l.newWatcher(transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Headers: true, From: schemas.Position(i.State.LastSeq)})
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

func (t *tail) leave(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers[r.id.Job], r)
	if len(t.readers[r.id.Job]) == 0 {
		delete(t.readers, r.id.Job)
	}
}
