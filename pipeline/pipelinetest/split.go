package pipelinetest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

func itoa(n int) string { return strconv.Itoa(n) }

// testSlices runs the recording cut otherwise and compares all documents and rows.
func (s *processorSuite) testSlices(batches []pipeline.Batch) {
	s.t.Helper()
	want := contents(s.t, s.want)
	for _, parts := range []int{0, 2, 7, math.MaxInt} {
		cut := Recut(s.t, batches, parts)
		got := contents(s.t, s.process(s.encodeAll(cut), 0, nil, len(cut)+1, false))
		if got != want {
			s.t.Fatalf("recording of %d batches cut into %d, contents differ at\n  %s", len(batches), len(cut), difference(got, want))
		}
	}
}

func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: %.300s\n  want: %.300s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// Recut cuts a recording into other batches with the same rows and documents: each into at most that many parts by time, and
// 0 joins neighbours of the same type into one. No part is cut within one time.
func Recut(t testing.TB, batches []pipeline.Batch, parts int) []pipeline.Batch {
	t.Helper()
	var out []pipeline.Batch
	for _, b := range batches {
		switch {
		case parts > 0:
			out = append(out, split(b, parts)...)
		case len(out) > 0 && out[len(out)-1].Type == b.Type && (len(b.Docs) > 0) == (len(out[len(out)-1].Docs) > 0):
			out[len(out)-1] = join(t, out[len(out)-1], b)
		default:
			out = append(out, b)
		}
	}
	return out
}

func split(b pipeline.Batch, parts int) []pipeline.Batch {
	if len(b.Docs) > 0 {
		var out []pipeline.Batch
		for chunk := range slices.Chunk(b.Docs, max(1, len(b.Docs)/parts)) {
			part := b
			part.Docs = chunk
			out = append(out, part)
		}
		return out
	}
	var times []int64
	for _, t := range b.Tables {
		times = append(times, t.Times()...)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	var out []pipeline.Batch
	rest, each := b, max(1, len(times)/parts)
	for i := each; i < len(times); i += each {
		var part pipeline.Batch
		part, rest = cutAt(rest, times[i])
		out = append(out, part)
	}
	return append(out, rest)
}

func cutAt(b pipeline.Batch, at int64) (before, after pipeline.Batch) {
	before, after = b, b
	before.To, after.From = time.Duration(at), time.Duration(at)
	before.Tables, after.Tables = nil, nil
	for _, t := range b.Tables {
		n, _ := slices.BinarySearch(t.Times(), at)
		if n > 0 {
			before.Tables = append(before.Tables, pipeline.Table{Name: t.Name, Record: t.Record.NewSlice(0, int64(n))})
		}
		if n < t.Rows() {
			after.Tables = append(after.Tables, pipeline.Table{Name: t.Name, Record: t.Record.NewSlice(int64(n), int64(t.Rows()))})
		}
	}
	return before, after
}

func join(t testing.TB, a, b pipeline.Batch) pipeline.Batch {
	t.Helper()
	out := a
	out.To = b.To
	out.Docs = append(slices.Clone(a.Docs), b.Docs...)
	out.Tables = slices.Clone(a.Tables)
	for _, more := range b.Tables {
		i := slices.IndexFunc(out.Tables, func(o pipeline.Table) bool { return o.Name == more.Name })
		if i < 0 {
			out.Tables = append(out.Tables, more)
			continue
		}
		out.Tables[i].Record = concatenate(t, out.Tables[i].Record, more.Record)
	}
	slices.SortStableFunc(out.Tables, func(x, y pipeline.Table) int { return order(a, b, x.Name) - order(a, b, y.Name) })
	return out
}

// order keeps a table's place: that in the batch which has more of them, since empty ones are left out.
func order(a, b pipeline.Batch, name string) int {
	longer, other := a, b
	if len(b.Tables) > len(a.Tables) {
		longer, other = b, a
	}
	byName := func(t pipeline.Table) bool { return t.Name == name }
	if i := slices.IndexFunc(longer.Tables, byName); i >= 0 {
		return i
	}
	return len(longer.Tables) + slices.IndexFunc(other.Tables, byName)
}

func concatenate(t testing.TB, a, b arrow.RecordBatch) arrow.RecordBatch {
	t.Helper()
	columns := make([]arrow.Array, a.NumCols())
	for i := range columns {
		c, err := array.Concatenate([]arrow.Array{a.Column(i), b.Column(i)}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		columns[i] = c
	}
	return array.NewRecordBatch(a.Schema(), columns, a.NumRows()+b.NumRows())
}

// contents writes all documents and rows of a run as text, type by type and table by table, whatever events they came in.
func contents(t testing.TB, steps []step) string {
	t.Helper()
	lines := map[string][]string{}
	for _, s := range steps {
		for _, w := range s.wire {
			b := decode(t, w)
			for _, d := range b.Docs {
				lines[b.Type] = append(lines[b.Type], string(d))
			}
			for _, table := range b.Tables {
				key := b.Type + "/" + table.Name
				lines[key] = append(lines[key], rowLines(table)...)
			}
		}
	}
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&out, "%s\n%s\n", key, strings.Join(lines[key], "\n"))
	}
	return out.String()
}

func rowLines(t schemas.Table) []string {
	lines := make([]string, t.Rows())
	for row := range lines {
		var b strings.Builder
		for i, c := range t.Record.Columns() {
			fmt.Fprintf(&b, "%s=%s ", t.Record.Schema().Field(i).Name, c.ValueStr(row))
		}
		lines[row] = b.String()
	}
	return lines
}
