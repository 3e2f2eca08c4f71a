package kafka

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// openTries is how often Open begins anew when the holder replaces a checkpoint while it is read.
const openTries = 5

// errReplaced: what the head names is not there any more.
var errReplaced = errors.New("a page of the checkpoint is not there")

// Open is transport.Log.Open.
func (l *log) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, transport.State{}, err
	}
	p := l.partition(id.Job)
	p.flush(ctx) // of a chain that this process gave up a moment ago
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	for try := 1; ; try++ {
		ch, state, err := l.open(limited, id, p)
		if err == nil || try < openTries && errors.Is(err, errReplaced) {
			if err == nil {
				return ch, state, nil
			}
			continue
		}
		if e := l.broker.check(ctx); e != nil {
			err = e
		}
		return nil, transport.State{}, fmt.Errorf("open %s: %w", id, err)
	}
}

func (l *log) open(ctx context.Context, id schemas.ChainID, p *part) (*chain, transport.State, error) {
	// What it misses while another's transaction stays open, the first append will find: to write is to have it all.
	if _, err := p.index.refresh(ctx); err != nil {
		return nil, transport.State{}, err
	}
	e, _ := p.index.lookup(id.Job)
	h := &e.head
	ch := &chain{log: l, id: id, part: p, number: h.Number, out: h.Out}
	state := transport.State{Out: h.Out, OutBytes: h.OutBytes}
	var err error
	if e.checkpoint >= 0 {
		if state.Checkpoint, err = l.checkpoint(ctx, id, p, &e); err != nil {
			return nil, state, err
		}
		ch.pages.Reset(state.Checkpoint)
	}
	state.Behind, err = l.behind(ctx, id, p, &e)
	return ch, state, err
}

// Adopt is transport.Adopter: the first head counts what came before.
func (l *log) Adopt(ctx context.Context, id schemas.ChainID, out, bytes uint64) (transport.Chain, error) {
	opened, _, err := l.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	ch := opened.(*chain)
	if ch.number != 0 {
		return nil, fmt.Errorf("adopt %s: it has %d records: %w", id, ch.number, transport.ErrStale)
	}
	ch.out, ch.gone = out, head{Out: out, OutBytes: bytes}
	return ch, nil
}

// checkpoint reads the last one with the snapshot that its pages make.
func (l *log) checkpoint(ctx context.Context, id schemas.ChainID, p *part, e *entry) (*transport.Checkpoint, error) {
	var c *transport.Checkpoint
	err := l.pick(ctx, l.topics[stateTopic], p.n, []int64{e.checkpoint}, func(r *kgo.Record) error {
		s, err := l.decode(r, transport.Snapshot, false)
		c = s.Checkpoint
		return err
	})
	if err != nil || c == nil {
		return nil, cmp.Or(err, errReplaced)
	}
	var offsets []int64
	at := map[int64]transport.PageHash{}
	for _, h := range c.Pages {
		page, ok := e.pages[h]
		if !ok {
			return nil, fmt.Errorf("%w: %s", errReplaced, h)
		}
		at[page.offset] = h
		offsets = append(offsets, page.offset)
	}
	slices.Sort(offsets)
	pages := map[transport.PageHash][]byte{}
	err = l.pick(ctx, l.topics[stateTopic], p.n, slices.Compact(offsets), func(r *kgo.Record) error {
		pages[at[r.Offset]] = r.Value
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, h := range c.Pages {
		data, ok := pages[h]
		if !ok {
			return nil, fmt.Errorf("%w: %s of %s", errReplaced, h, id)
		}
		c.Snapshot = append(c.Snapshot, data...)
	}
	return c, nil
}

// behind reads what lies behind the checkpoint, in the order in which it was appended.
func (l *log) behind(ctx context.Context, id schemas.ChainID, p *part, e *entry) ([]transport.Stored, error) {
	type numbered struct {
		number uint64
		stored transport.Stored
	}
	var all []numbered
	take := func(r *kgo.Record) error {
		kind, ok := kindOf(r)
		if !ok || r.Value == nil || l.jobOf(r) != id.Job {
			return nil
		}
		s, err := l.decode(r, kind, false)
		all = append(all, numbered{number(r), s})
		return err
	}
	h := &e.head
	for _, q := range []struct{ topic, covered, first, last schemas.Position }{
		{outTopic, h.Behind, h.First, h.OutAt}, {dlqTopic, h.BehindD, h.Decided, h.decidedAt()},
	} {
		if q.last <= q.covered {
			continue
		}
		from := max(offset(q.covered), offset(q.first)-1)
		if err := l.scan(ctx, l.topics[q.topic], p.n, from, offset(q.last), take); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	var behind []transport.Stored
	for _, n := range all {
		behind = append(behind, n.stored)
	}
	return behind, nil
}

// pageOf is the hash in a page's key.
func pageOf(r *kgo.Record) (h transport.PageHash, err error) {
	text := string(r.Key[strings.LastIndexByte(string(r.Key), '/')+1:])
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("page at %d of topic %s/%d: its key ends in %q, not in a hash", r.Offset, r.Topic, r.Partition, text)
	}
	return transport.PageHash(b), nil
}
