package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

const limitedJoin = `
version: 1
transport: { memory: { limits: { max_bytes: 1MiB } } }
defaults: { parallelism: 4, retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 8, rows: 150, bytes: %d } }
      - { name: much, uses: process/script, from: read, with: { bytes: %d } }
      - { name: rare, uses: process/script, from: %s, with: { keep: 0 } }
      - { name: join, uses: analysis/count, from: [%s] }
`

// However silent one side of a join is, and however much the other one makes of its inputs, a log that is small beside that never
// stops the jobs that share it.
func TestAJoinInALimitedLogNeverDeadlocks(t *testing.T) {
	all := map[string]struct {
		rows, much int
		rare, from string
	}{
		"what is read is large":                       {16_000, 10, "read", "read, rare"},
		"the silent side comes first":                 {16_000, 10, "read", "rare, read"},
		"a stage makes much of little":                {10, 16_000, "read", "much, rare"},
		"the silent side reads little made of much":   {16_000, 10, "much", "read, rare"},
		"the silent side reads much made of little":   {10, 16_000, "much", "much, rare, read"},
		"an event is larger than what a job may hold": {100_000, 10, "read", "read, rare"},
	}
	if testing.Short() { // under the race detector
		delete(all, "an event is larger than what a job may hold")
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := fmt.Sprintf(limitedJoin, c.rows, c.much, c.rare, c.from)
				p := boot(t, setup{yaml: yaml, quiet: true, broker: memory.New(), store: newMemorySink()})
				p.submit()
				p.mustFinish()
			})
		})
	}
}

// A pipeline with few jobs at work reads one with many, whose recordings are of all lengths: what was read of the short ones
// fills the log while the long ones, which the few wait for, are not read yet.
func TestJobsThatWaitForTheirTurnDoNotFillTheLogOfThoseAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		long := func(it pipeline.Item) bool { return it.Name < "item0002" }
		p := boot(t, setup{quiet: true, yaml: `
version: 1
transport: { memory: { limits: { max_bytes: 1MiB } } }
defaults: { retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 4, with: { part: read, items: 60, rows: 100, bytes: 16000 } }
  q:
    from: p/read
    stages:
      - { name: slow, uses: process/script, parallelism: 1, with: { part: slow } }
`, broker: memory.New(), store: newMemorySink(), parts: parts{
			"read": {read: func(_ context.Context, it pipeline.Item, n int) error {
				if n > 2 && !long(it) {
					return io.EOF
				}
				return nil
			}},
			"slow": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				if long(s.item) {
					<-hold
				}
				return s.echo(ctx, in, out)
			}}}})
		p.submit()
		time.Sleep(20 * time.Second) // of the bubble: whatever can be stored is
		close(hold)
		p.mustFinish()
	})
}

// Failed jobs keep what their halted stage has yet to read. A log that is full of that names them, and has room again when they are
// cancelled.
func TestAFullLogNamesTheFailedJobsThatHoldItAndCancellingThemGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{quiet: true, yaml: `
version: 1
transport: { memory: { limits: { max_bytes: 1MiB } } }
defaults: { parallelism: 2, retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 60, rows: 20, bytes: 16000 } }
      - { name: pass, uses: process/script, with: { part: pass } }
`, broker: b, store: newMemorySink(), parts: parts{"pass": {
			open: func(_ context.Context, it pipeline.Item) error {
				if it.Name >= "item0055" {
					return nil
				}
				return pipeline.Permanent(errBad)
			}}}})
		p.submit()
		over := func() bool {
			return !slices.ContainsFunc(p.manager.Jobs(), func(j job.Job) bool { return !j.State.Over() })
		}
		for round := 0; !over(); round++ {
			time.Sleep(time.Minute) // of the bubble: whatever can be stored is
			p.relieve()
			if round == 60 {
				t.Fatalf("nothing goes on: %+v", p.engine.Status())
			}
		}
		cancelled, finished := 0, 0
		for _, j := range p.manager.Jobs() {
			switch j.State {
			case schemas.JobCancelled:
				cancelled++
			case schemas.JobFinished:
				finished++
			}
		}
		if finished != 5 || cancelled < 8 {
			t.Errorf("%d jobs finished, %d were cancelled", finished, cancelled)
		}
		for _, j := range p.manager.Jobs() {
			if j.State == schemas.JobFailed {
				if err := p.manager.Cancel(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Minute)
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "read"})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := log.Stats(t.Context()); err != nil || s.Bytes > 128<<10 {
			t.Errorf("%v: of jobs that are over %d bytes are left", err, s.Bytes)
		}
	})
}

// relieve does what the alarms of full logs say.
func (p *process) relieve() {
	p.t.Helper()
	for _, s := range p.engine.Status() {
		if s.HeldBy == nil {
			continue
		}
		for _, h := range s.HeldBy.Jobs {
			j, _ := p.manager.Job(h.Job)
			if j.State == schemas.JobCancelled { // by now
				continue
			}
			if j.State != schemas.JobFailed || h.Pipeline != "p" || h.Bytes < 16_000 {
				p.t.Fatalf("%+v is said to hold the log of %s, its job is %q", h, s.Stage, j.State)
			}
			if err := p.manager.Cancel(p.t.Context(), h.Job); err != nil {
				p.t.Fatal(err)
			}
		}
		if s.HeldBy.Letters == 0 {
			continue
		}
		letters, err := p.engine.Letters(p.t.Context(), "p")
		for _, l := range letters {
			if err == nil && l.Stage == s.Stage {
				_, err = p.engine.Purge(p.t.Context(), l)
			}
			if errors.Is(err, engine.ErrOpen) {
				err = nil
			}
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// A job goes on when one that derives from it is cancelled: nobody waits for that one any more.
func TestAJobDoesNotWaitForACancelledOneThatReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: derived, broker: memory.New(), store: newMemorySink(), parts: parts{"slow": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				if s.item.Name == "item0001" {
					return s.echo(ctx, in, out)
				}
				<-ctx.Done()
				return ctx.Err()
			}}}})
		ids := p.submit()
		time.Sleep(20 * time.Second) // of the bubble: the reader has filled its budget
		if err := p.managers["q"].Cancel(t.Context(), p.engine.Derived("q", ids[0])); err != nil {
			t.Fatal(err)
		}
		p.wait()
		if j, _ := p.manager.Job(ids[0]); j.State != schemas.JobFinished {
			t.Errorf("the job that was read is %s", j.State)
		}
	})
}
