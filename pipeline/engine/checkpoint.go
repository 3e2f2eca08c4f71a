package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// save makes a checkpoint durable: new pages first, then the record that names them.
func (i *instance) save(ctx context.Context, a settle.Action) settle.Input {
	c := a.Checkpoint
	if !a.Kept {
		var err error
		if c.Snapshot, err = i.stage.snapshot(ctx); err != nil {
			i.err = fmt.Errorf("the stage's state cannot be taken: %w", err)
			i.n.log.Warn("take a snapshot", "recording", i.w.item.Name, "error", err)
			i.n.meter.Errors.Add(1)
			return settle.Input{Op: settle.Saved, Outcome: settle.Failed, Failure: i.failure(i.err)}
		}
	}
	err := i.trySave(ctx, c)
	i.cleared()
	if err == nil {
		i.saved, i.taken = time.Now(), 0
		i.n.meter.Checkpoints.Add(1)
		i.n.stored(1)
		i.covered(ctx, c.Cursor, c.Out)
	}
	if errors.Is(err, transport.ErrFull) {
		i.isFull(ctx)
	}
	return settle.Input{Op: settle.Saved, Outcome: i.outcomeOf("write a checkpoint", err)}
}

// trySave stores a checkpoint with its snapshot, which the core restores from until the next one.
func (i *instance) trySave(ctx context.Context, c *transport.Checkpoint) (err error) {
	stored := *c
	if i.n.parts.Reader != nil {
		stored.Progress = i.n.e.Progress(i.w.id)
	}
	wrote := uint64(len(c.Snapshot))
	if len(c.Snapshot) > transport.PageBytes {
		if stored.Pages, wrote, err = i.page(ctx, c.Snapshot); err != nil {
			return err
		}
		stored.Snapshot = nil
	}
	defer func() {
		if err == nil {
			i.outdated, i.stateBytes = i.outdated+i.stateBytes, wrote
		}
	}()
	defer i.n.meter.Append.Since(time.Now())
	return i.n.out.Commit(ctx, map[transport.Chain]transport.Checkpoint{i.chain: stored})
}

// page appends the pages of a snapshot that the last checkpoint does not have, and says how many bytes that were.
func (i *instance) page(ctx context.Context, state []byte) (hashes []transport.PageHash, wrote uint64, err error) {
	now := map[transport.PageHash]bool{}
	for _, p := range transport.SplitPages(state) {
		if !i.pages[p.Hash] && !now[p.Hash] {
			if _, err := i.chain.Append(ctx, transport.Record{Kind: transport.Page, Page: &p}); err != nil {
				return nil, 0, err
			}
			i.n.stored(1)
			wrote += uint64(len(p.Data))
		}
		now[p.Hash] = true
		hashes = append(hashes, p.Hash)
	}
	i.pages = now
	return hashes, wrote, nil
}

// covered tells the producers how far this node has come, and trims its own chain.
func (i *instance) covered(ctx context.Context, c schemas.Cursor, out uint64) {
	i.consumed(c, false)
	i.savedOut, i.unsavedBytes = out, 0
	if i.flow != nil && !i.n.e.retain {
		step := trimStep
		if share := i.n.share(); share > 0 {
			step = min(step, uint64(share))
		}
		i.trim(ctx, step)
	}
}

// trim trims the chain, where that frees so many bytes: of events that all consumers have, and of checkpoints before the last one, with
// their pages. A stage that emits little, or whose consumers wait for something else, writes them all the same.
func (i *instance) trim(ctx context.Context, step uint64) {
	c, ok := cut{}, false
	if !i.n.keeps {
		c, ok = i.flow.trimmable(i.savedOut, step)
	}
	if !ok && i.outdated < step {
		return
	}
	i.outdated = 0
	var err error
	if c.doubt {
		var lies bool
		if lies, err = i.n.lies(ctx, i.chain.ID(), c); !lies { // old checkpoints and pages go all the same
			c.position = 0
		}
	}
	if err == nil {
		err = i.n.out.Trim(ctx, i.chain.ID(), c.position)
	}
	if err != nil {
		i.n.log.Warn("trimming", "recording", i.w.item.Name, "error", err)
	}
}

// commit makes the sink's store durable up to a cursor.
func (i *instance) commit(ctx context.Context, from, to schemas.Cursor) settle.Input {
	start := time.Now()
	err := i.store.call(ctx, func(ctx context.Context) error { return i.store.sink.Commit(ctx, i.store.of, from, to) })
	i.cleared()
	i.n.meter.Step.Since(start)
	if err == nil {
		i.store.fails = 0
		i.saved, i.taken = time.Now(), 0
		i.n.meter.Checkpoints.Add(1)
		i.consumed(to, false)
		i.publish(ctx, pollFloors)
	}
	if errors.Is(err, pipeline.ErrStale) {
		return settle.Input{Op: settle.Saved, Outcome: settle.Stale}
	}
	if err != nil && i.store.failed(err, i.n.settings.Retry.Attempts) && i.core.Phase() == settle.Deciding {
		// The commit that fences the store before a dead letter: a store that takes nothing needs no fence.
		return settle.Input{Op: settle.Saved}
	}
	return settle.Input{Op: settle.Saved, Outcome: i.outcomeOf("commit to the store", err)}
}
