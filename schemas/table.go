package schemas

import (
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// TimeColumn is the name of every table's first column: int64 nanoseconds since the recording's start, not decreasing.
const TimeColumn = "t"

// A Table is the rows of one time base (a channel group, a bus message) in one slice of a recording. Column TimeColumn
// comes first, then a column a signal in a fixed order. A Table is read-only.
type Table struct {
	Name   string
	Record arrow.RecordBatch
}

// Rows is the number of rows.
func (t Table) Rows() int { return int(t.Record.NumRows()) }

// Times returns the time column, nanoseconds since the recording's start. The slice belongs to the table.
func (t Table) Times() []int64 { return t.Int64(TimeColumn) }

// Int64 returns an int64 column by name; nil when the table has none of that name and type. The slice belongs to the table.
func (t Table) Int64(name string) []int64 {
	if c, ok := t.column(name).(*array.Int64); ok {
		return c.Int64Values()
	}
	return nil
}

// Float64 returns a float64 column by name; nil when the table has none of that name and type. The slice belongs to the table.
func (t Table) Float64(name string) []float64 {
	if c, ok := t.column(name).(*array.Float64); ok {
		return c.Float64Values()
	}
	return nil
}

// Signals lists the names of the columns behind the time column.
func (t Table) Signals() []string {
	fields := t.Record.Schema().Fields()
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		if f.Name != TimeColumn {
			names = append(names, f.Name)
		}
	}
	return names
}

func (t Table) column(name string) arrow.Array {
	i := t.Record.Schema().FieldIndices(name)
	if len(i) == 0 {
		return nil
	}
	return t.Record.Column(i[0])
}

// A Column is one signal of a table under construction: exactly one of Float64 and Int64 is set.
type Column struct {
	Name, Unit string
	Float64    []float64
	Int64      []int64
}

// NewTable builds a table from columns without copying them; the caller gives the slices away. The first column is t.
// It returns an error when a column's length differs from t's.
func NewTable(name string, t []int64, columns ...Column) (Table, error) {
	fields := []arrow.Field{{Name: TimeColumn, Type: arrow.PrimitiveTypes.Int64, Metadata: unit("ns")}}
	arrays := []arrow.Array{int64Array(t)}
	for _, c := range columns {
		f, a, n := c.arrow()
		if n != len(t) {
			return Table{}, fmt.Errorf("table %s: column %s has %d rows, %s has %d", name, c.Name, n, TimeColumn, len(t))
		}
		fields, arrays = append(fields, f), append(arrays, a)
	}
	schema := arrow.NewSchema(fields, nil)
	return Table{Name: name, Record: array.NewRecordBatch(schema, arrays, int64(len(t)))}, nil
}

func (c Column) arrow() (arrow.Field, arrow.Array, int) {
	f := arrow.Field{Name: c.Name, Metadata: unit(c.Unit)}
	if c.Int64 != nil {
		f.Type = arrow.PrimitiveTypes.Int64
		return f, int64Array(c.Int64), len(c.Int64)
	}
	f.Type = arrow.PrimitiveTypes.Float64
	data := array.NewData(f.Type, len(c.Float64), []*memory.Buffer{nil, memory.NewBufferBytes(arrow.Float64Traits.CastToBytes(c.Float64))}, nil, 0, 0)
	return f, array.NewFloat64Data(data), len(c.Float64)
}

func int64Array(v []int64) arrow.Array {
	data := array.NewData(arrow.PrimitiveTypes.Int64, len(v), []*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(v))}, nil, 0, 0)
	return array.NewInt64Data(data)
}

func unit(u string) arrow.Metadata {
	if u == "" {
		return arrow.Metadata{}
	}
	return arrow.NewMetadata([]string{"unit"}, []string{u})
}

// A Slice is the stretch of a recording that a batch covers: [From, To) since Start, the recording's start (UTC). Every
// row with a time below To that the recording has is in this batch or an earlier one.
type Slice struct {
	Start    time.Time
	From, To time.Duration
}
