package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
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
	t        *testing.T
	sink     *memorySink
	engine   *engine.Engine
	managers map[string]*job.Manager
	manager  *job.Manager // of the first pipeline
	stop     func()       // drains
}

// setup says what a process is.
type setup struct {
	yaml   string
	broker transport.Broker
	store  *memorySink // nil: a worker without the dashboard's store
	retain bool
	worker bool     // no owner of jobs
	stages []string // only these
	parts  parts    // what scripted stages do
	quiet  bool     // no log
}

func load(t *testing.T, yaml string, p parts) *spec.Spec {
	t.Helper()
	var reg pipeline.Registry
	reg.Add(rowsType, sumType, countType)
	reg.Add(p.types()...)
	s, problems := spec.Load(context.Background(), []string{"p.yaml"}, spec.Options{Registry: &reg,
		ReadFile: func(string) ([]byte, error) { return []byte(yaml), nil }})
	if s == nil {
		t.Fatalf("%v", problems.Err())
	}
	return s
}

func start(t *testing.T, yaml string, b transport.Broker, sink *memorySink) *process {
	t.Helper()
	return boot(t, setup{yaml: yaml, broker: b, store: sink, retain: true})
}

func startWith(t *testing.T, yaml string, b transport.Broker, sink *memorySink, retain bool) *process {
	t.Helper()
	return boot(t, setup{yaml: yaml, broker: b, store: sink, retain: retain})
}

func (s setup) engine(t *testing.T) *engine.Engine {
	t.Helper()
	out := t.Output()
	if s.quiet {
		out = io.Discard
	}
	settings := engine.Settings{Spec: load(t, s.yaml, s.parts), Broker: s.broker, Retain: s.retain, Stages: s.stages,
		Log: slog.New(slog.NewTextHandler(out, nil))}
	if s.store != nil {
		settings.Store = s.store
	}
	e, err := engine.New(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// boot starts a process. It is stopped at the end of the test at the latest.
func boot(t *testing.T, s setup) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := s.engine(t)
	p := &process{t: t, sink: s.store, engine: e, managers: map[string]*job.Manager{}}
	runs := []func(context.Context) error{e.Run}
	for _, name := range e.Pipelines() {
		if s.worker {
			break
		}
		m, err := e.Jobs(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		p.managers[name] = m
		runs = append(runs, m.Run)
	}
	p.manager = p.managers[e.Pipelines()[0]]
	for _, l := range load(t, s.yaml, s.parts).Pipelines {
		if m := p.managers[l.Name]; m != nil && len(l.From) > 0 {
			var stages []string
			for _, ref := range l.From {
				stages = append(stages, ref.Stage)
			}
			m.Follow(p.managers[l.From[0].Pipeline], stages...)
		}
	}
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	p.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(p.stop)
	return p
}

// submit queues every item in every pipeline and returns the jobs of the first one.
func (p *process) submit() (ids []schemas.JobID) {
	p.t.Helper()
	for i, name := range p.engine.Pipelines() {
		if i == 0 {
			ids = p.submitItems(name)
			continue
		}
		if got := p.submitItems(name); len(got) == 0 {
			p.submitDerived(name, ids)
		}
	}
	return ids
}

func (p *process) submitItems(name string) (ids []schemas.JobID) {
	p.t.Helper()
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
		p.queue(name, job.Submission{ID: id, Item: it.Name, Source: source, Run: "r"})
	}
	return ids
}

func (p *process) submitDerived(name string, upstream []schemas.JobID) {
	p.t.Helper()
	for _, id := range upstream {
		up, _ := p.manager.Job(id)
		p.queue(name, job.Submission{ID: p.engine.Derived(name, id), Item: up.Item, Source: up.Source, Run: "r", Upstream: id})
	}
}

// queue submits one job, again when another owner of jobs was in the way.
func (p *process) queue(name string, s job.Submission) {
	p.t.Helper()
	for {
		_, err := p.managers[name].Submit(p.t.Context(), s)
		if err == nil {
			return
		}
		if !errors.Is(err, transport.ErrUnknown) {
			p.t.Fatal(err)
		}
	}
}

// finish queues every item, waits until the jobs of all pipelines are over, and returns the first one's.
func (p *process) finish() []job.Job {
	p.t.Helper()
	p.submit()
	p.wait()
	return p.manager.Jobs()
}

// wait returns when all jobs are over.
func (p *process) wait() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	for _, name := range p.engine.Pipelines() {
		m := p.managers[name]
		var ids []schemas.JobID
		for _, j := range m.Jobs() {
			ids = append(ids, j.ID)
		}
		if err := m.Wait(ctx, ids); err != nil {
			p.t.Fatalf("jobs of %s did not end: %v\n%+v\n%+v", name, err, m.Jobs(), p.engine.Totals())
		}
	}
}

// until waits until ok, looked at whenever a job changes.
func (p *process) until(ok func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-p.manager.Changed():
		case <-ctx.Done():
			p.t.Fatalf("waited in vain: %+v\n%+v", p.manager.Jobs(), p.engine.Totals())
		}
	}
}

// redeliver has a node handed again all that was ever said about its pipeline's jobs.
func (p *process) redeliver(b *memory.Broker, pipelineName, stage string) {
	p.t.Helper()
	if !b.Redeliver(pipelineName, transport.JobStage, p.engine.Durable(pipelineName, stage)) {
		p.t.Fatalf("%s/%s has no consumer", pipelineName, stage)
	}
}
