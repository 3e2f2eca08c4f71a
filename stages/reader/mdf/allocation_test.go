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
