package mirror

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A copying is one chain's.
type copying struct {
	m        *mirror
	pipeline string
	id       schemas.ChainID
	from, to transport.Log
	sum      Sum

	source    transport.State
	chain     transport.Chain
	there     uint64 // sequence of the destination's last out event
	decisions int    // that the destination has and that were not passed yet
	saved     *transport.Checkpoint
	empty     bool // the destination has nothing of the chain
}

func (x *copying) run(ctx context.Context) error {
	if err := x.open(ctx); err != nil {
		return err
	}
	if err := x.begin(ctx); err != nil {
		return err
	}
	if err := x.outs(ctx, x.before()); err != nil {
		return err
	}
	if err := x.decided(ctx); err != nil {
		return err
	}
	if err := x.checkpoint(ctx); err != nil {
		return err
	}
	for i := range x.source.Behind {
		if err := x.put(ctx, &x.source.Behind[i]); err != nil {
			return err
		}
	}
	x.sum.Chains = 1
	return x.match(ctx)
}

// open looks what is where.
func (x *copying) open(ctx context.Context) (err error) {
	if _, x.source, err = x.from.Open(ctx, x.id); err != nil {
		return err
	}
	var state transport.State
	if x.chain, state, err = x.to.Open(ctx, x.id); err != nil {
		return err
	}
	x.there, x.saved = state.Out, state.Checkpoint
	if err := drain(ctx, x.to, x.watch(true), func(*transport.Stored) error { x.decisions++; return nil }); err != nil {
		return err
	}
	x.empty = state.Out == 0 && state.Checkpoint == nil && x.decisions == 0
	if x.there > x.source.Out {
		return fmt.Errorf("%w: it has event %d, the source ends with %d", ErrElsewhere, x.there, x.source.Out)
	}
	return nil
}

// watch is what reads the chain's dead letters and controls.
func (x *copying) watch(headers bool) transport.WatchConfig {
	return transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter, transport.Control}, Chain: &x.id, Headers: headers}
}

// begin has the destination's chain begin where the source's does: behind the events that it has trimmed.
func (x *copying) begin(ctx context.Context) error {
	gone, left := x.source.Out, uint64(0)
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &x.id, Headers: true}
	err := drain(ctx, x.from, c, func(s *transport.Stored) error {
		gone, left = min(gone, s.Event.Sequence-1), left+uint64(s.Bytes)
		return nil
	})
	switch {
	case err != nil || x.there >= gone:
		return err
	case !x.empty:
		return fmt.Errorf("events %d to %d were trimmed since the destination was written: remove its logs and mirror again", x.there+1, gone)
	}
	a, can := x.to.(transport.Adopter)
	if !can {
		return fmt.Errorf("its first %d events were trimmed, and %s cannot go on with such a chain\n  next: run with --retain what is to be mirrored there", gone, x.m.To.Describe().Kind)
	}
	x.chain, err = a.Adopt(ctx, x.id, gone, x.source.OutBytes-min(left, x.source.OutBytes))
	x.there = gone
	return err
}

// before is the sequence of the last out event that does not lie behind the checkpoint, or behind where the last one was.
func (x *copying) before() uint64 {
	for i := range x.source.Behind {
		if s := &x.source.Behind[i]; s.Kind == transport.Out {
			return s.Event.Sequence - 1
		}
	}
	return x.source.Out
}

// outs copies the out events up to a sequence, as far as they are there.
func (x *copying) outs(ctx context.Context, upTo uint64) error {
	if x.there >= upTo {
		return nil
	}
	return drain(ctx, x.from, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &x.id}, func(s *transport.Stored) error {
		if s.Event.Sequence > upTo {
			return nil // they lie behind the checkpoint
		}
		return x.put(ctx, s)
	})
}

// decided copies the decisions that lie before the checkpoint.
func (x *copying) decided(ctx context.Context) error {
	behind := map[schemas.Position]bool{}
	for _, s := range x.source.Behind {
		if s.Kind == transport.DeadLetter || s.Kind == transport.Control {
			behind[s.Position] = true
		}
	}
	return drain(ctx, x.from, x.watch(false), func(s *transport.Stored) error {
		if behind[s.Position] {
			return nil
		}
		return x.put(ctx, s)
	})
}

// checkpoint copies the last one, with the pages of its snapshot.
func (x *copying) checkpoint(ctx context.Context) error {
	c := x.source.Checkpoint
	if c == nil {
		return nil
	}
	if s := x.saved; s != nil && s.Out == c.Out && s.Inputs == c.Inputs && s.Cursor.SameInput(c.Cursor) {
		x.sum.Present++
		return nil
	}
	cursor, err := x.m.cursor(ctx, x.pipeline, x.id.Job, c.Cursor)
	if err != nil {
		return err
	}
	stored := *c
	stored.Cursor, stored.Pages = cursor, nil
	if len(c.Snapshot) > transport.PageBytes {
		stored.Snapshot = nil
		put := map[transport.PageHash]bool{}
		for _, p := range transport.SplitPages(c.Snapshot) {
			if !put[p.Hash] {
				if _, err := x.chain.Append(ctx, transport.Record{Kind: transport.Page, Page: &p}); err != nil {
					return err
				}
			}
			put[p.Hash] = true
			stored.Pages = append(stored.Pages, p.Hash)
		}
	}
	if err := x.to.Commit(ctx, map[transport.Chain]transport.Checkpoint{x.chain: stored}); err != nil {
		return err
	}
	x.sum.Records++
	x.sum.Bytes += uint64(len(c.Snapshot))
	return nil
}

// put appends a record unless the destination has it.
func (x *copying) put(ctx context.Context, s *transport.Stored) error {
	if s.Kind == transport.Out && s.Event.Sequence <= x.there || s.Kind != transport.Out && x.decisions > 0 {
		if s.Kind != transport.Out {
			x.decisions--
		}
		x.sum.Present++
		return nil
	}
	r := transport.Record{Kind: s.Kind, Event: s.Event}
	if s.Cursor != nil {
		c, err := x.m.cursor(ctx, x.pipeline, x.id.Job, *s.Cursor)
		if err != nil {
			return err
		}
		r.Cursor = &c
	}
	if x.id.Stage == transport.JobStage {
		if err := x.m.resumed(ctx, x.pipeline, x.id.Job, &r.Event); err != nil {
			return err
		}
	}
	if _, err := x.chain.Append(ctx, r); err != nil {
		return err
	}
	if s.Kind == transport.Out {
		x.there = s.Event.Sequence
	}
	x.sum.Records++
	x.sum.Bytes += uint64(s.Bytes)
	return nil
}

// match notes where the chain's dead letters lie here and there.
func (x *copying) match(ctx context.Context) error {
	if x.decisions > 0 {
		return fmt.Errorf("%w: %d more decisions", ErrElsewhere, x.decisions)
	}
	var here, there []schemas.Position
	note := func(to *[]schemas.Position) func(*transport.Stored) error {
		return func(s *transport.Stored) error {
			if s.Kind == transport.DeadLetter {
				*to = append(*to, s.Position)
			}
			return nil
		}
	}
	if err := drain(ctx, x.from, x.watch(true), note(&here)); err != nil || len(here) == 0 {
		return err
	}
	if err := drain(ctx, x.to, x.watch(true), note(&there)); err != nil {
		return err
	}
	if len(here) != len(there) {
		return fmt.Errorf("%w: %d dead letters, the source has %d", ErrElsewhere, len(there), len(here))
	}
	at := map[schemas.Position]schemas.Position{}
	for i := range here {
		at[here[i]] = there[i]
	}
	x.m.letters[key{x.pipeline, x.id}] = at
	return nil
}

// resumed gives a job's event that lets it go on the place of the dead letter at the destination.
func (m *mirror) resumed(_ context.Context, pipeline string, job schemas.JobID, e *schemas.Event) error {
	var j schemas.JobEvent
	if err := json.Unmarshal(e.Data, &j); err != nil {
		return fmt.Errorf("event %s: %w", e.ID(), err)
	}
	if j.Resume == nil {
		return nil
	}
	j.Resume.Letter = m.letters[key{pipeline, schemas.ChainID{Job: job, Stage: j.Resume.Stage}}][j.Resume.Letter]
	data, err := json.Marshal(j)
	e.Data = data
	return err
}
