package mdf

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawn is a random group with its records.
type drawn struct {
	spec  GroupSpec
	times []float64
	cols  []Samples
}

func drawGroup(t *rapid.T, name string) drawn {
	d := drawn{spec: GroupSpec{AcqName: name, Comment: rapid.StringMatching(`[a-z<&ü ]{0,9}`).Draw(t, "comment")}}
	n := rapid.IntRange(0, 120).Draw(t, "records")
	for i := range n {
		d.times = append(d.times, float64(i)*0.01)
	}
	for k := range rapid.IntRange(0, 5).Draw(t, "channels") {
		c, s := drawChannel(t, n)
		c.Name = fmt.Sprintf("c%d", k%3) // names repeat
		d.spec.Channels = append(d.spec.Channels, c)
		d.cols = append(d.cols, s)
	}
	return d
}

func drawChannel(t *rapid.T, n int) (ChannelSpec, Samples) {
	c := ChannelSpec{Unit: rapid.SampledFrom([]string{"", "m", "°"}).Draw(t, "unit"), Bits: rapid.IntRange(1, 64).Draw(t, "bits"),
		DataType:     rapid.SampledFrom([]DataType{UintLE, UintBE, IntLE, IntBE, FloatLE, FloatBE, UTF8, ByteArray}).Draw(t, "type"),
		Invalidation: rapid.Bool().Draw(t, "invalidation")}
	var s Samples
	switch c.DataType {
	case UintLE, UintBE:
		s.Uint = rapid.SliceOfN(rapid.Uint64Max(math.MaxUint64>>(64-c.Bits)), n, n).Draw(t, "values")
	case IntLE, IntBE:
		lim := int64(math.MaxInt64) >> (64 - c.Bits)
		s.Int = rapid.SliceOfN(rapid.Int64Range(-lim-1, lim), n, n).Draw(t, "values")
	case FloatLE, FloatBE:
		c.Bits = 64
		s.Float = rapid.SliceOfN(rapid.Float64(), n, n).Draw(t, "values")
	default:
		c.Bits = 8 * rapid.IntRange(1, 9).Draw(t, "bytes")
		s.Data = rapid.SliceOfN(rapid.ByteRange(1, 126), n*c.Bits/8, n*c.Bits/8).Draw(t, "values")
	}
	if isNumeric(c.DataType) && rapid.Bool().Draw(t, "converted") {
		c.Conversion = LinearConversion(rapid.Float64Range(-10, 10).Draw(t, "offset"), 0.125)
	}
	if c.Invalidation {
		s.Valid = rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "validity")
	}
	return c, s
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := WriterOptions{Start: time.Unix(1700000000, 5).UTC(), Comment: "a < b & ü",
			Compression: Compression(rapid.IntRange(0, 2).Draw(t, "compression")),
			BlockBytes:  rapid.IntRange(1, 900).Draw(t, "block")}
		var m memory
		w, err := NewWriter(&m, opts)
		if err != nil {
			t.Fatal(err)
		}
		var groups []drawn
		for i := range rapid.IntRange(0, 3).Draw(t, "groups") {
			d := drawGroup(t, fmt.Sprintf("g%d", i))
			groups = append(groups, d)
			writeDrawn(t, w, d)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := m.open()
		if err != nil {
			t.Fatal(err)
		}
		if !f.Finalized || f.Comment != opts.Comment || !f.Start.Equal(opts.Start) || len(f.Groups) != len(groups) {
			t.Fatalf("header %+v", f)
		}
		for i, d := range groups {
			checkDrawn(t, f.Groups[i], d)
		}
	})
}

// writeDrawn appends in two parts, so that blocks are filled across calls.
func writeDrawn(t *rapid.T, w *Writer, d drawn) {
	g, err := w.AddGroup(d.spec)
	if err != nil {
		t.Fatal(err)
	}
	cut := rapid.IntRange(0, len(d.times)).Draw(t, "cut")
	for _, r := range [][2]int{{0, cut}, {cut, len(d.times)}} {
		var part []Samples
		for i, s := range d.cols {
			part = append(part, s.slice(r[0], r[1], d.spec.Channels[i].Bits/8))
		}
		if err := g.Append(d.times[r[0]:r[1]], part...); err != nil {
			t.Fatal(err)
		}
	}
}

func (s Samples) slice(from, to, width int) Samples {
	return Samples{Float: part(s.Float, from, to), Int: part(s.Int, from, to), Uint: part(s.Uint, from, to),
		Data: part(s.Data, from*width, to*width), Valid: part(s.Valid, from, to)}
}

func part[T any](s []T, from, to int) []T {
	if s == nil {
		return nil
	}
	return s[from:to]
}

func checkDrawn(t *rapid.T, g *ChannelGroup, d drawn) {
	if g.AcqName != d.spec.AcqName || g.Comment != d.spec.Comment || g.Cycles != uint64(len(d.times)) {
		t.Fatalf("group %+v, want %+v", g, d.spec)
	}
	raw, err := readAll(g, ReadOptions{Raw: true, BlockRecords: rapid.IntRange(0, 50).Draw(t, "read")})
	if err != nil {
		t.Fatal(err)
	}
	phys, err := readAll(g, ReadOptions{Ahead: rapid.IntRange(0, 3).Draw(t, "ahead")})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range d.times {
		if raw.times[i] != x || phys.times[i] != x {
			t.Fatalf("time %d: %v, want %v", i, raw.times[i], x)
		}
	}
	for k, c := range d.spec.Channels {
		got := g.Channels[k+1]
		if got.Name != c.Name || got.Unit != c.Unit || got.Occurrence != k/3 {
			t.Fatalf("channel %+v, want %+v", got, c)
		}
		for i := range d.times {
			checkSample(t, c, d.cols[k], i, raw, phys, k+1)
		}
		alone, err := readAll(g, ReadOptions{ColumnsOnly: true}, got)
		if err != nil || !slices.Equal(alone.times, phys.times) || !slices.Equal(alone.values[0], phys.values[k+1]) ||
			!slices.Equal(alone.texts[0], phys.texts[k+1]) || !slices.Equal(alone.valid[0], phys.valid[k+1]) {
			t.Fatalf("%s alone: %+v, %v", c.Name, alone, err)
		}
	}
}

func checkSample(t *rapid.T, c ChannelSpec, s Samples, i int, raw, phys *table, k int) {
	if valid := s.Valid == nil || s.Valid[i]; c.Invalidation && raw.valid[k][i] != valid {
		t.Fatalf("%s %d: valid %v", c.Name, i, raw.valid[k][i])
	}
	var want float64
	switch {
	case s.Data != nil:
		if w := string(s.Data[i*c.Bits/8 : (i+1)*c.Bits/8]); raw.texts[k][i] != w {
			t.Fatalf("%s %d: %q, want %q", c.Name, i, raw.texts[k][i], w)
		}
		return
	case s.Uint != nil:
		want = float64(s.Uint[i])
	case s.Int != nil:
		want = float64(s.Int[i])
	default:
		want = s.Float[i]
	}
	converted := want
	if c.Conversion != nil {
		converted = float64(want*c.Conversion.Values[1]) + c.Conversion.Values[0]
	}
	if raw.values[k][i] != want || phys.values[k][i] != converted {
		t.Fatalf("%s %d: %v and %v, want %v and %v", c.Name, i, raw.values[k][i], phys.values[k][i], want, converted)
	}
}

func writeSmall(t testing.TB, w *Writer) {
	t.Helper()
	g, err := w.AddGroup(GroupSpec{AcqName: "g", Channels: []ChannelSpec{{Name: "x", DataType: UintLE, Bits: 12}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Append([]float64{0, 1, 2}, Samples{Float: []float64{7, 8, 9}}); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAppearCompleteOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.mf4")
	w, err := Create(path, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	writeSmall(t, w)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("there before Close: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != ErrClosed {
		t.Fatalf("closed twice: %v", err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := readAll(f.Groups[0], ReadOptions{}); err != nil || got.values[1][2] != 9 {
		t.Fatalf("%+v, %v", got, err)
	}
	if w, err = Create(path, WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%d files remain", len(list))
	}
}

func TestEqualRecordsGiveEqualBytes(t *testing.T) {
	var files [2]memory
	for i := range files {
		w, err := NewWriter(&files[i], WriterOptions{Compression: TransposedDeflate, BlockBytes: 20, Start: time.Unix(9, 0)})
		if err != nil {
			t.Fatal(err)
		}
		writeSmall(t, w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if string(files[0].b) != string(files[1].b) {
		t.Error("the files differ")
	}
}

func TestFramesAreReadAsWritten(t *testing.T) {
	var m memory
	w, err := NewWriter(&m, WriterOptions{BlockBytes: 100, Compression: Deflate})
	if err != nil {
		t.Fatal(err)
	}
	fw, err := w.AddFrames(FrameSpec{MaxBytes: 64})
	if err != nil {
		t.Fatal(err)
	}
	frame := func(i int) Frame {
		data := make([]byte, []int{0, 3, 8, 12, 64}[i%5])
		for k := range data {
			data[k] = byte(i + k + 1)
		}
		return Frame{Time: float64(i), Bus: uint8(1 + i%3), ID: uint32(i * 1000), Extended: i*1000 > 0x7FF, FD: i%5 > 2, Transmit: i%2 == 1, Data: data}
	}
	for i := range 50 {
		if err := fw.Append(frame(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, &m).Groups[0]
	if !g.HasFrames() || !g.BusEvent || g.Bus() != BusCAN || g.AcqName != "CAN_DataFrame" {
		t.Fatalf("group %+v", g)
	}
	r, err := g.Frames()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 50; {
		b, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for k := range b.N {
			got := Frame{b.Times[k], b.Bus[k], b.ID[k], b.Extended[k], b.FD[k], b.Transmit[k], b.Payload(k)}
			if fmt.Sprint(got) != fmt.Sprint(frame(i)) {
				t.Fatalf("frame %d: %+v, want %+v", i, got, frame(i))
			}
			i++
		}
	}
}

func TestReadingAllocatesNothingOnceWarm(t *testing.T) {
	for _, compression := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		var m memory
		w, _ := NewWriter(&m, WriterOptions{Compression: compression, BlockBytes: 64 << 10})
		g, _ := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "a", DataType: IntLE, Bits: 16, Conversion: LinearConversion(1, 2)},
			{Name: "b", DataType: FloatLE, Bits: 64, Invalidation: true}, {Name: "c", DataType: UintLE, Bits: 5}}})
		times, s := make([]float64, 200000), make([]float64, 200000)
		if err := g.Append(times, Samples{Float: s}, Samples{Float: s}, Samples{Float: s}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f := mustOpen(t, &m)
		r, err := f.Groups[0].Read(ReadOptions{BlockRecords: 1000}, f.Groups[0].Channels...)
		if err != nil {
			t.Fatal(err)
		}
		next := func() {
			if _, err := r.Next(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		for range 80 {
			next()
		}
		if n := testing.AllocsPerRun(100, next); n > 0.2 { // the list of blocks grows
			t.Errorf("compression %d: %v allocations a block", compression, n)
		}
	}
}
