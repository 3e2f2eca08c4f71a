//go:build !race

// What is measured here is not what it is under the race detector: there a sync.Pool forgets at random.

package mdf

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
)

// TestScanAllocatesNothingForABlock compares files of some and of many blocks: what Scan allocates does not depend on them.
func TestScanAllocatesNothingForABlock(t *testing.T) {
	for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		allocations := func(records int) float64 {
			var m memory
			w, err := NewWriter(&m, WriterOptions{Compression: c, BlockBytes: 4096})
			if err != nil {
				t.Fatal(err)
			}
			g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "x", DataType: FloatLE, Bits: 64},
				{Name: "n", DataType: UintLE, Bits: 12, Conversion: LinearConversion(1, 2)}, {Name: "s", DataType: UTF8, Bits: 16}}})
			if err != nil {
				t.Fatal(err)
			}
			times := make([]float64, records)
			if err := errors.Join(g.Append(times, Samples{Float: times}, Samples{Float: times}, Samples{Data: make([]byte, 2*records)}),
				w.Close()); err != nil {
				t.Fatal(err)
			}
			f := mustOpen(t, &m)
			sel := Selection{f.Groups[0], f.Groups[0].Channels}
			return testing.AllocsPerRun(5, func() {
				if err := f.Scan(context.Background(), ScanOptions{Workers: 1}, func(int, *Block) error { return nil }, sel); err != nil {
					t.Fatal(err)
				}
			})
		}
		// The list of data blocks grows with the file, by doubling: some allocations in ten thousand blocks.
		if few, many := allocations(20_000), allocations(200_000); many-few > 12 {
			t.Errorf("compression %d: %v allocations for 100 blocks, %v for 1000", c, few, many)
		}
	}
}

// TestReadersOfManyGroupsHoldLittle merges groups with blocks of 2 MiB: one block each would be 80 MiB.
func TestReadersOfManyGroupsHoldLittle(t *testing.T) {
	const groups, hold, bound = 40, 8 << 20, 20 << 20
	kinds := []Compression{TransposedDeflate, Deflate, Uncompressed}
	if testing.Short() { // under the race detector
		kinds = kinds[:1]
	}
	for _, c := range kinds {
		var m memory
		writeZeros(t, &m, c, groups, 3<<20)
		f, err := Options{Hold: NewHold(hold)}.NewFile(&m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		before := inUse()
		var readers []*GroupReader
		for _, g := range f.Groups {
			r, err := g.Read(ReadOptions{BlockRecords: 1000}, g.Channels...)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
		most := uint64(0)
		for rounds := 0; len(readers) > 0; rounds++ {
			readers = slices.DeleteFunc(readers, func(r *GroupReader) bool {
				_, err := r.Next(context.Background())
				if err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return err != nil
			})
			if rounds%8 == 0 {
				now := inUse() // once: what a second call says may be more
				most = max(most, now-min(before, now))
			}
		}
		if most > bound {
			t.Errorf("compression %d: %d MiB in use", c, most>>20)
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Not the number of records, nor what they hold, makes a reader allocate: texts of values, values of variable length, frames and
// groups in the order of time neither.
func TestEveryReaderAllocatesNothingOnceWarm(t *testing.T) {
	const records = 60_000
	var m memory
	w, err := NewWriter(&m, WriterOptions{BlockBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	times, gear := make([]float64, records), make([]uint64, records)
	for i := range times {
		times[i], gear[i] = float64(i)*0.01, uint64(i%4)
	}
	texts := &Conversion{Type: ValueToText, Values: []float64{0, 1, 2}, Refs: []ConversionRef{{Text: "park"}, {Text: "reverse"}, {Text: "drive"}, {Text: "none"}}}
	for range 2 {
		g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "gear", DataType: UintLE, Bits: 8, Conversion: texts}, {Name: "x", DataType: FloatLE, Bits: 64}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Append(times, Samples{Uint: gear}, Samples{Float: times}); err != nil {
			t.Fatal(err)
		}
	}
	fw, err := w.AddFrames(FrameSpec{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := fw.Append(Frame{Time: times[i], Bus: 1, ID: uint32(i % 50), Data: []byte{byte(i), 2, 3}[:1+i%3]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, &m)
	unsorted, _ := unsortedFile(unfinCycles, 2, records, false) // data in one piece
	values := mustOpen(t, &unsorted.memory).Groups[1]
	opts := ReadOptions{BlockRecords: 100}
	check := func(what string, next func() error, err error) {
		t.Helper()
		step := func() {
			if err == nil {
				err = next()
			}
		}
		for range 100 {
			step()
		}
		n := testing.AllocsPerRun(200, step)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n > 0.2 { // the list of blocks grows
			t.Errorf("%s: %v allocations a block", what, n)
		}
	}
	read := func(g *ChannelGroup) (func() error, error) {
		r, err := g.Read(opts, g.Channels...)
		return func() error { _, err := r.Next(context.Background()); return err }, err
	}
	next, err := read(f.Groups[0])
	check("texts of values", next, err)
	next, err = read(values)
	check("values of variable length", next, err)
	merger, err := f.Merge(MergeOptions{ReadOptions: opts}, Selection{f.Groups[0], f.Groups[0].Channels}, Selection{f.Groups[1], f.Groups[1].Channels})
	check("groups in order of time", func() error { _, err := merger.Next(context.Background()); return err }, err)
	frames, err := f.Groups[2].ReadFrames(opts)
	check("frames", func() error { _, err := frames.Next(context.Background()); return err }, err)
}
