package mdfarrow_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mdf/mdfarrow"
)

// gears names 0 and 1; other values stay the numbers they are.
var gears = &mdf.Conversion{Type: mdf.ValueToText, Values: []float64{0, 1},
	Refs: []mdf.ConversionRef{{Text: "neutral"}, {Text: "first"}, {Conversion: mdf.LinearConversion(0, 1)}}}

// doors names every value.
var doors = &mdf.Conversion{Type: mdf.ValueToText, Values: []float64{0}, Refs: []mdf.ConversionRef{{Text: "shut"}, {Text: "open"}}}

// spelled makes numbers of texts.
var spelled = &mdf.Conversion{Type: mdf.TextToValue, Values: []float64{10, 20, -1}, Refs: []mdf.ConversionRef{{Text: "ten"}, {Text: "two"}}}

// write makes a file with one group of n records, a channel of each kind that a writer knows.
func write(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{Compression: mdf.TransposedDeflate, BlockBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	g, err := w.AddGroup(mdf.GroupSpec{AcqName: "g", Channels: []mdf.ChannelSpec{
		{Name: "speed", Unit: "km/h", DataType: mdf.FloatLE, Bits: 64, Invalidation: true},
		{Name: "speed", DataType: mdf.UintLE, Bits: 8},
		{Name: "gear", DataType: mdf.UintLE, Bits: 8, Conversion: gears},
		{Name: "door", DataType: mdf.UintLE, Bits: 8, Conversion: doors},
		{Name: "note", DataType: mdf.UTF8, Bits: 64},
		{Name: "raw", DataType: mdf.ByteArray, Bits: 16},
		{Name: "spelled", DataType: mdf.UTF8, Bits: 24, Conversion: spelled}}})
	if err != nil {
		t.Fatal(err)
	}
	times, columns := make([]float64, n), make([]mdf.Samples, 7)
	for i := range times {
		times[i] = float64(i) / 10
		columns[0].Float = append(columns[0].Float, float64(i)/2)
		columns[0].Valid = append(columns[0].Valid, i%3 != 2)
		columns[1].Int = append(columns[1].Int, int64(i%256))
		columns[2].Int = append(columns[2].Int, int64(i%4))
		columns[3].Int = append(columns[3].Int, int64(i%2))
		note := [8]byte{}
		copy(note[:], fmt.Sprint("é", i%10))
		columns[4].Data = append(columns[4].Data, note[:]...)
		columns[5].Data = append(columns[5].Data, byte(i), 0)
		columns[6].Data = append(columns[6].Data, []string{"ten", "two", "???"}[i%3]...)
	}
	if err := errors.Join(g.Append(times, columns...), w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// batches gives all blocks of the only group, as a stream of Arrow IPC, which is what keeps them.
func batches(t *testing.T, f *mdf.File, opts mdf.ReadOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	var w *ipc.Writer
	var c mdfarrow.Converter
	g := f.Groups[0]
	r, err := g.Read(opts, g.Channels[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Batch(b)
		if err != nil {
			t.Fatal(err)
		}
		if w == nil {
			w = ipc.NewWriter(&out, ipc.WithSchema(batch.Schema()))
		}
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
		batch.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBatchesHoldWhatBlocksHold(t *testing.T) {
	const n = 500
	f, err := mdf.Open(write(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ipc.NewReader(bytes.NewReader(batches(t, f, mdf.ReadOptions{BlockRecords: 70, ColumnsOnly: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	s := r.Schema()
	unit, _ := s.Field(1).Metadata.GetValue(mdfarrow.KeyUnit)
	again, _ := s.Field(2).Metadata.GetValue(mdfarrow.KeyOccurrence)
	if s.Field(0).Name != "time" || s.Field(1).Name != "speed" || unit != "km/h" || s.Field(2).Name != "speed" || again != "1" {
		t.Errorf("schema %v", s)
	}
	i := 0
	for ; r.Next(); i += int(r.RecordBatch().NumRows()) {
		b := r.RecordBatch()
		for k := range int(b.NumRows()) {
			checkRow(t, b, k, i+k)
		}
	}
	if i != n || r.Err() != nil {
		t.Errorf("%d of %d rows, %v", i, n, r.Err())
	}
}

// checkRow compares row k of a batch, which is record i.
func checkRow(t *testing.T, b arrow.RecordBatch, k, i int) {
	t.Helper()
	number := func(c int) float64 { return b.Column(c).(*array.Float64).Value(k) }
	gear, wantText, wantNumber := b.Column(3).(*array.Struct), "", math.NaN()
	switch i % 4 {
	case 0, 1:
		wantText = []string{"neutral", "first"}[i%4]
	default:
		wantNumber = float64(i % 4)
	}
	text, value := gear.Field(0).(*array.String).Value(k), gear.Field(1).(*array.Float64).Value(k)
	if number(0) != float64(i)/10 || b.Column(1).IsNull(k) != (i%3 == 2) || number(1) != float64(i)/2 || number(2) != float64(i%256) ||
		text != wantText || value != wantNumber && value == value ||
		b.Column(4).(*array.String).Value(k) != []string{"shut", "open"}[i%2] ||
		b.Column(5).(*array.String).Value(k) != fmt.Sprint("é", i%10) ||
		!bytes.Equal(b.Column(6).(*array.Binary).Value(k), []byte{byte(i), 0}) || number(7) != []float64{10, 20, -1}[i%3] {
		t.Fatalf("record %d: %v %v, gear %q %v, %v %v %v", i, number(0), number(1), text, value, b.Column(4), b.Column(5), b.Column(6))
	}
}

func TestBatchesOfAnotherGroupAreRefused(t *testing.T) {
	var c mdfarrow.Converter
	for i := range 2 {
		f, err := mdf.Open(write(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := f.Groups[0].Read(mdf.ReadOptions{}, f.Groups[0].Channels...)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Batch(b); (err != nil) != (i == 1) {
			t.Errorf("file %d: %v", i, err)
		}
	}
}

// What a batch costs does not depend on its rows.
func TestBatchesDoNotCopyValues(t *testing.T) {
	allocations := func(n int) float64 {
		f, err := mdf.Open(write(t, n))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := f.Groups[0].Read(mdf.ReadOptions{}, f.Groups[0].Channels...)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var c mdfarrow.Converter
		return testing.AllocsPerRun(10, func() {
			batch, err := c.Batch(b)
			if err != nil {
				t.Fatal(err)
			}
			batch.Release()
		})
	}
	if few, many := allocations(10), allocations(3000); many > few {
		t.Errorf("%v allocations for 10 rows, %v for 3000", few, many)
	}
}

func TestTextsThatAreNotConvertedStayTexts(t *testing.T) {
	f, err := mdf.Open(write(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ipc.NewReader(bytes.NewReader(batches(t, f, mdf.ReadOptions{Raw: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() || r.RecordBatch().Column(7).(*array.String).Value(1) != "two" {
		t.Errorf("%v", r.Schema())
	}
}

// makeArray turns a channel of the file at path into an array, whose elements stand side by side from its first byte on.
func makeArray(t *testing.T, path, name string, bits, elements int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for off := 64; off < len(b); off += 8 {
		if string(b[off:off+4]) != "##CN" || !bytes.HasPrefix(b[le.Uint64(b[off+24+2*8:])+24:], []byte(name+"\x00")) {
			continue
		}
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		le.PutUint64(b[off+24+8:], uint64(len(b)))
		le.PutUint32(b[off+24+8*8+8:], uint32(bits))
		b = append(b, "##CA\x00\x00\x00\x00"...)
		b = le.AppendUint64(le.AppendUint64(b, 56), 1)
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0) // no composition, values in the record, one dimension
		b = le.AppendUint32(le.AppendUint32(b, uint32(bits/8)), 0)
		b = le.AppendUint64(b, uint64(elements))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no channel %q", name)
}

func TestArraysAreLists(t *testing.T) {
	path := write(t, 3)
	makeArray(t, path, "note", 16, 2)
	makeArray(t, path, "raw", 8, 2)
	makeArray(t, path, "gear", 8, 3)
	makeArray(t, path, "spelled", 8, 3)
	f, err := mdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ipc.NewReader(bytes.NewReader(batches(t, f, mdf.ReadOptions{ColumnsOnly: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatal(r.Err())
	}
	batch := r.RecordBatch()
	for name, want := range map[string]string{
		"note":    `[["é" "0"] ["é" "1"] ["é" "2"]]`,
		"raw":     "[[\"\\x00\" \"\\x00\"] [\"\\x01\" \"\\x00\"] [\"\\x02\" \"\\x00\"]]",
		"spelled": `[[-1 -1 -1] [-1 -1 -1] [-1 -1 -1]]`,
	} {
		i := batch.Schema().FieldIndices(name)
		if got := fmt.Sprint(batch.Column(i[0])); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	i := batch.Schema().FieldIndices("gear")
	if got := batch.Schema().Field(i[0]).Type; !arrow.TypeEqual(got, arrow.FixedSizeListOfNonNullable(3, arrow.StructOf(
		arrow.Field{Name: "text", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "number", Type: arrow.PrimitiveTypes.Float64}))) {
		t.Errorf("gear is %v", got)
	}
	first := batch.Column(i[0]).(*array.FixedSizeList).ListValues().(*array.Struct)
	if got := []string{first.Field(0).ValueStr(0), first.Field(0).ValueStr(3), first.Field(1).ValueStr(6)}; !slices.Equal(got, []string{"neutral", "first", "2"}) {
		t.Errorf("gears %q", got)
	}
}
