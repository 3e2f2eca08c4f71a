package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// grace is what a step gets beyond its timeout to notice that its context ended.
const grace = 2 * time.Second

// errAbandoned: a step neither ended nor noticed its timeout. Its stage object is never touched again.
var errAbandoned = errors.New("the step did not end at its timeout; its goroutine was given up")

// errEnd: the reader has returned io.EOF, that very value. An error that wraps one is a failure like any other, as is an
// io.EOF of a stage that is chained to the reader: a decoder's, say.
var errEnd = errors.New("the recording has ended")

// errInterrupted: the job was cancelled while the step ran.
var errInterrupted = errors.New("the job was cancelled")

// A stage is a Reader or Processor opened for one job, under one shape: a reader's inputs are its reads.
type stage struct {
	n         *node
	job       work
	reader    pipeline.Reader
	processor pipeline.Processor
	links     []*link       // of a group, its members behind the first
	at        atomic.Int32  // of a group, the member that is called
	pace      time.Duration // of a reader, that of the last batch
	lost      bool          // abandoned in a step
	caller    caller
	cancelled <-chan struct{}
}

// open makes the stage's instance and gives it a state; nil is that of a fresh one.
func (n *node) open(ctx context.Context, j work, state []byte, cancelled <-chan struct{}) (*stage, error) {
	s := &stage{n: n, job: j, cancelled: cancelled}
	err := s.guard(ctx, func(ctx context.Context) error {
		restore, err := s.build(ctx)
		if err == nil {
			err = s.openLinks(ctx)
		}
		switch {
		case err != nil || state == nil:
			return err
		case len(s.links) > 0:
			return s.restoreGroup(ctx, state, restore)
		}
		return restore(ctx, state)
	})
	if err != nil {
		if name := s.failing(); name != "" {
			err = fmt.Errorf("stage %s: %w", name, err)
		}
		s.close()
		return nil, err
	}
	return s, nil
}

// build makes the Reader or Processor. What comes with an error is not kept: it may be a nil pointer in an interface.
func (s *stage) build(ctx context.Context) (restore func(context.Context, []byte) error, err error) {
	if s.n.parts.Reader != nil {
		r, err := s.n.parts.Reader(ctx, s.job.item)
		if err != nil {
			return nil, err
		}
		s.reader = r
		return r.Restore, nil
	}
	p, err := s.n.parts.Processor(ctx, s.job.item)
	if err != nil {
		return nil, err
	}
	s.processor = p
	return p.Restore, nil
}

// output is one encoded out event of a step, not yet appended.
type output struct {
	event schemas.Event
	rows  int
}

// step takes one input and returns what it emitted, numbered from first. A reader ignores in; at its end it returns errEnd,
// with what the stages chained to it emitted then.
func (s *stage) step(ctx context.Context, in pipeline.Batch, first uint64) ([]output, error) {
	c := &collector{s: s, next: first}
	err := s.guard(ctx, func(ctx context.Context) error {
		if s.reader == nil {
			return s.processor.Process(ctx, in, s.emitter(0, in.Slice, c))
		}
		b, err := s.reader.Read(ctx)
		if err == io.EOF {
			c.end = errEnd
			return s.finishLinks(ctx, c)
		}
		if err != nil {
			return err
		}
		s.pace = b.Pace
		return s.emitter(0, b.Slice, c).Emit(ctx, b)
	})
	return c.held(err)
}

// finish is the step behind the last input.
func (s *stage) finish(ctx context.Context, last pipeline.Batch, first uint64) ([]output, error) {
	if s.reader != nil {
		return nil, nil
	}
	c := &collector{s: s, next: first}
	err := s.guard(ctx, func(ctx context.Context) error {
		if err := s.processor.Finish(ctx, s.emitter(0, last.Slice, c)); err != nil {
			return err
		}
		return s.finishLinks(ctx, c)
	})
	return c.held(err)
}

func (s *stage) snapshot(ctx context.Context) ([]byte, error) {
	var state []byte
	err := s.guard(ctx, func(ctx context.Context) (err error) {
		if s.reader != nil {
			state, err = s.reader.Snapshot(ctx)
		} else {
			state, err = s.processor.Snapshot(ctx)
		}
		if err == nil && len(s.links) > 0 {
			state, err = s.groupState(ctx, state)
		}
		return err
	})
	switch {
	case err != nil: // one that was given up may still write to state
		return nil, err
	case state == nil:
		state = []byte{} // a checkpoint of a stage without state is still a state
	}
	return state, nil
}

func (s *stage) close() {
	if s == nil || s.lost {
		return
	}
	s.shut()
}

func (s *stage) shut() {
	s.caller.end()
	var all []io.Closer
	switch {
	case s.reader != nil:
		all = append(all, s.reader)
	case s.processor != nil:
		all = append(all, s.processor)
	}
	for _, l := range s.links {
		all = append(all, l.processor)
	}
	var err error
	for _, c := range all {
		err = errors.Join(err, protect(context.Background(), func(context.Context) error { return c.Close() }))
	}
	if err != nil {
		s.n.log.Warn("closing a stage", "recording", s.job.item.Name, "error", err)
	}
}

// guard calls into the stage's code: with the step's timeout, a panic made an error, and given up when it does not come back.
// A cancel of the job ends the call too.
func (s *stage) guard(ctx context.Context, call func(context.Context) error) error {
	if s.lost {
		return errAbandoned
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if d := s.n.settings.Timeout; d > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, d, tooLong(d))
		defer stop()
	}
	done := s.caller.begin(func() error { return protect(ctx, call) })
	select {
	case err := <-done:
		return timedOut(ctx, err)
	case <-s.cancelled:
		cancel(errInterrupted)
	case <-ctx.Done():
	}
	return s.overdue(ctx, done)
}

// tooLong is the timeout of a step.
type tooLong time.Duration

func (d tooLong) Error() string {
	return fmt.Sprintf("timeout: the step took longer than %s", time.Duration(d))
}

// overdue gives a call whose context ended a little time to notice. One that does not is given up, and what it leaves is
// closed if it ever comes back.
func (s *stage) overdue(ctx context.Context, done <-chan error) error {
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-done:
		if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
			return errInterrupted
		}
		return timedOut(ctx, err)
	case <-t.C:
	}
	s.lost = true
	s.caller.end()
	go func() {
		<-done
		s.shut()
	}()
	return fmt.Errorf("%w: %w", context.Cause(ctx), errAbandoned)
}

// timedOut puts the reason in the place of a bare context error.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func protect(ctx context.Context, call func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return call(ctx)
}

// A collector encodes the outputs of one step at once, and holds them.
type collector struct {
	s       *stage
	next    uint64
	bytes   int
	outputs []output
	err     error // of the first Emit that failed: a stage that passes over it does not get by
	end     error // errEnd of a reader that has ended
}

func (c *collector) emit(b pipeline.Batch) error {
	n := c.s.n
	if err := n.info.MayEmit(b.Type); err != nil {
		return pipeline.Permanent(err)
	}
	start := time.Now()
	e, err := n.encode(c.s.job, c.next, b)
	n.meter.Encode.Since(start)
	if err != nil {
		return err
	}
	if c.bytes += len(e.Data); c.bytes > int(n.settings.MaxStepBytes) {
		return pipeline.Permanent(tooMuch(b.Slice, n.settings.MaxStepBytes))
	}
	c.next++
	c.outputs = append(c.outputs, output{event: e, rows: b.Rows()})
	return nil
}

// tooMuch says which part of the recording made a step too large. A clock that jumps is the usual reason: rows on a raster
// fill the gap.
func tooMuch(at schemas.Slice, limit pipeline.Size) error {
	text := fmt.Sprintf("one step emitted more than max_step_bytes, %v, for %.3f-%.3f s of the recording", limit, at.From.Seconds(), at.To.Seconds())
	if gap := at.To - at.From; gap > time.Hour {
		text += fmt.Sprintf("\n  the recording's clock jumps there: one step is %v long", gap.Round(time.Second))
	}
	return errors.New(text + "\n  next: `milepost inspect` lists the gaps of a recording; a larger max_step_bytes on the stage takes more memory")
}

// held returns the outputs of a step that succeeded; those of another are dropped, and may still be written to by a step
// that was given up.
func (c *collector) held(err error) ([]output, error) {
	if err != nil {
		return nil, err
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.outputs, c.end
}
