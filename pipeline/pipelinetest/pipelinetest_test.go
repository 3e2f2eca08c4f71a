package pipelinetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

const (
	countType = "test.count.v1"
	sumType   = "test.sum.v1"
)

// counter counts rows and sums a column; its bugs are what the suite must find.
type counter struct {
	pipeline.Stateless
	bug  string
	rows int
	sum  float64
	kept pipeline.Batch
	n    int // forgotten by the snapshot
}

func (c *counter) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	for _, t := range in.Tables {
		for i, v := range t.Float64("v") {
			c.rows++
			c.n++
			c.sum += v
			if c.rows%3 != 0 {
				continue
			}
			if err := c.emit(ctx, in, t.Times()[i], out); err != nil {
				return err
			}
		}
	}
	if c.bug == "docs per batch" {
		return pipeline.EmitDoc(ctx, out, countType, c.rows)
	}
	if c.bug == "input kept" {
		old := c.kept
		c.kept = in
		if len(old.Tables) > 0 {
			return pipeline.EmitDoc(ctx, out, countType, fmt.Sprint(old.Tables[0].Float64("v")[0]))
		}
	}
	return nil
}

func (c *counter) emit(ctx context.Context, in pipeline.Batch, t int64, out pipeline.Emitter) error {
	doc := map[string]any{"t": t, "rows": c.rows, "sum": c.sum}
	switch c.bug {
	case "forgotten state":
		doc["rows"] = c.n
	case "random":
		doc["rows"] = rand.Int()
	case "processors":
		doc["rows"] = runtime.GOMAXPROCS(0)
	case "wrong type":
		return pipeline.EmitDoc(ctx, out, "test.other.v1", doc)
	case "not JSON":
		return out.Emit(ctx, pipeline.Batch{Type: countType, Docs: []pipeline.Doc{[]byte("{")}})
	case "time steps back":
		table, err := schemas.NewTable("x", []int64{2, 1})
		return errors.Join(err, out.Emit(ctx, pipeline.Batch{Type: countType, Tables: []pipeline.Table{table}}))
	}
	err := pipeline.EmitDoc(ctx, out, countType, doc)
	if c.bug == "error dropped" {
		return nil
	}
	return err
}

func (c *counter) Finish(ctx context.Context, out pipeline.Emitter) error {
	return pipeline.EmitDoc(ctx, out, sumType, map[string]any{"rows": c.rows, "sum": c.sum})
}

func (c *counter) Snapshot(context.Context) ([]byte, error) {
	if c.bug == "snapshot disturbs" {
		c.sum++
	}
	if c.bug == "snapshot differs" {
		return fmt.Appendf(nil, `{"Rows":%d,"Sum":%g,"X":%d}`, c.rows, c.sum, rand.Int()), nil
	}
	return json.Marshal(struct {
		Rows int
		Sum  float64
	}{c.rows, c.sum})
}

func (c *counter) Restore(_ context.Context, state []byte) error {
	if state == nil {
		return nil
	}
	var s struct {
		Rows int
		Sum  float64
	}
	err := json.Unmarshal(state, &s)
	c.rows, c.sum = s.Rows, s.Sum
	return err
}

type config struct{ Bug string }

var counterType = pipeline.ProcessorType[config]{
	Name: "process/counter", Summary: "counts", Accepts: []string{schemas.Signals}, Emits: []string{countType, sumType},
	Build: func(_ context.Context, c config) (pipeline.Open[pipeline.Processor], error) {
		return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return &counter{bug: c.Bug}, nil }, nil
	},
}

var recording = []string{"t v\n0 1\n1 2", "t v\n1.5 3\n2 4\n2.5 5\n3 6\n", "t v\n4 7\n", "t v\n5 8\n6 9"}

func TestRun(t *testing.T) {
	got := pipelinetest.Run(t, counterType, config{}, recording...)
	want := `[test.count.v1 {"rows":3,"sum":6,"t":1500000000} test.count.v1 {"rows":6,"sum":21,"t":3000000000} test.count.v1 {"rows":9,"sum":45,"t":6000000000} test.sum.v1 {"rows":9,"sum":45}]`
	if fmt.Sprint(got.Docs) != want {
		t.Fatalf("docs = %v", got.Docs)
	}
}

func TestProcessorTakesAGoodStage(t *testing.T) {
	batches := pipelinetest.Batches(t, schemas.Signals, recording...)
	pipelinetest.TestProcessor(t, counterType, config{}, batches, pipelinetest.SliceIndependent)
}

func TestProcessorFinds(t *testing.T) {
	batches := pipelinetest.Batches(t, schemas.Signals, recording...)
	for bug, message := range map[string]string{
		"forgotten state": "restored behind", "random": "run again", "processors": "processors, outputs", "wrong type": "does not list",
		"not JSON": "is not JSON", "time steps back": "step back", "error dropped": "the step returned", "docs per batch": "contents differ",
		"input kept": "run again|restored behind", "snapshot disturbs": "second one differs", "snapshot differs": "second one differs",
	} {
		failed := failures(func(t testing.TB) {
			pipelinetest.TestProcessor(t, counterType, config{Bug: bug}, batches, pipelinetest.SliceIndependent)
		})
		if !containsAny(failed, message) {
			t.Errorf("%s: want a failure with %q, got %q", bug, message, failed)
		}
	}
}

func containsAny(s, messages string) bool {
	for m := range strings.SplitSeq(messages, "|") {
		if strings.Contains(s, m) {
			return true
		}
	}
	return false
}

// lines reads numbers, a batch each.
type lines struct {
	bug       string
	at, reads int
}

func (l *lines) Read(context.Context) (pipeline.Batch, error) {
	l.reads++
	if l.at == 5 {
		return pipeline.Batch{}, io.EOF
	}
	l.at++
	n := int64(l.at)
	switch l.bug {
	case "forgotten state":
		n = int64(l.reads)
	case "rows behind":
		n = max(1, n-1)
	}
	t, err := schemas.NewTable("rows", []int64{n})
	if l.bug == "empty table" {
		t, err = schemas.NewTable("rows", []int64{})
	}
	s := schemas.Slice{Start: pipelinetest.Start, From: at(l.at), To: at(l.at + 1)}
	return pipeline.Batch{Type: schemas.Signals, Slice: s, Tables: []pipeline.Table{t}}, err
}

func (l *lines) Snapshot(context.Context) ([]byte, error) { return []byte{byte(l.at)}, nil }
func (l *lines) Close() error                             { return nil }

func (l *lines) Restore(_ context.Context, state []byte) error {
	if len(state) > 0 {
		l.at = int(state[0])
		l.reads = l.at
	}
	if l.bug == "forgotten state" {
		l.reads = 0
	}
	return nil
}

var linesType = pipeline.ReaderType[config]{
	Name: "reader/lines", Summary: "numbers", Emits: []string{schemas.Signals},
	List: func(context.Context, config) ([]pipeline.Item, error) { return nil, nil },
	Build: func(_ context.Context, c config) (pipeline.Open[pipeline.Reader], error) {
		return func(context.Context, pipeline.Item) (pipeline.Reader, error) { return &lines{bug: c.Bug}, nil }, nil
	},
}

func TestReader(t *testing.T) {
	pipelinetest.TestReader(t, linesType, config{}, pipeline.Item{Name: "x"})
	if n := len(pipelinetest.ReadAll(t, linesType, config{}, pipeline.Item{Name: "x"})); n != 5 {
		t.Errorf("%d batches", n)
	}
	for bug, message := range map[string]string{"forgotten state": "restored behind", "rows behind": "rows from", "empty table": "without rows"} {
		failed := failures(func(t testing.TB) {
			pipelinetest.TestReader(t, linesType, config{Bug: bug}, pipeline.Item{Name: "x"})
		})
		if !strings.Contains(failed, message) {
			t.Errorf("%s: want a failure with %q, got %q", bug, message, failed)
		}
	}
}

// failures runs a suite that is meant to fail and returns what it said.
func failures(suite func(testing.TB)) string {
	tb := &recorder{}
	done := make(chan struct{})
	procs := runtime.GOMAXPROCS(0)
	go func() {
		defer close(done)
		suite(tb)
	}()
	<-done
	runtime.GOMAXPROCS(procs)
	return strings.Join(tb.said, "\n")
}

type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return context.Background() }
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func at(n int) time.Duration { return time.Duration(n) }
