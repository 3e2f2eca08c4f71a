package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/history"
	"github.com/milepost-dev/milepost/transport/memory"
)

func TestAnotherConfigurationLeavesUnfinishedJobsAlone(t *testing.T) {
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
	watched, deliveries := recorded(t, b)
	other := start(t, strings.Replace(joined, "uses: process/sum,", "uses: process/sum, with: { fail_at: 1000 },", 1), watched, sink)
	if err := other.manager.Wait(t.Context(), other.submit()); err != nil { // for its own jobs, not for those of the first
		t.Fatal(err)
	}
	other.stop()
	for what, n := range deliveries() {
		if n > 1 { // nobody died, nobody was slow: what is not theirs must not come again and again
			t.Errorf("%s was delivered %d times", what, n)
		}
	}
	if same := slices.Equal(sink.sorted(), want); same {
		t.Fatal("the other configuration made no results of its own")
	}
	p = start(t, joined, b, sink)
	p.finish()
	got := sink.sorted()
	for _, doc := range want {
		if !slices.Contains(got, doc) {
			t.Fatalf("missing after another configuration ran in between: %s", doc)
		}
	}
	if len(got) != 2*len(want) {
		t.Errorf("%d documents of two configurations, want twice %d", len(got), len(want))
	}
}

// While a release is rolled out, workers of both configurations take jobs of the same pipeline from the same broker.
func TestTwoConfigurationsAtOnceDoNotMix(t *testing.T) {
	edited := strings.Replace(joined, "uses: process/sum,", "uses: process/sum, with: { fail_at: 1000 },", 1)
	var want []string
	for _, yaml := range []string{joined, edited} {
		alone := start(t, yaml, memory.New(), newMemorySink())
		alone.finish()
		want = append(want, alone.sink.sorted()...)
	}
	slices.Sort(want)
	b, sink := memory.New(), newMemorySink()
	var processes []*process
	for _, yaml := range []string{joined, edited} {
		for range 2 { // whose jobs are they, and a worker beside it
			worker := len(processes)%2 == 1
			processes = append(processes, boot(t, setup{yaml: yaml, broker: b.Client(), store: sink, retain: true, worker: worker}))
		}
	}
	old, next := processes[0], processes[2]
	ids := old.submit()
	if err := next.manager.Wait(t.Context(), next.submit()); err != nil {
		t.Fatal(err)
	}
	if err := old.manager.Wait(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		p.stop()
	}
	if got := sink.sorted(); !slices.Equal(got, want) {
		t.Errorf("%d documents of both, want %d, or they differ", len(got), len(want))
	}
}

const readTwice = `
version: 1
transport: { memory: {} }
defaults: { timeout: 1h }
pipelines:
  p:
    stages:
      - { name: a, uses: reader/gen, with: { items: 1, rows: 24, bytes: 8000 } }
      - { name: slow, uses: process/script, with: { part: slow } }
  q:
    from: p/a
    stages:
      - { name: sum, uses: process/script, with: { part: sum } }
`

// A release drops a stage, and its workers finish a job of a pipeline that reads the same events: what the old configuration's
// job has not read yet stays.
func TestAnotherConfigurationsWorkersLeaveWhatTheOldOnesStillRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, sink := memory.New(), newMemorySink()
		gates := map[string]chan struct{}{"slow": make(chan struct{}), "sum": make(chan struct{})}
		all := parts{}
		for name, gate := range gates {
			all[name] = &part{step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				<-gate
				return s.echo(ctx, in, out)
			}}
		}
		dropped := regexp.MustCompile(`\n.*name: slow.*`).ReplaceAllString(readTwice, "")
		old := boot(t, setup{yaml: readTwice, broker: b.Client(), store: sink.client(), stages: []string{"a", "slow"}, parts: all})
		boot(t, setup{yaml: dropped, broker: b.Client(), store: sink.client(), worker: true, parts: all})
		old.submit()
		synctest.Wait() // but for these two all have read the recording
		close(gates["sum"])
		q := old.managers["q"]
		if err := q.Wait(t.Context(), []schemas.JobID{q.Jobs()[0].ID}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // what only waited for that is removed
		close(gates["slow"])
		old.mustFinish()
	})
}

// recorded is a broker that counts how often each event of a job was delivered to each consumer.
func recorded(t *testing.T, b transport.Broker) (transport.Broker, func() map[string]int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := history.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return history.Broker(b, r), func() map[string]int {
		data, err := os.ReadFile(path)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for text := range strings.Lines(string(data)) {
			var l history.Line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			if l.Op == history.Deliver {
				counts[fmt.Sprintf("%s/%s/%d to %s", l.Pipeline, l.Chain, l.Sequence, l.Durable)]++
			}
		}
		if len(counts) == 0 {
			t.Fatal("no delivery was recorded")
		}
		return counts
	}
}
