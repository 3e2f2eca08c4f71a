package mdf

import (
	"slices"
	"testing"
)

// A nil link to invalidation bytes says that all samples of its data block are valid (MDF 4.2, 5.30).
func TestDataBlocksWithoutInvalidationBytesAreValid(t *testing.T) {
	data := samples(30)
	odd := make([]byte, 30)
	for i := range odd {
		odd[i] = byte(i % 2 * 2)
	}
	const a, n = 11, 30 // records of the first block, and all
	layouts := map[string]struct {
		write func(b *builder, dv, di [2]int64) int64
		from  int // the first record that can be invalid
	}{
		"first is nil": {func(b *builder, dv, di [2]int64) int64 { return b.ld(true, 0, dv[0], dv[1], 0, di[1]) }, a},
		"both are nil": {func(b *builder, dv, _ [2]int64) int64 { return b.ld(true, 0, dv[0], dv[1], 0, 0) }, n},
		"first of pairs is nil": {func(b *builder, dv, di [2]int64) int64 {
			return b.ld(true, 0, dv[0], 0, dv[1], di[1])
		}, a},
		"no list": {func(b *builder, dv, _ [2]int64) int64 { return b.ld(false, 0, dv[0], dv[1]) }, n},
		"no list in the first": {func(b *builder, dv, di [2]int64) int64 {
			return b.ld(false, b.ld(true, 0, dv[1], di[1]), dv[0])
		}, a},
	}
	for name, layout := range layouts {
		for _, zip := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBuilder(0)
				first := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
					cn{name: "x", dt: UintLE, off: 8, bits: 32, flags: cnInvalBit, inval: 1})
				g := b.groups(cg{cycles: n, data: 12, inval: 1, first: first[0]})
				block := func(id string, part []byte, cols int) int64 {
					if zip {
						return b.dz(id, part, cols)
					}
					return b.append(id, nil, part)
				}
				dv := [2]int64{block("DV", data[:12*a], 12), block("DV", data[12*a:], 12)}
				di := [2]int64{0, block("DI", odd[a:], 0)}
				b.dg(0, g[0], layout.write(b, dv, di))
				f := mustOpen(t, &b.memory)
				got, err := readAll(f.Groups[0], ReadOptions{BlockRecords: 7})
				if err != nil {
					t.Fatal(err)
				}
				checkSamples(t, got, n)
				want := make([]bool, n)
				for i := range want {
					want[i] = i < layout.from || i%2 == 0
				}
				if !slices.Equal(got.valid[1], want) {
					t.Errorf("valid %v", got.valid[1])
				}
				r, err := f.Groups[0].Read(ReadOptions{}, f.Groups[0].Channels...)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				for _, at := range []uint64{20, 5, 15} {
					if err := r.Seek(at); err != nil {
						t.Fatal(err)
					}
					blk, err := r.Next(t.Context())
					if err != nil || blk.First != at || !slices.Equal(blk.Columns[1].Valid, want[at:int(at)+blk.N]) {
						t.Errorf("seek %d: %+v, %v", at, blk, err)
					}
				}
			})
		}
	}
}

// ld writes a list of data blocks, with links to invalidation bytes or without.
func (b *builder) ld(inval bool, next int64, links ...int64) int64 {
	n, flag := len(links), byte(0)
	if inval {
		n, flag = n/2, 0x80
	}
	return b.append("LD", append([]int64{next}, links...), []byte{0, 0, 0, flag, byte(n), 0, 0, 0}, make([]byte, 8*n))
}
