package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
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
//
// What is appended is gathered in a batch. A batch is stored by one transaction, and while that is on its way, the next one is
// gathered: the slower the brokers are, the more a transaction holds.
type part struct {
	log     *log
	n       int32
	index   index
	removed atomic.Int64 // the out topic's start, where this process moved it

	// turn is held by whoever makes the producer, or has it store a batch; it is taken before mu.
	turn     sync.Mutex
	producer *kgo.Client     // holds the epoch; nil: not taken, or lost. Changed under both locks
	known    map[string]bool // topics that were written to; true: the producer has noted its partitions

	mu     sync.Mutex
	number uint64 // of the last record that was appended
	open   *batch // is being gathered
	flying *batch // is being stored
}

func newPart(l *log, n int32) *part {
	p := &part{log: l, n: n}
	p.index = index{part: p, chains: map[schemas.JobID]*entry{}}
	return p
}

// A batch is what was appended since the one before.
type batch struct {
	chains  map[schemas.JobID]*touched
	records []*kgo.Record
	events  int
	bytes   int
	timer   *time.Timer
	hurried bool  // its transaction was asked for before the time
	over    bool  // it was stored, or given up: see err. Of the part's lock, as all above
	err     error // why it was given up

	mu     sync.Mutex
	failed error // the first error of a produced record
}

// touched is a chain in a batch. Its holder knows how far it is: number, sequence and bytes of its last records.
type touched struct {
	holder  *chain
	number  uint64
	out     uint64
	bytes   uint64
	size    uint64      // of out events of this batch, as they are stored
	dsize   uint64      // of its decisions
	first   *kgo.Record // out event
	last    *kgo.Record // the last ones
	letter  *kgo.Record
	control *kgo.Record
	covered bool // by a checkpoint behind all of these
	pages   map[transport.PageHash]bool
}

// done is called by the client for each record, on a goroutine of its own.
func (t *batch) done(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
	}
}

func (t *batch) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// maxLinger is the client's limit.
const maxLinger = time.Minute

// take makes the producer, which shuts out whoever held the epoch before, and then reads what there is: nobody else can
// add to it unnoticed. turn and mu are held.
func (p *part) take(ctx context.Context) error {
	if p.producer != nil {
		return nil
	}
	id := fmt.Sprintf("%s/%d", p.log.topics[outTopic], p.n)
	b := p.log.broker
	// It lingers until the flush of a commit: else every small event was a request of its own.
	c, err := b.newClient(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(min(b.config.AheadInterval, maxLinger)),
		kgo.ProducerBatchMaxBytes(int32(b.config.MaxMessageBytes)), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(math.MaxInt32), kgo.TransactionTimeout(b.config.Timeout)) // to wait for room has no end while brokers are away
	if err != nil {
		return err
	}
	if _, _, err = c.ProducerID(ctx); err == nil {
		var complete bool
		if complete, err = p.index.refresh(ctx); err == nil && !complete {
			err = errors.New("somebody else's transaction is open there")
		}
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("take the epoch of %s: %w", id, err)
	}
	p.producer, p.known, p.number = c, map[string]bool{}, p.index.newest()
	return nil
}

// drop gives up the producer, and what is not stored: its chains have to be opened again. turn is held.
func (p *part) drop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range []*batch{p.flying, p.open} {
		if t != nil {
			t.end(err)
		}
	}
	p.flying, p.open = nil, nil
	if p.producer != nil {
		p.producer.Close()
		p.producer = nil
	}
}

// end tells those who wait for it, and those whose records were in it, what became of the batch. The part's lock is held.
func (t *batch) end(err error) {
	if t.timer != nil {
		t.timer.Stop() // of one that is given up unstored
	}
	if t.over, t.err = true, err; err == nil {
		return
	}
	for _, c := range t.chains {
		c.holder.broken = err
	}
}

// close stores what was appended and gives up the producer.
func (p *part) close() {
	p.flush(context.Background())
	p.turn.Lock()
	defer p.turn.Unlock()
	p.drop(transport.ErrClosed)
}

// flush stores what was appended ahead, and returns when nothing is on its way.
func (p *part) flush(ctx context.Context) {
	if err := p.store(ctx, nil); err != nil {
		p.log.broker.config.Log.Debug("a transaction was not committed", "topic", p.log.topics[outTopic], "partition", p.n, "error", err)
	}
}

// reach is how far the chain is, with what is not stored yet; mu is held.
func (p *part) reach(ch *chain) (number, out, bytes uint64) {
	for _, t := range []*batch{p.open, p.flying} {
		if t == nil {
			continue
		}
		if c := t.chains[ch.id.Job]; c != nil {
			return c.number, c.out, c.bytes
		}
	}
	e, _ := p.index.lookup(ch.id.Job)
	if e.head.Number == 0 {
		return 0, ch.gone.Out, ch.gone.OutBytes
	}
	return e.head.Number, e.head.Out, e.head.OutBytes
}

// begin returns with mu held, the right to write taken, and the chain's place in the open batch; with an error, without the lock.
func (p *part) begin(ctx context.Context, ch *chain) (*touched, error) {
	b := p.log.broker
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.producer == nil {
		p.mu.Unlock()
		p.turn.Lock()
		p.mu.Lock()
		limited, cancel := b.limit(ctx)
		err := p.take(limited)
		cancel()
		p.turn.Unlock()
		if err != nil {
			p.mu.Unlock()
			return nil, b.produceError(err)
		}
	}
	if err := ch.broken; err != nil {
		p.mu.Unlock()
		return nil, err
	}
	number, out, bytes := p.reach(ch)
	if number != ch.number {
		p.mu.Unlock()
		return nil, fmt.Errorf("chain %s ends with record %d, not %d: %w", ch.id, number, ch.number, transport.ErrStale)
	}
	if p.open == nil {
		p.open = &batch{chains: map[schemas.JobID]*touched{}}
	}
	c := p.open.chains[ch.id.Job]
	if c == nil {
		c = &touched{number: number, out: out, bytes: bytes, pages: map[transport.PageHash]bool{}}
		p.open.chains[ch.id.Job] = c
	}
	c.holder = ch
	return c, nil
}

// add puts a record of a chain into the open batch. mu is held.
func (p *part) add(c *touched, r *kgo.Record) {
	p.number++
	c.number, c.holder.number = p.number, p.number
	add(r, headerNumber, strconv.FormatUint(p.number, 10))
	if r.Topic == p.log.topics[dlqTopic] {
		r.Key = letterKey(c.holder.id.Job, p.number)
	}
	size := uint64(p.put(r))
	switch r.Topic {
	case p.log.topics[outTopic]:
		c.size += size
	case p.log.topics[dlqTopic]:
		c.dsize += size
	}
}

// pending is the size of what is not stored yet.
func (p *part) pending() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range []*batch{p.open, p.flying} {
		if t != nil {
			n += int64(t.bytes)
		}
	}
	return n
}

// put puts any record into the open batch, and returns its size. mu is held.
func (p *part) put(r *kgo.Record) int {
	size := recordSize(r)
	p.open.bytes += size
	p.open.records = append(p.open.records, r)
	p.log.size.add(int64(size))
	return size
}

// recordSize is about what a record takes.
func recordSize(r *kgo.Record) int {
	size := len(r.Key) + len(r.Value) + 30
	for i := range r.Headers {
		size += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 4
	}
	return size
}

// store returns when a batch is stored or given up; nil is whichever is open, after those on their way.
func (p *part) store(ctx context.Context, wanted *batch) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	if wanted != nil && wanted.over {
		p.mu.Unlock()
		return wanted.err
	}
	t := p.open
	p.flying, p.open = t, nil
	if t != nil && t.timer != nil {
		t.timer.Stop() // else the next batch is stored when it fires
	}
	p.mu.Unlock()
	if t == nil {
		return nil
	}
	b := p.log.broker
	ctx, cancel := b.limit(ctx)
	defer cancel()
	state, err := p.transact(ctx, t)
	if err == nil {
		err = p.index.stored(state)
	}
	if err != nil {
		p.drop(err)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.end(nil)
	p.flying = nil
	return nil
}

// transact stores a batch: everything in it is stored, or nothing. It returns its records of the state topic. turn is held.
func (p *part) transact(ctx context.Context, t *batch) (state []*kgo.Record, err error) {
	b := p.log.broker
	if err := p.producer.BeginTransaction(); err != nil {
		return nil, b.produceError(err)
	}
	for _, r := range t.records {
		p.produce(ctx, t, r)
	}
	heads, err := p.settle(ctx, t)
	if err != nil {
		err = b.produceError(err)
		p.abort(ctx, err)
		return nil, err
	}
	p.learn(ctx)
	if err := p.producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		// Whether it is committed is not known here; whoever takes the epoch next will see.
		return nil, fmt.Errorf("%w (end of the transaction: %w)%s", transport.ErrUnknown, err, b.advice(err))
	}
	for _, r := range t.records {
		if r.Topic == p.log.topics[stateTopic] {
			state = append(state, r)
		}
	}
	return append(state, heads...), nil
}

// produce hands a record to the client, which takes as much as a batch holds. Its context must not end with the caller's: a
// cancelled record costs the epoch.
func (p *part) produce(ctx context.Context, t *batch, r *kgo.Record) {
	if !p.known[r.Topic] {
		p.known[r.Topic] = false
	}
	p.producer.Produce(context.WithoutCancel(ctx), r, t.done)
}

// settle waits for the records and writes the heads, which name their positions.
func (p *part) settle(ctx context.Context, t *batch) (heads []*kgo.Record, err error) {
	if err := p.wait(ctx, t); err != nil {
		return nil, err
	}
	for job, c := range t.chains {
		e, _ := p.index.lookup(job)
		h := c.head(&e)
		r, err := c.holder.headRecord(&h)
		if err != nil {
			return nil, err
		}
		p.produce(ctx, t, r)
		heads = append(heads, r)
	}
	return heads, p.wait(ctx, t)
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

func (p *part) wait(ctx context.Context, t *batch) error {
	if err := p.producer.Flush(ctx); err != nil {
		return err
	}
	return t.failure()
}

// head is the chain's head behind its records in a batch, whose positions are known.
func (c *touched) head(before *entry) head {
	h := before.head
	h.Number, h.Out, h.OutBytes = c.number, c.out, c.bytes
	h.Size, h.DSize = h.Size+c.size, h.DSize+c.dsize
	if c.last != nil {
		if h.First == 0 || before.needs() == 0 {
			h.First = position(c.first)
		}
		h.OutAt = position(c.last)
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
	return h
}

// abort has the brokers forget the transaction. turn is held.
func (p *part) abort(ctx context.Context, err error) {
	if errors.Is(err, transport.ErrStale) {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = p.producer.EndTransaction(limited, kgo.TryAbort) // else whoever reads waits for it to time out
}
