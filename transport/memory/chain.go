package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A chain is the writing end of one chain; it is its fence.
type chain struct {
	client *logClient
	id     schemas.ChainID
	last   schemas.Position
	out    uint64
	gone   before
	pages  transport.PageSet
	broken error // after which it takes nothing more
}

// before is what a chain had before its first record, elsewhere.
type before struct{ out, bytes uint64 }

// Open is transport.Log.Open.
func (c *logClient) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	if err := c.checkChain(ctx, id); err != nil {
		return nil, transport.State{}, err
	}
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.chain(id.Job)
	state := transport.State{Out: s.out, OutBytes: s.outBytes}
	ch := &chain{client: c, id: id, last: s.last, out: s.out}
	var from schemas.Position
	if s.checkpoint != nil {
		var err error
		if state.Checkpoint, err = s.restore(id); err != nil {
			return nil, transport.State{}, err
		}
		from = s.checkpoint.Position
		ch.pages.Reset(state.Checkpoint)
	}
	for _, r := range s.records {
		if r.Position > from && r.Kind != transport.Page {
			state.Behind = append(state.Behind, r.Stored)
		}
	}
	return ch, state, nil
}

// restore returns the last checkpoint with the snapshot that its pages make.
func (s *chainState) restore(id schemas.ChainID) (*transport.Checkpoint, error) {
	c := clone(*s.checkpoint.Checkpoint)
	for _, h := range c.Pages {
		i := slices.IndexFunc(s.records, func(r *record) bool { return r.Kind == transport.Page && r.page == h })
		if i < 0 {
			return nil, fmt.Errorf("open %s: page %s of the checkpoint is not there", id, h)
		}
		c.Snapshot = append(c.Snapshot, s.records[i].pageData...)
	}
	return &c, nil
}

// ID names the chain.
func (ch *chain) ID() schemas.ChainID { return ch.id }

// Append is transport.Chain.Append.
func (ch *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	if err := ch.usable(ctx); err != nil {
		return 0, err
	}
	if err := transport.CheckAll(ch.id, ch.out, records); err != nil {
		return 0, ch.note(err)
	}
	for i := range records {
		r := ch.record(&records[i])
		if err := ch.put(ctx, r); err != nil {
			return i, ch.note(err)
		}
		if r.Kind == transport.Page {
			ch.pages.Add(r.page)
		}
	}
	return len(records), nil
}

// Commit is transport.Log.Commit; each checkpoint is an append of its own, in order of the chains' names.
func (c *logClient) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	chains, err := transport.Sorted[*chain](checkpoints)
	if err != nil {
		return err
	}
	var first error
	for _, ch := range chains {
		if err := ch.commit(ctx, checkpoints[ch]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (ch *chain) commit(ctx context.Context, c transport.Checkpoint) error {
	if err := ch.usable(ctx); err != nil {
		return err
	}
	if err := ch.pages.Check(ch.id, &c); err != nil {
		return ch.note(err)
	}
	kept := clone(c)
	r := &record{Stored: transport.Stored{Chain: ch.id, Kind: transport.Snapshot, Cursor: &kept.Cursor, Checkpoint: &kept}}
	r.Event.Chain, r.Event.Pipeline = ch.id, ch.client.log.key.pipeline
	r.Bytes = len(kept.Snapshot) + len(kept.Pages)*len(transport.PageHash{})
	r.size = int64(r.Bytes) + recordOverhead
	if err := ch.put(ctx, r); err != nil {
		return ch.note(err)
	}
	ch.pages.Reset(&kept)
	return nil
}

// put appends one record through the fault hook.
func (ch *chain) put(ctx context.Context, r *record) error {
	if err := ch.client.broker.check(ctx); err != nil {
		return err
	}
	l := ch.client.log
	sequence := r.Event.Sequence
	if r.Checkpoint != nil {
		sequence = r.Checkpoint.Out
	}
	fault := l.store.appendFault(ch.id, r.Kind, sequence)
	if fault == LoseAppend {
		return fmt.Errorf("append to %s: made to fail: %w", ch.id, transport.ErrUnknown)
	}
	at, err := l.append(ch.last, ch.gone, r)
	if fault == LoseAnswer {
		return fmt.Errorf("append to %s: made to fail: %w", ch.id, transport.ErrUnknown)
	}
	if err != nil {
		return err
	}
	ch.last = at
	if r.Kind == transport.Out {
		ch.out = r.Event.Sequence
	}
	return nil
}

func (ch *chain) record(r *transport.Record) *record {
	if r.Kind == transport.Page {
		data := slices.Clone(r.Page.Data)
		s := transport.Stored{Chain: ch.id, Kind: r.Kind, Bytes: len(data)}
		return &record{Stored: s, page: r.Page.Hash, pageData: data, size: int64(len(data)) + recordOverhead}
	}
	s := transport.Stored{Chain: ch.id, Kind: r.Kind, Event: r.Event, Bytes: len(r.Event.Data)}
	if r.Cursor != nil {
		cursor := r.Cursor.Clone()
		s.Cursor = &cursor
	}
	return &record{Stored: s, size: int64(s.Bytes) + recordOverhead}
}

// usable refuses a chain that has had an error.
func (ch *chain) usable(ctx context.Context) error {
	if ch.broken != nil {
		return fmt.Errorf("chain %s is of no more use: %w", ch.id, ch.broken)
	}
	return ch.client.broker.check(ctx)
}

// note remembers an error that ends the chain's use; a full log does not.
func (ch *chain) note(err error) error {
	if !transport.MayGoOn(err) {
		ch.broken = err
	}
	return err
}

func clone(c transport.Checkpoint) transport.Checkpoint {
	c.Cursor, c.Snapshot, c.Pages, c.InputHash = c.Cursor.Clone(), slices.Clone(c.Snapshot), slices.Clone(c.Pages), slices.Clone(c.InputHash)
	return c
}

// Adopt is transport.Adopter.
func (c *logClient) Adopt(ctx context.Context, id schemas.ChainID, out, bytes uint64) (transport.Chain, error) {
	if err := c.checkChain(ctx, id); err != nil {
		return nil, err
	}
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.chain(id.Job)
	if s.last != 0 {
		return nil, fmt.Errorf("adopt %s: it has a record at %d: %w", id, s.last, transport.ErrStale)
	}
	return &chain{client: c, id: id, out: out, gone: before{out, bytes}}, nil
}
