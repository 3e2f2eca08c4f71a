package kafka

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A source is one partition of one topic that a watcher reads up to where it ended when the watch began.
type source struct {
	topic   string
	n       int32
	at, end int64
	records []*kgo.Record
	only    []int64 // if not nil, these offsets alone
}

// A watcher reads what is stored, sorted by time over partitions and topics, and then follows.
type watcher struct {
	log     *log
	config  transport.WatchConfig
	sources []*source
	follow  map[string]map[int32]kgo.Offset
	client  *kgo.Client
	queue   []*kgo.Record
	closed  bool
}

// Watch is transport.Log.Watch. Where the log has several partitions, From is of the chain's, or cannot be.
func (l *log) Watch(ctx context.Context, c transport.WatchConfig) (transport.Watcher, error) {
	if err := l.broker.check(ctx); err != nil {
		return nil, err
	}
	if c.From != 0 && !c.Newest && c.Chain == nil && len(l.parts) > 1 {
		return nil, fmt.Errorf("watch topic %s behind a position: it has %d partitions, and positions are of one", l.topics[outTopic], len(l.parts))
	}
	w := &watcher{log: l, config: c, follow: map[string]map[int32]kgo.Offset{}}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	if err := w.open(limited); err != nil {
		return nil, fmt.Errorf("watch topic %s: %w", l.topics[outTopic], err)
	}
	return w, nil
}

// wanted are the places of the topics that hold the kinds asked for.
func (w *watcher) wanted() (places []int) {
	for _, k := range w.config.Kinds {
		place, ok := map[transport.Kind]int{transport.Out: outTopic, transport.DeadLetter: dlqTopic, transport.Control: dlqTopic, transport.Snapshot: stateTopic}[k]
		if ok && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

func (w *watcher) open(ctx context.Context) error {
	l := w.log
	for _, place := range w.wanted() {
		topic := l.topics[place]
		ends, err := l.ends(ctx, topic)
		if err != nil {
			return err
		}
		starts, err := l.starts(ctx, topic)
		if err != nil {
			return err
		}
		w.follow[topic] = map[int32]kgo.Offset{}
		for _, p := range l.parts {
			if w.config.Chain != nil && p != l.partition(w.config.Chain.Job) {
				continue
			}
			w.follow[topic][p.n] = kgo.NewOffset().At(ends[p.n])
			from := max(offset(w.config.From), starts[p.n])
			if w.config.Newest {
				from = starts[p.n]
			}
			w.sources = append(w.sources, &source{topic: topic, n: p.n, at: from, end: ends[p.n]})
		}
	}
	if w.config.Newest {
		return w.newest(ctx)
	}
	if slices.Contains(w.config.Kinds, transport.DeadLetter) {
		return l.refresh(ctx) // some may be purged
	}
	return nil
}

// newest leaves of what is stored the newest record of each chain and kind, as the heads name them. One that came since the
// ends were asked for is among those that follow.
func (w *watcher) newest(ctx context.Context) error {
	l := w.log
	at := map[*part]map[string][]int64{}
	for _, p := range l.parts {
		if w.config.Chain != nil && p != l.partition(w.config.Chain.Job) {
			continue
		}
		complete, err := p.index.refresh(ctx)
		if err != nil {
			return err
		}
		if !complete {
			continue // a head may be missing of what is committed elsewhere: all is read instead
		}
		at[p] = map[string][]int64{}
		p.index.each(func(job schemas.JobID, e *entry) {
			if w.config.Chain == nil || w.config.Chain.Job == job {
				w.name(e, at[p])
			}
		})
	}
	for _, s := range w.sources {
		heads, complete := at[l.parts[s.n]]
		if !complete {
			continue
		}
		s.only = heads[s.topic]
		slices.Sort(s.only)
		if s.only == nil {
			s.only = []int64{}
		}
	}
	return nil
}

func (w *watcher) name(e *entry, at map[string][]int64) {
	note := func(place int, p schemas.Position) {
		if p != 0 {
			at[w.log.topics[place]] = append(at[w.log.topics[place]], offset(p)-1)
		}
	}
	for _, k := range w.config.Kinds {
		switch k {
		case transport.Out:
			note(outTopic, e.head.OutAt)
		case transport.DeadLetter:
			note(dlqTopic, e.head.LetterAt)
		case transport.Control:
			note(dlqTopic, e.head.Control)
		case transport.Snapshot:
			note(stateTopic, schemas.Position(e.checkpoint+1))
		}
	}
}

// Next is transport.Watcher.Next.
func (w *watcher) Next(ctx context.Context) (transport.Stored, error) {
	for {
		if w.closed {
			return transport.Stored{}, transport.ErrClosed
		}
		if err := w.log.broker.check(ctx); err != nil {
			return transport.Stored{}, err
		}
		r, err := w.next(ctx)
		if err != nil {
			return transport.Stored{}, err
		}
		kind, ok := kindOf(r)
		if !ok || r.Value == nil || !slices.Contains(w.config.Kinds, kind) || w.config.Chain != nil && w.log.jobOf(r) != w.config.Chain.Job {
			continue
		}
		if kind == transport.DeadLetter && w.log.parts[r.Partition].index.purged(w.log.jobOf(r), position(r)) {
			continue
		}
		return w.log.decode(r, kind, w.config.Headers)
	}
}

func (w *watcher) next(ctx context.Context) (*kgo.Record, error) {
	both, cancel := w.log.broker.both(ctx)
	defer cancel()
	r, err := w.stored(both)
	if err == nil && r == nil {
		if w.config.Drain {
			return nil, io.EOF
		}
		r, err = w.following(both)
	}
	if err != nil {
		if e := w.log.broker.check(ctx); e != nil {
			return nil, e
		}
	}
	return r, err
}

// stored is the next of what there was, nil at the end: of one partition by number, over partitions by time.
func (w *watcher) stored(ctx context.Context) (*kgo.Record, error) {
	for i := 0; i < len(w.sources); {
		more, err := w.sources[i].fill(ctx, w.log)
		if err != nil {
			return nil, err
		}
		if !more {
			w.sources = slices.Delete(w.sources, i, i+1)
			continue
		}
		i++
	}
	if len(w.sources) == 0 {
		return nil, nil
	}
	s := earliest(w.sources)
	r := s.records[0]
	s.records = s.records[1:]
	return r, nil
}

// earliest is the source to go on with. Time orders the next ones of all partitions, and of one the number says which is next:
// records of one transaction may be written to its topics in any order.
func earliest(sources []*source) *source {
	next := map[int32]*source{}
	for _, s := range sources {
		if n := next[s.n]; n == nil || number(s.records[0]) < number(n.records[0]) {
			next[s.n] = s
		}
	}
	return slices.MinFunc(slices.Collect(maps.Values(next)), func(a, b *source) int {
		return cmp.Or(a.records[0].Timestamp.Compare(b.records[0].Timestamp), cmp.Compare(a.n, b.n))
	})
}

// fill fetches when nothing is at hand; false at the end.
func (s *source) fill(ctx context.Context, l *log) (bool, error) {
	for len(s.records) == 0 {
		if s.only != nil && len(s.only) == 0 || s.at >= s.end {
			return false, nil
		}
		if s.only != nil {
			s.at = max(s.at, s.only[0])
		}
		from := s.at
		p, err := l.fetch(ctx, s.topic, s.n, from, 0)
		if err != nil {
			return false, fmt.Errorf("read topic %s/%d: %w", s.topic, s.n, l.broker.fetchError(ctx, err))
		}
		for _, r := range p.records {
			if r.Offset < s.end && s.wants(r) {
				s.records = append(s.records, r)
			}
		}
		s.at = max(s.at, p.next)
		for len(s.only) > 0 && s.only[0] < s.at {
			s.only = s.only[1:]
		}
		if p.next <= from {
			s.at = s.end // of what is committed
		}
	}
	return true, nil
}

func (s *source) wants(r *kgo.Record) bool {
	if s.only == nil {
		return true
	}
	_, found := slices.BinarySearch(s.only, r.Offset)
	return found
}

// following waits for a record behind what there was.
func (w *watcher) following(ctx context.Context) (*kgo.Record, error) {
	if w.client == nil {
		var err error
		if w.client, err = w.log.broker.follow(w.follow); err != nil {
			return nil, err
		}
	}
	for len(w.queue) == 0 {
		fetches := w.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("read topic %s/%d: %w", e.Topic, e.Partition, w.log.broker.fetchError(ctx, e.Err))
		}
		w.queue = fetches.Records()
	}
	r := w.queue[0]
	w.queue = w.queue[1:]
	return r, nil
}

// Close ends the watch.
func (w *watcher) Close() error {
	if !w.closed {
		w.closed = true
		if w.client != nil {
			w.client.Close()
		}
	}
	return nil
}
