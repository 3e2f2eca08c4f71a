package kafka

import (
	"context"
	"fmt"
	"maps"
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

	pages transport.PageSet

	// Of the part's lock:
	number uint64 // of the chain's last record as its holder knows it
	broken error  // after which it takes nothing more
}

// ID names the chain.
func (ch *chain) ID() schemas.ChainID { return ch.id }

// Append is transport.Chain.Append. All records of one call, up to one that is too large, are in one transaction.
func (ch *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
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

// fitting is how many of the records the log has room for: of out events there is none where only the reserve is left.
func (ch *chain) fitting(ctx context.Context, records []transport.Record, all []*kgo.Record) (int, error) {
	l := ch.log
	if l.size.limit(false) <= 0 {
		return len(all), nil
	}
	var sum int64
	for _, r := range all {
		sum += int64(recordSize(r))
	}
	held, err := l.holds(ctx, sum)
	if err != nil {
		return 0, err
	}
	for i, r := range all {
		held += int64(recordSize(r))
		if limit := l.size.limit(records[i].Kind == transport.Out); held > limit {
			return i, fmt.Errorf("log %s/%s holds %d of %d bytes: %w", l.config.Pipeline, l.config.Stage, held-int64(recordSize(r)), limit, transport.ErrFull)
		}
	}
	return len(all), nil
}

// put puts records into the open batch, and waits until they are stored, if they are not to be ahead.
func (ch *chain) put(ctx context.Context, records []transport.Record, all []*kgo.Record) error {
	p := ch.part
	c, err := p.begin(ctx, ch)
	if err != nil {
		return err
	}
	t := p.open
	ahead := ch.log.config.Ahead
	for i, r := range all {
		p.add(c, r)
		ahead = ch.book(c, &records[i], r) && ahead
	}
	t.events += len(all)
	if ahead = ahead && !p.full(t); ahead && t.timer == nil {
		t.timer = time.AfterFunc(ch.log.broker.config.AheadInterval, func() { p.flush(context.Background()) })
	}
	p.mu.Unlock()
	if ahead {
		return nil
	}
	return p.store(ctx, t)
}

// full says whether the batch is to hold no more. Half way there it is sent off if it can be. mu is held.
func (p *part) full(t *batch) bool {
	events, bytes := p.log.broker.config.AheadEvents, aheadBytes
	if half := t.events >= events/2 || t.bytes >= bytes/2; half && !t.hurried {
		t.hurried = true
		go p.flush(context.Background())
	}
	return t.events >= events || t.bytes >= bytes
}

// book notes what a record is to its chain, and says whether it may be ahead of what is stored.
func (ch *chain) book(c *touched, r *transport.Record, k *kgo.Record) bool {
	switch r.Kind {
	case transport.Page:
		ch.pages.Add(r.Page.Hash)
		c.pages[r.Page.Hash] = true
	case transport.Out:
		ch.out = r.Event.Sequence
		c.out, c.bytes = ch.out, c.bytes+uint64(len(r.Event.Data))
		if c.last = k; c.first == nil {
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
	var err error
	var last *batch
	for _, ch := range chains {
		c := checkpoints[ch]
		if last, err = ch.checkpoint(ctx, &c); err != nil {
			break
		}
	}
	if err == nil {
		err = p.store(ctx, last)
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

// checkpoint puts a checkpoint into the open batch, and with it the removal of the pages that it does not name.
func (ch *chain) checkpoint(ctx context.Context, c *transport.Checkpoint) (*batch, error) {
	if err := ch.usable(ctx); err != nil {
		return nil, err
	}
	if err := ch.pages.Check(ch.id, c); err != nil {
		return nil, ch.note(err)
	}
	k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: ch.part.n, Key: stateKey(ch.id.Job, transport.Snapshot.String())}
	put := adder(k)
	var err error
	if k.Value, err = c.Encode(put); err != nil {
		return nil, err
	}
	if k.Value == nil {
		k.Value = []byte{}
	}
	put(headerKind, transport.Snapshot.String())
	if err := ch.tooLarge(k); err != nil {
		return nil, err
	}
	p := ch.part
	t, err := p.begin(ctx, ch)
	if err != nil {
		return nil, err
	}
	defer p.mu.Unlock()
	p.add(t, k)
	t.covered = true
	ch.removePages(c)
	return p.open, nil
}

// removePages removes what the chain has of pages, stored or on its way, but for those of the checkpoint. The part's lock is held.
func (ch *chain) removePages(c *transport.Checkpoint) {
	p := ch.part
	e, _ := p.index.lookup(ch.id.Job)
	gone := map[transport.PageHash]bool{}
	for h := range e.pages {
		gone[h] = true
	}
	for _, t := range []*batch{p.flying, p.open} {
		if t != nil && t.chains[ch.id.Job] != nil {
			maps.Copy(gone, t.chains[ch.id.Job].pages)
		}
	}
	for _, h := range c.Pages {
		delete(gone, h)
	}
	for h := range gone {
		k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: p.n, Key: pageKey(ch.id.Job, h)}
		add(k, headerKind, transport.Page.String())
		p.put(k)
	}
}

// usable says whether the chain may go on.
func (ch *chain) usable(ctx context.Context) error {
	ch.part.mu.Lock()
	defer ch.part.mu.Unlock()
	if ch.broken != nil {
		return fmt.Errorf("chain %s is of no more use: %w", ch.id, ch.broken)
	}
	return ch.log.broker.check(ctx)
}

func (ch *chain) note(err error) error {
	ch.part.mu.Lock()
	defer ch.part.mu.Unlock()
	if !transport.MayGoOn(err) {
		ch.broken = err
	}
	return err
}
