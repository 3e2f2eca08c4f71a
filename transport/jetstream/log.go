package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A log is one stream.
type log struct {
	names
	broker *Broker
	config transport.LogConfig

	mu      sync.Mutex
	size    estimate
	mine    place  // of the last record that this process appended
	lost    int    // how often the server was found to have lost records
	looked  uint64 // how often the connection had been lost when mine was looked for
	tail    *tail
	limit   int64  // of the stream in bytes; 0 none
	keep    int64  // of it, for all but out events
	alone   bool   // the stream has one copy, so a direct get sees all that was answered
	leading string // the server that leads a stream of several copies, as it was heard last
}

// A place is where a record of a subject lies.
type place struct {
	at      schemas.Position
	subject string
}

// An estimate is the stream's size as far as this process knows it without asking.
type estimate struct {
	bytes int64 // when asked last, and what was appended here since
	since int64 // appended here since
	known bool
}

// Log makes the stream, or widens the one there is.
func (b *Broker) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	if c.Pipeline == "" || c.Stage == "" {
		return nil, fmt.Errorf("log %q of pipeline %q: no name", c.Stage, c.Pipeline)
	}
	n := newNames(c.Pipeline, c.Stage)
	limited, done := b.limitAPI(ctx, n.stream)
	defer done()
	info, err := b.stream(limited, n, c)
	if err != nil {
		return nil, fmt.Errorf("log %s/%s: %w", c.Pipeline, c.Stage, b.apiError(ctx, whyEnded(limited, err)))
	}
	l := b.log(n, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit, l.alone = max(info.Config.MaxBytes, 0), info.Config.Replicas <= 1
	if info.Cluster != nil {
		l.leading = info.Cluster.Leader
	}
	switch {
	case c.MaxBytes > 0:
		l.keep = c.Reserve
	case l.limit > 0: // somebody else's limit: checkpoints must get through all the same
		l.keep = l.limit / foreignReserve
	}
	l.size = estimate{}
	return l, nil
}

// foreignReserve is the part of a limit that others set, one in so many, kept for all but out events.
const foreignReserve = 8

// log is the one log of that name in this process, so that its tail and its size are shared.
func (b *Broker) log(n names, c transport.LogConfig) *log {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[n]
	if l == nil {
		l = &log{names: n, broker: b, config: c}
		b.logs[n] = l
	}
	return l
}

// stream makes or widens the stream. Two processes may do so at once.
func (b *Broker) stream(ctx context.Context, n names, c transport.LogConfig) (*jetstream.StreamInfo, error) {
	for {
		s, err := b.js.Stream(ctx, n.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = b.js.CreateStream(ctx, b.fresh(n, c))
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				continue // another process was faster
			}
		}
		if err != nil {
			return nil, err
		}
		info := s.CachedInfo()
		wide, changed := widen(info.Config, b.fresh(n, c))
		if !changed {
			return info, nil
		}
		if s, err = b.js.UpdateStream(ctx, wide); err != nil {
			return nil, err
		}
		return s.CachedInfo(), nil
	}
}

// remake makes the stream anew where the server does not know it any more: it lost power before its disk was told of the stream. Who
// has read or written there sees by the positions what that means.
func (l *log) remake(ctx context.Context) {
	ctx, done := l.broker.limitAPI(ctx, l.stream)
	defer done()
	if _, err := l.broker.js.Stream(ctx, l.stream); !streamGone(err) {
		return
	}
	if _, err := l.broker.stream(ctx, l.names, l.config); err != nil {
		l.broker.slog.Warn("a log that the server has lost cannot be made anew; trying again", "stream", l.stream, "error", whyEnded(ctx, err))
		return
	}
	l.broker.slog.Warn("the server has lost a whole log, as in a power cut; it is made anew", "stream", l.stream)
}

// streamGone says whether the server answered that it does not know the stream.
func streamGone(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamNotFound || errors.Is(err, jetstream.ErrStreamNotFound)
}

// fresh is the configuration of a new stream. Nothing but Trim removes a message: no age, no limits but bytes, and when
// those are reached new messages are refused.
func (b *Broker) fresh(n names, c transport.LogConfig) jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name: n.stream, Subjects: []string{n.prefix + ">"}, Description: fmt.Sprintf("milepost: what stage %s of pipeline %s wrote", c.Stage, c.Pipeline),
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		MaxBytes: -1, MaxMsgs: -1, MaxMsgsPerSubject: -1, AllowDirect: true, Replicas: max(c.Replicas, b.replicas, 1),
	}
	if c.MaxBytes > 0 {
		s.MaxBytes = c.MaxBytes
	}
	return s
}

// widen is the existing configuration with what the wanted one has more of.
func widen(have, want jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	wide := have
	wide.Replicas, wide.AllowDirect = max(have.Replicas, want.Replicas), true
	if have.MaxBytes > 0 && want.MaxBytes > have.MaxBytes {
		wide.MaxBytes = want.MaxBytes
	}
	return wide, wide.Replicas != have.Replicas || wide.MaxBytes != have.MaxBytes || !have.AllowDirect
}

func (l *log) checkChain(ctx context.Context, id schemas.ChainID) error {
	if id.Stage != l.config.Stage || id.Job == "" {
		return fmt.Errorf("chain %q is not of log %s/%s", id, l.config.Pipeline, l.config.Stage)
	}
	return l.broker.check(ctx)
}

// info asks the server about the stream.
func (l *log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, done := l.broker.limitAPI(ctx, l.stream)
	defer done()
	s, err := l.broker.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.stream, l.broker.apiError(ctx, err))
	}
	return s.CachedInfo(), nil
}

// errLeader is why an append is no longer waited for: what the leader before this one had not answered it will not answer now.
var errLeader = errors.New("the stream has another leader than when it was sent")

// led is a context for an append to a stream of several copies: it ends when another server has become the leader, which is
// asked for whenever there is no answer for a while.
func (l *log) led(ctx context.Context) (context.Context, func()) {
	l.mu.Lock()
	alone, leader := l.alone, l.leading
	l.mu.Unlock()
	if alone {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(answerWithin, func() {
		again := time.NewTicker(answerWithin)
		defer again.Stop()
		for ctx.Err() == nil {
			if now := l.leads(ctx); now != "" && leader != "" && now != leader {
				cancel(errLeader)
			}
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	})
	return ctx, func() { t.Stop(); cancel(nil) }
}

// leads asks which server leads the stream and notes it; "" is none now.
func (l *log) leads(ctx context.Context) string {
	i, err := l.info(ctx)
	if err != nil || i.Cluster == nil || i.Cluster.Leader == "" {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = i.Cluster.Leader
	return l.leading
}

// Stats is the stream's size.
func (l *log) Stats(ctx context.Context) (transport.Stats, error) {
	if err := l.broker.check(ctx); err != nil {
		return transport.Stats{}, err
	}
	i, err := l.info(ctx)
	if err != nil {
		return transport.Stats{}, err
	}
	return transport.Stats{Records: i.State.Msgs, Bytes: i.State.Bytes, MaxBytes: uint64(max(i.Config.MaxBytes, 0)), Consumers: i.State.Consumers}, nil
}

// room refuses an out event that would take of the reserve. The stream's size is asked for only when the estimate says so,
// or has grown old; several processes may so overdraw by a sixteenth each, which the reserve has to bear.
func (l *log) room(ctx context.Context, size int64) error {
	for {
		l.mu.Lock()
		e, limit := l.size, l.limit-l.keep
		free := l.limit == 0 || l.keep == 0
		l.mu.Unlock()
		if free || e.known && e.since < limit/16 && e.bytes+size <= limit {
			return nil
		}
		if e.known && e.since == 0 {
			return fmt.Errorf("stream %s holds %d of %d bytes: %w", l.stream, e.bytes, limit, transport.ErrFull)
		}
		if err := l.measure(ctx); err != nil {
			return err
		}
	}
}

func (l *log) measure(ctx context.Context) error {
	i, err := l.info(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = estimate{bytes: int64(i.State.Bytes), known: true}
	return nil
}

// grew notes what was appended, and where; forgetSize, that the size is to be asked for.
func (l *log) grew(size int64, p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.at > l.mine.at {
		l.mine = p
	}
	l.size.bytes += size
	l.size.since += size
}

func (l *log) forgetSize() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = estimate{}
}
