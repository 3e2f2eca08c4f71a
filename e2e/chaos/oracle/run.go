package oracle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
)

// tries is how often a step that fails is tried: stages of package ordeal that fail once do not fail again.
const tries = 3

// A run is one stage over one job. An input that is given up is "as if it had never come": everything is computed anew
// without it.
type run struct {
	o     *oracle
	stage *spec.Stage
	parts pipeline.Parts
	job   *job

	skip     map[schemas.InputRef]bool
	letters  []schemas.DeadLetter
	out      []schemas.Event
	hash     [32]byte
	consumed uint64
	emitted  int // by the step in hand
}

// gaveUp is the error of a step that is not tried again.
type gaveUp struct {
	input schemas.InputRef
	err   error
}

func (g gaveUp) Error() string { return g.err.Error() }

func (r *run) id() schemas.ChainID { return schemas.ChainID{Job: r.job.id, Stage: r.stage.Name} }

// all computes the stage, anew for each input that is given up, until it ends or halts.
func (r *run) all(ctx context.Context) error {
	for {
		r.out, r.hash, r.consumed = nil, [32]byte{}, 0
		err := r.once(ctx)
		var g gaveUp
		if !errors.As(err, &g) {
			return err
		}
		l := schemas.DeadLetter{Decision: schemas.Halt, Input: g.input, Error: g.err.Error(), Permanent: pipeline.IsPermanent(g.err) && !foretold(g.err)}
		if r.stage.Settings.OnError == spec.Skip && r.parts.Reader == nil {
			l.Decision = schemas.Skip
			r.skip[g.input] = true
			r.letters = append(r.letters, l)
			continue
		}
		r.letters = append(r.letters, l)
		r.job.failed = true
		return nil
	}
}

// foretold says whether the error stands for something that nobody survives.
func foretold(err error) bool { return err.Error() == "harmless here" }

func (r *run) once(ctx context.Context) error {
	if r.parts.Reader != nil {
		return r.read(ctx)
	}
	inputs, whole := r.inputs()
	p, err := r.parts.Processor(ctx, r.job.item)
	if err != nil {
		return err
	}
	defer func() { p.Close() }()
	for n := range inputs {
		if p, err = r.input(ctx, p, &inputs[n]); err != nil {
			return err
		}
	}
	if !whole { // what is upstream halted: there is no more
		return nil
	}
	return r.end()
}

// read computes a reader.
func (r *run) read(ctx context.Context) error {
	s, err := r.parts.Reader(ctx, r.job.item)
	if err != nil {
		return gaveUp{schemas.InputRef{Sequence: 1}, err}
	}
	defer func() { s.Close() }()
	for n := uint64(1); ; n++ {
		b, err := s.Read(ctx)
		for try := 1; err != nil && err != io.EOF && !pipeline.IsPermanent(err) && try < tries; try++ {
			b, err = s.Read(ctx)
		}
		if err == io.EOF {
			return r.end()
		}
		if err != nil {
			return gaveUp{schemas.InputRef{Sequence: n}, err}
		}
		before := len(r.out)
		if err := r.emit(b); err != nil {
			return err
		}
		for k := before; k < len(r.out); k++ {
			r.fold(r.out[k].Hash())
		}
		r.consumed++
	}
}

// An input is an event of one edge.
type input struct {
	edge  int
	stage string
	event *schemas.Event
	last  bool // the end event of the last edge
}

// inputs merges the edges: the earliest head first, of equal ones that of the earlier edge. whole is false where an edge has no
// end: of the merge nothing is known behind its last event.
func (r *run) inputs() (merged []input, whole bool) {
	edges := make([][]schemas.Event, len(r.stage.Inputs))
	for k, ref := range r.stage.Inputs {
		from := r.job
		if ref.Pipeline != r.stage.Pipeline {
			from = r.job.upstream
		}
		edges[k] = from.chains[ref.Stage]
	}
	ended := make([]bool, len(edges))
	for {
		first, left := -1, 0
		for k := range edges {
			if ended[k] {
				continue
			}
			left++
			if len(edges[k]) == 0 {
				return merged, false
			}
			if first < 0 || nanos(&edges[k][0]) < nanos(&edges[first][0]) {
				first = k
			}
		}
		if first < 0 {
			return merged, true
		}
		e := &edges[first][0]
		edges[first] = edges[first][1:]
		ended[first] = e.Type == schemas.TypeEnd
		merged = append(merged, input{edge: first, stage: r.stage.Inputs[first].Stage, event: e, last: ended[first] && left == 1})
	}
}

// nanos is the time by which events are merged; one without comes first.
func nanos(e *schemas.Event) int64 {
	if e.Time.IsZero() {
		return 0
	}
	return e.Time.UnixNano()
}

// input runs one input, and returns the processor to go on with.
func (r *run) input(ctx context.Context, p pipeline.Processor, in *input) (pipeline.Processor, error) {
	ref := schemas.InputRef{Edge: in.stage, Sequence: in.event.Sequence}
	r.emitted = 0
	if !r.skip[ref] {
		q, err := r.try(ctx, p, in)
		if err != nil {
			return p, gaveUp{ref, err}
		}
		p = q
		r.fold(in.event.Hash())
		r.consumed++
	}
	if r.emitted == 0 && r.o.joined[r.stage.Ref()] && !in.last { // no input passes in silence on a way into a join (design.md §6, rule 7)
		r.append(schemas.Event{Type: schemas.TypeProgress, Time: time.Unix(0, nanos(in.event)).UTC()})
	}
	return p, nil
}

// try calls the stage until it does not fail. A failed step leaves nothing: it is tried on a copy of the state before it.
func (r *run) try(ctx context.Context, p pipeline.Processor, in *input) (pipeline.Processor, error) {
	for try := 1; ; try++ {
		state, err := p.Snapshot(ctx)
		if err != nil {
			return p, err
		}
		before := len(r.out)
		if err = r.call(ctx, p, in); err == nil {
			return p, nil
		}
		r.out, r.emitted = r.out[:before], 0
		if pipeline.IsPermanent(err) || try == tries {
			return p, err
		}
		p.Close()
		if p, err = r.parts.Processor(ctx, r.job.item); err != nil {
			return p, err
		}
		if state != nil {
			if err := p.Restore(ctx, state); err != nil {
				return p, err
			}
		}
	}
}

func (r *run) call(ctx context.Context, p pipeline.Processor, in *input) error {
	b, err := decode(in.event)
	if err != nil {
		return err
	}
	out := pipeline.EmitterFunc(func(_ context.Context, e pipeline.Batch) error {
		if e.Slice == (schemas.Slice{}) {
			e.Slice = b.Slice
		}
		return r.emit(e)
	})
	switch {
	case in.event.Marks() && in.last:
		b.Type, b.Docs = "", nil
		return p.Finish(ctx, out)
	case in.event.Marks():
		return nil
	}
	if wanted, err := r.wants(in.event, &b); !wanted || err != nil {
		return err
	}
	return p.Process(ctx, b, out)
}

// wants asks the stage's declaration, and `when`.
func (r *run) wants(e *schemas.Event, b *pipeline.Batch) (bool, error) {
	when := r.stage.When
	if !accepted(r.stage.Info.Accepts, e.Type) || when == nil {
		return accepted(r.stage.Info.Accepts, e.Type), nil
	}
	asked := spec.Event{Type: e.Type, Source: e.Source(), Subject: e.Item, Recording: e.Item, Time: e.Time}
	if len(b.Docs) == 0 {
		if when.NeedData {
			return false, fmt.Errorf("the oracle does not know conditions on the data of tables")
		}
		return when.Match(asked)
	}
	var wanted []pipeline.Doc
	for _, d := range b.Docs {
		if err := json.Unmarshal(d, &asked.Data); err != nil {
			return false, err
		}
		ok, err := when.Match(asked)
		if err != nil {
			return false, err
		}
		if ok {
			wanted = append(wanted, d)
		}
	}
	b.Docs = wanted
	return len(wanted) > 0, nil
}

// emit encodes a batch as the next event.
func (r *run) emit(b pipeline.Batch) (err error) {
	e := schemas.Event{Type: b.Type, Time: b.Time()}
	switch {
	case len(b.Tables) > 0:
		e.Tables = len(b.Tables)
		e.Data, e.ContentType, err = arrowipc.Encode(b.Type, b.Tables, b.Slice)
	case len(b.Docs) > 0:
		e.Data, e.ContentType = schemas.EncodeDocs(b.Docs)
	default:
		e.Type, e.Time = schemas.TypeProgress, b.Start.Add(max(b.To, b.From))
	}
	r.append(e)
	return err
}

// append numbers and addresses an event.
func (r *run) append(e schemas.Event) {
	r.emitted++
	e.Chain, e.Sequence, e.Pipeline, e.Item = r.id(), uint64(len(r.out)+1), r.stage.Pipeline, r.job.item.Name
	trace, span := sha256.Sum256([]byte(e.Chain.Job)), sha256.Sum256([]byte(e.ID()))
	e.TraceParent = "00-" + hex.EncodeToString(trace[:16]) + "-" + hex.EncodeToString(span[:8]) + "-01"
	r.out = append(r.out, e)
}

func (r *run) fold(h schemas.Hash) { r.hash = sha256.Sum256(append(r.hash[:], h[:]...)) }

// end closes the chain.
func (r *run) end() error {
	data, err := json.Marshal(schemas.End{Out: uint64(len(r.out) + 1), Consumed: r.consumed, Hash: hex.EncodeToString(r.hash[:])})
	r.append(schemas.Event{Type: schemas.TypeEnd, ContentType: schemas.ContentJSON, Data: data})
	return err
}

// decode makes the batch of an event.
func decode(e *schemas.Event) (b pipeline.Batch, err error) {
	b = pipeline.Batch{Type: e.Type, Pipeline: e.Pipeline, Job: e.Chain.Job, Item: e.Item, Stage: e.Chain.Stage, Sequence: e.Sequence}
	b.Start = e.Time
	switch {
	case e.Tables > 0:
		b.Tables, b.Slice, err = arrowipc.Decode(e.Data, e.ContentType, e.Tables)
	case e.ContentType != "":
		b.Docs, err = schemas.DecodeDocs(e.Data, e.ContentType)
	}
	return b, err
}
