package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Trim is transport.Log.Trim. Each kind is purged by its own subject, and below the chain's last record as it was before:
// that one stays whatever comes meanwhile, since a chain only grows.
func (l *log) Trim(ctx context.Context, id schemas.ChainID, below schemas.Position) error {
	if err := l.checkChain(ctx, id); err != nil {
		return err
	}
	if err := l.trim(ctx, l.chain(id.Job), below); err != nil {
		return fmt.Errorf("trim %s below %d: %w", id, below, l.broker.apiError(ctx, err))
	}
	l.forgetSize()
	return nil
}

func (l *log) trim(ctx context.Context, prefix string, below schemas.Position) (err error) {
	last, err := l.get(ctx, prefix+">")
	if err != nil || last == nil {
		return err
	}
	over, err := l.isOver(last)
	if err != nil {
		return err
	}
	checkpoint, err := l.get(ctx, prefix+transport.Snapshot.String())
	if err != nil {
		return err
	}
	ctx, done := l.broker.limitAPI(ctx, l.stream)
	defer done()
	defer func() { err = whyEnded(ctx, err) }()
	s, err := l.broker.js.Stream(ctx, l.stream)
	if err != nil {
		return err
	}
	switch {
	case over:
		err = purgeState(ctx, s, prefix, last.at-1)
	case checkpoint != nil:
		checkpoint.at = min(checkpoint.at, last.at) // one that came between: then the last record is some other one, and stays too
		if err = purge(ctx, s, prefix+transport.Snapshot.String(), checkpoint.at-1); err == nil {
			err = l.trimPages(ctx, s, prefix, checkpoint)
		}
	}
	if err != nil {
		return err
	}
	// Last, since who comes after a kill sees by them that there is something left to trim.
	return purge(ctx, s, prefix+transport.Out.String(), min(below, last.at-1))
}

// purgeState removes all checkpoints and pages up to a position; the checkpoints first: they must not name pages that are gone.
func purgeState(ctx context.Context, s jetstream.Stream, prefix string, upTo schemas.Position) error {
	if err := purge(ctx, s, prefix+transport.Snapshot.String(), upTo); err != nil {
		return err
	}
	return purge(ctx, s, prefix+"page.>", upTo)
}

// isOver says whether nothing comes behind a chain's last record.
func (l *log) isOver(last *raw) (bool, error) {
	s, err := l.decode(last, false)
	return err == nil && s.Over(), err
}

// Purge is transport.Log.Purge. A message is looked at before it is deleted: positions are numbers that a user may have kept.
func (l *log) Purge(ctx context.Context, id schemas.ChainID, letters []schemas.Position) (n int, err error) {
	if err := l.checkChain(ctx, id); err != nil {
		return 0, err
	}
	prefix := l.chain(id.Job)
	last, err := l.get(ctx, prefix+">")
	if err != nil || last == nil {
		return 0, err
	}
	ctx, done := l.broker.limitAPI(ctx, l.stream)
	defer done()
	s, err := l.broker.js.Stream(ctx, l.stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", l.stream, l.broker.apiError(ctx, err))
	}
	for _, at := range letters {
		if at >= last.at {
			continue
		}
		m, err := l.message(ctx, at)
		if err == nil && (m == nil || m.subject != prefix+transport.DeadLetter.String()) {
			continue
		}
		if err == nil {
			err = s.DeleteMsg(ctx, uint64(at))
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return n, fmt.Errorf("purge dead letter %d of %s: %w", at, id, l.broker.apiError(ctx, err))
		}
		if err == nil {
			n++
		}
	}
	l.forgetSize()
	return n, nil
}

// message is the one at a position, nil when there is none.
func (l *log) message(ctx context.Context, at schemas.Position) (*raw, error) {
	if l.isAlone() {
		return l.direct(ctx, map[string]any{"seq": uint64(at)})
	}
	return l.leader(ctx, map[string]any{"seq": uint64(at)})
}

// purge removes a subject's messages up to a position.
func purge(ctx context.Context, s jetstream.Stream, subject string, upTo schemas.Position) error {
	if upTo == 0 {
		return nil
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(uint64(upTo)+1))
}

// trimPages removes the pages before the checkpoint that it does not name. It may name a page that is stored twice; both
// stay.
func (l *log) trimPages(ctx context.Context, s jetstream.Stream, prefix string, checkpoint *raw) error {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+"page.>"))
	if err != nil || len(info.State.Subjects) == 0 {
		return err
	}
	c, err := l.decode(checkpoint, false)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, h := range c.Checkpoint.Pages {
		needed[prefix+"page."+h.String()] = true
	}
	var failed error
	for subject := range info.State.Subjects {
		if !needed[subject] {
			failed = errors.Join(failed, purge(ctx, s, subject, checkpoint.at-1))
		}
	}
	return failed
}
