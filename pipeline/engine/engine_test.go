package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

const joined = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, parallelism: 2, with: { items: 5, rows: 100 } }
      - { name: sum, uses: process/sum, parallelism: 2 }
      - { name: count, uses: analysis/count, from: [read, sum] }
`

func TestRunsAPipelineWithAJoin(t *testing.T) {
	p := start(t, joined, memory.New(), newMemorySink())
	for _, j := range p.finish() {
		if j.State != schemas.JobFinished {
			t.Errorf("job %s of %s is %s: %s", j.ID, j.Item, j.State, j.Error)
		}
	}
	// Of each item: 100 rows, 33 partial sums and the total, one count.
	if got, want := len(p.sink.sorted()), 5*(100+34+1); got != want {
		t.Errorf("the store has %d documents, want %d", got, want)
	}
}

func TestTheSameVersionIsNotRepeated(t *testing.T) {
	p := start(t, joined, memory.New(), newMemorySink())
	p.finish()
	before := p.engine.Meter("p", "sum").In.Load()
	p.finish()
	if after := p.engine.Meter("p", "sum").In.Load(); after != before {
		t.Errorf("sum took %d more inputs at the second submission", after-before)
	}
}

func TestTemporaryErrorsAreRetried(t *testing.T) {
	p := start(t, `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, with: { items: 2, rows: 20 } }
      - { name: sum, uses: process/sum, retry: { attempts: 3, backoff: 1ms }, with: { flaky: true } }
`, memory.New(), newMemorySink())
	for _, j := range p.finish() {
		if j.State != schemas.JobFinished {
			t.Errorf("job of %s is %s: %s", j.Item, j.State, j.Error)
		}
	}
	if n := p.engine.Meter("p", "sum").Errors.Load(); n != 40 {
		t.Errorf("%d errors were counted, want 40", n)
	}
}

const bad = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, with: { items: 3, rows: 20 } }
      - { name: sum, uses: process/sum, on_error: %s, with: { fail_at: 7 } }
`

func TestADeadLetterConcernsItsJobAlone(t *testing.T) {
	for decision, state := range map[string]schemas.JobState{"fail": schemas.JobFailed, "skip": schemas.JobFinished} {
		t.Run(decision, func(t *testing.T) {
			p := start(t, fmt.Sprintf(bad, decision), memory.New(), newMemorySink())
			for _, j := range p.finish() {
				if j.State != state {
					t.Errorf("job of %s is %s: %s", j.Item, j.State, j.Error)
				}
			}
			letters, err := p.engine.Letters(t.Context(), "p")
			if err != nil || len(letters) != 3 {
				t.Fatalf("%d dead letters, %v", len(letters), err)
			}
			if l := letters[0].Letter; l.Error != "this one is bad" || !l.Permanent || l.Input.Sequence != 7 {
				t.Errorf("dead letter %+v", l)
			}
		})
	}
}

func TestStopEndsTheRun(t *testing.T) {
	p := start(t, fmt.Sprintf(bad, "stop"), memory.New(), newMemorySink())
	states := map[schemas.JobState]int{}
	for _, j := range p.finish() {
		states[j.State]++
	}
	if states[schemas.JobFinished] != 0 || states[schemas.JobFailed] == 0 {
		t.Errorf("states of jobs: %v", states)
	}
}

func TestAResumedJobFailsAgainWhereItFailed(t *testing.T) {
	p := start(t, fmt.Sprintf(bad, "fail"), memory.New(), newMemorySink())
	j := p.finish()[0]
	if err := p.manager.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	for again, _ := p.manager.Job(j.ID); again.Resumed != 1 || again.State != schemas.JobFailed || again.Letter <= j.Letter; again, _ = p.manager.Job(j.ID) {
		<-p.manager.Changed()
	}
}

func TestTheNextProcessGoesOnWhereOneStopped(t *testing.T) {
	first := start(t, joined, memory.New(), newMemorySink())
	first.finish()
	want := first.sink.sorted()

	b, sink := memory.New(), newMemorySink()
	p := start(t, joined, b, sink)
	p.submit()
	for p.engine.Meter("p", "sum").In.Load() < 50 {
		<-p.manager.Changed()
	}
	p.stop()
	p = start(t, joined, b, sink)
	p.finish()
	if got := sink.sorted(); !slices.Equal(got, want) {
		t.Errorf("after a stop: %d documents, want the same %d", len(got), len(want))
	}
}

func TestAFinishedJobIsTrimmedWhenEverybodyHasReadIt(t *testing.T) {
	b := memory.New()
	p := startWith(t, joined, b, newMemorySink(), false)
	ids := p.submit()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.manager.Wait(ctx, ids); err != nil {
		t.Fatal(err)
	}
	// The jobs' last change reaches the stages by itself, behind the end of the jobs.
	for _, stage := range []string{"read", "sum", "count"} {
		log, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: stage})
		if err != nil {
			t.Fatal(err)
		}
		for left := -1; left != 0; {
			left = 0
			c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out, transport.Snapshot}, Drain: true}
			err := transport.Each(ctx, log, c, func(*transport.Stored) error { left++; return nil })
			if err := errors.Join(err, ctx.Err()); err != nil {
				t.Fatalf("%d out events and checkpoints of %s are left: %v", left, stage, err)
			}
		}
	}
}
