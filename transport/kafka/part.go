package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A part is one partition of a log: what this process knows of it, and its right to write there.
type part struct {
	log     *log
	n       int32
	index   index
	removed atomic.Int64 // the out topic's start, where this process moved it

	mu       sync.Mutex
	producer *kgo.Client     // holds the epoch; nil: not taken, or lost
	known    map[string]bool // topics that were written to; true: the producer has noted its partitions
	number   uint64          // of the last record that was produced
	tx       *transaction
}

func newPart(l *log, n int32) *part {
	p := &part{log: l, n: n}
	p.index = index{part: p, chains: map[schemas.JobID]*entry{}}
	return p
}

// A transaction is what was produced since the last commit.
type transaction struct {
	chains map[schemas.JobID]*touched
	events int
	bytes  int
	state  []*kgo.Record // of the state topic, in order
	timer  *time.Timer

	mu  sync.Mutex
	err error // the first of a produced record
}

// touched is a chain in a transaction.
type touched struct {
	head    head // its positions are those of before, until the commit
	holder  *chain
	first   *kgo.Record // out event
	out     *kgo.Record // the last ones
	letter  *kgo.Record
	control *kgo.Record
	covered bool // by a checkpoint behind all of these
	pages   map[transport.PageHash]bool
}

// done is called by the client for each record, on a goroutine of its own.
func (t *transaction) done(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func (t *transaction) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// take makes the producer, which shuts out whoever held the epoch before, and then reads what there is: nobody else can
// add to it unnoticed. mu is held.
func (p *part) take(ctx context.Context) error {
	if p.producer != nil {
		return nil
	}
	id := fmt.Sprintf("%s/%d", p.log.topics[outTopic], p.n)
	b := p.log.broker
	// It lingers as long as a transaction may be open, since a commit flushes: else every small event was a request of its own.
	c, err := b.newClient(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(b.config.AheadInterval),
		kgo.ProducerBatchMaxBytes(int32(b.config.MaxMessageBytes)), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedBytes(2*aheadBytes), kgo.TransactionTimeout(b.config.Timeout))
	if err != nil {
		return err
	}
	if _, _, err = c.ProducerID(ctx); err == nil {
		err = p.index.refresh(ctx)
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("take the epoch of %s: %w", id, err)
	}
	p.producer, p.known, p.number = c, map[string]bool{}, p.index.newest()
	return nil
}

// drop gives up the producer; the open transaction's chains have to be opened again. mu is held.
func (p *part) drop(err error) {
	if t := p.tx; t != nil {
		p.tx = nil
		if t.timer != nil {
			t.timer.Stop()
		}
		for _, c := range t.chains {
			c.holder.broken = err
		}
	}
	if p.producer != nil {
		p.producer.Close()
		p.producer = nil
	}
}

// close commits what is open and gives up the producer.
func (p *part) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.commit(context.Background())
	p.drop(transport.ErrClosed)
}

// flush commits what was appended ahead.
func (p *part) flush(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.commit(ctx); err != nil {
		p.log.broker.config.Log.Debug("a transaction was not committed", "topic", p.log.topics[outTopic], "partition", p.n, "error", err)
	}
}

// number that the chain's last record has, with what is not committed yet.
func (p *part) numberOf(job schemas.JobID) uint64 {
	if p.tx != nil {
		if c := p.tx.chains[job]; c != nil {
			return c.head.Number
		}
	}
	e, _ := p.index.lookup(job)
	return e.head.Number
}

// begin checks the fence for the chain and opens a transaction if none is open. mu is held.
func (p *part) begin(ctx context.Context, ch *chain) (*touched, error) {
	b := p.log.broker
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	if p.tx != nil && p.tx.failed() != nil {
		p.abort(ctx, b.produceError(p.tx.failed()))
		if ch.broken != nil {
			return nil, ch.broken
		}
	}
	if err := p.take(ctx); err != nil {
		return nil, b.produceError(err)
	}
	if n := p.numberOf(ch.id.Job); n != ch.number {
		return nil, fmt.Errorf("chain %s ends with record %d, not %d: %w", ch.id, n, ch.number, transport.ErrStale)
	}
	if p.tx == nil {
		if err := p.producer.BeginTransaction(); err != nil {
			p.drop(err)
			return nil, b.produceError(err)
		}
		p.tx = &transaction{chains: map[schemas.JobID]*touched{}}
	}
	c := p.tx.chains[ch.id.Job]
	if c == nil {
		e, _ := p.index.lookup(ch.id.Job)
		c = &touched{head: e.head, pages: map[transport.PageHash]bool{}}
		if c.head.Number == 0 {
			c.head = ch.gone
		}
		p.tx.chains[ch.id.Job] = c
	}
	c.holder = ch
	return c, nil
}

// produce hands a record of a chain to the client. mu is held.
func (p *part) produce(ctx context.Context, c *touched, r *kgo.Record) {
	p.number++
	c.head.Number, c.holder.number = p.number, p.number
	add(r, headerNumber, strconv.FormatUint(p.number, 10))
	if r.Topic == p.log.topics[dlqTopic] {
		r.Key = letterKey(c.holder.id.Job, p.number)
	}
	p.send(ctx, r)
}

// send hands any record to the client. Its context must not end with the caller's: a cancelled record costs the epoch.
func (p *part) send(ctx context.Context, r *kgo.Record) {
	t := p.tx
	size := recordSize(r)
	t.bytes += size
	if !p.known[r.Topic] {
		p.known[r.Topic] = false
	}
	p.log.size.add(int64(size))
	if r.Topic == p.log.topics[stateTopic] {
		t.state = append(t.state, r)
	}
	p.producer.Produce(context.WithoutCancel(ctx), r, t.done)
}

// recordSize is about what a record takes.
func recordSize(r *kgo.Record) int {
	size := len(r.Key) + len(r.Value) + 30
	for i := range r.Headers {
		size += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 4
	}
	return size
}

// commit ends the open transaction, if there is one: everything in it is stored, or nothing. mu is held.
func (p *part) commit(ctx context.Context) error {
	t := p.tx
	if t == nil {
		return nil
	}
	b := p.log.broker
	ctx, cancel := b.limit(ctx)
	defer cancel()
	if t.timer != nil {
		t.timer.Stop()
	}
	err := p.settle(ctx, t)
	if err != nil {
		err = b.produceError(err)
		p.abort(ctx, err)
		return err
	}
	p.learn(ctx)
	if err := p.producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		// Whether it is committed is not known here; whoever takes the epoch next will see.
		err = fmt.Errorf("%w (end of the transaction: %w)", transport.ErrUnknown, b.advise(err))
		p.drop(err)
		return err
	}
	p.tx = nil
	return p.index.stored(t.state)
}

// settle waits for the records and writes the heads, which name their positions.
func (p *part) settle(ctx context.Context, t *transaction) error {
	if err := p.wait(ctx, t); err != nil {
		return err
	}
	for job, c := range t.chains {
		e, _ := p.index.lookup(job)
		c.locate(&e)
		r, err := c.holder.headRecord(&c.head)
		if err != nil {
			return err
		}
		p.send(ctx, r)
	}
	return p.wait(ctx, t)
}

// learn waits until the producer has noted the partitions of the topics that it wrote to. The client sends the first records
// of a topic a moment before it notes the topic; a transaction that ends in that moment begins a new epoch whose sequence
// does not begin anew in that topic, and the broker refuses the next record there (OUT_OF_ORDER_SEQUENCE_NUMBER).
func (p *part) learn(ctx context.Context) {
	for topic, known := range p.known {
		for ; !known && ctx.Err() == nil; runtime.Gosched() {
			leader, _, _ := p.producer.PartitionLeader(topic, p.n)
			known = leader >= 0
		}
		p.known[topic] = known
	}
}

func (p *part) wait(ctx context.Context, t *transaction) error {
	if err := p.producer.Flush(ctx); err != nil {
		return err
	}
	return t.failed()
}

// locate fills in the positions of the transaction's records.
func (c *touched) locate(before *entry) {
	h := &c.head
	if c.out != nil {
		if h.First == 0 || before.needs() == 0 {
			h.First = position(c.first)
		}
		h.OutAt = position(c.out)
	}
	if c.letter != nil {
		h.LetterAt = position(c.letter)
	}
	if c.control != nil {
		h.Control = position(c.control)
	}
	if h.Decided == 0 {
		h.Decided = h.decidedAt()
		if c.letter != nil && c.control != nil {
			h.Decided = min(h.LetterAt, h.Control)
		}
	}
	if c.covered {
		h.Behind, h.BehindD = h.OutAt, h.decidedAt()
	}
}

// abort gives the transaction up for a reason that its chains are told. mu is held.
func (p *part) abort(ctx context.Context, err error) {
	if p.producer != nil && !errors.Is(err, transport.ErrStale) {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = p.producer.EndTransaction(limited, kgo.TryAbort) // else whoever reads waits for it to time out
	}
	p.drop(err)
}
