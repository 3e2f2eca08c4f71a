package pipeline

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/milepost-dev/milepost/schemas"
)

// EachRow makes a processor without state that calls each for every row of every table that has all the columns of Row, a
// struct. Its exported fields name the columns; case and underscores do not matter (EgoSpeed takes ego_speed), a tag
// `col:"VehSpd"` names one exactly. A field is float64, int64, bool (true: neither 0 nor null) or time.Duration (of integer
// nanoseconds); a null is NaN in a float64, zero in others. From the time column, named T or t, a float64 gets seconds since
// the recording's start.
//
// Rows come in order of time, those of one time in the order of the batch's tables, however the recording was cut into
// batches. What each emits without a slice of its own gets the row's time, so outputs do not depend on the cuts either.
// Batches of documents, and tables that lack a column, are passed over. An error of each is the step's.
//
// EachRow panics if Row is no such struct: a programmer's error, seen at the first start.
func EachRow[Row any](each func(ctx context.Context, row Row, out Emitter) error) Open[Processor] {
	fields := rowFields(reflect.TypeFor[Row]())
	return func(context.Context, Item) (Processor, error) { return &eachRow[Row]{fields: fields, each: each}, nil }
}

// A rowField is one field of a row and the column it is read from.
type rowField struct {
	index  int
	column string // the tag's, else of the field in the form of folded
	exact  bool
	kind   reflect.Kind
	nanos  bool // a time.Duration
}

func rowFields(row reflect.Type) []rowField {
	if row.Kind() != reflect.Struct {
		panic(fmt.Sprintf("pipeline.EachRow: %s is not a struct of columns", row))
	}
	var fields []rowField
	for i := range row.NumField() {
		f := row.Field(i)
		if !f.IsExported() {
			panic(fmt.Sprintf("pipeline.EachRow: field %s of %s is not exported", f.Name, row))
		}
		column, exact := f.Tag.Lookup("col")
		if !exact {
			column = folded(f.Name)
		}
		kind := f.Type.Kind()
		if kind != reflect.Float64 && kind != reflect.Int64 && kind != reflect.Bool {
			panic(fmt.Sprintf("pipeline.EachRow: field %s of %s is %s, not float64, int64, bool or time.Duration", f.Name, row, f.Type))
		}
		fields = append(fields, rowField{index: i, column: column, exact: exact, kind: kind, nanos: f.Type == reflect.TypeFor[time.Duration]()})
	}
	return fields
}

func folded(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// find returns the first column of the schema that the field takes, -1 when there is none.
func (f rowField) find(columns []arrow.Field) int {
	return slices.IndexFunc(columns, func(c arrow.Field) bool {
		return c.Name == f.column || !f.exact && folded(c.Name) == f.column
	})
}

type eachRow[Row any] struct {
	Stateless
	fields []rowField
	each   func(ctx context.Context, row Row, out Emitter) error
}

// Process merges the tables' rows by time and hands them on.
func (p *eachRow[Row]) Process(ctx context.Context, in Batch, out Emitter) error {
	var cursors []*rowCursor
	for _, t := range in.Tables {
		if c := newRowCursor(p.fields, t); c != nil {
			cursors = append(cursors, c)
		}
	}
	stamped := &rowEmitter{out: out, start: in.Start}
	for {
		c := earliest(cursors)
		if c == nil {
			return nil
		}
		var row Row
		c.fill(reflect.ValueOf(&row).Elem())
		stamped.at = time.Duration(c.times[c.row])
		c.row++
		if err := p.each(ctx, row, stamped); err != nil {
			return err
		}
	}
}

// earliest returns the cursor with the smallest time; the first of equal ones, nil when all are at their end.
func earliest(cursors []*rowCursor) *rowCursor {
	var first *rowCursor
	for _, c := range cursors {
		if c.row < len(c.times) && (first == nil || c.times[c.row] < first.times[first.row]) {
			first = c
		}
	}
	return first
}

// A rowCursor walks one table. Times are checked by nobody here: a table whose times step back is read as it is.
type rowCursor struct {
	times []int64
	get   []func(row int, into reflect.Value)
	index []int
	row   int
}

// newRowCursor returns nil for a table that lacks a column.
func newRowCursor(fields []rowField, t Table) *rowCursor {
	c := &rowCursor{times: t.Times()}
	columns := t.Record.Schema().Fields()
	for _, f := range fields {
		i := f.find(columns)
		if i < 0 {
			return nil
		}
		get := f.getter(t.Record.Column(i), columns[i].Name == schemas.TimeColumn)
		if get == nil {
			return nil
		}
		c.get, c.index = append(c.get, get), append(c.index, f.index)
	}
	return c
}

func (c *rowCursor) fill(row reflect.Value) {
	for i, get := range c.get {
		get(c.row, row.Field(c.index[i]))
	}
}

// getter returns nil for a column that is not of numbers or truth values.
func (f rowField) getter(column arrow.Array, isTime bool) func(int, reflect.Value) {
	scale := 1.0
	if isTime && !f.nanos {
		scale = 1e9 // divided by, since 1e-9 is not exact and 0.3 s would not be 0.3
	}
	number := func(v float64, null bool, into reflect.Value) {
		switch {
		case f.kind == reflect.Float64 && null:
			into.SetFloat(math.NaN())
		case f.kind == reflect.Float64:
			into.SetFloat(v)
		case f.kind == reflect.Bool:
			into.SetBool(!null && v != 0)
		case !null:
			into.SetInt(int64(v))
		}
	}
	switch c := column.(type) {
	case *array.Float64:
		return func(row int, into reflect.Value) { number(c.Value(row), c.IsNull(row), into) }
	case *array.Int64:
		return func(row int, into reflect.Value) {
			if v, null := c.Value(row), c.IsNull(row); f.kind == reflect.Int64 && !null {
				into.SetInt(v) // not through float64, which would round
			} else {
				number(float64(v)/scale, null, into)
			}
		}
	case *array.Boolean:
		return func(row int, into reflect.Value) {
			v := 0.0
			if c.Value(row) {
				v = 1
			}
			number(v, c.IsNull(row), into)
		}
	}
	return nil
}

// A rowEmitter gives batches without a slice the time of the row.
type rowEmitter struct {
	out   Emitter
	start time.Time
	at    time.Duration
}

// Emit implements Emitter.
func (e *rowEmitter) Emit(ctx context.Context, b Batch) error {
	if b.Slice == (schemas.Slice{}) {
		b.Slice = schemas.Slice{Start: e.start, From: e.at, To: e.at}
	}
	return e.out.Emit(ctx, b)
}
