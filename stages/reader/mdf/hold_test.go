package mdf

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanesGiveTheRowsOfABlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 400).Draw(t, "data")
		cols := rapid.IntRange(1, 90).Draw(t, "columns")
		wanted := rapid.SliceOfN(rapid.Bool(), cols, cols).Draw(t, "wanted")
		limit := rapid.Int64Range(0, 500).Draw(t, "limit")
		b := newBuilder(0)
		at := b.dz("DT", data, cols)
		c := mustChain(t, b, at)
		fr, err := c.at(0)
		if err != nil {
			t.Fatal(err)
		}
		set := newColumnSet(cols, func(yield func(from, to int)) {
			for i, w := range wanted {
				if w {
					yield(i, i+1)
				}
			}
		})
		var inf inflater
		var p planes
		for row := range fr.rows() {
			if !p.have(fr, row) {
				if err := p.load(&inf, c.src, fr, row, set, limit); err != nil {
					t.Fatal(err)
				}
			}
			if n := int64(len(p.buf)); n > max(limit, int64(cols)) {
				t.Fatalf("%d bytes are held, the limit is %d", n, limit)
			}
			got := make([]byte, cols)
			p.transpose(got, row, cols)
			for i, w := range wanted {
				if want := data[row*cols+i]; w && got[i] != want || !w && set != nil && got[i] != 0 {
					t.Fatalf("row %d, byte %d is %d, want %d (wanted: %v)", row, i, got[i], want, w)
				}
			}
		}
		if err := p.load(&inf, c.src, fr, fr.rows(), set, limit); err != nil || !slices.Equal(p.tail, data[fr.rows()*cols:]) {
			t.Fatalf("remainder %v, %v", p.tail, err)
		}
	})
}

func mustChain(t *rapid.T, b *builder, at int64) *chain {
	f := &File{src: &source{r: &b.memory, size: int64(len(b.b))}, Finalized: true}
	c := f.newChain(at, "##DT")
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c
}

// manyGroups is a file of groups with 200 KiB in each block, of which readers that share little cannot hold one.
func manyGroups(t testing.TB, c Compression, groups, records int) *memory {
	t.Helper()
	var m memory
	w, err := NewWriter(&m, WriterOptions{Compression: c, BlockBytes: 200 << 10})
	if err != nil {
		t.Fatal(err)
	}
	times, a, b := make([]float64, records), make([]float64, records), make([]float64, records)
	for i := range times {
		times[i], a[i], b[i] = float64(i)/8, float64(i*7%1000), math.Sin(float64(i))
	}
	for range groups {
		g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "a", DataType: UintLE, Bits: 16},
			{Name: "b", DataType: FloatLE, Bits: 64, Invalidation: true}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Append(times, Samples{Float: a}, Samples{Float: b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestReadersThatHoldLittleReadTheSame(t *testing.T) {
	const records = 40000
	for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		m := manyGroups(t, c, 3, records)
		f := mustOpen(t, m)
		want, err := readAll(f.Groups[0], ReadOptions{})
		if err != nil || len(want.times) != records {
			t.Fatalf("%d records, %v", len(want.times), err)
		}
		small, err := Options{Hold: NewHold(1)}.NewFile(m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, channels := range [][]*Channel{small.Groups[1].Channels[1:], small.Groups[1].Channels[2:]} {
			got, err := readAll(small.Groups[1], ReadOptions{ColumnsOnly: true}, channels...)
			if err != nil {
				t.Fatal(err)
			}
			skipped := 3 - len(channels)
			if !slices.Equal(got.times, want.times) || fmt.Sprint(got.values) != fmt.Sprint(want.values[skipped:]) ||
				fmt.Sprint(got.valid) != fmt.Sprint(want.valid[skipped:]) {
				t.Errorf("compression %d: %d channels differ", c, len(channels))
			}
		}
	}
}

func TestDamagedBlocksGiveNothingToReadersThatHoldLittle(t *testing.T) {
	for _, c := range []Compression{Deflate, TransposedDeflate} {
		m := manyGroups(t, c, 1, 30000)
		var second DataBlock
		for b, err := range mustOpen(t, m).Groups[0].DataBlocks() {
			if second = b; err != nil || b.Start > 0 {
				break
			}
		}
		m.b[second.Offset+dzHeader+second.Disk-1] ^= 1 // of the check sum
		f, err := Options{Hold: NewHold(1)}.NewFile(m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(f.Groups[0], ReadOptions{})
		var fe *FormatError
		if !errors.As(err, &fe) || fe.Offset != second.Offset {
			t.Error(err)
		}
		if size := int64(f.Groups[0].recordSize()); int64(len(got.times)) != second.Start/size {
			t.Errorf("%d records in front of the damage, want %d", len(got.times), second.Start/size)
		}
	}
}

func TestSharesAreGivenBack(t *testing.T) {
	f := mustOpen(t, manyGroups(t, TransposedDeflate, 4, 20000))
	var readers []*GroupReader
	for _, g := range f.Groups {
		r, err := g.Read(ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	if f.hold.share() != defaultHold/4 {
		t.Errorf("share of four: %d", f.hold.share())
	}
	readers[0].Close()
	readers[0].Close()
	if f.hold.share() != defaultHold/3 {
		t.Errorf("share of three: %d", f.hold.share())
	}
	if err := (&table{}).readFrom(readers[1]); err != nil {
		t.Fatal(err)
	}
	if f.hold.share() != defaultHold/2 {
		t.Errorf("share of two, of which one has ended: %d", f.hold.share())
	}
	if err := readers[1].Seek(3); err != nil {
		t.Fatal(err)
	}
	if b, err := readers[1].Next(context.Background()); err != nil || b.Times[0] != 3.0/8 || f.hold.share() != defaultHold/3 {
		t.Errorf("after a seek from the end: %v, share %d", err, f.hold.share())
	}
}

// writeZeros writes groups with so many bytes of records each, in blocks of 2 MiB.
func writeZeros(t *testing.T, m *memory, c Compression, groups, size int) {
	t.Helper()
	w, err := NewWriter(m, WriterOptions{Compression: c, BlockBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const record = 64
	spec := GroupSpec{}
	cols := make([]Samples, record/8-1)
	for i := range cols {
		spec.Channels = append(spec.Channels, ChannelSpec{Name: fmt.Sprint("c", i), DataType: FloatLE, Bits: 64})
		cols[i].Float = make([]float64, size/record)
	}
	times := make([]float64, size/record)
	for range groups {
		g, err := w.AddGroup(spec)
		if err == nil {
			err = g.Append(times, cols...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
