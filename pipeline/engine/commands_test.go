package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

const commanded = `
version: 1
transport: { memory: {} }
defaults: { timeout: 1h, retry: { attempts: 2, backoff: 1ms }, checkpoint: { inputs: 7 } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { part: read, items: 3, rows: 60, bytes: 8000 } }
      - { name: mid, uses: process/script, with: { part: mid, bytes: 100 } }
      - { name: last, uses: process/script, from: [mid], with: { part: last, keep: 3 } }
      - { name: join, uses: analysis/count, from: [read, last] }
`

// controls counts the last control record of each chain of a job.
func controls(t *testing.T, b transport.Broker, id schemas.JobID, stages ...string) map[schemas.ControlKind]int {
	t.Helper()
	found := map[schemas.ControlKind]int{}
	for _, s := range stages {
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: s})
		if err != nil {
			t.Fatal(err)
		}
		w, err := log.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Newest: true, Drain: true,
			Chain: &schemas.ChainID{Job: id, Stage: s}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var c schemas.Control
		if r, err := w.Next(t.Context()); err == nil {
			if err := json.Unmarshal(r.Event.Data, &c); err != nil {
				t.Fatal(err)
			}
		}
		found[c.Kind]++
	}
	return found
}

var commandedStages = []string{"read", "mid", "last", "join", "dashboard@read", "dashboard@mid", "dashboard@last", "dashboard@join"}

func TestCancel(t *testing.T) {
	stuck := func(f func(context.Context)) *part {
		return on(20, func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			f(ctx)
			return s.echo(ctx, pipeline.Batch{}, out)
		})
	}
	for name, c := range map[string]struct {
		mid   *part
		state schemas.JobState // before the cancel
	}{
		"while a step runs":                       {stuck(func(ctx context.Context) { <-ctx.Done() }), schemas.JobStarted},
		"while a step runs that does not hear it": {stuck(func(context.Context) { time.Sleep(time.Minute) }), schemas.JobStarted},
		"while a retry waits":                     {on(20, func(context.Context, *scripted, pipeline.Emitter) error { return errBad }), schemas.JobFailed},
		"while it is halted":                      {on(20, func(context.Context, *scripted, pipeline.Emitter) error { return pipeline.Permanent(errBad) }), schemas.JobFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := memory.New()
				p := boot(t, setup{yaml: commanded, broker: b, store: newMemorySink(), parts: parts{"mid": c.mid}})
				q := boot(t, setup{yaml: commanded, broker: b.Client(), store: p.sink.client(), parts: parts{"mid": c.mid}, worker: true})
				id := p.submit()[0]
				time.Sleep(20 * time.Second)
				if j, _ := p.manager.Job(id); j.State != c.state {
					t.Fatalf("before the cancel the job is %s: %s", j.State, j.Error)
				}
				if err := p.manager.Cancel(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				if err := p.manager.Cancel(t.Context(), id); !errors.Is(err, job.ErrOver) {
					t.Errorf("the second cancel says %v", err)
				}
				time.Sleep(10 * time.Second)
				if n := controls(t, b, id, commandedStages...); n[schemas.ControlCancel] < 6 || n[schemas.ControlCancel]+n[schemas.ControlEnd] != len(commandedStages) {
					t.Errorf("last controls: %v", n)
				}
				p.wait()
				time.Sleep(2 * time.Minute)
				if left := append(p.engine.Left(), q.engine.Left()...); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}

// TestCancelOfAJobWhoseStageHasOtherInputsNow: nobody can work on such a job, so it is cancelled. Its stages store that, for a
// dead letter stays until its job is over where it was written.
func TestCancelOfAJobWhoseStageHasOtherInputsNow(t *testing.T) {
	yaml := strings.Replace(commanded, "from: [read, last] }", "from: [read, last] }\n      - { name: both, uses: process/script, from: [mid], with: { part: both } }", 1)
	all := parts{"both": on(1+2+3+4+5+6+7+8+9, func(context.Context, *scripted, pipeline.Emitter) error { return pipeline.Permanent(errBad) })}
	for name, from := range map[string]string{"one more": "[mid, last]", "another one": "[read]"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, sink := memory.New(), newMemorySink()
				p := boot(t, setup{yaml: yaml, broker: b.Client(), store: sink.client(), parts: all})
				failed := p.finish()[0]
				p.stop()
				p = boot(t, setup{yaml: strings.Replace(yaml, "from: [mid], with: { part: both }", "from: "+from+", with: { part: both }", 1),
					broker: b.Client(), store: sink.client(), parts: all})
				if err := p.manager.Resume(t.Context(), failed.ID); failed.State != schemas.JobFailed || !errors.Is(err, job.ErrForeign) {
					t.Errorf("resuming a job that is %s says %v", failed.State, err)
				}
				if err := p.manager.Cancel(t.Context(), failed.ID); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if n := controls(t, b, failed.ID, "both"); n[schemas.ControlCancel] != 1 {
					t.Errorf("the last control is %v", n)
				}
				letters, err := p.engine.Letters(t.Context(), "p")
				if err != nil || len(letters) != 1 {
					t.Fatalf("%d dead letters, %v", len(letters), err)
				}
				if gone, err := p.engine.Purge(t.Context(), letters[0]); !gone || err != nil {
					t.Errorf("a dead letter of a cancelled job goes: %v, %v", gone, err)
				}
				time.Sleep(time.Minute)
				if left := p.engine.Left(); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}

func TestAQueuedJobIsCancelledBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hold := memory.New(), make(chan struct{})
		p := boot(t, setup{yaml: commanded, broker: b, store: newMemorySink(), parts: parts{"read": {
			read: func(context.Context, pipeline.Item, int) error { <-hold; return nil }}}})
		ids := p.submit()
		synctest.Wait()
		// Two are started; one of them waits for the only worker of the reader, the third is queued.
		for _, id := range ids[1:] {
			if err := p.manager.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second) // more than a step gets to notice
		for _, id := range ids[1:] {
			if n := controls(t, b, id, "read"); n[schemas.ControlCancel] != 1 {
				t.Errorf("the reader's last control of %s is %v", id, n)
			}
		}
		close(hold)
		p.wait()
		if n, want := len(p.sink.sorted()), 60+61+21+1; n != want {
			t.Errorf("%d documents, want those of one job, %d", n, want)
		}
	})
}

// calm is what the pipeline gives when nothing goes wrong.
func calm(t *testing.T, yaml string, all parts) (docs []string) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: yaml, broker: memory.New(), store: newMemorySink(), parts: all})
		p.submit()
		p.mustFinish()
		p.stop()
		docs = p.sink.sorted()
	})
	return docs
}

func TestResumeGoesOnWithoutAGap(t *testing.T) {
	want := calm(t, commanded, nil)
	for name, where := range map[string]string{"a reader": "read", "a stage": "mid", "the stage before a join": "last", "a sink": "sink"} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { resume(t, where, restart, want) })
			})
		}
	}
}

func resume(t *testing.T, where string, restart bool, want []string) {
	var repaired atomic.Bool
	fails := func(it string, n int) error {
		if !repaired.Load() && it != "item0001" && n >= 17 {
			return pipeline.Permanent(errBad)
		}
		return nil
	}
	step := func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if err := fails(s.item.Name, number(in)); err != nil {
			return err
		}
		return s.echo(ctx, in, out)
	}
	all := parts{}
	switch where {
	case "read":
		all["read"] = &part{read: func(_ context.Context, it pipeline.Item, n int) error { return fails(it.Name, n) }}
	case "sink":
	default:
		all[where] = &part{step: step}
	}
	b, sink := memory.New(), newMemorySink()
	sink.fault = func(call string, id schemas.ChainID) error {
		if where == "sink" && !repaired.Load() && call == "write" && id.Stage == "last" {
			return pipeline.Permanent(errBad)
		}
		return nil
	}
	p := boot(t, setup{yaml: commanded, broker: b.Client(), store: sink.client(), parts: all})
	p.finish()
	time.Sleep(time.Minute) // the failed jobs have left the process
	if restart {
		p.stop()
		p = boot(t, setup{yaml: commanded, broker: b.Client(), store: sink.client(), parts: all})
		p.wait()
		time.Sleep(time.Minute)
	}
	repaired.Store(true)
	failed := 0
	for _, j := range p.manager.Jobs() {
		if j.State != schemas.JobFailed {
			continue
		}
		failed++
		if err := p.manager.Resume(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 2 {
		t.Fatalf("%d jobs failed", failed)
	}
	p.mustFinish()
	p.stop()
	if got := sink.sorted(); !slices.Equal(got, want) {
		t.Errorf("%d documents, want the same %d as undisturbed", len(got), len(want))
	}
}

func TestASkippedInputIsAsIfItHadNeverCome(t *testing.T) {
	yaml := strings.Replace(commanded, "name: mid,", "name: mid, on_error: skip,", 1)
	without := calm(t, yaml, parts{"mid": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if number(in)%10 == 7 {
			return nil
		}
		return s.echo(ctx, in, out)
	}}})
	skipped := calm(t, yaml, parts{"mid": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if number(in)%10 == 7 {
			s.sum, s.seen = 1e6, 1e6
			return errors.Join(s.emit(ctx, out), pipeline.Permanent(errBad))
		}
		return s.echo(ctx, in, out)
	}}})
	if !slices.Equal(without, skipped) {
		t.Errorf("%d documents, want the same %d", len(skipped), len(without))
	}
}

func TestCommandsFromManySides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var repaired atomic.Bool
		all := parts{"mid": on(20, func(ctx context.Context, s *scripted, out pipeline.Emitter) error {
			if !repaired.Load() {
				return pipeline.Permanent(errBad)
			}
			return s.echo(ctx, pipeline.Batch{}, out)
		})}
		b, sink := memory.New(), newMemorySink()
		p := boot(t, setup{yaml: commanded, broker: b.Client(), store: sink.client(), parts: all})
		q := boot(t, setup{yaml: commanded, broker: b.Client(), store: sink.client(), parts: all})
		id := p.finish()[0].ID
		repaired.Store(true)
		q.until(func() bool { j, _ := q.manager.Job(id); return j.State == schemas.JobFailed })
		var resumed, cancelled atomic.Int32
		var wg sync.WaitGroup
		for n := range 20 {
			m := []*job.Manager{p.manager, q.manager}[n%2]
			wg.Go(func() {
				if m.Resume(t.Context(), id) == nil {
					resumed.Add(1)
				}
			})
		}
		wg.Wait()
		if resumed.Load() != 1 {
			t.Errorf("%d of 20 resumes were taken", resumed.Load())
		}
		for _, s := range []*process{p, q} { // whoever took it, both have heard of it
			s.until(func() bool { j, _ := s.manager.Job(id); return j.Resumed == 1 })
		}
		p.mustFinish()
		for n := range 20 {
			m := []*job.Manager{p.manager, q.manager}[n%2]
			wg.Go(func() {
				if err := m.Cancel(t.Context(), id); err == nil {
					cancelled.Add(1)
				} else if !errors.Is(err, job.ErrOver) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if j, _ := p.manager.Job(id); cancelled.Load() != 0 || j.State != schemas.JobFinished || j.Resumed != 1 {
			t.Errorf("%d cancels of a finished job were taken, it is %s and was resumed %d times", cancelled.Load(), j.State, j.Resumed)
		}
	})
}

// next has every item of p done, and queues the next generation of each.
func (p *process) next() (first []job.Job, again []schemas.JobID) {
	p.t.Helper()
	first = p.finish()
	items, err := p.engine.List(p.t.Context(), "p")
	if err != nil {
		p.t.Fatal(err)
	}
	for i, it := range items {
		again = append(again, p.engine.JobID("p", it, 1))
		p.queue("p", job.Submission{ID: again[i], Item: it.Name, Source: first[i].Source, Run: "again"})
	}
	return first, again
}

func TestANextGenerationGivesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: commanded, broker: memory.New(), store: newMemorySink()})
		p.next()
		p.mustFinish()
		if n := len(p.manager.Jobs()); n != 6 {
			t.Errorf("%d jobs", n)
		}
		docs := p.sink.plain()
		if once := slices.Compact(slices.Clone(docs)); 2*len(once) != len(docs) {
			t.Errorf("%d documents, %d different ones", len(docs), len(once))
		}
	})
}

// A sink is told which jobs of the same item came before: one of the old results that has stored nothing yet does not come in then.
func TestASinkIsToldWhatAJobComesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: commanded, broker: memory.New(), store: newMemorySink()})
		first, again := p.next()
		p.mustFinish()
		for i := range first {
			for id, want := range map[schemas.JobID][]schemas.JobID{first[i].ID: nil, again[i]: {first[i].ID}} {
				chains := 0
				for chain, after := range p.sink.after {
					if chain.Job == id {
						chains++
						if !slices.Equal(after, want) {
							t.Errorf("%s of %s comes after %v, want %v", chain, first[i].Item, after, want)
						}
					}
				}
				if chains == 0 {
					t.Errorf("nothing of job %s was stored", id)
				}
			}
		}
	})
}
