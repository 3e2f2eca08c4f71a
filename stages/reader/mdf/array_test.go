package mdf

import (
	"bytes"
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

// structFile has records of 36 bytes: 4 of something else, then points[2] of 16 bytes each: x, name, pair[2], wide and a structure in it with a bit of a byte and z.
func structFile(write func(b *builder, members []cn, inner []cn) int64) *builder {
	b := newBuilder(0)
	inner := []cn{{name: "flag", dt: UintLE, off: 13, bit: 3, bits: 1}, {name: "z", dt: IntBE, off: 14, bits: 24}}
	members := []cn{{name: "x", dt: UintLE, off: 4, bits: 8, flags: cnInvalBit, inval: 1}, {name: "name", dt: UTF8, off: 5, bits: 32},
		{name: "pair", dt: UintLE, off: 9, bits: 8}, {name: "raw", dt: ByteArray, off: 11, bits: 16}, {name: "wide", dt: ByteArray, off: 13, bits: 32}}
	top := write(b, members, inner)
	g := b.groups(cg{cycles: 2, data: 37, inval: 1, first: top})
	var data []byte
	for r := range 2 {
		rec := make([]byte, 38)
		rec[0] = byte(r)
		for e := range 2 {
			k := byte(10*r + e)
			p := rec[4+16*e:]
			copy(p, []byte{100 + k, 'n', '0' + byte(r), '0' + byte(e), 0, k, k + 5, 0xAA, k, 0xF7 | byte(e)<<3, 0xFF, 0xFE, k})
		}
		rec[37] = byte(r) << 2 // of the second x
		data = append(data, rec...)
	}
	b.dg(0, g[0], b.append("DT", nil, data))
	return b
}

// structures writes the channels of structFile as the standard has them.
func structures(b *builder, members, inner []cn) int64 {
	members[2].comp = caBlock(b, 0, 1, 0, 2)
	members[4].comp = b.channels(inner...)[0]
	ca := caBlock(b, b.channels(members...)[0], 16, 0, 2)
	binary.LittleEndian.PutUint32(b.b[ca+headerSize+8+12:], 1) // invalidation bits
	return b.channels(cn{name: "t", dt: UintLE, bits: 8}, cn{name: "points", dt: ByteArray, off: 4, bits: 16 * 8, comp: ca}, cn{name: "x", dt: UintLE, bits: 8})[0]
}

func TestMembersOfArraysOfStructures(t *testing.T) {
	relative := func(b *builder, members, inner []cn) int64 {
		for _, list := range [][]cn{members, inner} {
			for i := range list {
				list[i].off -= 4
			}
		}
		return structures(b, members, inner)
	}
	for name, write := range map[string]func(*builder, []cn, []cn) int64{"offsets in the record": structures, "offsets in the element": relative} {
		b := structFile(write)
		exhaust(t, b.b)
		f := mustOpen(t, &b.memory)
		for copied, f := range map[string]*File{"": f, ", copied": excerpt(t, f, Deflate, ExcerptOptions{})} {
			for _, only := range []bool{false, true} {
				checkStructs(t, name+copied, f.Groups[0], only)
			}
		}
	}
}

func checkStructs(t *testing.T, name string, g *ChannelGroup, only bool) {
	t.Helper()
	var got []string
	for _, c := range g.Channels {
		dims := []int(nil)
		if c.Array != nil {
			dims = c.Array.Dims
		}
		got = append(got, fmt.Sprint(c.Name, c.Occurrence, c.Kind(), dims, c.Err()))
	}
	want := []string{"t0 0 [] <nil>", "points0 5 [2] <nil>", "x0 4 [2] <nil>", "name0 6 [2] <nil>", "pair0 4 [2 2] <nil>", "raw0 7 [2] <nil>", "wide0 5 [2] <nil>",
		"flag0 4 [2] <nil>", "z0 4 [2] <nil>", "x1 0 [] <nil>"}
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", name, got, want)
	}
	all, err := readAll(g, ReadOptions{ColumnsOnly: only})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float64{0: {0, 1}, 2: {100, 101, 110, 111}, 4: {0, 5, 1, 6, 10, 15, 11, 16}, 7: {0, 1, 0, 1}, 8: {-512, -511, -502, -501}, 9: {0, 1}} {
		if want != nil && !slices.Equal(all.values[i], want) {
			t.Errorf("%s: %s is %v, want %v", name, g.Channels[i].Name, all.values[i], want)
		}
	}
	for i, want := range [][]string{3: {"n00", "n01", "n10", "n11"}, 5: {"\xaa\x00", "\xaa\x01", "\xaa\x0a", "\xaa\x0b"}} {
		if want != nil && !slices.Equal(all.texts[i], want) {
			t.Errorf("%s: %s is %q, want %q", name, g.Channels[i].Name, all.texts[i], want)
		}
	}
	if whole := all.texts[1]; len(whole[0]) != 32 || whole[1][16] != 111 {
		t.Errorf("%s: points are %d bytes: %q", name, len(whole[0]), whole)
	}
	if !slices.Equal(all.valid[2], []bool{true, false}) {
		t.Errorf("%s: x is valid in %v", name, all.valid[2])
	}
}

// What one block of the array says wrong is an error of it and its members, not of what stands beside it.
func TestErrorsOfArraysOfStructuresAreTheirs(t *testing.T) {
	b := structFile(func(b *builder, members, inner []cn) int64 {
		members[4].comp = b.channels(inner...)[0]
		ca := caBlock(b, b.channels(members...)[0], 16, 0, 0)
		return b.channels(cn{name: "points", dt: ByteArray, off: 4, bits: 16 * 8, comp: ca}, cn{name: "x", dt: UintLE, bits: 8})[0]
	})
	g := mustOpen(t, &b.memory).Groups[0]
	for i, c := range g.Channels {
		var fe *FormatError
		if bad := i < len(g.Channels)-1; errors.As(c.Err(), &fe) != bad || bad && fe.Block != "##CA" {
			t.Errorf("%s: %v", c.Name, c.Err())
		}
	}
	exhaust(t, b.b)
	excerpt(t, mustOpen(t, &b.memory), Deflate, ExcerptOptions{})
}

// Conversions to text, and of texts, are of each element.
func TestConversionsOfElements(t *testing.T) {
	b := newBuilder(0)
	first := b.channels(
		cn{name: "gear", dt: UintLE, bits: 8, comp: caBlock(b, 0, 0, 0, 2, 2), conv: b.conversion(ValueToText, "", []float64{0, 1}, "P", "R", "D")},
		cn{name: "word", dt: UTF8, off: 4, bits: 16, comp: caBlock(b, 0, 0, 0, 2), conv: b.conversion(TextToText, "", nil, "ab", "long", int64(0))},
		cn{name: "number", dt: UTF8, off: 4, bits: 16, comp: caBlock(b, 0, 0, 0, 2), conv: b.conversion(TextToValue, "", []float64{5, 7}, "ab")},
		cn{name: "cut", typ: MLSD, dt: Latin1, off: 4, bits: 16, comp: caBlock(b, 0, 0, 0, 2)},
		cn{name: "size", dt: UintLE, off: 8, bits: 8, comp: caBlock(b, 0, 0, 0, 2)})
	b.setLink(first[3], 5, first[4])
	g := b.groups(cg{cycles: 2, data: 10, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte("\x00\x01\x02\x03abcd\x01\x02"+"\x01\x01\x00\x00xyab\x02\x00")))
	f := mustOpen(t, &b.memory)
	for name, f := range map[string]*File{"": f, ", copied": excerpt(t, f, Deflate, ExcerptOptions{})} {
		got, err := readAll(f.Groups[0], ReadOptions{BlockRecords: 1})
		if err != nil || len(f.Groups[0].Channels) != 5 {
			t.Fatal(name, err)
		}
		for i, c := range f.Groups[0].Channels {
			if c.Err() != nil {
				t.Errorf("%s%s: %v", c.Name, name, c.Err())
			}
			want := [][]string{{"P", "R", "D", "D", "R", "R", "P", "P"}, {"long", "cd", "xy", "long"}, {"ab", "cd", "xy", "ab"}, {"a", "cd", "xy", ""}, nil}[i]
			texts := got.texts[i]
			if i < 4 && !slices.Equal(texts, want) {
				t.Errorf("%s%s: %q, want %q", c.Name, name, texts, want)
			}
		}
		if !slices.Equal(got.values[2], []float64{5, 7, 7, 5}) || !slices.Equal(got.values[0], []float64{0, 1, 2, 3, 1, 1, 0, 0}) {
			t.Errorf("numbers%s: %v, %v", name, got.values[2], got.values[0])
		}
	}
}

func TestHugeInvalidationBitsOfElementsDoNotWrap(t *testing.T) {
	b := arrayFile(16, 1, cn{name: "a", dt: UintLE, bits: 8, flags: cnInvalBit, inval: math.MaxUint32},
		caLayout{base: 1, invalBase: math.MaxUint32, dims: []uint64{16}})
	if err := mustOpen(t, &b.memory).Groups[0].Channels[0].Err(); err == nil {
		t.Error("bits far behind the invalidation byte are taken")
	}
}

// elementsWithRecords writes arrays of storage CG and DG template, the first beside another group.
func elementsWithRecords(b *builder, idSize int) {
	template := func(storage byte, n uint64, data ...int64) int64 {
		d := make([]byte, 16)
		d[1], d[2] = storage, 1
		d = binary.LittleEndian.AppendUint64(d, n)
		return b.append("CA", append([]int64{0}, data...), append(d, make([]byte, 8*n)...))
	}
	id := uint64(4)
	if idSize == 2 {
		id = 300
	}
	el := b.channels(cn{name: "el", dt: UintLE, bits: 8, comp: template(cgTemplate, 3)})
	other := b.channels(cn{name: "other", dt: UintLE, bits: 8})
	g := b.groups(cg{id: id, cycles: 2, data: 1, first: el[0]}, cg{id: 9, cycles: 1, data: 1, first: other[0]})
	var data []byte
	for _, r := range [][2]uint64{{id, 10}, {id + 2, 11}, {9, 12}, {id + 1, 13}, {id, 14}} {
		data = append(binary.LittleEndian.AppendUint16(data, uint16(r[0]))[:len(data)+idSize], byte(r[1]))
	}
	b.dg(idSize, g[0], b.append("DT", nil, data))
	own := b.append("DT", nil, []byte{7, 8})
	g = b.groups(cg{cycles: 2, data: 1, first: b.channels(cn{name: "el", dt: UintLE, bits: 8, comp: template(dgTemplate, 2, own, own)})[0]})
	b.dg(0, g[0], own)
}

// Elements that have records of their own are skipped; the first is read, and so is all that stands beside them.
func TestArraysWithRecordsOfTheirOwn(t *testing.T) {
	for _, idSize := range []int{1, 2} {
		b := newBuilder(0)
		elementsWithRecords(b, idSize)
		exhaust(t, b.b)
		f := mustOpen(t, &b.memory)
		for i, want := range [][]float64{{10, 14}, {12}, {7, 8}} {
			got, err := readAll(f.Groups[i], ReadOptions{})
			if err != nil || !slices.Equal(got.values[0], want) {
				t.Errorf("group %d: %v, %v; want %v", i, got.values, err, want)
			}
		}
		if c := f.Groups[0].Channels[0]; !slices.Equal(c.Template, []int{3}) || f.Groups[2].Channels[0].Template[0] != 2 || c.Array != nil {
			t.Errorf("array of %v", c.Template)
		}
		b.b[bytes.Index(b.b, []byte("##CA"))+headerSize+8+1] = 3
		if err := mustOpen(t, &b.memory).Groups[0].Channels[0].Err(); err == nil {
			t.Error("a storage type that there is none of")
		}
	}
}
