package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Trim is transport.Log.Trim: it notes how far the chain may go, and removes what no chain of the partition needs any more.
// Pages and checkpoints go by the transaction of the next checkpoint and by compaction; behind the last one, here.
func (l *log) Trim(ctx context.Context, id schemas.ChainID, below schemas.Position) error {
	if err := l.checkChain(ctx, id); err != nil {
		return err
	}
	p := l.partition(id.Job)
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	if _, err := p.index.refresh(limited); err != nil {
		return err
	}
	e, _ := p.index.lookup(id.Job)
	if to := min(below, e.head.OutAt); to > e.trimmed {
		m := mark{At: to, Size: e.goneAt(to)}
		if err := l.broker.put(limited, p.markRecord(id.Job, kindTrim, kindTrim, m)); err != nil {
			return fmt.Errorf("trim %s: %w", id, err)
		}
		p.index.trim(id.Job, m)
	}
	if err := p.removeState(limited, id, &e); err != nil {
		return fmt.Errorf("trim %s: %w", id, err)
	}
	if err := p.cut(limited); err != nil {
		return fmt.Errorf("trim %s: %w", id, err)
	}
	return nil
}

// removeState removes the checkpoint and the pages of a chain that is over: nobody writes there any more.
func (p *part) removeState(ctx context.Context, id schemas.ChainID, e *entry) error {
	if e.checkpoint < 0 && len(e.pages) == 0 {
		return nil
	}
	if over, err := p.isOver(ctx, e); err != nil || !over {
		return err
	}
	var gone []*kgo.Record
	remove := func(key []byte, kind transport.Kind) {
		r := &kgo.Record{Topic: p.log.topics[stateTopic], Partition: p.n, Key: key}
		add(r, headerKind, kind.String())
		gone = append(gone, r)
	}
	if e.checkpoint >= 0 { // first: it must not name pages that are gone
		remove(stateKey(id.Job, transport.Snapshot.String()), transport.Snapshot)
	}
	for h := range e.pages {
		remove(pageKey(id.Job, h), transport.Page)
	}
	if err := p.log.broker.put(ctx, gone...); err != nil {
		return err
	}
	_, err := p.index.refresh(ctx)
	return err
}

// isOver says whether nothing comes behind the chain's last record.
func (p *part) isOver(ctx context.Context, e *entry) (over bool, err error) {
	if e.head.Control == 0 {
		return false, nil
	}
	at := []int64{offset(e.head.Control) - 1}
	err = p.log.pick(ctx, p.log.topics[dlqTopic], p.n, at, func(r *kgo.Record) error {
		if kind, ok := kindOf(r); !ok || kind != transport.Control || r.Value == nil || number(r) != e.head.Number {
			return nil
		}
		s, err := p.log.decode(r, transport.Control, false)
		over = err == nil && s.Over()
		return err
	})
	return over, err
}

// markRecord is a note about a chain that is not the holder's.
func (p *part) markRecord(job schemas.JobID, key, kind string, m mark) *kgo.Record {
	value, _ := json.Marshal(m) // two numbers
	r := &kgo.Record{Topic: p.log.topics[stateTopic], Partition: p.n, Key: stateKey(job, key), Value: value}
	add(r, headerKind, kind)
	return r
}

// put stores records that belong to no transaction.
func (b *Broker) put(ctx context.Context, records ...*kgo.Record) error {
	c, err := b.plainClient()
	if err != nil {
		return err
	}
	return b.advise(c.ProduceSync(ctx, records...).FirstErr())
}

// cut moves the start of the partition's out topic to what the neediest chain needs. What is not in the index yet lies behind
// all that is: a partition has one writer.
func (p *part) cut(ctx context.Context) error {
	var needed, newest schemas.Position
	p.index.each(func(_ schemas.JobID, e *entry) {
		newest = max(newest, e.head.OutAt)
		if n := e.needs(); n != 0 && (needed == 0 || n < needed) {
			needed = n
		}
	})
	to := offset(newest)
	if needed != 0 {
		to = offset(needed) - 1
	}
	if to <= p.removed.Load() {
		return nil
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: p.log.topics[outTopic], Partition: p.n, At: to, LeaderEpoch: -1})
	answers, err := p.log.broker.admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = answers.Error()
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("remove records of topic %s: %w (%w) [E-permission]\n  next: allow the user DELETE on topics with the prefix %s, or run with --retain", p.log.topics[outTopic], transport.ErrDenied, err, p.log.broker.config.Prefix)
	case err != nil && !errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("remove records of topic %s: %w", p.log.topics[outTopic], p.log.broker.fetchError(ctx, err))
	}
	p.removed.Store(to)
	return nil
}

// Purge is transport.Log.Purge: the letters' keys are removed from the compacted topic, and noted until that has happened.
func (l *log) Purge(ctx context.Context, id schemas.ChainID, letters []schemas.Position) (n int, err error) {
	if err := l.checkChain(ctx, id); err != nil {
		return 0, err
	}
	p := l.partition(id.Job)
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	if _, err := p.index.refresh(limited); err != nil {
		return 0, err
	}
	e, _ := p.index.lookup(id.Job)
	var offsets []int64
	for _, at := range letters {
		if at != 0 && int32(at>>partitionShift) == p.n && !slices.Contains(e.purged, at) {
			offsets = append(offsets, offset(at)-1)
		}
	}
	slices.Sort(offsets)
	var gone []*kgo.Record
	err = l.pick(limited, l.topics[dlqTopic], p.n, slices.Compact(offsets), func(r *kgo.Record) error {
		if k, ok := kindOf(r); !ok || k != transport.DeadLetter || l.jobOf(r) != id.Job || number(r) >= e.head.Number || r.Value == nil {
			return nil
		}
		n++
		m := mark{At: position(r), Size: uint64(recordSize(r))}
		gone = append(gone, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key}, p.markRecord(id.Job, fmt.Sprintf("%s-%d", kindPurge, m.At), kindPurge, m))
		return nil
	})
	if err == nil && n > 0 {
		if err = l.broker.put(limited, gone...); err == nil {
			_, err = p.index.refresh(limited)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("purge dead letters of %s: %w", id, err)
	}
	return n, nil
}
