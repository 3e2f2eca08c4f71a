package arrowipc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"github.com/milepost-dev/milepost/schemas"
)

var start = time.Date(2026, 10, 3, 8, 12, 44, 123456789, time.UTC)

func slice(from, to time.Duration) schemas.Slice {
	return schemas.Slice{Start: start, From: from, To: to}
}

func table(t testing.TB, name string, rows, signals int) schemas.Table {
	t.Helper()
	times := make([]int64, rows)
	for i := range times {
		times[i] = int64(i) * 1e7
	}
	var columns []schemas.Column
	for s := range signals {
		values := make([]float64, rows)
		for i := range values {
			values[i] = math.Sin(float64(i*s)) * 100
		}
		columns = append(columns, schemas.Column{Name: fmt.Sprintf("signal_%02d", s), Unit: "m/s", Float64: values})
	}
	tab, err := schemas.NewTable(name, times, columns...)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func mustEncode(t testing.TB, tables ...schemas.Table) []byte {
	t.Helper()
	data, _, err := Encode(schemas.Signals, tables, slice(time.Second, 2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func contentOf(tables int) string {
	if tables == 1 {
		return schemas.ContentArrow
	}
	return schemas.ContentTables
}

// mixed has every column type of the wire, with nulls where they are allowed.
func mixed(name string, rows int, draw func(i int) (int64, float64, bool, string, bool)) schemas.Table {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: schemas.TimeColumn, Type: arrow.PrimitiveTypes.Int64},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true, Metadata: arrow.NewMetadata([]string{"unit"}, []string{"m/s²"})},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for row := range rows {
		i, f, v, s, null := draw(row)
		b.Field(0).(*array.Int64Builder).Append(int64(row))
		if null {
			for _, c := range b.Fields()[1:] {
				c.AppendNull()
			}
			continue
		}
		b.Field(1).(*array.Float64Builder).Append(f)
		b.Field(2).(*array.BooleanBuilder).Append(v)
		b.Field(3).(*array.StringBuilder).Append(s)
		b.Field(4).(*array.Int64Builder).Append(i)
	}
	return schemas.Table{Name: name, Record: b.NewRecordBatch()}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tables []schemas.Table
		for n := range rapid.IntRange(1, 4).Draw(t, "tables") {
			rows := rapid.IntRange(0, 40).Draw(t, "rows")
			cut := rapid.IntRange(0, rows).Draw(t, "cut") // an array with an offset, as slicing makes it
			whole := mixed(fmt.Sprint("t", n, rapid.String().Draw(t, "name")), rows, func(int) (int64, float64, bool, string, bool) {
				return rapid.Int64().Draw(t, "i"), rapid.Float64().Draw(t, "f"), rapid.Bool().Draw(t, "b"), rapid.String().Draw(t, "s"), rapid.Bool().Draw(t, "null")
			})
			whole.Record = whole.Record.NewSlice(int64(cut), int64(rows))
			tables = append(tables, whole)
		}
		s := slice(time.Duration(rapid.Int64().Draw(t, "from")), time.Duration(rapid.Int64().Draw(t, "to")))
		data, content, err := Encode("x.v1", tables, s)
		if err != nil {
			t.Fatal(err)
		}
		got, gotSlice, err := Decode(data, content, len(tables))
		if err != nil {
			t.Fatal(err)
		}
		if gotSlice != s || len(got) != len(tables) {
			t.Fatalf("slice %v of %d tables, want %v of %d", gotSlice, len(got), s, len(tables))
		}
		for i := range got {
			sameTable(t, got[i], tables[i])
		}
		again, _, err := Encode("x.v1", got, gotSlice)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encoded again the bytes differ (%v)", err)
		}
	})
}

func sameTable(t interface{ Fatalf(string, ...any) }, got, want schemas.Table) {
	if got.Name != want.Name || got.Rows() != want.Rows() {
		t.Fatalf("table %s of %d rows, want %s of %d", got.Name, got.Rows(), want.Name, want.Rows())
	}
	for c := range want.Record.Schema().NumFields() {
		if !got.Record.Schema().Field(c).Equal(want.Record.Schema().Field(c)) {
			t.Fatalf("column %v, want %v", got.Record.Schema().Field(c), want.Record.Schema().Field(c))
		}
		if !array.ApproxEqual(got.Record.Column(c), want.Record.Column(c), array.WithAbsTolerance(0), array.WithNaNsEqual(true)) {
			t.Fatalf("column %d is %v, want %v", c, got.Record.Column(c), want.Record.Column(c))
		}
	}
}

func TestPlainArrowReaderReadsOneTable(t *testing.T) {
	want := table(t, "ego", 250, 3)
	data, content, err := Encode(schemas.Signals, []schemas.Table{want}, slice(0, time.Second))
	if err != nil || content != "application/vnd.apache.arrow.stream" {
		t.Fatal(content, err)
	}
	r, err := ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatal("no record batch", r.Err())
	}
	sameTable(t, schemas.Table{Name: "ego", Record: r.RecordBatch()}, want)
	for key, value := range map[string]string{
		"milepost.table": "ego", "milepost.index": "0", "milepost.type": "signal.batch.v1",
		"milepost.start": "2026-10-03T08:12:44.123456789Z", "milepost.from_ns": "0", "milepost.to_ns": "1000000000",
	} {
		if got, _ := r.Schema().Metadata().GetValue(key); got != value {
			t.Errorf("%s = %q, want %q", key, got, value)
		}
	}
	if r.Next() || r.Err() != nil {
		t.Fatal("more than one record batch", r.Err())
	}
}

func TestPlainArrowReaderReadsTablesInTurn(t *testing.T) {
	want := []schemas.Table{table(t, "a", 10, 1), table(t, "b", 20, 2), table(t, "c", 1, 0)}
	in := bytes.NewReader(mustEncode(t, want...))
	for _, w := range want {
		r, err := ipc.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Next() {
			t.Fatal(r.Err())
		}
		sameTable(t, schemas.Table{Name: w.Name, Record: r.RecordBatch()}, w)
		if r.Next() || r.Err() != nil {
			t.Fatal(r.Err())
		}
		r.Release()
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes left", in.Len())
	}
}

func TestDecodeDoesNotCopyColumns(t *testing.T) {
	data := mustEncode(t, table(t, "a", 100, 1))
	got, _, err := Decode(data, schemas.ContentArrow, 1)
	if err != nil {
		t.Fatal(err)
	}
	values := got[0].Float64("signal_00")
	before := values[0]
	for i := range data {
		data[i] ^= 0xff
	}
	if values[0] == before {
		t.Fatal("the column is a copy")
	}
}

func TestEveryCutIsCorrupt(t *testing.T) {
	for _, tables := range [][]schemas.Table{{table(t, "a", 3, 1)}, {table(t, "a", 3, 1), table(t, "b", 2, 2)}} {
		data := mustEncode(t, tables...)
		for n := range data {
			_, _, err := Decode(data[:n], contentOf(len(tables)), len(tables))
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "at byte") {
				t.Fatalf("cut at %d of %d: %v", n, len(data), err)
			}
		}
	}
}

func TestCorrupt(t *testing.T) {
	a, b := mustEncode(t, table(t, "a", 3, 1)), mustEncode(t, table(t, "b", 3, 1))
	both := mustEncode(t, table(t, "a", 3, 1), table(t, "b", 3, 1))
	other, _, err := Encode(schemas.Signals, []schemas.Table{table(t, "a", 3, 1), table(t, "b", 3, 1)}, slice(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	second := len(both) - len(b) // tables of equal shape take equal room
	for name, c := range map[string]struct {
		data    []byte
		content string
		tables  int
	}{
		"trailing bytes":           {append(bytes.Clone(a), 0), schemas.ContentArrow, 1},
		"trailing table":           {append(bytes.Clone(both), a...), schemas.ContentTables, 2},
		"missing table":            {a, schemas.ContentTables, 2},
		"missing last table":       {both, schemas.ContentTables, 3},
		"table twice":              {append(bytes.Clone(a), a...), schemas.ContentTables, 2},
		"tables swapped":           {append(bytes.Clone(both[second:]), both[:second]...), schemas.ContentTables, 2},
		"tables of two batches":    {append(bytes.Clone(both[:second]), other[second:]...), schemas.ContentTables, 2},
		"no end of stream":         {append(bytes.Clone(both[:second-8]), both[second:]...), schemas.ContentTables, 2},
		"nothing":                  {nil, schemas.ContentArrow, 1},
		"one table as several":     {a, schemas.ContentTables, 1},
		"several as one":           {both, schemas.ContentArrow, 2},
		"unknown content type":     {a, schemas.ContentJSON, 1},
		"zero tables":              {nil, schemas.ContentTables, 0},
		"negative tables":          {a, schemas.ContentTables, -1},
		"as many tables as bytes":  {a, schemas.ContentTables, math.MaxInt},
		"end of stream alone":      {[]byte{255, 255, 255, 255, 0, 0, 0, 0}, schemas.ContentArrow, 1},
		"a foreign stream":         {foreign(t, mixed("x", 3, zero).Record), schemas.ContentArrow, 1},
		"a stream of two batches":  {foreign(t, labelled(t), labelled(t)), schemas.ContentArrow, 1},
		"a stream without a batch": {append(bytes.Clone(a[:schemaBytes(a)]), a[len(a)-8:]...), schemas.ContentArrow, 1},
	} {
		if got, _, err := Decode(c.data, c.content, c.tables); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d tables, %v", name, len(got), err)
		}
	}
}

func zero(int) (int64, float64, bool, string, bool) { return 0, 0, false, "", false }

// labelled is a record whose schema carries our metadata, as Decode returns it.
func labelled(t *testing.T) arrow.RecordBatch {
	tables, _, err := Decode(mustEncode(t, table(t, "a", 3, 1)), schemas.ContentArrow, 1)
	if err != nil {
		t.Fatal(err)
	}
	return tables[0].Record
}

func foreign(t testing.TB, records ...arrow.RecordBatch) []byte {
	t.Helper()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(records[0].Schema()))
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func schemaBytes(data []byte) int {
	return 8 + int(data[4]) + int(data[5])<<8
}

func TestDecodeRefusesOtherTypes(t *testing.T) {
	meta := metadata("x.v1", table(t, "a", 1, 0), 0, slice(0, 1))
	for _, dt := range []arrow.DataType{
		arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float32, arrow.BinaryTypes.Binary,
		arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64}),
		arrow.FixedWidthTypes.Timestamp_ns, &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int64, ValueType: arrow.BinaryTypes.String}, arrow.Null,
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "t", Type: arrow.PrimitiveTypes.Int64}, {Name: "x", Type: dt, Nullable: true}}, &meta)
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		b.Field(0).(*array.Int64Builder).Append(1)
		b.Field(1).AppendNull()
		record := b.NewRecordBatch()
		if _, _, err := Decode(foreign(t, record), schemas.ContentArrow, 1); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("decode %s: %v", dt, err)
		}
		if _, _, err := Encode("x.v1", []schemas.Table{{Name: "a", Record: record}}, slice(0, 1)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("encode %s: %v", dt, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, _, err := Encode("x.v1", nil, slice(0, 1)); !errors.Is(err, ErrNoTables) {
		t.Errorf("no tables: %v", err)
	}
	noTime := table(t, "a", 2, 1)
	noTime.Record = array.NewRecordBatch(arrow.NewSchema(noTime.Record.Schema().Fields()[1:], nil), noTime.Record.Columns()[1:], 2)
	if _, _, err := Encode("x.v1", []schemas.Table{noTime}, slice(0, 1)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no time column: %v", err)
	}
}

// Whatever one byte says, the outcome is a table or an error, and arrays that can be read to their end.
func TestEveryByteChanged(t *testing.T) {
	data := mustEncode(t, mixed("m", 9, func(i int) (int64, float64, bool, string, bool) { return 1, 2, true, "text", i%3 == 0 }))
	for i := range data {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff, data[i] + 8, data[i] ^ 0x10} {
			changed := bytes.Clone(data)
			changed[i] = v
			readAll(t, changed, 1)
		}
	}
}

func readAll(t *testing.T, data []byte, n int) {
	tables, _, err := Decode(data, contentOf(n), n)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("error %v is not ErrCorrupt", err)
		}
		return
	}
	for _, table := range tables {
		for _, c := range table.Record.Columns() {
			for row := range c.Len() {
				_ = c.ValueStr(row)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	one := table(f, "a", 3, 2)
	f.Add(mustEncode(f, one), 1)
	f.Add(mustEncode(f, one, table(f, "b", 2, 1)), 2)
	f.Add(mustEncode(f, mixed("m", 9, func(i int) (int64, float64, bool, string, bool) { return 1, 2, true, "text", i%3 == 0 })), 1)
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0}, 1)
	f.Fuzz(func(t *testing.T, data []byte, tables int) { readAll(t, data, tables) })
}

func TestAllocations(t *testing.T) {
	tables := []schemas.Table{table(t, "a", 2000, 30)}
	data := mustEncode(t, tables...)
	if n := testing.AllocsPerRun(50, func() { _, _, _ = Decode(data, schemas.ContentArrow, 1) }); n > 31*14 {
		t.Errorf("%v allocations to decode 31 columns", n)
	}
	if n := testing.AllocsPerRun(50, func() { mustEncode(t, tables...) }); n > 31*25 {
		t.Errorf("%v allocations to encode 31 columns", n)
	}
}
