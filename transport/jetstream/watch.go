package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// How much a watch asks for at a time. With data it is limited in bytes as well: many large messages on their way at once
// would have the server cut the connection.
const (
	watchMessages = 256
	watchBytes    = 16 << 20
	watchIdle     = time.Minute // the server removes the consumer of a process that is gone
)

// A watcher reads records of many chains through a consumer that numbers what it sends and keeps nothing, as the client's
// ordered consumer does; one that left out a message or broke is made anew, as often as needed.
type watcher struct {
	log      *log
	config   transport.WatchConfig
	subjects []string
	from     schemas.Position // of the last record handed out
	stored   time.Time        // when that one was; zero: none was handed out
	lost     int              // how often the log had lost records when the watch began
	begun    func()           // not nil: always begins behind what is stored now, and tells so
	end      schemas.Position // with Drain: the last record there will be; 0 none
	ended    bool

	sequence uint64 // of the consumer's last message

	mu       sync.Mutex
	consumer string
	messages *puller
	closed   bool
}

func (l *log) newWatcher(c transport.WatchConfig) *watcher {
	w := &watcher{log: l, config: c, from: c.From, lost: l.losses()}
	if c.Newest {
		w.from = 0
	}
	for _, k := range c.Kinds {
		switch {
		case k == transport.Page: // not watched
		case c.Chain != nil:
			w.subjects = append(w.subjects, l.chain(c.Chain.Job)+k.String())
		default:
			w.subjects = append(w.subjects, l.everyChain(k))
		}
	}
	return w
}

// Watch is transport.Log.Watch.
func (l *log) Watch(ctx context.Context, c transport.WatchConfig) (transport.Watcher, error) {
	if err := l.broker.check(ctx); err != nil {
		return nil, err
	}
	w := l.newWatcher(c)
	if len(w.subjects) == 0 {
		return nil, fmt.Errorf("watch stream %s: no kinds", l.stream)
	}
	if c.Drain {
		if err := w.findEnd(ctx); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
	}
	if !w.ended {
		if err := w.start(ctx); err != nil {
			return nil, fmt.Errorf("watch stream %s: %w", l.stream, l.broker.apiError(ctx, err))
		}
	}
	return w, nil
}

// findEnd looks for the last record that a drained watch has to reach.
func (w *watcher) findEnd(ctx context.Context) error {
	for _, s := range w.subjects {
		last, err := w.log.get(ctx, s)
		if err != nil {
			return err
		}
		if last != nil {
			w.end = max(w.end, last.at)
		}
	}
	w.ended = w.end <= w.from
	return nil
}

// start makes the consumer, behind what was handed out already.
func (w *watcher) start(ctx context.Context) error {
	limited, done := w.log.broker.limitAPI(ctx, w.log.stream)
	defer done()
	c := jetstream.ConsumerConfig{
		Name: rand.Text(), FilterSubjects: w.subjects, HeadersOnly: w.config.Headers, InactiveThreshold: watchIdle,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(w.from) + 1,
	}
	switch {
	case w.begun != nil:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverNewPolicy, 0
	case w.config.Newest && w.from == 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverLastPerSubjectPolicy, 0
	}
	consumer, err := w.log.broker.js.CreateConsumer(limited, w.log.stream, c)
	if err != nil {
		return whyEnded(limited, err)
	}
	if err := w.intact(ctx); err != nil { // now, since a server that is started again has forgotten the consumer, too
		return err
	}
	if info := consumer.CachedInfo(); w.config.Drain && info != nil && info.NumPending == 0 {
		if w.ended, err = w.endGone(ctx); err != nil {
			return err
		}
	}
	limit := max(watchBytes, 2*int(w.log.broker.nc.MaxPayload()))
	messages, err := w.log.broker.newPuller(w.log.stream, c.Name, watchMessages, limit)
	if err != nil {
		return err
	}
	w.sequence, messages.idle = 0, w.idle
	w.mu.Lock()
	defer w.mu.Unlock()
	w.consumer, w.messages = c.Name, messages
	if w.closed {
		messages.close()
	}
	if w.begun != nil {
		w.begun()
	}
	return nil
}

// intact looks whether the record that was handed out last, and the one that this process has appended last, are still where they
// were. A server whose disk forgets at a power cut gives their positions to others, or to none for as long as the stream is
// shorter: the consumer would wait until it has grown that far, and leave out what comes before. And who has read what was stored,
// or has been told that it was, rests on it: all watches of the log that began before end so.
func (w *watcher) intact(ctx context.Context) error {
	if w.begun != nil {
		return nil
	}
	l := w.log
	connection := l.broker.nc.Stats().Reconnects
	l.mu.Lock()
	lost, mine, looked := l.lost, l.mine, l.looked == connection
	l.mu.Unlock()
	at := w.from
	holds := lost == w.lost
	var err error
	if holds && !w.stored.IsZero() {
		holds, err = l.holds(ctx, at, func(m *raw) bool { return m.time.Equal(w.stored) })
	}
	if err == nil && holds && mine.at > 0 && !looked {
		at = mine.at
		holds, err = l.holds(ctx, at, func(m *raw) bool { return m.subject == mine.subject })
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = connection
	if holds {
		return nil
	}
	if l.lost == lost {
		l.lost, l.mine = lost+1, place{}
	}
	return fmt.Errorf("the record at %d of stream %s is not there: %w", at, l.stream, transport.ErrLost)
}

// holds says whether the record at a position is still the one it was. One that was trimmed says nothing where the stream goes on
// behind it.
func (l *log) holds(ctx context.Context, at schemas.Position, same func(*raw) bool) (bool, error) {
	m, err := l.leader(ctx, map[string]any{"seq": at})
	if err != nil || m != nil {
		return err == nil && same(m), err
	}
	i, err := l.info(ctx)
	return err == nil && i.State.LastSeq >= uint64(at), err
}

func (l *log) losses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Next is transport.Watcher.Next.
func (w *watcher) Next(ctx context.Context) (transport.Stored, error) {
	m, err := w.next(ctx)
	if err != nil {
		return transport.Stored{}, err
	}
	s, err := w.log.decode(m, w.config.Headers)
	if errors.Is(err, transport.ErrNeedsBody) {
		return w.whole(ctx, m.at)
	}
	return s, err
}

// whole fetches a record whose headers do not say all, and leaves out its data.
func (w *watcher) whole(ctx context.Context, at schemas.Position) (transport.Stored, error) {
	m, err := w.log.leader(ctx, map[string]any{"seq": at})
	if err != nil {
		return transport.Stored{}, err
	}
	if m == nil {
		return transport.Stored{}, fmt.Errorf("record at %d of stream %s: %w", at, w.log.stream, transport.ErrGone)
	}
	s, err := w.log.decode(m, false)
	s.Event.Data = nil
	if s.Checkpoint != nil {
		s.Checkpoint.Snapshot = nil
	}
	return s, err
}

// next waits for the next message; a consumer that fails is made anew behind the last one, where that one is still there.
func (w *watcher) next(ctx context.Context) (*raw, error) {
	for attempt := 1; ; attempt++ {
		if err := w.check(ctx); err != nil {
			return nil, err
		}
		m, err := w.take(ctx)
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, transport.ErrLost) || w.config.Drain && errors.Is(err, transport.ErrDenied) {
			return m, err
		}
		if w.check(ctx) == nil {
			w.log.broker.slog.Debug("watch begins anew", "stream", w.log.stream, "position", w.from, "error", err)
			w.stop()
			if streamGone(err) {
				w.log.remake(ctx)
			}
			w.log.broker.pause(ctx, attempt)
		}
	}
}

func (w *watcher) check(ctx context.Context) error {
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return transport.ErrClosed
	}
	return w.log.broker.check(ctx)
}

func (w *watcher) take(ctx context.Context) (*raw, error) {
	messages := w.current()
	if !w.ended && messages == nil {
		if err := w.start(ctx); err != nil {
			return nil, err
		}
		messages = w.current()
	}
	if w.ended {
		return nil, io.EOF
	}
	if messages == nil {
		return nil, transport.ErrClosed
	}
	m, err := messages.next(ctx)
	if err != nil {
		return nil, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	if meta.Sequence.Consumer != w.sequence+1 {
		return nil, fmt.Errorf("message %d of the consumer after %d: %w", meta.Sequence.Consumer, w.sequence, errMissed)
	}
	w.sequence++
	at := schemas.Position(meta.Sequence.Stream)
	if w.config.Drain && at > w.end {
		w.ended = true
		return nil, io.EOF
	}
	w.ended = w.config.Drain && at == w.end
	if w.config.Drain && !w.ended && meta.NumPending == 0 {
		if w.ended, err = w.endGone(ctx); err != nil {
			return nil, err // the message comes again with the next consumer
		}
	}
	w.from, w.stored = at, meta.Timestamp
	return &raw{header: m.Header, data: m.Data, subject: m.Subject, at: at, time: meta.Timestamp}, nil
}

// idle is for the puller: the consumer waits, and what it has sent must have come. What a drained watch still waited for may have been
// removed since its consumer was made.
func (w *watcher) idle(last uint64) error {
	if last > w.sequence {
		return fmt.Errorf("message %d of the consumer was sent, %d came: %w", last, w.sequence, errMissed)
	}
	if !w.config.Drain {
		return nil
	}
	left, err := w.left(w.log.broker.ctx)
	if err == nil && !left {
		w.ended, err = true, io.EOF
	}
	return err
}

// left says whether there is still something that a drained watch has yet to hand out.
func (w *watcher) left(ctx context.Context) (bool, error) {
	what := []map[string]any{{"seq": w.end}}
	if !w.config.Newest { // else older ones of a subject would be found, which are not handed out
		for _, s := range w.subjects {
			what = append(what, map[string]any{"seq": w.from + 1, "next_by_subj": s})
		}
	}
	for _, ask := range what {
		if m, err := w.log.leader(ctx, ask); err != nil || m != nil && m.at <= w.end {
			return true, err
		}
	}
	return false, nil
}

func (w *watcher) current() *puller {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.messages
}

// endGone says whether a drained watch for which nothing is pending has seen all: its last record was removed meanwhile. If
// not, the replica lags and will have it.
func (w *watcher) endGone(ctx context.Context) (bool, error) {
	if w.log.isAlone() {
		return true, nil
	}
	m, err := w.log.leader(ctx, map[string]any{"seq": w.end})
	return m == nil && err == nil, err
}

// stop gives up the consumer, which the server then need not keep.
func (w *watcher) stop() {
	w.mu.Lock()
	consumer, messages := w.consumer, w.messages
	w.consumer, w.messages = "", nil
	w.mu.Unlock()
	if messages == nil {
		return
	}
	messages.close()
	if w.log.broker.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(w.log.broker.ctx, time.Second)
		defer cancel()
		_ = w.log.broker.js.DeleteConsumer(ctx, w.log.stream, consumer) // it goes by itself after watchIdle
	}
}

// Close ends the watcher.
func (w *watcher) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	return nil
}
