package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// ends are the positions of a chain's last records in both topics. Two openers that saw the same ends saw the same chain.
type ends [2]schemas.Position

// A writer is this process's right to write to one partition of a log.
type writer struct {
	log       *log
	partition int32

	mu       sync.Mutex
	producer *kgo.Client // holds the epoch; nil: not taken, or lost
	ends     map[schemas.JobID]ends
}

func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
}

func (w *writer) drop() {
	if w.producer != nil {
		w.producer.Close()
		w.producer, w.ends = nil, nil
	}
}

// take makes the producer, which shuts out whoever held the epoch before, and then reads what there is: nobody else can
// add to it unnoticed. The lock is held.
func (w *writer) take(ctx context.Context) error {
	if w.producer != nil {
		return nil
	}
	id := fmt.Sprintf("%s/%d", w.log.topics[dataTopic], w.partition)
	p, err := w.log.broker.newClient(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(maxBatch), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionTimeout(w.log.broker.config.Timeout))
	if err != nil {
		return err
	}
	if _, _, err := p.ProducerID(ctx); err != nil {
		p.Close()
		return fmt.Errorf("take epoch of %s: %w", id, err)
	}
	w.producer, w.ends = p, map[schemas.JobID]ends{}
	for topic := range w.log.topics {
		err := w.log.broker.scan(ctx, w.log.topics[topic], w.partition, func(r *kgo.Record) error {
			w.note(topic, r)
			return nil
		})
		if err != nil {
			w.drop()
			return err
		}
	}
	return nil
}

// jobOf is the job of a record's key: all of it in the data topic, the part before the last slashes in the state topic.
func jobOf(r *kgo.Record) schemas.JobID {
	key := string(r.Key)
	if rest, ok := strings.CutSuffix(key, "/ckpt"); ok {
		return schemas.JobID(rest)
	}
	if i := strings.LastIndex(key, "/page/"); i >= 0 {
		return schemas.JobID(key[:i])
	}
	return schemas.JobID(key)
}

func (w *writer) note(topic int, r *kgo.Record) {
	job := jobOf(r)
	e := w.ends[job]
	e[topic] = position(r)
	w.ends[job] = e
}

// put writes records of several chains in one transaction, if each chain ends where its holder thinks.
func (w *writer) put(ctx context.Context, chains []*chain, records []*kgo.Record) error {
	ctx, cancel := w.log.broker.limit(ctx)
	defer cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.log.broker.check(ctx); err != nil {
		return err
	}
	if err := w.take(ctx); err != nil {
		return produceError(err)
	}
	for _, ch := range chains {
		if w.ends[ch.id.Job] != ch.ends {
			return fmt.Errorf("chain %s ends at %v, not at %v: %w", ch.id, w.ends[ch.id.Job], ch.ends, transport.ErrStale)
		}
	}
	if err := w.transact(ctx, records); err != nil {
		w.drop() // the epoch is lost, or its transaction in doubt: the next one begins from what is stored
		return produceError(err)
	}
	for _, r := range records {
		topic := dataTopic
		if r.Topic == w.log.topics[stateTopic] {
			topic = stateTopic
		}
		w.note(topic, r)
	}
	for _, ch := range chains {
		ch.ends = w.ends[ch.id.Job]
	}
	return nil
}

func (w *writer) transact(ctx context.Context, records []*kgo.Record) error {
	if err := w.producer.BeginTransaction(); err != nil {
		return err
	}
	if err := w.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return errors.Join(err, w.producer.EndTransaction(ctx, kgo.TryAbort))
	}
	return w.producer.EndTransaction(ctx, kgo.TryCommit)
}

// produceError is what an error of a transaction means.
func produceError(err error) error {
	for _, fenced := range []error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.ConcurrentTransactions} {
		if errors.Is(err, fenced) {
			return fmt.Errorf("%w (%w)", transport.ErrStale, err)
		}
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("%w (%w)", transport.ErrTooLarge, err)
	}
	if errors.Is(err, transport.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w (%w)", transport.ErrUnknown, err)
}

// A chain is the writing end of one chain.
type chain struct {
	log    *log
	id     schemas.ChainID
	writer *writer
	ends   ends
	out    uint64
	pages  transport.PageSet
	broken error // after which it takes nothing more
}

// ID names the chain.
func (ch *chain) ID() schemas.ChainID { return ch.id }

// Append is transport.Chain.Append: one transaction, so that all of it is stored or none, but for one record that is too
// large: those before it are stored.
func (ch *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	if err := ch.usable(ctx); err != nil {
		return 0, err
	}
	if err := transport.CheckAll(ch.id, ch.out, records); err != nil {
		return 0, ch.note(err)
	}
	var all []*kgo.Record
	var large error
	for i := range records {
		r, err := ch.record(&records[i])
		if err != nil {
			return 0, ch.note(err)
		}
		if large = tooLarge(r); large != nil {
			break
		}
		all = append(all, r)
	}
	if len(all) > 0 {
		if err := ch.writer.put(ctx, []*chain{ch}, all); err != nil {
			return 0, ch.note(fmt.Errorf("append to %s: %w", ch.id, err))
		}
	}
	for i := range all {
		switch r := &records[i]; r.Kind {
		case transport.Page:
			ch.pages.Add(r.Page.Hash)
		case transport.Out:
			ch.out = r.Event.Sequence
		}
	}
	return len(all), large
}

// tooLarge refuses what would not fit a batch of its own.
func tooLarge(r *kgo.Record) error {
	size := len(r.Key) + len(r.Value) + 200
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > maxBatch {
		return fmt.Errorf("record of %d bytes: %w", size, transport.ErrTooLarge)
	}
	return nil
}

func (ch *chain) record(r *transport.Record) (*kgo.Record, error) {
	k := &kgo.Record{Topic: ch.log.topics[dataTopic], Partition: ch.writer.partition, Key: []byte(ch.id.Job)}
	if r.Kind == transport.Page {
		k.Topic, k.Key = ch.log.topics[stateTopic], fmt.Appendf(nil, "%s/page/%s", ch.id.Job, r.Page.Hash)
	}
	body, err := r.Encode(attributePrefix, adder(k))
	k.Value = body
	adder(k)(headerKind, r.Kind.String())
	return k, err
}

func adder(k *kgo.Record) func(name, value string) {
	return func(name, value string) {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
}

// Commit is transport.Log.Commit: a transaction for all chains of a partition.
func (l *log) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	chains, err := transport.Sorted[*chain](checkpoints)
	if err != nil {
		return err
	}
	var first error
	for _, w := range l.writers {
		if err := w.commit(ctx, chains, checkpoints); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (w *writer) commit(ctx context.Context, all []*chain, checkpoints map[transport.Chain]transport.Checkpoint) error {
	var mine []*chain
	var records []*kgo.Record
	for _, ch := range all {
		if ch.writer != w {
			continue
		}
		c := checkpoints[ch]
		r, err := ch.checkpoint(ctx, &c)
		if err != nil {
			return err
		}
		mine, records = append(mine, ch), append(records, r)
	}
	if len(mine) == 0 {
		return nil
	}
	err := w.put(ctx, mine, records)
	for _, ch := range mine {
		if err != nil {
			_ = ch.note(err)
			continue
		}
		c := checkpoints[ch]
		ch.pages.Reset(&c)
	}
	if err != nil {
		return fmt.Errorf("checkpoints of topic %s/%d: %w", w.log.topics[stateTopic], w.partition, err)
	}
	return nil
}

func (ch *chain) checkpoint(ctx context.Context, c *transport.Checkpoint) (*kgo.Record, error) {
	if err := ch.usable(ctx); err != nil {
		return nil, err
	}
	if err := ch.pages.Check(ch.id, c); err != nil {
		return nil, ch.note(err)
	}
	k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: ch.writer.partition, Key: []byte(string(ch.id.Job) + "/ckpt")}
	var err error
	if k.Value, err = c.Encode(adder(k)); err != nil {
		return nil, err
	}
	adder(k)(headerKind, transport.Snapshot.String())
	adder(k)(headerBehind, strconv.FormatUint(uint64(ch.ends[dataTopic]), 10))
	return k, tooLarge(k)
}

func (ch *chain) usable(ctx context.Context) error {
	if ch.broken != nil {
		return fmt.Errorf("chain %s is of no more use: %w", ch.id, ch.broken)
	}
	return ch.log.broker.check(ctx)
}

func (ch *chain) note(err error) error {
	if !transport.MayGoOn(err) {
		ch.broken = err
	}
	return err
}
