package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// attributePrefix stands before attribute names in headers (CloudEvents Kafka binding 1.0.2, 3.2.3.1).
const attributePrefix = "ce_"

// Headers of ours: the kind of a record, and of a checkpoint the position of the chain's last record in the data topic.
const (
	headerKind   = "mp-kind"
	headerBehind = "mp-behind"
)

// windowBytes is what a fetch may bring.
const windowBytes = 4 << 20

// follow makes a client that reads one partition of a topic from an offset on, what is committed alone. Control records are
// kept, since without them one cannot see that the end is reached.
func (b *Broker) follow(topic string, partition int32, offset int64) (*kgo.Client, error) {
	return b.newClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(windowBytes), kgo.FetchMaxPartitionBytes(windowBytes),
	)
}

// fetchError is what an error of a fetch means.
func fetchError(err error) error {
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("%w (%w)", transport.ErrGone, err)
	}
	return err
}

// scan hands all that is committed in a partition now to f, in order.
func (b *Broker) scan(ctx context.Context, topic string, partition int32, f func(*kgo.Record) error) error {
	start, end, err := b.bounds(ctx, topic, partition)
	if err != nil || start >= end {
		return err
	}
	c, err := b.follow(topic, partition, start)
	if err != nil {
		return err
	}
	defer c.Close()
	for at := start; at < end; {
		fetches := c.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read topic %s/%d: %w", topic, partition, fetchError(e.Err))
		}
		for _, r := range fetches.Records() {
			at = r.Offset + 1
			if r.Attrs.IsControl() || r.Offset >= end {
				continue
			}
			if err := f(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// bounds are the partition's first offset and the one behind the last committed record.
func (b *Broker) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	starts, err := b.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("offsets of topic %s: %w", topic, err)
	}
	ends, err := b.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("offsets of topic %s: %w", topic, err)
	}
	s, sok := starts.Lookup(topic, partition)
	e, eok := ends.Lookup(topic, partition)
	if !sok || !eok || s.Err != nil || e.Err != nil {
		return 0, 0, fmt.Errorf("offsets of topic %s/%d: %w", topic, partition, errors.Join(s.Err, e.Err))
	}
	return s.Offset, e.Offset, nil
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// kindOf reads the record's kind.
func kindOf(r *kgo.Record) (transport.Kind, error) {
	text := header(r, headerKind)
	for k := transport.Out; k <= transport.Snapshot; k++ {
		if k.String() == text {
			return k, nil
		}
	}
	return 0, fmt.Errorf("record at %d of topic %s: kind is %q", r.Offset, r.Topic, text)
}

// position is the record's offset + 1, as schemas.Position has it for Kafka.
func position(r *kgo.Record) schemas.Position { return schemas.Position(r.Offset + 1) }

// decode reads a record back.
func (l *log) decode(r *kgo.Record, job schemas.JobID) (transport.Stored, error) {
	kind, err := kindOf(r)
	if err != nil {
		return transport.Stored{}, err
	}
	m := transport.Message{
		Chain: schemas.ChainID{Job: job, Stage: l.config.Stage}, Pipeline: l.config.Pipeline, Kind: kind,
		Header: func(name string) string { return header(r, name) }, Body: r.Value, Size: len(r.Value),
	}
	s, err := m.Decode(attributePrefix)
	s.Position, s.At = position(r), r.Timestamp
	if err != nil {
		return s, fmt.Errorf("record at %d of topic %s/%d: %w", r.Offset, r.Topic, r.Partition, err)
	}
	return s, nil
}
