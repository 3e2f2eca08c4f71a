package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Places of a log's topics.
const (
	outTopic = iota
	dlqTopic
	stateTopic
)

// createLimit is how long topics may take to be made and to have leaders: a cluster does that at leisure.
const createLimit = time.Minute

// A log is the three topics of a stage.
type log struct {
	broker *Broker
	config transport.LogConfig
	topics [3]string
	parts  []*part
	feed   *feed
	size   size
}

// Log makes the topics if they are missing, and checks them if they are there.
func (b *Broker) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	if c.Pipeline == "" || c.Stage == "" {
		return nil, fmt.Errorf("log %q of pipeline %q: no name", c.Stage, c.Pipeline)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = b.config.MaxBytes
	}
	names := topicsOf(b.config.Prefix, c.Pipeline, c.Stage)
	b.mu.Lock()
	l := b.logs[names[outTopic]]
	b.mu.Unlock()
	if l == nil {
		limited, cancel := context.WithTimeout(ctx, createLimit)
		defer cancel()
		limited, stop := b.both(limited)
		defer stop()
		var err error
		if l, err = b.openLog(limited, names, c); err != nil {
			return nil, fmt.Errorf("log %s/%s: %w", c.Pipeline, c.Stage, err)
		}
	}
	l.size.widen(c.MaxBytes, c.Reserve)
	return l, nil
}

func (b *Broker) openLog(ctx context.Context, names [3]string, c transport.LogConfig) (*log, error) {
	parts, err := b.topics(ctx, names, c)
	if err != nil {
		return nil, err
	}
	l := b.newLog(names, c, parts)
	if err := l.placed(ctx); err != nil {
		return nil, err
	}
	name := names[outTopic]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, transport.ErrClosed
	}
	if there := b.logs[name]; there != nil {
		return there, nil
	}
	b.logs[name] = l
	return l, nil
}

// newLog is that of topics that are there.
func (b *Broker) newLog(names [3]string, c transport.LogConfig, parts int) *log {
	l := &log{broker: b, config: c, topics: names}
	for n := range parts {
		l.parts = append(l.parts, newPart(l, int32(n)))
	}
	l.feed = newFeed(l)
	return l
}

func (l *log) checkChain(ctx context.Context, id schemas.ChainID) error {
	if id.Stage != l.config.Stage || id.Job == "" {
		return fmt.Errorf("chain %q is not of log %s/%s", id, l.config.Pipeline, l.config.Stage)
	}
	return l.broker.check(ctx)
}

// refresh brings the indexes of all partitions up to date.
func (l *log) refresh(ctx context.Context) error {
	for _, p := range l.parts {
		if _, err := p.index.refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A size is what a log holds, and may hold.
type size struct {
	mu           sync.Mutex
	max, reserve int64
	known        bool
	held         int64 // when it was measured
	since        int64 // appended by this process since
}

// widen never makes a log narrower.
func (s *size) widen(maximum, reserve int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if maximum > s.max {
		s.max, s.reserve = maximum, reserve
	}
}

func (s *size) add(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since += bytes
}

// limit is what may be stored of out events, or of anything; 0 is no limit.
func (s *size) limit(out bool) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if out {
		return s.max - s.reserve
	}
	return s.max
}

// measure is what the log's chains need now: out events that are not trimmed, decisions that are not purged, checkpoints and
// their pages. The brokers may hold more: they give space back from a partition's start only, and compact at leisure.
func (l *log) measure(ctx context.Context) (int64, error) {
	if err := l.refresh(ctx); err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range l.parts {
		sum += p.pending()
		p.index.each(func(_ schemas.JobID, e *entry) { sum += e.size() })
	}
	l.size.mu.Lock()
	defer l.size.mu.Unlock()
	l.size.known, l.size.held, l.size.since = true, sum, 0
	return sum, nil
}

// holds is about what the log holds, for one who is to add so much. The brokers have no such limit, and other processes write
// too: it is measured again by a process that has taken a part of what was left.
func (l *log) holds(ctx context.Context, more int64) (int64, error) {
	l.size.mu.Lock()
	left := l.size.max - l.size.reserve - l.size.held
	known, held := l.size.known && l.size.since+more <= left/measureAt, l.size.held+l.size.since
	l.size.mu.Unlock()
	if known {
		return held, nil
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	return l.measure(limited)
}

// measureAt is the part.
const measureAt = 4

// Stats is transport.Log.Stats. Records that a partition's start has passed are not counted off: Kafka counts offsets, and
// those of transactions among them.
func (l *log) Stats(ctx context.Context) (transport.Stats, error) {
	if err := l.broker.check(ctx); err != nil {
		return transport.Stats{}, err
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	bytes, err := l.measure(limited)
	if err != nil {
		return transport.Stats{}, err
	}
	s := transport.Stats{Bytes: uint64(bytes), MaxBytes: uint64(max(0, l.size.limit(false)))}
	for _, p := range l.parts {
		s.Records += p.index.newest()
	}
	groups, err := l.broker.admin.ListGroups(limited)
	if err != nil {
		return s, l.broker.fetchError(ctx, err)
	}
	prefix := l.group("")
	s.Consumers = len(slices.DeleteFunc(groups.Groups(), func(g string) bool { return len(g) <= len(prefix) || g[:len(prefix)] != prefix }))
	return s, nil
}
