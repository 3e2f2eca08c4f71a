package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// store is what a sink node has in the place of a stage object.
type store struct {
	n       *node
	sink    pipeline.Sink
	of      pipeline.Origin // of the chain it stores
	fails   int             // of Cursor and Commit since the last commit
	refused error           // why it takes nothing more: writing to it fails for good, and so the input does
}

// failed notes that Cursor or Commit failed, and says whether the store takes nothing any more: it said so, or no commit
// came through in so many tries.
func (s *store) failed(err error, attempts int) bool {
	if s.fails++; !errors.Is(err, pipeline.ErrStale) && (pipeline.IsPermanent(err) || s.fails >= max(attempts, 1)) {
		s.refused = err
	}
	return s.refused != nil
}

// call makes one call on the sink under the node's timeout. One that does not come back is given up, but no other call about
// its chain is made until it does, whoever works on the job then: calls about one chain never overlap.
func (s *store) call(ctx context.Context, f func(context.Context) error) error {
	d := s.n.settings.Timeout
	if d <= 0 {
		return protect(ctx, f)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("timeout: the sink did not answer within %s", d))
	defer cancel()
	if !s.n.hung.wait(ctx, s.of.ChainID) {
		return fmt.Errorf("%w: an earlier call still hangs", context.Cause(ctx))
	}
	done := make(chan error, 1)
	back := make(chan struct{})
	go func() {
		defer close(back)
		done <- protect(ctx, f)
	}()
	select {
	case err := <-done:
		return timedOut(ctx, err)
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-done:
		return timedOut(ctx, err)
	case <-t.C:
	}
	s.n.hung.add(s.of.ChainID, back)
	return context.Cause(ctx)
}

// hangs are the calls on a node's sink that were given up and have not come back.
type hangs struct {
	mu    sync.Mutex
	calls map[schemas.ChainID]<-chan struct{}
}

func (h *hangs) add(id schemas.ChainID, back <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == nil {
		h.calls = map[schemas.ChainID]<-chan struct{}{}
	}
	h.calls[id] = back
}

// wait returns when no call about the chain hangs; false when ctx ended first.
func (h *hangs) wait(ctx context.Context, id schemas.ChainID) bool {
	h.mu.Lock()
	back := h.calls[id]
	h.mu.Unlock()
	if back == nil {
		return true
	}
	select {
	case <-back:
	case <-ctx.Done():
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[id] == back {
		delete(h.calls, id)
	}
	return true
}
