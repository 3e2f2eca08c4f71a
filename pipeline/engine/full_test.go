package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

const small = `
version: 1
transport: { memory: { limits: { max_bytes: 1MiB } } }
defaults: { retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 9, with: { items: 9, rows: 20, bytes: 120000 } }
      - { name: pass, uses: process/script, parallelism: 9, with: { bytes: 120000 } }
      - { name: count, uses: process/script, parallelism: 9, with: { part: count } }
`

// statusOf is one stage's.
func statusOf(e *engine.Engine, stage string) engine.NodeStatus {
	all := e.Status()
	return all[slices.IndexFunc(all, func(s engine.NodeStatus) bool { return s.Stage == stage })]
}

// A log that is full, here of one event of each job at work, makes its stage wait, and what feeds that, and says so; all goes on
// when there is room.
func TestAFullLogThrottlesTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := boot(t, setup{yaml: small, broker: memory.New(), store: newMemorySink(), parts: parts{"count": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				<-hold
				return s.echo(ctx, in, out)
			}}}})
		p.submit()
		time.Sleep(20 * time.Second)                                                              // of the bubble: whatever can be stored is
		if s := statusOf(p.engine, "read"); !s.Full || s.OutBytes < 1<<20 || s.OutBytes > 3<<20 { // its own log, and what the next one took
			t.Errorf("full %v, %d bytes stored", s.Full, s.OutBytes)
		}
		close(hold)
		p.mustFinish()
		for _, s := range p.engine.Status() {
			if s.Full {
				t.Errorf("%s is full in the end", s.Stage)
			}
		}
	})
}

// Jobs that wait for input hold events in a small log that others lack the room of: as many jobs as may be at work, events that
// are small beside what each may hold.
func TestASmallLogIsSharedByAllJobsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := boot(t, setup{yaml: `
version: 1
transport: { memory: { limits: { max_bytes: 1MiB } } }
defaults: { retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 9, with: { items: 18, rows: 200, bytes: 5000 } }
      - { name: pass, uses: process/script, parallelism: 18, with: { bytes: 5000 } }
      - { name: count, uses: process/script, parallelism: 18, with: { part: count } }
`, quiet: true, broker: memory.New(), store: newMemorySink(), parts: parts{"count": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				<-hold
				return s.echo(ctx, in, out)
			}}}})
		ids := p.submit()
		time.Sleep(20 * time.Second) // of the bubble: until both logs are full
		close(hold)
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
		defer stop()
		if err := p.manager.Wait(ctx, ids); err != nil {
			for _, s := range p.engine.Status() {
				t.Logf("%s: full %v, %d events out, %d active", s.Stage, s.Full, s.Out, s.Active)
			}
			t.Errorf("%d jobs in a log of 1 MiB: %v", len(ids), err)
		}
		p.stop()
	})
}

// A sink that does not answer is given up like a step; what it was to store is a dead letter, and other jobs go on.
func TestASinkThatHangsIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, sink := make(chan struct{}), newMemorySink()
		var mu sync.Mutex
		var first schemas.JobID
		calls := 0
		sink.fault = func(call string, id schemas.ChainID) error {
			mu.Lock()
			if first == "" && call == "write" {
				first = id.Job
			}
			is := call == "write" && id.Job == first && id.Stage == "read"
			if is {
				calls++
			}
			mu.Unlock()
			if is {
				<-hang
			}
			return nil
		}
		p := boot(t, setup{yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 2, with: { items: 2, rows: 9 } }
`, broker: memory.New(), store: sink, retain: true})
		p.finish()
		states := map[schemas.JobState]int{}
		for _, j := range p.manager.Jobs() {
			states[j.State]++
			if j.State == schemas.JobFailed && (j.Stage != "dashboard@read" || !strings.Contains(j.Error, "timeout: the sink did not answer")) {
				t.Errorf("job failed at %s: %s", j.Stage, j.Error)
			}
		}
		if states[schemas.JobFailed] != 1 || states[schemas.JobFinished] != 1 || calls != 1 {
			t.Errorf("jobs %v, %d calls at once on a sink that hangs", states, calls)
		}
		close(hang)
		synctest.Wait()
		if err := p.manager.Resume(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		p.mustFinish()
	})
}

// A stage that gives something else when it is computed again is found out, halts its job and says so.
func TestAStageThatIsNotDeterministicHaltsItsJob(t *testing.T) {
	var once sync.Once
	opened := 0
	p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
defaults: { retry: { backoff: 1ms } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { rows: 9 } }
      - { name: odd, uses: process/script, with: { part: odd } }
`, parts: parts{"odd": {open: func(context.Context, pipeline.Item) error { opened++; return nil },
		step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) (err error) {
			if number(in) == 5 {
				once.Do(func() { err = errors.New("once") })
				if err != nil {
					return err
				}
			}
			s.sum += opened
			return s.echo(ctx, in, out)
		}}}})
	j := p.finish()[0]
	const want = "non-deterministic: event 1 came out differently when it was computed again, of input 1 of read\n  next: "
	if j.State != schemas.JobFailed || j.Stage != "odd" || !strings.HasPrefix(j.Error, want) || !j.NonDeterministic() {
		t.Errorf("the job is %s at %s: %s", j.State, j.Stage, j.Error)
	}
	if err := p.manager.Resume(t.Context(), j.ID); !errors.Is(err, job.ErrNoFunction) {
		t.Errorf("it is resumed, to fail once more: %v", err)
	}
}

// Results hang on inputs and configuration alone: not on workers, processors, checkpoints or how much is held at once.
func TestResultsDoNotDependOnHowTheyAreComputed(t *testing.T) {
	const yaml = `
version: 1
transport: { memory: {} }
defaults: { checkpoint: { inputs: %d, interval: 1h } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: %d, with: { items: 4, rows: 90, bytes: 100 } }
      - { name: all, uses: process/script, parallelism: %d }
      - { name: some, uses: process/script, from: read, parallelism: %d, with: { keep: 7 } }
      - { name: join, uses: analysis/count, from: [all, some, read], parallelism: %d }
`
	var want []string
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ procs, inputs, workers int }{{1, 64, 1}, {2, 64, 1}, {1, 1, 4}, {2, 5, 4}, {2, 1000, 2}} {
		runtime.GOMAXPROCS(c.procs)
		p := start(t, fmt.Sprintf(yaml, c.inputs, c.workers, c.workers, c.workers, c.workers), memory.New(), newMemorySink())
		p.finish()
		got := p.sink.sorted()
		if want == nil {
			want = got
		}
		if len(got) < 500 || !slices.Equal(got, want) {
			t.Errorf("%+v: %d documents, want the same %d", c, len(got), len(want))
		}
		p.stop()
	}
}

// A stage that says nothing until its end writes checkpoints all the same, more in all than its log holds: those before the last one
// make room, without an event that anybody could take.
func TestCheckpointsOfASilentStageDoNotFillTheLog(t *testing.T) {
	for name, state := range map[string]int{"in the record": 100_000, "paged": 300_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := memory.New()
				p := boot(t, setup{yaml: fmt.Sprintf(`
version: 1
transport: { memory: { limits: { max_bytes: 2MiB } } }
defaults: { retry: { backoff: 10ms, max_backoff: 1s } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 60, bytes: 100 } }
      - { name: count, uses: analysis/fold, checkpoint: { inputs: 2 }, with: { keep: 1000, state: %d } }
`, state), quiet: true, broker: broker, store: newMemorySink()})
				ids := p.submit()
				ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
				defer stop()
				if err := p.manager.Wait(ctx, ids); err != nil {
					for _, s := range p.engine.Status() {
						t.Logf("%s: full %v, %d events out, %d checkpoints", s.Stage, s.Full, s.Out, s.Checkpoints)
					}
					t.Errorf("jobs whose checkpoints are more than a log of 2 MiB: %v", err)
				}
				p.stop()
			})
		})
	}
}
