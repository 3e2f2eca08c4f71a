package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestArraysWithoutDimensionsAreRefused(t *testing.T) {
	b := arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8}, caLayout{base: 1})
	g := mustOpen(t, &b.memory).Groups[0]
	var fe *FormatError
	if err := g.Channels[0].Err(); !errors.As(err, &fe) || fe.Block != "##CA" || g.Channels[1].Err() != nil {
		t.Errorf("errors %v, %v", err, g.Channels[1].Err())
	}
	b = arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8}, caLayout{base: 1, dims: slices.Repeat([]uint64{1}, 9000)})
	if err := mustOpen(t, &b.memory).Groups[0].Channels[0].Err(); err == nil {
		t.Error("9000 dimensions")
	}
	excerpt(t, mustOpen(t, &b.memory), Uncompressed, ExcerptOptions{})
}

// caLayout is what a CA says of the elements.
type caLayout struct {
	base, invalBase uint32
	members         int64
	dims            []uint64
}

// arrayFile has records of size bytes that hold an array and a byte beside it.
func arrayFile(size, inval uint32, c cn, a caLayout) *builder {
	b := newBuilder(0)
	c.comp = caBlock(b, a.members, int32(a.base), 0, a.dims...)
	binary.LittleEndian.PutUint32(b.b[c.comp+headerSize+8+12:], a.invalBase)
	first := b.channels(c, cn{name: "x", dt: UintLE, bits: 8})
	g := b.groups(cg{cycles: 4, data: size, inval: inval, first: first[0]})
	var data []byte
	for i := range 4 {
		data = append(data, make([]byte, size)...)
		data = append(data, slices.Repeat([]byte{byte(i)}, int(inval))...)
	}
	b.dg(0, g[0], b.dz("DT", data, 0))
	return b
}

func TestArraysTakeNoMoreThanABlockMay(t *testing.T) {
	b := arrayFile(200_000, 0, cn{name: "a", dt: UintLE, bits: 8}, caLayout{base: 1, dims: []uint64{200_000}})
	for limit, refused := range map[int64]bool{1 << 20: true, 2 << 20: false} {
		f, err := Options{MaxBlockBytes: limit}.NewFile(&b.memory, int64(len(b.b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Groups[0].Channels[0].Err(); errors.Is(err, ErrLimit) != refused {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// An array whose elements have an invalidation bit each is valid where all of them are.
func TestInvalidationBitsOfElements(t *testing.T) {
	for _, c := range []struct {
		bit, base uint32
		valid     []bool // of records whose invalidation byte is 0, 1, 2, 3
	}{
		{0, 0, []bool{true, false, true, false}},
		{0, 1, []bool{true, false, false, false}},
		{1, 1, []bool{true, true, false, false}},
		{1, 3, []bool{true, true, false, false}},
	} {
		b := arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8, flags: cnInvalBit, inval: c.bit},
			caLayout{base: 2, invalBase: c.base, dims: []uint64{3}})
		f := mustOpen(t, &b.memory)
		for name, f := range map[string]*File{"": f, " of a copy": excerpt(t, f, Uncompressed, ExcerptOptions{})} {
			for _, only := range []bool{false, true} {
				got, err := readAll(f.Groups[0], ReadOptions{ColumnsOnly: only}, f.Groups[0].Channels[0])
				if err != nil || !slices.Equal(got.valid[0], c.valid) {
					t.Errorf("bit %d, base %d%s: %v, %v", c.bit, c.base, name, got.valid[0], err)
				}
			}
		}
	}
	b := arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8, flags: cnInvalBit}, caLayout{base: 2, invalBase: 4, dims: []uint64{3}})
	if err := mustOpen(t, &b.memory).Groups[0].Channels[0].Err(); err == nil {
		t.Error("the last element has a bit that is not there")
	}
}

func TestMembersOfArraysOfStructuresAreListed(t *testing.T) {
	b := newBuilder(0)
	members := b.channels(cn{name: "x", dt: UintLE, bits: 8}, cn{name: "y", dt: UTF8, off: 1, bits: 8})
	first := b.channels(cn{name: "points", dt: ByteArray, bits: 16, comp: caBlock(b, members[0], 2, 0, 3)}, cn{name: "x", dt: UintLE, off: 6, bits: 8})
	g := b.groups(cg{cycles: 2, data: 7, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 14)))
	group := mustOpen(t, &b.memory).Groups[0]
	var got []string
	for _, c := range group.Channels {
		got = append(got, fmt.Sprint(c.Name, c.Occurrence, errors.Is(c.Err(), ErrUnsupported), c.Parent != nil))
	}
	if want := []string{"points0 true false", "x0 true true", "y0 true true", "x1 false false"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	exhaust(t, b.b)
}

func TestHugeInvalidationBitsOfElementsDoNotWrap(t *testing.T) {
	b := arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8, flags: cnInvalBit, inval: math.MaxUint32},
		caLayout{base: 1, invalBase: math.MaxUint32, dims: []uint64{16}})
	if err := mustOpen(t, &b.memory).Groups[0].Channels[0].Err(); err == nil {
		t.Error("bits far behind the invalidation byte are taken")
	}
}
