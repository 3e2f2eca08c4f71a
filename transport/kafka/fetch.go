package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// windowBytes is what a fetch may bring.
const windowBytes = 4 << 20

// retryAfter is how long a fetch waits before it asks again for who leads a partition.
const retryAfter = 50 * time.Millisecond

// A layout is where partitions lie.
type layout struct {
	mu     sync.Mutex
	topics map[string]topicInfo
}

// topicInfo is what the cluster says of a topic.
type topicInfo struct {
	id      [16]byte
	leaders []int32 // of the partitions; -1 none now
	copies  int     // that each partition has at least, whether up to date or not
	behind  []int32 // brokers whose copies are away or not up to date
	may     int32   // what the user may do with it, a bit for each operation of kmsg.ACLOperation, if that was asked for
	err     error
}

// lookUp asks the cluster about topics, and about the user's rights to them. It keeps nothing: a topic that was missing a moment
// ago may be there.
func (b *Broker) lookUp(ctx context.Context, names []string, rights bool) (map[string]topicInfo, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = rights
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b.client)
	if err != nil {
		return nil, err
	}
	found := map[string]topicInfo{}
	for _, t := range resp.Topics {
		i := topicInfo{id: t.TopicID, err: kerr.ErrorForCode(t.ErrorCode), leaders: make([]int32, len(t.Partitions)), may: t.AuthorizedOperations}
		for _, p := range t.Partitions {
			if p.Partition < 0 || int(p.Partition) >= len(i.leaders) {
				return nil, fmt.Errorf("topic %s has %d partitions, among them %d", *t.Topic, len(i.leaders), p.Partition)
			}
			i.leaders[p.Partition] = p.Leader
			if n := len(p.Replicas); i.copies == 0 || n < i.copies {
				i.copies = n
			}
			for _, at := range p.Replicas {
				if !slices.Contains(p.ISR, at) && !slices.Contains(i.behind, at) {
					i.behind = append(i.behind, at)
				}
			}
		}
		found[*t.Topic] = i
	}
	return found, nil
}

// learn asks anew where topics lie, until each partition has a leader. Topics that are not there are waited for so long: they may
// have been made a moment ago.
func (b *Broker) learn(ctx context.Context, names [3]string, patience time.Duration) error {
	for begun := time.Now(); ; {
		found, err := b.lookUp(ctx, names[:], false)
		for name, t := range found {
			if t.err != nil || slices.Contains(t.leaders, -1) {
				err = errors.Join(err, fmt.Errorf("topic %s: %w", name, cmp.Or(t.err, error(kerr.LeaderNotAvailable))))
			}
		}
		if err == nil {
			b.layout.mu.Lock()
			defer b.layout.mu.Unlock()
			if b.layout.topics == nil {
				b.layout.topics = map[string]topicInfo{}
			}
			maps.Copy(b.layout.topics, found)
			return nil
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) && time.Since(begun) > patience {
			return fmt.Errorf("%w\n  next: was it deleted? what it held is gone: stop run and workers, delete the topics %s, then milepost run --again",
				err, strings.Join(names[:], ", "))
		}
		if !passing(err) || !b.rest(ctx, retryAfter) {
			return b.fetchError(ctx, err)
		}
	}
}

// passing says whether an error of the cluster may be over soon.
func passing(err error) bool {
	var e *kerr.Error
	return !errors.As(err, &e) || e.Retriable
}

// rest is false when the context or the Broker ended first.
func (b *Broker) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
	return false
}

// A portion is what one fetch of a partition brought.
type portion struct {
	records []*kgo.Record // committed ones; those that end transactions are left out
	next    int64         // the offset to go on at
	stable  int64         // all transactions before it are over
	high    int64         // the end of the log
	start   int64         // the first offset that is not removed
}

// fetch reads what is committed in a partition from an offset on, and waits so long for something to be there. A broker that
// does not lead any more is asked who does.
func (l *log) fetch(ctx context.Context, topic string, partition int32, at int64, wait time.Duration) (portion, error) {
	b := l.broker
	for {
		p, err := b.tryFetch(ctx, topic, partition, at, wait)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			starts, listed := l.starts(ctx, topic)
			if listed != nil {
				return p, listed
			}
			p.start = starts[partition]
			return p, err
		}
		if err == nil {
			return p, nil
		}
		if !passing(err) || !b.rest(ctx, retryAfter) {
			return p, fmt.Errorf("read topic %s/%d: %w", topic, partition, b.fetchError(ctx, err))
		}
		if err := b.learn(ctx, l.topics, b.config.Timeout); err != nil {
			return p, err
		}
	}
}

func (b *Broker) tryFetch(ctx context.Context, topic string, partition int32, at int64, wait time.Duration) (portion, error) {
	b.layout.mu.Lock()
	t := b.layout.topics[topic]
	b.layout.mu.Unlock()
	if int(partition) >= len(t.leaders) {
		return portion{}, fmt.Errorf("it was made anew with %d partitions: %w", len(t.leaders), kerr.InvalidPartitions)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = int32(wait.Milliseconds()), 1, windowBytes, 1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, t.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, at, windowBytes, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	answer, err := b.client.Broker(int(t.leaders[partition])).RetriableRequest(ctx, req)
	if err != nil {
		return portion{}, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return portion{}, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return portion{}, fmt.Errorf("a fetch of topic %s/%d was answered without it", topic, partition)
	}
	f, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition},
		&resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	p := portion{records: f.Records, next: next, stable: f.LastStableOffset, high: f.HighWatermark, start: f.LogStartOffset}
	return p, f.Err
}

// scan hands what is committed in [from, to) to f, in order. Where from is removed already it begins behind that. The end is
// known to be committed: where the marker that says so is not in the topic yet, scan waits for it.
func (l *log) scan(ctx context.Context, topic string, partition int32, from, to int64, f func(*kgo.Record) error) error {
	wait := time.Duration(0)
	for from < to {
		p, err := l.fetch(ctx, topic, partition, from, wait)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			if p.start <= from {
				return fmt.Errorf("read topic %s/%d at %d: %w", topic, partition, from, l.broker.fetchError(ctx, err))
			}
			from = p.start
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range p.records {
			if r.Offset >= to {
				return nil
			}
			if err := f(r); err != nil {
				return err
			}
		}
		wait = 0
		if p.next <= from {
			wait = 20 * time.Millisecond
		}
		from = max(from, p.next)
	}
	return nil
}

// pick hands the records at these offsets of a partition, in ascending order, to f; those that are gone are left out.
func (l *log) pick(ctx context.Context, topic string, partition int32, offsets []int64, f func(*kgo.Record) error) error {
	wait := time.Duration(0)
	for len(offsets) > 0 {
		p, err := l.fetch(ctx, topic, partition, offsets[0], wait)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			offsets = offsets[1:]
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range p.records {
			for len(offsets) > 0 && offsets[0] < r.Offset {
				offsets = offsets[1:]
			}
			if len(offsets) > 0 && offsets[0] == r.Offset {
				offsets = offsets[1:]
				if err := f(r); err != nil {
					return err
				}
			}
		}
		for len(offsets) > 0 && offsets[0] < p.next {
			offsets = offsets[1:]
		}
		wait = 20 * time.Millisecond                  // only for one whose marker is not there yet
		if len(offsets) > 0 && offsets[0] >= p.high { // a topic that was emptied by somebody
			return nil
		}
	}
	return nil
}

// starts are the first offsets of a topic's partitions that are not removed.
func (l *log) starts(ctx context.Context, topic string) ([]int64, error) {
	return l.list(ctx, topic, l.broker.admin.ListStartOffsets)
}

// ends are the offsets behind what is committed in a topic's partitions. A transaction whose end its writer knows of counts,
// which takes a moment: its markers may not be in the log yet. One that is open for longer does not.
func (l *log) ends(ctx context.Context, topic string) ([]int64, error) {
	high, err := l.list(ctx, topic, l.broker.admin.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; {
		stable, err := l.list(ctx, topic, l.broker.admin.ListCommittedOffsets)
		if err != nil {
			return nil, err
		}
		behind := false
		for n := range stable {
			behind = behind || stable[n] < high[n]
		}
		if !behind || time.Since(begun) > markersWait || !l.broker.rest(ctx, time.Millisecond) {
			return stable, nil
		}
	}
}

// markersWait is how long an opener waits for the markers of transactions to be written.
const markersWait = time.Second

func (l *log) list(ctx context.Context, topic string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) ([]int64, error) {
	offsets := make([]int64, len(l.parts))
	for {
		all, err := ask(ctx, topic)
		if err == nil {
			err = all.Error()
		}
		if err == nil {
			for n := range offsets {
				o, _ := all.Lookup(topic, int32(n))
				offsets[n] = o.Offset
			}
			return offsets, nil
		}
		if !passing(err) || !l.broker.rest(ctx, retryAfter) {
			return nil, fmt.Errorf("offsets of topic %s: %w", topic, l.broker.fetchError(ctx, err))
		}
	}
}
