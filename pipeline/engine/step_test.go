package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

const stepped = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 5 } }
      - { name: s, uses: process/%s, timeout: 1s, max_step_bytes: 10MiB, retry: { attempts: 2, backoff: 1ms }, with: { part: s } }
`

// on makes a step that does something else at one input of the first item.
func on(n int, f func(ctx context.Context, s *scripted, out pipeline.Emitter) error) *part {
	return &part{step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if s.item.Name == "item0000" && number(in) == n {
			return f(ctx, s, out)
		}
		return s.echo(ctx, in, out)
	}}
}

// failsAt runs both items and returns the dead letter of the first one.
func failsAt(t *testing.T, uses string, s *part) engine.Letter {
	t.Helper()
	p := boot(t, setup{yaml: fmt.Sprintf(stepped, uses), broker: memory.New(), store: newMemorySink(), parts: parts{"s": s}})
	jobs := p.finish()
	if jobs[0].State != schemas.JobFailed || jobs[0].Stage != "s" || jobs[1].State != schemas.JobFinished {
		t.Fatalf("%+v", jobs)
	}
	letters, err := p.engine.Letters(t.Context(), "p")
	if err != nil || len(letters) != 1 {
		t.Fatalf("%v: %+v", err, letters)
	}
	if l := letters[0].Letter; l.Error != jobs[0].Error {
		t.Errorf("the letter says %q, the job %q", l.Error, jobs[0].Error)
	}
	p.stop()
	return letters[0]
}

func TestAStepThatCannotBeDoneIsGivenUp(t *testing.T) {
	emit := func(eventType string, bytes int) func(context.Context, *scripted, pipeline.Emitter) error {
		return func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			return pipeline.EmitDoc(ctx, out, eventType, pad()[:bytes])
		}
	}
	for name, c := range map[string]struct {
		uses     string
		do       func(context.Context, *scripted, pipeline.Emitter) error
		want     string
		attempts int
	}{
		"permanent":          {"script", func(context.Context, *scripted, pipeline.Emitter) error { return pipeline.Permanent(errBad) }, errBad.Error(), 1},
		"temporary":          {"script", func(context.Context, *scripted, pipeline.Emitter) error { return errBad }, errBad.Error(), 2},
		"panic":              {"script", func(context.Context, *scripted, pipeline.Emitter) error { panic("boom") }, "step_test.go", 2},
		"an event too large": {"script", emit("script.v1", 9<<20), "the broker takes 8388608", 1},
		"an undeclared type": {"script", emit("other.v1", 1), `emits "other.v1"`, 1},
		"two of a rule 8 stage": {"once", func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			return errors.Join(s.emit(ctx, out), s.emit(ctx, out))
		}, "emitted 2 batches", 1},
		"too much in a step": {"script", func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			return errors.Join(emit("script.v1", 6<<20)(ctx, s, out), emit("script.v1", 6<<20)(ctx, s, out))
		}, "more than max_step_bytes", 1},
		"a timeout that is noticed": {"script", func(ctx context.Context, _ *scripted, _ pipeline.Emitter) error {
			<-ctx.Done()
			return ctx.Err()
		}, "timeout: the step took longer than 1s", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := failsAt(t, c.uses, on(3, c.do)).Letter
				if !strings.Contains(l.Error, c.want) || l.Attempts != c.attempts || l.Input.Sequence != 3 || l.Event == nil {
					t.Errorf("%+v", l)
				}
			})
		})
	}
}

func TestAStepThatIgnoresItsTimeoutIsGivenUpWithItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		var closed, after atomic.Int32
		s := on(3, func(context.Context, *scripted, pipeline.Emitter) error {
			<-end
			after.Add(1)
			return nil
		})
		s.closed = func() { closed.Add(1) }
		l := failsAt(t, "script", s).Letter
		if !strings.Contains(l.Error, "took longer than 1s") || !strings.Contains(l.Error, "given up") || l.Attempts != 2 {
			t.Errorf("%+v", l)
		}
		before := closed.Load()
		close(end)
		synctest.Wait()
		if after.Load() != 2 || closed.Load() != before+2 {
			t.Errorf("%d steps came back, %d stages were closed then, want 2", after.Load(), closed.Load()-before)
		}
	})
}

func TestWhatCannotBeOpenedFailsAtOnce(t *testing.T) {
	for name, read := range map[string]bool{"a reader": true, "a processor": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := &part{open: func(_ context.Context, it pipeline.Item) error {
					if it.Name == "item0000" {
						return pipeline.Permanent(errors.New("signal ego_speed: no channel VehSpd"))
					}
					return nil
				}}
				yaml, stage := strings.Replace(straight, "rows: 44", "rows: 4, part: read", 1), "pass"
				all := parts{"pass": bad}
				if read {
					all, stage = parts{"read": bad}, "read"
				}
				p := boot(t, setup{yaml: yaml, broker: memory.New(), store: newMemorySink(), parts: all})
				jobs := p.finish()
				if j := jobs[0]; j.State != schemas.JobFailed || j.Stage != stage || j.Error != "signal ego_speed: no channel VehSpd" {
					t.Errorf("%+v", j)
				}
				if jobs[1].State != schemas.JobFinished {
					t.Errorf("%+v", jobs[1])
				}
				letters, err := p.engine.Letters(t.Context(), "p")
				if err != nil || len(letters) != 1 || letters[0].Letter.Attempts != 1 || !letters[0].Letter.Permanent {
					t.Errorf("%v: %+v", err, letters)
				}
			})
		})
	}
}

func TestTenThousandEventsOfOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := on(3, func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			for range 10_000 {
				if err := s.emit(ctx, out); err != nil {
					return err
				}
			}
			return nil
		})
		p := boot(t, setup{yaml: fmt.Sprintf(stepped, "script"), broker: memory.New(), store: newMemorySink(), parts: parts{"s": many}})
		p.submit()
		p.mustFinish()
		if n, want := len(p.sink.sorted()), 10+(4+10_000+1)+(5+1); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
	})
}

func TestASnapshotThatFailsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		s := &part{snapshot: func(context.Context, *scripted) error {
			switch n := tries.Add(1); {
			case n < 4:
				return errors.New("not now")
			case n == 4:
				panic("not now either")
			}
			return nil
		}}
		p := boot(t, setup{yaml: strings.Replace(fmt.Sprintf(stepped, "script"), "timeout: 1s, max_step_bytes: 10MiB, retry: { attempts: 2,", "checkpoint: { inputs: 2 }, retry: { attempts: 9,", 1),
			broker: memory.New(), store: newMemorySink(), parts: parts{"s": s}})
		p.submit()
		p.mustFinish()
		if tries.Load() < 6 {
			t.Errorf("%d snapshots were taken", tries.Load())
		}
	})
}

// A state that can never be taken is a dead letter of the input behind which it was to be taken, whatever on_error says: the
// input's outputs are stored.
func TestASnapshotThatAlwaysFailsIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healed atomic.Bool
		s := &part{snapshot: func(context.Context, *scripted) error {
			if healed.Load() {
				return nil
			}
			return errors.New("never")
		}}
		p := boot(t, setup{yaml: strings.Replace(fmt.Sprintf(stepped, "script"), "timeout: 1s", "on_error: skip, checkpoint: { inputs: 2 }", 1),
			broker: memory.New(), store: newMemorySink(), parts: parts{"s": s}})
		ids := p.submit()
		p.wait()
		letters, err := p.engine.Letters(t.Context(), "p")
		if err != nil || len(letters) != len(ids) {
			t.Fatalf("%d dead letters, %v", len(letters), err)
		}
		for _, l := range letters {
			if d := l.Letter; d.Decision != schemas.Halt || !strings.Contains(d.Error, "never") || len(d.Event) == 0 {
				t.Errorf("dead letter %+v", d)
			}
		}
		healed.Store(true)
		for _, id := range ids {
			if err := p.manager.Resume(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		p.mustFinish()
	})
}

func TestANonDeterministicStepThatEmitsNothingIsSettledToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := map[int]int{}
		s := &part{step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			if s.item.Name != "item0000" {
				return nil
			}
			calls[number(in)]++
			if number(in)%2 == 0 {
				return nil
			}
			if number(in) == 5 && calls[5] < 2 {
				return errors.New("not now") // the others are not run again, though there was no checkpoint
			}
			s.sum = number(in)
			return s.emit(ctx, out)
		}}
		p := boot(t, setup{yaml: fmt.Sprintf(stepped, "once"), broker: memory.New(), store: newMemorySink(), parts: parts{"s": s}})
		p.submit()
		p.mustFinish()
		p.stop()
		if fmt.Sprint(calls) != "map[1:1 2:1 3:1 4:1 5:2]" {
			t.Errorf("calls by input: %v", calls)
		}
	})
}

func TestALongStepKeepsItsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := memory.New(), newMemorySink()
		var steps atomic.Int32
		yaml := strings.Replace(fmt.Sprintf(stepped, "script"), "timeout: 1s", "timeout: 1h", 1)
		long := parts{"s": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			steps.Add(1)
			time.Sleep(time.Minute)
			return s.echo(ctx, in, out)
		}}}
		p := boot(t, setup{yaml: yaml, broker: store.Client(), store: sink.client(), parts: long})
		q := boot(t, setup{yaml: yaml, broker: store.Client(), store: sink.client(), parts: long, worker: true})
		p.submit()
		time.Sleep(90 * time.Second)
		stopped := make(chan struct{})
		go func() { q.stop(); close(stopped) }() // what it has in work it keeps until it is drained
		p.mustFinish()
		<-stopped
		if steps.Load() != 10 {
			t.Errorf("%d steps for 10 inputs", steps.Load())
		}
	})
}
