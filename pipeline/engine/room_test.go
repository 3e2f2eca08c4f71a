package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// mustFinish waits for all jobs, each of which must be finished.
func (p *process) mustFinish() {
	p.t.Helper()
	p.wait()
	for name, m := range p.managers {
		for _, j := range m.Jobs() {
			if j.State != schemas.JobFinished {
				p.t.Errorf("job of %s in %s is %s: %s", j.Item, name, j.State, j.Error)
			}
		}
	}
}

const straight = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 44, bytes: 16000 } }
      - { name: pass, uses: process/script, with: { part: pass } }
`

func TestAReaderInAnotherProcessHearsHowFarTheSinksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := memory.New(), newFaults(1)
		f.deaf = "read"
		boot(t, setup{yaml: straight, broker: b.Client(), worker: true, stages: []string{"read"}})
		p := boot(t, setup{yaml: straight, broker: shaky{b, f}, store: newMemorySink()})
		p.submit()
		p.mustFinish()
		if n, want := len(p.sink.sorted()), 2*(44+45); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
	})
}

func TestASlowConsumerHoldsItsProducerWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := boot(t, setup{yaml: straight, broker: memory.New(), store: newMemorySink(), parts: parts{"pass": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				<-hold
				return s.echo(ctx, in, out)
			}}}})
		p.submit()
		synctest.Wait()
		time.Sleep(20 * time.Second) // of the bubble: whatever may be put off is done
		read := p.engine.Meter("p", "read")
		if n := read.OutBytes.Load(); n < 2*engine.EdgeBudget() || n > 2*(engine.EdgeBudget()+17000) {
			t.Errorf("two jobs' readers are %d bytes ahead, the budget of each is %d", n, engine.EdgeBudget())
		}
		close(hold)
		p.mustFinish()
	})
}

func TestAHaltedJobStopsOnlyItsOwnReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: straight, broker: memory.New(), store: newMemorySink(), parts: parts{"pass": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				if s.item.Name == "item0000" {
					return pipeline.Permanent(errBad)
				}
				return s.echo(ctx, in, out)
			}}}})
		jobs := p.finish()
		if jobs[0].State != schemas.JobFailed || jobs[0].Error != errBad.Error() || jobs[0].Stage != "pass" || jobs[1].State != schemas.JobFinished {
			t.Errorf("%+v", jobs)
		}
		time.Sleep(time.Minute)
		if left := p.engine.Left(); len(left) != 1 { // the job is remembered as failed
			t.Errorf("left of two jobs: %q", left)
		}
		if n := p.engine.Meter("p", "read").OutBytes.Load(); n < 44*16000 || n > 44*16100+engine.EdgeBudget()+17000 {
			t.Errorf("the readers stored %d bytes", n)
		}
	})
}

const uneven = `
version: 1
transport: { memory: {} }
defaults: { retry: { attempts: 2, backoff: 1ms } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: %d, bytes: %d } }
      - { name: much, uses: process/script, from: read, with: { bytes: %d } }
      - { name: rare, uses: process/script, from: read, with: { keep: %d } }
      - { name: rarer, uses: process/script, with: { keep: %d } }
      - { name: join, uses: analysis/count, from: [%s] }
`

func TestAJoinOfUnevenSidesNeverDeadlocks(t *testing.T) {
	for name, c := range map[string]struct {
		rows, bytes, much, rare, rarer int
		from                           string
	}{
		"a side that emits nothing":                {300, 1000, 1000, 0, 0, "read, rarer"},
		"a thousand times":                         {3000, 500, 100, 1000, 1, "much, rarer"},
		"the reader's events fill the budget":      {24, 120_000, 1, 0, 1, "read, rare"},
		"a stage's events fill the budget":         {24, 100, 120_000, 0, 1, "much, rare"},
		"silence behind silence, with large rows":  {150, 16_000, 1, 0, 0, "read, rarer"},
		"what is rare is counted by what is rarer": {300, 8_000, 1, 1, 0, "rarer, read"},
		"three sides":                              {200, 8_000, 8_000, 7, 11, "rarer, much, read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := fmt.Sprintf(uneven, c.rows, c.bytes, c.much, c.rare, c.rarer, c.from)
				p := boot(t, setup{yaml: yaml, broker: memory.New(), store: newMemorySink(), parts: parts{}})
				p.submit()
				p.mustFinish()
			})
		})
	}
}

func TestManyJobsOverFewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{yaml: `
version: 1
transport: { memory: {} }
defaults: { parallelism: 2 }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 200, rows: 5 } }
      - { name: a, uses: process/script }
      - { name: b, uses: process/script, from: read, with: { keep: 2 } }
      - { name: join, uses: analysis/count, from: [a, b] }
`, broker: memory.New(), store: newMemorySink()})
		p.submit()
		p.mustFinish()
		p.stop()
		if n, want := len(p.sink.sorted()), 200*(5+6+3+1); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
	})
}

func TestFailedJobsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{quiet: true, yaml: `
version: 1
transport: { memory: {} }
defaults: { parallelism: 4 }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 1060, rows: 3 } }
      - { name: pass, uses: process/script, with: { part: pass } }
`, broker: memory.New(), store: newMemorySink(), parts: parts{"pass": {
			open: func(_ context.Context, it pipeline.Item) error {
				if it.Name == "item1059" {
					return nil
				}
				return pipeline.Permanent(errBad)
			}}}})
		jobs := p.finish()
		for _, j := range jobs[:1059] {
			if j.State != schemas.JobFailed || j.Stage != "pass" || j.Error != errBad.Error() {
				t.Fatalf("job of %s is %s at %s: %s", j.Item, j.State, j.Stage, j.Error)
			}
		}
		if j := jobs[1059]; j.State != schemas.JobFinished {
			t.Errorf("the only good job is %s", j.State)
		}
		time.Sleep(time.Minute)
		if left := p.engine.Left(); len(left) != 1059 {
			t.Errorf("%d entries are left, want one for each failed job", len(left))
		}
	})
}

const derived = `
version: 1
transport: { memory: {} }
defaults: { retry: { attempts: 100, backoff: 1ms } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 60, bytes: 16000 } }
      - { name: pass, uses: process/script, with: { bytes: 1600 } }
  q:
    from: p/read
    stages:
      - { name: slow, uses: process/script, with: { part: slow } }
`

func TestNothingIsTrimmedThatADerivedPipelineReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := memory.New(), newMemorySink()
		slow := parts{"slow": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			time.Sleep(100 * time.Millisecond)
			return s.echo(ctx, in, out)
		}}}
		var first *process
		for n := range 5 { // each is a process that is cut off, a zombie until the end; the last one goes through
			f := newFaults(uint64(n))
			p := boot(t, setup{yaml: derived, broker: shaky{store.Client(), f}, store: sink.client(), parts: slow})
			if n == 0 {
				p.submit()
			}
			if n == 4 {
				p.mustFinish()
				first = p
				break
			}
			defer f.thaw()
			time.Sleep(1500 * time.Millisecond)
			f.freeze()
		}
		if n, want := len(sink.sorted()), 2*(60+61+61); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
		time.Sleep(time.Minute)
		log, err := store.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "read"})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := log.Stats(t.Context()); err != nil || s.Bytes > 64<<10 {
			t.Errorf("%v: of two finished jobs of 1 MB %d bytes are left", err, s.Bytes)
		}
		first.stop()
	})
}

func TestAProcessGoesOnWithAChainThatWasFullWhenItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := memory.New(), newMemorySink()
		p := boot(t, setup{yaml: straight, broker: store.Client(), store: sink.client(), parts: parts{"pass": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				if number(in) > 2 {
					<-ctx.Done()
					return ctx.Err()
				}
				return s.echo(ctx, in, out)
			}}}})
		p.submit()
		time.Sleep(10 * time.Second)
		p.stop() // the sinks have stored all that the readers wrote
		p = boot(t, setup{yaml: straight, broker: store.Client(), store: sink.client()})
		p.mustFinish()
		if n, want := len(sink.sorted()), 2*(44+45); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
	})
}

func TestStagesFarBeforeAJoinSayHowFarTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{yaml: fmt.Sprintf(uneven, 640, 10, 1, 0, 0, "read, rarer"), broker: b, store: newMemorySink(), retain: true})
		p.submit()
		p.mustFinish()
		p.stop()
		// Of each of two items: a progress event for each silent input; the total; the end.
		for stage, want := range map[string]int{"rare": 2 * (640 + 1 + 1), "rarer": 2 * (641 + 1 + 1)} {
			if n := len(dump(t, b, [2]string{"p", stage}).events); n != want {
				t.Errorf("%s has %d out events, want %d", stage, n, want)
			}
		}
	})
}

func TestWhatAPipelineThatIsNotRunReadsIsKept(t *testing.T) {
	b := memory.New()
	log := slog.New(slog.DiscardHandler)
	e, err := engine.New(t.Context(), engine.Settings{Spec: load(t, derived, parts{}), Broker: b, Pipelines: []string{"p"}, Store: newMemorySink(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Keeps("p", "read") || e.Keeps("p", "pass") {
		t.Errorf("read is kept: %v, pass: %v; want the one that q reads alone", e.Keeps("p", "read"), e.Keeps("p", "pass"))
	}
}
