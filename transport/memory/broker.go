package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/milepost-dev/milepost/transport"
)

// MaxEventBytes is how much data an event may have: as with the embedded JetStream server.
const MaxEventBytes = 8 << 20

// A Broker is one process's connection to a store. Its methods may be called concurrently.
type Broker struct {
	store *store
	once  sync.Once
	done  chan struct{} // closed with the Broker
}

var _ transport.Broker = (*Broker)(nil)

// New makes an empty store and a Broker on it, with the system's clock.
func New() *Broker {
	return (&Broker{store: &store{logs: map[logKey]*log{}, clock: SystemClock{}}}).Client()
}

// Client makes another Broker on the same store: another process, or the same one after a restart. It may be called after
// Close.
func (b *Broker) Client() *Broker { return &Broker{store: b.store, done: make(chan struct{})} }

// Close ends everything that was opened through this Broker with ErrClosed; the store and its other clients stay.
func (b *Broker) Close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

// Describe says kind "memory".
func (b *Broker) Describe() transport.Description {
	return transport.Description{Kind: "memory", MaxEvent: MaxEventBytes}
}

// Log makes the log, or gives the existing one the new limits where they are wider.
func (b *Broker) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	if c.Pipeline == "" || c.Stage == "" {
		return nil, fmt.Errorf("log %q of pipeline %q: no name", c.Stage, c.Pipeline)
	}
	l := b.store.log(logKey{c.Pipeline, c.Stage})
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.MaxBytes > l.max {
		l.max, l.reserve = c.MaxBytes, c.Reserve
	}
	l.changed.broadcast() // whoever waited for room
	return &logClient{log: l, broker: b}, nil
}

// check says whether the call may go on.
func (b *Broker) check(ctx context.Context) error {
	select {
	case <-b.done:
		return transport.ErrClosed
	default:
		return ctx.Err()
	}
}

type logKey struct{ pipeline, stage string }

// A store is what all Brokers made from one New share.
type store struct {
	mu    sync.Mutex
	logs  map[logKey]*log
	clock Clock
	hooks hooks
}

func (s *store) log(k logKey) *log {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[k]
	if l == nil {
		l = newLog(s, k)
		s.logs[k] = l
	}
	return l
}

func (s *store) now() Clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}
