package pipelinetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
)

// A Recorder is an Emitter that keeps what it is given, encoded as on the wire. One goroutine uses it.
type Recorder struct {
	Emits  []string // event types it takes; none is all
	FailAt int      // the emission, from 1, that fails with Err; 0 is none
	Err    error
	input  schemas.Slice
	wire   []string
	n      int
}

// Emit encodes the batch at once, as the engine does, and refuses what the engine would refuse.
func (r *Recorder) Emit(_ context.Context, b pipeline.Batch) error {
	if r.n++; r.n == r.FailAt {
		return r.Err
	}
	if b.Slice == (schemas.Slice{}) {
		b.Slice = r.input
	}
	if len(r.Emits) > 0 && !slices.Contains(r.Emits, b.Type) && !slices.Contains(r.Emits, pipeline.Any) {
		return pipeline.Permanent(fmt.Errorf("emits %q, which the type does not list (%v)", b.Type, r.Emits))
	}
	w, err := encode(b)
	if err != nil {
		return pipeline.Permanent(err)
	}
	r.wire = append(r.wire, w)
	return nil
}

// Batches returns what was emitted, decoded again.
func (r *Recorder) Batches(t testing.TB) []pipeline.Batch {
	t.Helper()
	batches := make([]pipeline.Batch, 0, len(r.wire))
	for _, w := range r.wire {
		batches = append(batches, decode(t, w))
	}
	return batches
}

// onWire is an event without its address: what two runs of a stage must agree on.
type onWire struct {
	Type        string
	Slice       schemas.Slice
	ContentType string
	Tables      int
	Pace        int64
	Data        []byte
}

func encode(b pipeline.Batch) (string, error) {
	w := onWire{Type: b.Type, Slice: b.Slice, Tables: len(b.Tables), Pace: int64(b.Pace)}
	if b.Type == "" {
		return "", fmt.Errorf("a batch without a type")
	}
	var err error
	switch {
	case len(b.Tables) > 0 && len(b.Docs) > 0:
		return "", fmt.Errorf("a batch of %s with tables and documents", b.Type)
	case len(b.Tables) > 0:
		err = checkTables(b.Tables)
		if err == nil {
			w.Data, w.ContentType, err = arrowipc.Encode(b.Type, b.Tables, b.Slice)
		}
	case len(b.Docs) > 0:
		for i, d := range b.Docs {
			if !json.Valid(d) {
				return "", fmt.Errorf("document %d of %s is not JSON: %.100s", i, b.Type, d)
			}
		}
		w.Data, w.ContentType = schemas.EncodeDocs(b.Docs)
	}
	if err != nil {
		return "", fmt.Errorf("encode a batch of %s: %w", b.Type, err)
	}
	line, err := json.Marshal(w)
	return string(line), err
}

func checkTables(tables []pipeline.Table) error {
	for i, t := range tables {
		if t.Rows() == 0 {
			return fmt.Errorf("table %s without rows: leave it out", t.Name)
		}
		if slices.ContainsFunc(tables[:i], func(o pipeline.Table) bool { return o.Name == t.Name }) {
			return fmt.Errorf("two tables named %s", t.Name)
		}
		if times := t.Times(); !slices.IsSorted(times) {
			return fmt.Errorf("the times of table %s step back", t.Name)
		}
	}
	return nil
}

// decode makes a batch of its own memory.
func decode(t testing.TB, wire string) pipeline.Batch {
	t.Helper()
	b, _ := open(t, wire)
	return b
}

// open also returns the memory that the batch points into.
func open(t testing.TB, wire string) (pipeline.Batch, []byte) {
	t.Helper()
	var w onWire
	if err := json.Unmarshal([]byte(wire), &w); err != nil {
		t.Fatal(err)
	}
	b := pipeline.Batch{Type: w.Type, Slice: w.Slice}
	var err error
	switch {
	case w.Tables > 0:
		b.Tables, _, err = arrowipc.Decode(w.Data, w.ContentType, w.Tables)
	case w.ContentType == schemas.ContentJSON:
		b.Docs = []pipeline.Doc{w.Data}
	case w.ContentType != "":
		var docs []pipeline.Doc
		docs, err = schemas.DecodeDocs(w.Data, w.ContentType)
		whole := w.Data[:0] // json.Unmarshal copied: one memory for all of them, to scribble over
		for _, d := range docs {
			whole = append(whole, d...)
		}
		for n, rest := 0, whole; n < len(docs); n++ {
			b.Docs = append(b.Docs, rest[:len(docs[n]):len(docs[n])])
			rest = rest[len(docs[n]):]
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, w.Data
}

// brief shortens outputs for a failure's message.
func brief(wire []string) string {
	var out bytes.Buffer
	for i, w := range wire {
		if i == 5 {
			fmt.Fprintf(&out, "\n  … %d more", len(wire)-i)
			break
		}
		fmt.Fprintf(&out, "\n  %.300s", readable(w))
	}
	if len(wire) == 0 {
		return " nothing"
	}
	return out.String()
}

func readable(wire string) string {
	var w onWire
	if json.Unmarshal([]byte(wire), &w) != nil {
		return wire
	}
	head := fmt.Sprintf("%s %v to %v: ", w.Type, w.Slice.From, w.Slice.To)
	if w.Tables == 0 {
		return head + string(w.Data)
	}
	tables, _, err := arrowipc.Decode(w.Data, w.ContentType, w.Tables)
	if err != nil {
		return head + err.Error()
	}
	for _, t := range tables {
		head += fmt.Sprintf("%s of %d rows from %v ", t.Name, t.Rows(), t.Times()[0])
	}
	return head + fmt.Sprintf("(%x)", schemas.NewJobID(string(w.Data)))
}
