package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

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
	name := b.config.Prefix + encode(c.Pipeline) + "." + encode(c.Stage)
	b.mu.Lock()
	l := b.logs[name]
	b.mu.Unlock()
	if l == nil {
		limited, cancel := context.WithTimeout(ctx, createLimit)
		defer cancel()
		limited, stop := b.both(limited)
		defer stop()
		var err error
		if l, err = b.openLog(limited, name, c); err != nil {
			return nil, fmt.Errorf("log %s/%s: %w", c.Pipeline, c.Stage, err)
		}
	}
	l.size.widen(c.MaxBytes, c.Reserve)
	return l, nil
}

func (b *Broker) openLog(ctx context.Context, name string, c transport.LogConfig) (*log, error) {
	l := &log{broker: b, config: c, topics: [3]string{name, name + ".dlq", name + ".state"}}
	parts, err := b.topics(ctx, l.topics, c)
	if err != nil {
		return nil, err
	}
	for n := range parts {
		l.parts = append(l.parts, newPart(l, int32(n)))
	}
	l.feed = newFeed(l)
	if err := l.placed(ctx); err != nil {
		return nil, err
	}
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
	stored       int64 // as the brokers said
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

// stored is the size of all partitions, one copy of each.
func (l *log) stored(ctx context.Context) (int64, error) {
	set := kadm.TopicsSet{}
	for _, t := range l.topics {
		for n := range l.parts {
			set.Add(t, int32(n))
		}
	}
	dirs, err := l.broker.admin.DescribeAllLogDirs(ctx, set)
	if err != nil {
		return 0, fmt.Errorf("sizes of topic %s: %w", l.topics[outTopic], l.broker.fetchError(ctx, err))
	}
	largest := map[string]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			key := fmt.Sprint(p.Topic, "/", p.Partition)
			largest[key] = max(largest[key], p.Size)
		})
	})
	var sum int64
	for _, n := range largest {
		sum += n
	}
	return sum, nil
}

// measure asks the brokers for the size anew.
func (l *log) measure(ctx context.Context) (int64, error) {
	n, err := l.stored(ctx)
	if err != nil {
		return 0, err
	}
	l.size.mu.Lock()
	defer l.size.mu.Unlock()
	l.size.known, l.size.stored, l.size.since = true, n, 0
	return n, nil
}

// room refuses what the log has no space for: out events already where only the reserve is left. The brokers have no such
// limit; they are asked for the size when it may be reached.
func (l *log) room(ctx context.Context, bytes int64, out bool) error {
	limit := l.size.limit(out)
	if limit <= 0 {
		return nil
	}
	l.size.mu.Lock()
	known, held := l.size.known, l.size.stored+l.size.since
	l.size.mu.Unlock()
	if known && held+bytes <= limit {
		return nil
	}
	held, err := l.measure(ctx)
	if err != nil {
		return err
	}
	if held+bytes > limit {
		return fmt.Errorf("log %s/%s holds %d of %d bytes: %w", l.config.Pipeline, l.config.Stage, held, limit, transport.ErrFull)
	}
	return nil
}

// Stats is transport.Log.Stats. Records that a partition's start has passed are not counted off: Kafka counts offsets, and
// those of transactions among them.
func (l *log) Stats(ctx context.Context) (transport.Stats, error) {
	if err := l.broker.check(ctx); err != nil {
		return transport.Stats{}, err
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	if err := l.refresh(limited); err != nil {
		return transport.Stats{}, err
	}
	var s transport.Stats
	for _, p := range l.parts {
		s.Records += p.index.newest()
	}
	bytes, err := l.measure(limited)
	s.Bytes, s.MaxBytes = uint64(bytes), uint64(max(0, l.size.limit(false)))
	if err != nil {
		return s, err
	}
	groups, err := l.broker.admin.ListGroups(limited)
	if err != nil {
		return s, l.broker.fetchError(ctx, err)
	}
	prefix := l.group("")
	s.Consumers = len(slices.DeleteFunc(groups.Groups(), func(g string) bool { return len(g) <= len(prefix) || g[:len(prefix)] != prefix }))
	return s, nil
}
