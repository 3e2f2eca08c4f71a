package memory

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// recordOverhead is what a record counts beside its data towards the log's size: about what headers take elsewhere.
const recordOverhead = 256

// A log holds the records of all its chains in one order.
type log struct {
	store *store
	key   logKey

	mu           sync.Mutex
	records      []*record // by position, trimmed ones taken out
	last         schemas.Position
	bytes        int64
	max, reserve int64
	chains       map[schemas.JobID]*chainState
	durables     map[string]*durable
	changed      signal // a record, a limit or a consumer's state
}

// A record is one stored record; it never changes.
type record struct {
	transport.Stored
	page     transport.PageHash
	pageData []byte
	size     int64
}

// A chainState is what the log knows of one chain.
type chainState struct {
	last       schemas.Position // of any kind: the fence
	out        uint64
	outBytes   uint64
	trimmed    schemas.Position // out events at and below it are gone
	checkpoint *record
	records    []*record
}

func newLog(s *store, k logKey) *log {
	return &log{store: s, key: k, chains: map[schemas.JobID]*chainState{}, durables: map[string]*durable{}}
}

func (l *log) chain(job schemas.JobID) *chainState {
	c := l.chains[job]
	if c == nil {
		c = &chainState{}
		l.chains[job] = c
	}
	return c
}

// append stores r as the chain's next record if its last one is at expect, and says where.
func (l *log) append(expect schemas.Position, gone before, r *record) (schemas.Position, error) {
	clock := l.store.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.chain(r.Chain.Job)
	if c.last != expect {
		return 0, fmt.Errorf("append to %s: last record is at %d, not at %d: %w", r.Chain, c.last, expect, transport.ErrStale)
	}
	if err := l.room(r); err != nil {
		return 0, err
	}
	if c.last == 0 {
		c.out, c.outBytes = gone.out, gone.bytes
	}
	l.last++
	r.Position, r.At = l.last, clock.Now()
	l.records, c.records, c.last = append(l.records, r), append(c.records, r), r.Position
	l.bytes += r.size
	switch r.Kind {
	case transport.Out:
		c.out, c.outBytes = r.Event.Sequence, c.outBytes+uint64(r.Bytes)
	case transport.Snapshot:
		c.checkpoint = r
	}
	l.changed.broadcast()
	return r.Position, nil
}

// room refuses what the log has no space for: out events already where only the reserve is left.
func (l *log) room(r *record) error {
	if r.Bytes > MaxEventBytes {
		return fmt.Errorf("append to %s: %d bytes: %w", r.Chain, r.Bytes, transport.ErrTooLarge)
	}
	limit := l.max
	if r.Kind == transport.Out {
		limit -= l.reserve
	}
	if l.max > 0 && l.bytes+r.size > limit {
		return fmt.Errorf("append to %s: log %s/%s holds %d of %d bytes: %w", r.Chain, l.key.pipeline, l.key.stage, l.bytes, limit, transport.ErrFull)
	}
	return nil
}

// trim removes what transport.Log.Trim says.
func (l *log) trim(job schemas.JobID, below schemas.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.chains[job]
	if c == nil {
		return
	}
	over := c.isOver()
	dead := func(r *record) bool { return r.Position != c.last && c.unneeded(r, below, over) }
	gone := map[schemas.Position]bool{}
	for _, r := range c.records {
		if dead(r) {
			gone[r.Position] = true
			l.bytes -= r.size
			if r.Kind == transport.Out {
				c.trimmed = max(c.trimmed, r.Position)
			}
		}
	}
	is := func(r *record) bool { return gone[r.Position] }
	c.records, l.records = slices.DeleteFunc(c.records, is), slices.DeleteFunc(l.records, is)
	if over {
		c.checkpoint = nil
	}
	l.changed.broadcast()
}

// isOver says whether nothing comes behind the chain's last record.
func (c *chainState) isOver() bool { return len(c.records) > 0 && c.records[len(c.records)-1].Over() }

// purge removes dead letters, as transport.Log.Purge says.
func (l *log) purge(job schemas.JobID, letters []schemas.Position) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.chains[job]
	if c == nil {
		return 0
	}
	gone := func(r *record) bool {
		return r.Chain.Job == job && r.Kind == transport.DeadLetter && r.Position != c.last && slices.Contains(letters, r.Position)
	}
	for _, r := range c.records {
		if gone(r) {
			l.bytes -= r.size
			n++
		}
	}
	c.records, l.records = slices.DeleteFunc(c.records, gone), slices.DeleteFunc(l.records, gone)
	l.changed.broadcast()
	return n
}

func (c *chainState) unneeded(r *record, below schemas.Position, over bool) bool {
	switch r.Kind {
	case transport.Out:
		return r.Position <= below
	case transport.Snapshot:
		return over || r != c.checkpoint
	case transport.Page:
		return over || c.checkpoint != nil && r.Position < c.checkpoint.Position && !slices.Contains(c.checkpoint.Checkpoint.Pages, r.page)
	}
	return false
}

// after returns the first record behind a position that match takes. The lock is held.
func (l *log) after(from schemas.Position, match func(*record) bool) *record {
	i := sort.Search(len(l.records), func(i int) bool { return l.records[i].Position > from })
	for _, r := range l.records[i:] {
		if match(r) {
			return r
		}
	}
	return nil
}

// A logClient is a log as one Broker sees it.
type logClient struct {
	log    *log
	broker *Broker
}

func (c *logClient) checkChain(ctx context.Context, id schemas.ChainID) error {
	if id.Stage != c.log.key.stage || id.Job == "" {
		return fmt.Errorf("chain %q is not of log %s/%s", id, c.log.key.pipeline, c.log.key.stage)
	}
	return c.broker.check(ctx)
}

// Trim is transport.Log.Trim.
func (c *logClient) Trim(ctx context.Context, id schemas.ChainID, below schemas.Position) error {
	if err := c.checkChain(ctx, id); err != nil {
		return err
	}
	c.log.trim(id.Job, below)
	return nil
}

// Purge is transport.Log.Purge.
func (c *logClient) Purge(ctx context.Context, id schemas.ChainID, letters []schemas.Position) (int, error) {
	if err := c.checkChain(ctx, id); err != nil {
		return 0, err
	}
	return c.log.purge(id.Job, letters), nil
}

// Stats is the log's size now.
func (c *logClient) Stats(ctx context.Context) (transport.Stats, error) {
	if err := c.broker.check(ctx); err != nil {
		return transport.Stats{}, err
	}
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	return transport.Stats{Records: uint64(len(l.records)), Bytes: uint64(l.bytes), MaxBytes: uint64(l.max), Consumers: len(l.durables)}, nil
}

// A signal wakes everybody who waits. The lock of what it is about is held around both methods.
type signal struct{ ch chan struct{} }

// wait returns a channel that the next broadcast closes.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
