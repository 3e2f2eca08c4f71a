package mdf

import (
	"context"
	"errors"
	"io"
	"testing"
)

// arrayRecords is a group with a matrix of 3 rows and 8 columns and a vector of 4 whose elements stand apart, in records of 96 bytes.
func arrayRecords(b *builder, n int) {
	first := b.channels(cn{name: "matrix", dt: UintLE, bits: 16, comp: caBlock(b, 0, 2, 0, 3, 8)},
		cn{name: "columns", dt: IntBE, bits: 16, comp: caBlock(b, 0, 2, 1<<6, 3, 8)},
		cn{name: "apart", dt: FloatLE, off: 48, bits: 32, comp: caBlock(b, 0, 12, 0, 4)})
	g := b.groups(cg{cycles: uint64(n), data: 96, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 96*n)))
}

func BenchmarkReadArrays(b *testing.B) {
	const n = 20_000
	file := newBuilder(0)
	arrayRecords(file, n)
	f, err := file.open()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(96 * n)
	for b.Loop() {
		readThrough(b, f.Groups[0], ReadOptions{})
	}
}

// What reading arrays allocates does not depend on how many records there are.
func TestArraysAllocateNothingForARecord(t *testing.T) {
	allocations := func(n int) float64 {
		b := newBuilder(0)
		gear := b.conversion(ValueToText, "", []float64{0}, "P", "D")
		first := b.channels(cn{name: "texts", dt: UTF8, bits: 16, comp: caBlock(b, 0, 2, 0, 4)},
			cn{name: "gears", dt: UintLE, bits: 8, comp: caBlock(b, 0, 1, 0, 8), conv: gear},
			cn{name: "numbers", dt: FloatLE, bits: 32, comp: caBlock(b, 0, 4, 0, 2)})
		g := b.groups(cg{cycles: uint64(n), data: 8, first: first[0]})
		b.dg(0, g[0], b.append("DT", nil, make([]byte, 8*n)))
		group := mustOpen(t, &b.memory).Groups[0]
		return testing.AllocsPerRun(5, func() {
			r, err := group.Read(ReadOptions{BlockRecords: 100}, group.Channels...)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for err == nil {
				_, err = r.Next(context.Background())
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		})
	}
	if few, many := allocations(1000), allocations(20_000); many > few {
		t.Errorf("%v allocations for 1000 records, %v for 20000", few, many)
	}
}
