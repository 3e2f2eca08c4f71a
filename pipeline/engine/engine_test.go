package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// process is one process that runs a pipelines file over a broker.
type process struct {
	t       *testing.T
	sink    *memorySink
	engine  *engine.Engine
	manager *job.Manager
	stop    func() // drains
}

func load(t *testing.T, yaml string) *spec.Spec {
	t.Helper()
	var reg pipeline.Registry
	reg.Add(rowsType, sumType, countType)
	s, problems := spec.Load(context.Background(), []string{"p.yaml"}, spec.Options{Registry: &reg,
		ReadFile: func(string) ([]byte, error) { return []byte(yaml), nil }})
	if s == nil {
		t.Fatalf("%v", problems.Err())
	}
	return s
}

func start(t *testing.T, yaml string, b transport.Broker, sink *memorySink) *process {
	t.Helper()
	return startWith(t, yaml, b, sink, true)
}

func startWith(t *testing.T, yaml string, b transport.Broker, sink *memorySink, retain bool) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := engine.New(ctx, engine.Settings{Spec: load(t, yaml), Broker: b, Store: sink, Retain: retain, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Jobs(ctx, e.Pipelines()[0])
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{e.Run, m.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	p := &process{t: t, sink: sink, engine: e, manager: m, stop: sync.OnceFunc(func() { cancel(); wg.Wait() })}
	t.Cleanup(p.stop)
	return p
}

// submit queues every item.
func (p *process) submit() (ids []schemas.JobID) {
	p.t.Helper()
	name := p.engine.Pipelines()[0]
	items, err := p.engine.List(p.t.Context(), name)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, it := range items {
		source, err := json.Marshal(it)
		if err != nil {
			p.t.Fatal(err)
		}
		id := p.engine.JobID(name, it, 0)
		ids = append(ids, id)
		if _, err := p.manager.Submit(p.t.Context(), job.Submission{ID: id, Item: it.Name, Source: source, Run: "r"}); err != nil {
			p.t.Fatal(err)
		}
	}
	return ids
}

// finish queues every item and waits until all jobs are over.
func (p *process) finish() []job.Job {
	p.t.Helper()
	ids := p.submit()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if err := p.manager.Wait(ctx, ids); err != nil {
		p.t.Fatalf("jobs did not end: %v\n%+v\n%+v", err, p.manager.Jobs(), p.engine.Status())
	}
	return p.manager.Jobs()
}

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
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: "read"})
	if err != nil {
		t.Fatal(err)
	}
	// The jobs' last change reaches the stages by itself, behind the end of the jobs.
	for left := -1; left != 0; {
		left = 0
		w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true})
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := w.Next(ctx); err != nil {
				break
			}
			left++
		}
		if err := errors.Join(w.Close(), ctx.Err()); err != nil {
			t.Fatalf("%d out events are left: %v", left, err)
		}
	}
}
