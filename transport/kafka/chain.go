package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A chain is the writing end of one chain.
type chain struct {
	log  *log
	id   schemas.ChainID
	part *part
	out  uint64 // sequence of the last out event
	gone head   // of what came before the first record, and lies elsewhere

	// Of the part's lock:
	number uint64 // of the chain's last record as its holder knows it
	pages  transport.PageSet
	broken error // after which it takes nothing more
}

// ID names the chain.
func (ch *chain) ID() schemas.ChainID { return ch.id }

// Append is transport.Chain.Append. All records of one call, up to one that is too large, are in one transaction.
func (ch *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	p := ch.part
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ch.usable(ctx); err != nil {
		return 0, err
	}
	if err := transport.CheckAll(ch.id, ch.out, records); err != nil {
		return 0, ch.note(err)
	}
	all, large, err := ch.encode(records)
	if err != nil {
		return 0, ch.note(err)
	}
	n, err := ch.fitting(ctx, records, all)
	if n > 0 {
		if failed := ch.put(ctx, records[:n], all[:n]); failed != nil {
			return 0, ch.note(fmt.Errorf("append to %s: %w", ch.id, failed))
		}
	}
	if err != nil {
		return n, ch.note(fmt.Errorf("append to %s: %w", ch.id, err))
	}
	return n, large
}

// encode makes Kafka's records of those before the first that is too large.
func (ch *chain) encode(records []transport.Record) (all []*kgo.Record, large, err error) {
	for i := range records {
		r, err := ch.record(&records[i])
		if err != nil {
			return nil, nil, err
		}
		if large = ch.tooLarge(r); large != nil {
			break
		}
		all = append(all, r)
	}
	return all, large, nil
}

// tooLarge refuses what would not fit a batch of its own.
func (ch *chain) tooLarge(r *kgo.Record) error {
	if size := recordSize(r) + 200; size > ch.log.broker.config.MaxMessageBytes {
		return fmt.Errorf("record of %d bytes, of %d at most (transport.kafka.max_message_bytes): %w", size, ch.log.broker.config.MaxMessageBytes, transport.ErrTooLarge)
	}
	return nil
}

// fitting is how many of the records the log has room for.
func (ch *chain) fitting(ctx context.Context, records []transport.Record, all []*kgo.Record) (int, error) {
	var sum int64
	for i, r := range all {
		sum += int64(recordSize(r))
		if err := ch.log.room(ctx, sum, records[i].Kind == transport.Out); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

// put produces records and commits, if they are not to be ahead.
func (ch *chain) put(ctx context.Context, records []transport.Record, all []*kgo.Record) error {
	p := ch.part
	limited, cancel := ch.log.broker.limit(ctx)
	defer cancel()
	c, err := p.begin(limited, ch)
	if err != nil {
		return err
	}
	ahead := ch.log.config.Ahead
	for i, r := range all {
		p.produce(ctx, c, r)
		ahead = ch.book(c, &records[i], r) && ahead
	}
	p.tx.events += len(all)
	config := &ch.log.broker.config
	if !ahead || p.tx.events >= config.AheadEvents || p.tx.bytes >= aheadBytes {
		return p.commit(ctx)
	}
	if p.tx.timer == nil {
		p.tx.timer = time.AfterFunc(config.AheadInterval, func() { p.flush(context.Background()) })
	}
	return nil
}

// book notes what a record is to its chain, and says whether it may be ahead of what is stored.
func (ch *chain) book(c *touched, r *transport.Record, k *kgo.Record) bool {
	switch r.Kind {
	case transport.Page:
		ch.pages.Add(r.Page.Hash)
		c.pages[r.Page.Hash] = true
	case transport.Out:
		ch.out = r.Event.Sequence
		c.head.Out, c.head.OutBytes = ch.out, c.head.OutBytes+uint64(len(r.Event.Data))
		if c.out = k; c.first == nil {
			c.first = k
		}
		return r.Cursor == nil && !r.Sync
	case transport.DeadLetter:
		c.letter = k
		return false
	default:
		c.control = k
		return false
	}
	return true
}

// Commit is transport.Log.Commit: a transaction for all chains of a partition.
func (l *log) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	chains, err := transport.Sorted[*chain](checkpoints)
	if err != nil {
		return err
	}
	var first error
	for _, p := range l.parts {
		var mine []*chain
		for _, ch := range chains {
			if ch.part == p {
				mine = append(mine, ch)
			}
		}
		if err := p.checkpoints(ctx, mine, checkpoints); err != nil && first == nil {
			first = fmt.Errorf("checkpoints in topic %s/%d: %w", l.topics[stateTopic], p.n, err)
		}
	}
	return first
}

func (p *part) checkpoints(ctx context.Context, chains []*chain, checkpoints map[transport.Chain]transport.Checkpoint) error {
	if len(chains) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, ch := range chains {
		c := checkpoints[ch]
		if err = ch.checkpoint(ctx, &c); err != nil {
			break
		}
	}
	if err == nil {
		err = p.commit(ctx)
	}
	for _, ch := range chains {
		if err != nil {
			_ = ch.note(err)
			continue
		}
		c := checkpoints[ch]
		ch.pages.Reset(&c)
	}
	return err
}

// checkpoint produces a checkpoint, and with it the removal of the pages that it does not name. The part's lock is held.
func (ch *chain) checkpoint(ctx context.Context, c *transport.Checkpoint) error {
	if err := ch.usable(ctx); err != nil {
		return err
	}
	if err := ch.pages.Check(ch.id, c); err != nil {
		return ch.note(err)
	}
	k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: ch.part.n, Key: stateKey(ch.id.Job, transport.Snapshot.String())}
	put := adder(k)
	var err error
	if k.Value, err = c.Encode(put); err != nil {
		return err
	}
	if k.Value == nil {
		k.Value = []byte{}
	}
	put(headerKind, transport.Snapshot.String())
	if err := ch.tooLarge(k); err != nil {
		return err
	}
	limited, cancel := ch.log.broker.limit(ctx)
	defer cancel()
	t, err := ch.part.begin(limited, ch)
	if err != nil {
		return err
	}
	ch.part.produce(ctx, t, k)
	t.covered = true
	ch.removePages(ctx, t, c)
	return nil
}

func (ch *chain) removePages(ctx context.Context, t *touched, c *transport.Checkpoint) {
	e, _ := ch.part.index.lookup(ch.id.Job)
	for h := range t.pages {
		if e.pages == nil {
			e.pages = map[transport.PageHash]int64{}
		}
		e.pages[h] = 0
	}
	for _, h := range c.Pages {
		delete(e.pages, h)
	}
	for h := range e.pages {
		k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: ch.part.n, Key: pageKey(ch.id.Job, h)}
		add(k, headerKind, transport.Page.String())
		ch.part.send(ctx, k)
	}
}

// usable says whether the chain may go on; the part's lock is held.
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
