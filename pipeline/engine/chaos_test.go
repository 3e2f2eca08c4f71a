package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// A fan-out, a join, a chain of stages into it, skipped inputs, a pipeline over another one's events, and chained stages.
const tangled = `
version: 1
transport: { memory: {} }
defaults: { checkpoint: { inputs: 7, interval: 100ms }, retry: { attempts: 1000, backoff: 1ms, max_backoff: 20ms } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 2, with: { part: read, items: 3, rows: 70 } }
      - { name: all, uses: process/script, parallelism: 2, on_error: skip, with: { part: all } }
      - { name: some, uses: process/script, from: read, parallelism: 2, with: { part: some, keep: 9 } }
      - { name: few, uses: process/once, parallelism: 3, with: { part: few } }
      - { name: join, uses: analysis/count, from: [all, few, read] }
  q:
    from: p/some
    stages:
      - { name: twice, uses: process/script, parallelism: 2, with: { part: twice } }
      - { name: both, uses: analysis/count, from: [twice, p/some] }
  r:
    stages:
      - { name: source, uses: reader/gen, durable: false, with: { part: read, items: 2, rows: 40 } }
      - { name: mid, uses: process/script, durable: false, with: { part: mid, keep: 2 } }
      - { name: tail, uses: process/script, parallelism: 2, with: { part: mid, keep: 3 } }
`

// outcomeOf is all that a run left behind: events, dead letters, what is in the store, the jobs' states.
type outcomeOf struct{ events, letters, docs, jobs []string }

// dump reads the logs of the stages.
func dump(t *testing.T, b transport.Broker, stages ...[2]string) (o outcomeOf) {
	t.Helper()
	for _, s := range stages {
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: s[0], Stage: s[1]})
		if err != nil {
			t.Fatal(err)
		}
		w, err := log.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out, transport.DeadLetter}, Drain: true})
		if err != nil {
			t.Fatal(err)
		}
		for {
			r, err := w.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			o.add(t, s[0], r)
		}
		w.Close()
	}
	slices.Sort(o.events)
	slices.Sort(o.letters)
	return o
}

func (o *outcomeOf) add(t *testing.T, pipeline string, r transport.Stored) {
	e := r.Event
	if r.Kind == transport.Out {
		o.events = append(o.events, fmt.Sprintf("%s/%s %s %s %s %x", pipeline, e.ID(), e.Type, e.Item, schemas.FormatTime(e.Time), e.Hash()))
		return
	}
	var l schemas.DeadLetter
	if err := json.Unmarshal(e.Data, &l); err != nil {
		t.Fatal(err)
	}
	o.letters = append(o.letters, fmt.Sprintf("%s/%s %v %s %s", pipeline, r.Chain, l.Input, l.Decision, l.Error))
}

var tangledStages = [][2]string{{"p", "read"}, {"p", "all"}, {"p", "some"}, {"p", "few"}, {"p", "join"}, {"q", "twice"}, {"q", "both"}, {"r", "tail"}}

func outcome(t *testing.T, b transport.Broker, p *process) outcomeOf {
	o := dump(t, b, tangledStages...)
	o.docs = p.sink.sorted()
	for _, m := range p.managers {
		for _, j := range m.Jobs() {
			o.jobs = append(o.jobs, fmt.Sprintf("%s %s %s %s", j.ID, j.Item, j.State, j.Error))
		}
	}
	slices.Sort(o.jobs)
	return o
}

func (o *outcomeOf) differs(t *testing.T, want outcomeOf) {
	t.Helper()
	for _, c := range []struct {
		what      string
		got, want []string
	}{{"events", o.events, want.events}, {"letters", o.letters, want.letters}, {"documents", o.docs, want.docs}, {"jobs", o.jobs, want.jobs}} {
		if slices.Equal(c.got, c.want) {
			continue
		}
		for i := range max(len(c.got), len(c.want)) {
			if i >= len(c.got) || i >= len(c.want) || c.got[i] != c.want[i] {
				t.Errorf("%d %s, want %d; the first that differs is\n%q, want\n%q", len(c.got), c.what, len(c.want), at(c.got, i), at(c.want, i))
				break
			}
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// slow are stages whose steps take time, of which one fails for good now and then.
func slow(f func(what string) bool) parts {
	echo := func(d time.Duration) func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		return func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			time.Sleep(d)
			if f("step") {
				return errors.New("not now")
			}
			err := s.echo(ctx, in, out)
			if f("late step") {
				return errors.New("not now, after all was done")
			}
			return err
		}
	}
	p := parts{"all": {}, "some": {step: echo(2 * time.Millisecond)}, "mid": {step: echo(time.Millisecond)}, "twice": {step: echo(time.Millisecond)},
		"few": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			if f("step") {
				return errors.New("not now")
			}
			s.sum = number(in) + 1
			return s.emit(ctx, out)
		}}}
	all := echo(time.Millisecond)
	p["all"].step = func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if n := number(in); n%23 == 0 {
			s.sum += 1000 // a half step, which must be forgotten
			return pipeline.Permanent(fmt.Errorf("%d is bad", n))
		}
		if number(in)%5 == 0 { // several outputs of one step
			if err := s.emit(ctx, out); err != nil {
				return err
			}
		}
		return all(ctx, s, in, out)
	}
	p["read"] = &part{read: func(context.Context, pipeline.Item, int) error {
		time.Sleep(2 * time.Millisecond)
		if f("step") {
			return errors.New("not now")
		}
		return nil
	}}
	for _, q := range p {
		q.snapshot = func(context.Context, *scripted) error {
			if f("snapshot") {
				return errors.New("no snapshot now")
			}
			return nil
		}
	}
	return p
}

// undisturbed is what a run with no faults leaves behind.
func undisturbed(t *testing.T) (o outcomeOf) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{yaml: tangled, broker: b, store: newMemorySink(), retain: true, parts: slow(func(string) bool { return false }), quiet: true})
		p.finish()
		p.stop()
		o = outcome(t, b, p)
	})
	if len(o.events) < 500 || len(o.letters) != 9 || len(o.docs) < 500 || len(o.jobs) != 8 {
		t.Fatalf("%d events, %d letters, %d documents, %d jobs", len(o.events), len(o.letters), len(o.docs), len(o.jobs))
	}
	return o
}

func TestResultsAreTheSameWhateverGoesWrong(t *testing.T) {
	want := undisturbed(t)
	n, first := 12, uint64(1)
	if s := os.Getenv("CHAOS_SEEDS"); s != "" {
		n, _ = strconv.Atoi(s)
		first = rand.Uint64N(1 << 40)
	}
	if s := os.Getenv("CHAOS_SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
		n = 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { disturb(t, seed, want) })
		})
	}
}

// A chaos is two processes over one store, and all that goes wrong.
type chaos struct {
	t      *testing.T
	rng    *rand.Rand
	store  *memory.Broker
	sink   *memorySink
	faults [2]*faults
	runs   [2]*process
	retain bool

	mu     sync.Mutex
	appRng *rand.Rand
	lose   float64
	ackRng *rand.Rand
	forget float64
	sinks  float64
}

func disturb(t *testing.T, seed uint64, want outcomeOf) {
	c := &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 1)), appRng: rand.New(rand.NewPCG(seed, 2)), ackRng: rand.New(rand.NewPCG(seed, 3)),
		store: memory.New(), sink: newMemorySink(), retain: seed%4 != 0}
	c.store.OnAppend(c.append)
	c.store.OnAck(c.acks)
	c.sink.fault = c.stores
	for i := range c.faults {
		c.faults[i] = newFaults(seed + uint64(i))
		c.boot(i)
	}
	c.runs[0].submit()
	for range 4 + c.rng.IntN(10) {
		time.Sleep(time.Duration(c.rng.IntN(60)) * time.Millisecond)
		c.act()
	}
	c.calm()
	survivor := c.runs[0]
	survivor.wait()
	c.stop()
	got := outcome(t, c.store, survivor)
	if !c.retain {
		got.events, want.events = nil, nil // trimmed
	}
	got.differs(t, want)
}

func (c *chaos) boot(i int) {
	f := c.faults[i]
	c.runs[i] = boot(c.t, setup{yaml: tangled, broker: shaky{c.store.Client(), f}, store: c.sink.client(), retain: c.retain,
		parts: slow(f.happens), quiet: os.Getenv("CHAOS_SEED") == ""})
}

func (c *chaos) stop() {
	for _, p := range c.runs {
		p.stop()
	}
}

func (c *chaos) append(a memory.Append) memory.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.Chain.Stage == transport.JobStage && a.Sequence == 1 || c.appRng.Float64() >= c.lose {
		return memory.NoFault
	}
	return memory.LoseAppend + memory.Fault(c.appRng.IntN(2))
}

func (c *chaos) acks(transport.Stored) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ackRng.Float64() >= c.forget
}

func (c *chaos) stores(string, schemas.ChainID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ackRng.Float64() < c.sinks {
		return errors.New("the store is away")
	}
	return nil
}

func (c *chaos) set(lose, forget, sinks float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose, c.forget, c.sinks = lose, forget, sinks
}

// act does one thing that may happen.
func (c *chaos) act() {
	i := c.rng.IntN(2)
	f, s := c.faults[i], tangledStages[c.rng.IntN(len(tangledStages))]
	acts := []func(){
		func() { c.set(0.1*c.rng.Float64(), c.rng.Float64(), 0.03*c.rng.Float64()) }, // a store is tried five times
		f.freeze, f.thaw,
		func() { f.fill(s[1], true) },
		func() { f.fill(s[1], false) },
		func() { c.redeliver(s[0], s[1]) },
		func() { c.redeliver(s[0], "dashboard@"+s[1]) },
		func() { c.faulty(f, 0.1) },
		func() { c.faulty(f, 0) },
		func() { c.restart(i) },
		func() { c.restart(i) },
		func() { time.Sleep(time.Duration(c.rng.IntN(10)) * time.Second) },
	}
	acts[c.rng.IntN(len(acts))]()
}

func (c *chaos) redeliver(pipelineName, stage string) {
	c.store.Redeliver(pipelineName, transport.JobStage, c.runs[0].engine.Durable(pipelineName, stage))
}

func (c *chaos) faulty(f *faults, most float64) {
	for _, what := range []string{"read", "next", "open", "consume", "step", "late step", "snapshot"} {
		f.set(what, most*c.rng.Float64())
	}
}

// restart drains one process, which may be frozen while it does, and starts another one in its place.
func (c *chaos) restart(i int) {
	stopped := make(chan struct{})
	go func() { c.runs[i].stop(); close(stopped) }()
	time.Sleep(time.Duration(c.rng.IntN(200)) * time.Millisecond)
	c.faults[i].thaw()
	<-stopped
	c.boot(i)
}

func (c *chaos) calm() {
	c.set(0, 0, 0)
	for _, f := range c.faults {
		f.calm()
	}
}
