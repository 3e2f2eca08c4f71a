package pipelinetest

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
)

// A Result is what a processor made of a recording.
type Result struct {
	Docs    []Doc            // all documents, in order
	Tables  []pipeline.Table // all tables, in order
	Batches []pipeline.Batch // the events that they came in
}

// A Doc is one document; it prints as text.
type Doc struct {
	Type string
	JSON string
}

// String is the type and the document.
func (d Doc) String() string { return d.Type + " " + d.JSON }

// Run gives a processor a recording written as texts, one a batch (see Batches), and returns what it emitted, Finish
// included. It runs TestProcessor over the batches besides. An error of the stage fails the test.
func Run[C any](t testing.TB, typ pipeline.ProcessorType[C], cfg C, texts ...string) Result {
	t.Helper()
	eventType := "signal.batch.v1"
	if len(typ.Accepts) > 0 && typ.Accepts[0] != pipeline.Any {
		eventType = typ.Accepts[0]
	}
	s := newProcessorSuite(t, typ, cfg, pipeline.Item{Name: "drive"}, Batches(t, eventType, texts...))
	s.run()
	var got Result
	for _, step := range s.want {
		r := Recorder{wire: step.wire}
		got.Batches = append(got.Batches, r.Batches(t)...)
	}
	for _, b := range got.Batches {
		got.Tables = append(got.Tables, b.Tables...)
		for _, d := range b.Docs {
			got.Docs = append(got.Docs, Doc{Type: b.Type, JSON: string(d)})
		}
	}
	return got
}

// A Claim is a property that not every stage has; the suite checks it where a test names it.
type Claim int

// SliceIndependent: documents and rows are the same however the recording is cut into batches. Which events they come in,
// and the slices of those, may differ.
const SliceIndependent Claim = iota

// TestProcessor is the suite of processors, over the batches of one recording. It runs the stage through, and then again: cut
// behind every batch, its snapshot restored into a fresh instance; on one and on two processors; with an Emitter that fails;
// with inputs that are overwritten when the step returns. Outputs must be the same bytes, and so must snapshots.
func TestProcessor[C any](t testing.TB, typ pipeline.ProcessorType[C], cfg C, batches []pipeline.Batch, claims ...Claim) {
	t.Helper()
	TestProcessorOf(t, typ, cfg, pipeline.Item{Name: "drive"}, batches, claims...)
}

// TestProcessorOf is TestProcessor for a stage that looks at its item's labels or params.
func TestProcessorOf[C any](t testing.TB, typ pipeline.ProcessorType[C], cfg C, it pipeline.Item, batches []pipeline.Batch, claims ...Claim) {
	t.Helper()
	s := newProcessorSuite(t, typ, cfg, it, batches)
	s.run()
	if slices.Contains(claims, SliceIndependent) {
		s.testSlices(batches)
	}
}

// runsToEnd is how many cuts are followed by all that is left of the recording; behind the others comes one step. Forgotten
// state shows at the step that needs it, whichever cut came before; runs to the end find what a step alone hides.
const runsToEnd = 32

type processorSuite struct {
	t      testing.TB
	open   pipeline.Open[pipeline.Processor]
	emits  []string
	item   pipeline.Item
	inputs []string // on the wire
	want   []step   // of the uninterrupted run: one an input, then Finish's
}

// A step is what one call made: outputs, and the snapshot behind it.
type step struct {
	wire  []string
	state []byte
}

func newProcessorSuite[C any](t testing.TB, typ pipeline.ProcessorType[C], cfg C, it pipeline.Item, batches []pipeline.Batch) *processorSuite {
	t.Helper()
	parts, err := typ.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatalf("assemble: %v", err)
	}
	s := &processorSuite{t: t, open: parts.Processor, emits: typ.Emits, item: it}
	s.inputs = s.encodeAll(batches)
	return s
}

func (s *processorSuite) encodeAll(batches []pipeline.Batch) []string {
	s.t.Helper()
	var inputs []string
	for i, b := range batches {
		w, err := encode(b)
		if err != nil {
			s.t.Fatalf("input %d is no batch: %v", i+1, err)
		}
		inputs = append(inputs, w)
	}
	return inputs
}

func (s *processorSuite) run() {
	s.t.Helper()
	s.want = s.process(s.inputs, 0, nil, len(s.inputs)+1, true)
	s.testRepeats()
	s.testCuts()
	s.testEmitErrors()
}

// start opens an instance and gives it a state.
func (s *processorSuite) start(state []byte) pipeline.Processor {
	s.t.Helper()
	p, err := s.open(s.t.Context(), s.item)
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	if err := p.Restore(s.t.Context(), state); err != nil {
		s.t.Fatalf("restore %d bytes: %v", len(state), err)
	}
	return p
}

// process runs a fresh instance, in that state, over at most n inputs from the one at from, the call of Finish being the last.
func (s *processorSuite) process(inputs []string, from int, state []byte, n int, snapshots bool) []step {
	s.t.Helper()
	p := s.start(state)
	var steps []step
	for i := from; i < min(from+n, len(inputs)+1); i++ {
		r := &Recorder{Emits: s.emits}
		if err := s.call(p, inputs, i, r); err != nil {
			s.t.Fatalf("%s: %v", s.name(i), err)
		}
		st := step{wire: r.wire}
		if snapshots {
			st.state = s.snapshot(p, i)
		}
		steps = append(steps, st)
	}
	s.close(p)
	return steps
}

// call makes one step and then writes over its input's memory: a batch is the stage's until the call returns.
func (s *processorSuite) call(p pipeline.Processor, inputs []string, i int, r *Recorder) error {
	s.t.Helper()
	if i == len(inputs) {
		if i > 0 {
			r.input = decode(s.t, inputs[i-1]).Slice
		}
		return p.Finish(s.t.Context(), r)
	}
	b, memory := open(s.t, inputs[i])
	b.Job, b.Item, b.Pipeline, b.Stage, b.Sequence = "j-0123456789abcdef", s.item.Name, "test", "input", uint64(i+1)
	r.input = b.Slice
	err := p.Process(s.t.Context(), b, r)
	for i := range memory {
		memory[i] = 0xff
	}
	return err
}

func (s *processorSuite) snapshot(p pipeline.Processor, i int) []byte {
	s.t.Helper()
	state, err := p.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatalf("snapshot behind %s: %v", s.name(i), err)
	}
	state = slices.Clone(state)
	again, err := p.Snapshot(s.t.Context())
	if err != nil || string(again) != string(state) {
		s.t.Errorf("snapshot behind %s: a second one differs (%v)", s.name(i), err)
	}
	return state
}

func (s *processorSuite) close(p pipeline.Processor) {
	s.t.Helper()
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		s.t.Errorf("close, twice: %v", err)
	}
}

func (s *processorSuite) name(i int) string {
	if i == len(s.inputs) {
		return "finish"
	}
	return "batch " + itoa(i+1)
}

// testRepeats finds clocks, random numbers, map order, and what a snapshot changes.
func (s *processorSuite) testRepeats() {
	s.t.Helper()
	for _, procs := range []int{1, 2} {
		before := runtime.GOMAXPROCS(procs)
		for range 2 {
			s.compare("run again on "+itoa(procs)+" processors", s.process(s.inputs, 0, nil, len(s.inputs)+1, false), 0, false)
		}
		runtime.GOMAXPROCS(before)
	}
}

func (s *processorSuite) testCuts() {
	s.t.Helper()
	every := max(1, len(s.inputs)/runsToEnd)
	for i := range s.inputs {
		n := 1
		if i%every == 0 {
			n = len(s.inputs) + 1
		}
		s.compare("restored behind "+s.name(i), s.process(s.inputs, i+1, s.want[i].state, n, true), i+1, true)
	}
}

// testEmitErrors checks that the stage hands on an Emitter's error: the engine would store half a step otherwise.
func (s *processorSuite) testEmitErrors() {
	s.t.Helper()
	refused := errors.New("the emitter refuses")
	checked := 0
	for i, want := range s.want {
		if len(want.wire) == 0 || checked == 8 {
			continue
		}
		checked++
		var state []byte
		if i > 0 {
			state = s.want[i-1].state
		}
		p := s.start(state)
		r := &Recorder{FailAt: len(want.wire), Err: refused}
		if err := s.call(p, s.inputs, i, r); !errors.Is(err, refused) {
			s.t.Errorf("%s: emission %d failed, the step returned %v", s.name(i), r.FailAt, err)
		}
		s.close(p)
	}
}

// compare holds steps against those of the uninterrupted run from the one at from.
func (s *processorSuite) compare(what string, got []step, from int, states bool) {
	s.t.Helper()
	for i, g := range got {
		want := s.want[from+i]
		if !slices.Equal(g.wire, want.wire) {
			s.t.Fatalf("%s, outputs of %s differ:%s\nuninterrupted:%s", what, s.name(from+i), brief(g.wire), brief(want.wire))
		}
		if states && string(g.state) != string(want.state) {
			s.t.Fatalf("%s, the snapshot behind %s differs:\n  %.300q\nuninterrupted:\n  %.300q", what, s.name(from+i), g.state, want.state)
		}
	}
}
