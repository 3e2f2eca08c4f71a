package engine_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

const groupOf = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, durable: %v, with: { items: 3, rows: 50 } }
      - { name: sum, uses: process/sum, durable: %v }
      - { name: some, uses: process/script, durable: %v, when: 'type == "sum.v1"', with: { keep: 3 } }
      - { name: count, uses: analysis/count, checkpoint: { inputs: 4 } }
`

// resultsOf are the documents that one stage has in the store.
func resultsOf(s *memorySink, stage string) (docs []string) {
	for _, d := range s.plain() {
		if strings.HasPrefix(d, stage+"/") {
			docs = append(docs, d)
		}
	}
	return docs
}

func TestResultsAreTheSameWhetherAnEdgeIsStored(t *testing.T) {
	var want []string
	for k := range 8 {
		t.Run(fmt.Sprintf("%03b", k), func(t *testing.T) {
			p := start(t, fmt.Sprintf(groupOf, k&1 == 0, k&2 == 0, k&4 == 0), memory.New(), newMemorySink())
			for _, j := range p.finish() {
				if j.State != schemas.JobFinished {
					t.Errorf("job of %s is %s: %s", j.Item, j.State, j.Error)
				}
			}
			got := resultsOf(p.sink, "count")
			if k == 0 {
				want = got
			}
			if len(got) != 3 || !slices.Equal(got, want) {
				t.Errorf("count gave\n%q, with all edges stored\n%q", got, want)
			}
			if k&1 == 1 && len(resultsOf(p.sink, "read")) > 0 {
				t.Error("what read emits is stored")
			}
		})
	}
}

func TestTheStatusOfAGroupIsThatOfItsMembers(t *testing.T) {
	p := start(t, fmt.Sprintf(groupOf, false, false, true), memory.New(), newMemorySink())
	p.finish()
	var got []string
	for _, s := range p.engine.Status() {
		got = append(got, fmt.Sprintf("%s %v %d %d %v", s.Stage, s.Inputs, s.In, s.Out, s.Chained))
	}
	want := []string{"read [] 0 150 true", "sum [p/read] 150 51 true", "some [p/sum] 51 18 false", "count [p/some] 18 3 false"}
	if !slices.Equal(got, want) {
		t.Errorf("status %q, want %q", got, want)
	}
}

func TestADeadLetterOfAGroupNamesTheStageThatFailed(t *testing.T) {
	bad := true
	p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { rows: 9 } }
      - { name: one, uses: process/script, durable: false, with: { part: one } }
      - { name: two, uses: process/script, durable: false, with: { part: two } }
      - { name: three, uses: process/script, with: { part: three } }
`, parts: parts{"two": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		if in.Sequence == 5 && bad {
			return pipeline.Permanent(errBad)
		}
		return s.echo(ctx, in, out)
	}}, "one": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
		_ = s.echo(ctx, in, out) // what it passes over fails the step all the same
		return nil
	}}}})
	j := p.finish()[0]
	letters, err := p.engine.Letters(t.Context(), "p")
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	l := letters[0]
	if l.Stage != "three" || l.Letter.Stage != "two" || l.Letter.Input != (schemas.InputRef{Edge: "read", Sequence: 5}) || !strings.Contains(string(l.Letter.Event), `"n":5`) {
		t.Errorf("dead letter in %s: %+v %s", l.Stage, l.Letter, l.Letter.Event)
	}
	bad = false
	if err := p.manager.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	p.wait()
	if got := resultsOf(p.sink, "three"); len(got) != 12 { // nine, and what each member emits at the end
		t.Errorf("%d documents: %q", len(got), got)
	}
}

// A step of a group that panics or hangs names its member too; its goroutine is given up as one.
func TestAGroupThatHangsNamesTheStageThatDoes(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, durable: false, with: { rows: 3 } }
      - { name: one, uses: process/script, durable: false, with: { part: one } }
      - { name: two, uses: process/script, timeout: 1ms, retry: { attempts: 1 }, with: { part: two } }
`, parts: parts{"one": {step: func(context.Context, *scripted, pipeline.Batch, pipeline.Emitter) error {
		<-hang
		return nil
	}}}})
	p.finish()
	letters, err := p.engine.Letters(t.Context(), "p")
	if err != nil || len(letters) != 1 || letters[0].Letter.Stage != "one" || !strings.Contains(letters[0].Letter.Error, "timeout") {
		t.Fatalf("dead letters %+v, %v", letters, err)
	}
}

// An io.EOF is the recording's end only when the reader itself returns it: one of a decoder in a chained stage, or one that the
// reader wraps, is a failure.
func TestAnErrorOfTheEndIsNoEnd(t *testing.T) {
	for name, does := range map[string]parts{
		"a chained stage's": {"one": {step: func(_ context.Context, _ *scripted, in pipeline.Batch, _ pipeline.Emitter) error {
			if in.Sequence == 2 {
				return io.EOF
			}
			return nil
		}}},
		"the reader's, wrapped": {"read": {read: func(_ context.Context, _ pipeline.Item, n int) error {
			if n == 2 {
				return fmt.Errorf("read at 0x40: %w", io.EOF)
			}
			return nil
		}}},
	} {
		p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, durable: false, with: { part: read, rows: 3 } }
      - { name: one, uses: process/script, retry: { attempts: 1 }, with: { part: one } }
`, parts: does})
		p.finish()
		letters, err := p.engine.Letters(t.Context(), "p")
		if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Letter.Error, "EOF") {
			t.Errorf("%s: dead letters %+v, %v", name, letters, err)
		}
		p.stop()
	}
}

// A process that runs any stage of a group runs all of it.
func TestAWorkerTakesAGroupAsAWhole(t *testing.T) {
	b := memory.New()
	yaml := fmt.Sprintf(groupOf, false, false, true)
	w := boot(t, setup{yaml: yaml, broker: b.Client(), worker: true, stages: []string{"sum"}, retain: true})
	p := boot(t, setup{yaml: yaml, broker: b.Client(), store: newMemorySink(), retain: true})
	for _, j := range p.finish() {
		if j.State != schemas.JobFinished {
			t.Errorf("job of %s is %s: %s", j.Item, j.State, j.Error)
		}
	}
	for _, s := range w.engine.Status() {
		if s.Local == (s.Stage == "count") {
			t.Errorf("%s runs in the worker: %v", s.Stage, s.Local)
		}
	}
}

// The state of a group is taken apart only as it was put together.
func TestAGroupGoesOnWhereItWas(t *testing.T) {
	want := start(t, fmt.Sprintf(groupOf, false, false, false), memory.New(), newMemorySink())
	want.finish()
	b, sink := memory.New(), newMemorySink()
	stop := make(chan struct{}, 100)
	p := boot(t, setup{yaml: strings.ReplaceAll(fmt.Sprintf(groupOf, false, false, false), "{ keep: 3 }", "{ keep: 3, part: some }"), broker: b, store: sink, retain: true,
		parts: parts{"some": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			stop <- struct{}{}
			return s.echo(ctx, in, out)
		}}}})
	p.submit()
	<-stop
	p.stop()
	p = boot(t, setup{yaml: strings.ReplaceAll(fmt.Sprintf(groupOf, false, false, false), "{ keep: 3 }", "{ keep: 3, part: some }"), broker: b, store: sink, retain: true})
	p.wait()
	if got := resultsOf(sink, "count"); !slices.Equal(got, resultsOf(want.sink, "count")) {
		t.Errorf("after a stop %q, want %q", got, resultsOf(want.sink, "count"))
	}
}

// A paced reader's pace holds for what is chained to it.
func TestAPacedGroupKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, durable: false, with: { rows: 30, paced: true } }
      - { name: one, uses: process/script, with: { keep: 10 } }
`})
		began := time.Now()
		p.finish()
		if took := time.Since(began); took < 29*time.Second || took > 40*time.Second { // of a clock that only waiting moves
			t.Errorf("30 rows a second apart took %s", took)
		}
	})
}
