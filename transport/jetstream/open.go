package jetstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Open is transport.Log.Open: the last record under the prefix, the last checkpoint, what lies between, and the pages.
func (l *log) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, transport.State{}, err
	}
	ch := &chain{log: l, id: id, prefix: l.chain(id.Job)}
	state, err := ch.open(ctx)
	if err != nil {
		return nil, transport.State{}, fmt.Errorf("open %s: %w", id, err)
	}
	return ch, state, nil
}

func (ch *chain) open(ctx context.Context) (state transport.State, err error) {
	last, checkpoint, err := ch.ends(ctx)
	if err != nil || last == nil {
		return state, err
	}
	ch.last = last.at
	if err := ch.progress(last); err != nil {
		return state, err
	}
	state.Out, state.OutBytes = ch.before.out, ch.before.bytes
	var from schemas.Position
	if checkpoint != nil {
		from = checkpoint.at
		if state.Checkpoint, err = ch.restore(ctx, checkpoint); err != nil {
			return state, err
		}
		ch.pages.Reset(state.Checkpoint)
	}
	state.Behind, err = ch.behind(ctx, from)
	return state, err
}

// ends fetches the chain's last record and last checkpoint, such that the one is not before the other.
func (ch *chain) ends(ctx context.Context) (last, checkpoint *raw, err error) {
	for {
		if last, err = ch.log.get(ctx, ch.prefix+">"); err != nil || last == nil {
			return nil, nil, err
		}
		if last.subject == ch.prefix+transport.Snapshot.String() {
			return last, last, nil
		}
		if checkpoint, err = ch.log.get(ctx, ch.prefix+transport.Snapshot.String()); err != nil {
			return nil, nil, err
		}
		if checkpoint == nil || checkpoint.at <= last.at {
			return last, checkpoint, nil
		}
	}
}

// progress takes over how far the chain's out events are, the last record included.
func (ch *chain) progress(last *raw) error {
	b, err := parseBefore(last.header)
	if err != nil {
		return err
	}
	s, err := ch.log.decode(last, false)
	if err != nil {
		return err
	}
	ch.before = b.after(&s)
	return nil
}

// behind reads the records from behind a position up to the last one, pages left out.
func (ch *chain) behind(ctx context.Context, from schemas.Position) (all []transport.Stored, err error) {
	if from == ch.last {
		return nil, nil
	}
	r, err := ch.log.newRange(ch.prefix+">", from)
	if err != nil {
		return nil, err
	}
	defer r.close()
	limited, cancel := ch.log.broker.limit(ctx)
	defer cancel()
	for attempt := 1; r.from < ch.last; attempt++ {
		err := r.fetch(limited, windowBytes, windowMessages, func(m *raw) error {
			s, err := ch.log.decode(m, false)
			if err == nil && s.Kind != transport.Page && s.Position <= ch.last {
				all = append(all, s)
			}
			return err
		})
		if err != nil && !errors.Is(err, errRangeEnd) {
			return nil, ch.log.broker.ended(ctx, err)
		}
		if errors.Is(err, errRangeEnd) && r.from < ch.last && !ch.log.broker.pause(limited, attempt) { // a replica that lags
			return nil, ch.log.broker.unreachable(ctx, fmt.Errorf("stream %s ends at %d before %d", ch.log.stream, r.from, ch.last))
		}
	}
	return all, nil
}

// restore decodes a checkpoint and fetches the snapshot that its pages make.
func (ch *chain) restore(ctx context.Context, m *raw) (*transport.Checkpoint, error) {
	s, err := ch.log.decode(m, false)
	if err != nil {
		return nil, err
	}
	c := s.Checkpoint
	for _, h := range c.Pages {
		p, err := ch.log.get(ctx, ch.prefix+"page."+h.String())
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fmt.Errorf("page %s of the checkpoint at %d is not there", h, m.at)
		}
		if sha256.Sum256(p.data) != h {
			return nil, fmt.Errorf("page %s of the checkpoint at %d is damaged", h, m.at)
		}
		c.Snapshot = append(c.Snapshot, p.data...)
	}
	return c, nil
}

// Adopt is transport.Adopter: the header mp-chain of the first record says what came before, at position 0.
func (l *log) Adopt(ctx context.Context, id schemas.ChainID, out, bytes uint64) (transport.Chain, error) {
	opened, _, err := l.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	ch := opened.(*chain)
	if ch.last != 0 {
		return nil, fmt.Errorf("adopt %s: it has a record at %d: %w", id, ch.last, transport.ErrStale)
	}
	ch.before = before{out: out, bytes: bytes}
	return ch, nil
}
