package mf4

import (
	"sort"

	"github.com/milepost-dev/milepost/schemas"
)

// A column names one signal of a stream.
type column struct{ name, unit string }

// A stream is the rows of one table that have been read and not delivered, ordered by time; rows of one time by source, and
// of one source as recorded.
type stream struct {
	name    string
	cols    []column
	general bool // of named signals, not an input stream of the AEB function

	t    []int64
	v    [][]float64 // by column
	from []int32     // number of the source
	head int         // rows before it have been delivered
	any  bool        // there were rows, delivered since the recording's start

	faults *stream // what could not be delivered as it was recorded; nil for a stream of faults
}

// newStream makes a stream and the one for its faults.
func newStream(name string, cols ...column) *stream {
	s := &stream{name: name, cols: cols, v: make([][]float64, len(cols))}
	s.faults = &stream{name: schemas.TableFaults(name), cols: faultColumns, v: make([][]float64, len(faultColumns))}
	return s
}

var faultColumns = []column{{schemas.ColBehind, "s"}, {schemas.ColInvalid, ""}, {schemas.ColDropped, ""}, {schemas.ColCut, ""},
	{schemas.ColLost, ""}, {schemas.ColUntil, "s"}, {schemas.ColGroup, ""}}

// rowBytes is what one row takes.
func (s *stream) rowBytes() int { return 8 * (1 + len(s.cols)) }

// insert puts a row where it belongs, behind those of its time and source. values is copied.
func (s *stream) insert(t int64, from int32, values ...float64) {
	s.t = append(s.t, t)
	s.from = append(s.from, from)
	for i, v := range values {
		s.v[i] = append(s.v[i], v)
	}
	for i := len(s.t) - 1; i > s.head && s.after(i-1, i); i-- {
		s.swap(i-1, i)
	}
}

// after says whether row i belongs behind row j, which came later.
func (s *stream) after(i, j int) bool {
	if s.t[i] != s.t[j] {
		return s.t[i] > s.t[j]
	}
	return s.from[i] > s.from[j]
}

func (s *stream) swap(i, j int) {
	s.t[i], s.t[j] = s.t[j], s.t[i]
	s.from[i], s.from[j] = s.from[j], s.from[i]
	for _, c := range s.v {
		c[i], c[j] = c[j], c[i]
	}
}

// before is the number of undelivered rows with a time below to.
func (s *stream) before(to int64) int {
	rows := s.t[s.head:]
	return sort.Search(len(rows), func(i int) bool { return rows[i] >= to })
}

// pending is the number of undelivered rows.
func (s *stream) pending() int { return len(s.t) - s.head }

// table makes a table of the next n rows, which keeps the stream's memory: it is valid until compact.
func (s *stream) table(n int) (schemas.Table, error) {
	columns := make([]schemas.Column, len(s.cols))
	for i, c := range s.cols {
		columns[i] = schemas.Column{Name: c.name, Unit: c.unit, Float64: s.v[i][s.head : s.head+n]}
	}
	return schemas.NewTable(s.name, s.t[s.head:s.head+n], columns...)
}

// take counts the next n rows as delivered.
func (s *stream) take(n int) {
	s.head += n
	s.any = s.any || n > 0
}

// compact forgets delivered rows once they are the larger part, so that each row is moved once on average.
func (s *stream) compact() {
	if s.head <= len(s.t)/2 {
		return
	}
	s.t = s.t[:copy(s.t, s.t[s.head:])]
	s.from = s.from[:copy(s.from, s.from[s.head:])]
	for i, c := range s.v {
		s.v[i] = c[:copy(c, c[s.head:])]
	}
	s.head = 0
}
