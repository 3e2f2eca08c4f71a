package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// column group files whose LD lists blocks in pairs, and whose data is one block without a list.
func TestColumnsListedInPairs(t *testing.T) {
	b := newBuilder(0)
	first := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
		cn{name: "x", dt: UintLE, off: 8, bits: 32, flags: cnInvalBit, inval: 1})
	data := samples(30)
	var inval []byte
	for i := range 30 {
		inval = append(inval, byte(i%2*2))
	}
	g := b.groups(cg{cycles: 30, data: 12, inval: 1, first: first[0]})
	links := []int64{0}
	for _, part := range [][2]int{{0, 11}, {11, 12}, {12, 30}} {
		links = append(links, b.dz("DV", data[12*part[0]:12*part[1]], 12), b.dz("DI", inval[part[0]:part[1]], 0))
	}
	b.dg(0, g[0], b.append("LD", links, []byte{0, 0, 0, 0x80, 3, 0, 0, 0}, make([]byte, 24)))
	lone := b.groups(cg{cycles: 30, data: 12, inval: 1, first: b.channels(
		cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64}, cn{name: "x", dt: UintLE, off: 8, bits: 32})[0]})
	b.dg(0, lone[0], b.dz("DV", data, 12))
	f := mustOpen(t, &b.memory)
	for i, g := range f.Groups {
		got, err := readAll(g, ReadOptions{})
		if err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
		checkSamples(t, got, 30)
		for k, ok := range got.valid[1] {
			if ok != (k%2 == 0) {
				t.Errorf("record %d: valid %v", k, ok)
			}
		}
	}
}

func caBlock(b *builder, composition int64, base int32, flags uint32, dims ...uint64) int64 {
	le := binary.LittleEndian
	d := []byte{0, 0}
	d = le.AppendUint16(d, uint16(len(dims)))
	d = le.AppendUint32(d, flags)
	d = le.AppendUint32(d, uint32(base))
	d = le.AppendUint32(d, 0)
	for _, n := range dims {
		d = le.AppendUint64(d, n)
	}
	return b.append("CA", []int64{composition}, d)
}

func TestArraysOfArraysComplexNumbersAndColumnMajorOnes(t *testing.T) {
	b := newBuilder(0)
	inner := caBlock(b, 0, 1, 0, 3)
	first := b.channels(
		cn{name: "nested", dt: UintLE, bits: 8, comp: caBlock(b, inner, 4, 0, 2)}, // [2][3], 4 bytes apart
		cn{name: "complex", dt: ComplexLE, off: 8, bits: 64, comp: caBlock(b, 0, 8, 0, 2)},
		cn{name: "columns", dt: UintBE, off: 24, bits: 16, comp: caBlock(b, 0, 2, 1<<6, 2, 2)},
		cn{name: "texts", dt: UTF8, off: 0, bits: 8, comp: caBlock(b, 0, 1, 0, 2)},
		cn{name: "values of variable length", typ: VLSD, dt: UTF8, off: 0, bits: 8, comp: caBlock(b, 0, 1, 0, 2)})
	g := b.groups(cg{cycles: 1, data: 32, first: first[0]})
	rec := []byte{1, 2, 3, 0, 4, 5, 6, 0}
	for _, x := range []float32{1.5, -2, 3, 4} {
		rec = binary.LittleEndian.AppendUint32(rec, math.Float32bits(x))
	}
	rec = append(rec, 0, 1, 0, 2, 0, 3, 0, 4)
	b.dg(0, g[0], b.append("DT", nil, rec))
	group := mustOpen(t, &b.memory).Groups[0]
	got, err := readAll(group, ReadOptions{}, group.Channels[:3]...)
	want := [][]float64{{1, 2, 3, 4, 5, 6}, {1.5, -2, 3, 4}, {1, 3, 2, 4}}
	for i := range want {
		if err != nil || !slices.Equal(got.values[i], want[i]) {
			t.Errorf("%s: %v, want %v (%v)", group.Channels[i].Name, got.values[i], want[i], err)
		}
	}
	if !slices.Equal(group.Channels[0].Array.Dims, []int{2, 3}) || !errors.Is(group.Channels[4].Err(), ErrUnsupported) {
		t.Errorf("%v, %v", group.Channels[0].Array.Dims, group.Channels[4].Err())
	}
}

// Elements that all lie at one place would take any memory, whatever the size of the file.
func TestArraysOfMoreElementsThanARecordHoldsAreRefused(t *testing.T) {
	for name, c := range map[string]cn{"of one place": {name: "a", dt: UintLE, bits: 8}, "of record numbers": {name: "a", typ: VirtualData, dt: UintLE}} {
		for _, dims := range [][]uint64{{1<<31 - 1}, {2, 3, 6}, {46340, 46340}} {
			b := newBuilder(0)
			c.comp = caBlock(b, 0, 0, 0, dims...)
			first := b.channels(c, cn{name: "x", dt: UintLE, bits: 8})
			g := b.groups(cg{cycles: 1, data: 32, first: first[0]})
			b.dg(0, g[0], b.append("DT", nil, make([]byte, 32)))
			group := mustOpen(t, &b.memory).Groups[0]
			if err := group.Channels[0].Err(); err == nil || !strings.Contains(err.Error(), "elements in a record of 32 bytes") {
				t.Errorf("%s, %v: error %v", name, dims, err)
			}
			if _, err := readAll(group, ReadOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestFloatsThatDoNotBeginAtAByte(t *testing.T) {
	b := newBuilder(0)
	first := b.channels(cn{name: "f32", dt: FloatLE, bit: 3, bits: 32}, cn{name: "f64", dt: FloatBE, off: 5, bit: 1, bits: 64},
		cn{name: "f16", dt: FloatLE, off: 14, bit: 7, bits: 16})
	g := b.groups(cg{cycles: 1, data: 18, first: first[0]})
	rec := binary.LittleEndian.AppendUint64(nil, uint64(math.Float32bits(-1.25))<<3|5)[:5]
	u := math.Float64bits(math.Pi)
	rec = append(rec, byte(u>>63))
	rec = binary.BigEndian.AppendUint64(rec, u<<1|1)
	rec = binary.LittleEndian.AppendUint32(rec, 0x3E00<<7) // 1.5
	b.dg(0, g[0], b.dz("DT", rec, 18))
	f := mustOpen(t, &b.memory)
	got, err := readAll(f.Groups[0], ReadOptions{})
	if err != nil || got.values[0][0] != -1.25 || got.values[1][0] != math.Pi || got.values[2][0] != 1.5 {
		t.Errorf("%v, %v", got.values, err)
	}
	err = f.Scan(context.Background(), ScanOptions{}, func(_ int, b *Block) error {
		if c := b.Columns; c[0].Values[0] != -1.25 || c[1].Values[0] != math.Pi || c[2].Values[0] != 1.5 {
			t.Errorf("%v %v %v", c[0].Values, c[1].Values, c[2].Values)
		}
		return nil
	}, Selection{f.Groups[0], f.Groups[0].Channels})
	if err != nil {
		t.Error(err)
	}
}

func TestSpaceReservedByTheRecorderIsNoDamage(t *testing.T) {
	for flags, complete := range map[uint16]bool{unfinCycles | unfinDTLength: true, 0: false} {
		b := newBuilder(flags)
		offs := b.groups(cg{id: 1, cycles: 50, data: 12, first: sampleChannels(b)}, cg{id: 2, data: 12, first: sampleChannels(b)})
		var data []byte
		for i := range 50 {
			data = append(append(data, 1), sample(i)...)
		}
		b.dg(1, offs[0], b.append("DT", nil, data, make([]byte, 3<<20)))
		f := mustOpen(t, &b.memory)
		got, err := readAll(f.Groups[0], ReadOptions{})
		checkSamples(t, got, 50)
		if err != nil && complete {
			t.Errorf("flags %d: %v", flags, err)
		}
		if _, err := readAll(f.Groups[1], ReadOptions{}); (err == nil) != complete && flags != 0 {
			t.Errorf("flags %d: %v", flags, err)
		}
		b.b[b.lastDG-100] = 9
		f = mustOpen(t, &b.memory)
		var fe *FormatError
		if err := f.Recount(context.Background()); flags != 0 && !errors.As(err, &fe) {
			t.Errorf("rest that is not zero: %v", err)
		}
	}
}

func TestEmptyGroupsBesideOneWithoutRecordIDs(t *testing.T) {
	b := newBuilder(0)
	offs := b.groups(cg{data: 12, first: sampleChannels(b)}, cg{cycles: 20, data: 12, first: sampleChannels(b)}, cg{data: 4, first: sampleChannels(b)})
	b.dg(0, offs[0], b.append("DT", nil, samples(20)))
	f := mustOpen(t, &b.memory)
	for i, n := range []int{0, 20} {
		got, err := readAll(f.Groups[i], ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		checkSamples(t, got, n)
	}
}

// Values of 4 MiB blocks in random order: each block of the records inflates them once, not once for each value.
func TestScatteredValuesAreReadInTheOrderOfTheirOffsets(t *testing.T) {
	const n = 20000
	order := rand.New(rand.NewPCG(5, 6)).Perm(n)
	value := func(i int) []byte { return fmt.Appendf(nil, "%0*d", 100+i%1000, i) }
	b := vlsdFile(order, UTF8, value, 1<<20)
	g := mustOpen(t, &b.memory).Groups[0]
	r, err := g.Read(ReadOptions{}, g.Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for next := 0; next < n; {
		blk, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for k := range blk.N {
			if string(blk.Columns[0].At(k)) != string(value(order[next+k])) {
				t.Fatalf("record %d: %q", next+k, blk.Columns[0].At(k))
			}
		}
		next += blk.N
	}
	if work := r.cols[0].blobs.s.(*stream).work; work > 200<<20 { // the values take 12 MB
		t.Errorf("%d MB moved", work>>20)
	}
}

func TestCANopenDatesAndTimes(t *testing.T) {
	b := newBuilder(0)
	first := b.channels(cn{name: "date", dt: CANopenDate, bits: 56}, cn{name: "time", dt: CANopenTime, off: 7, bits: 48}, cn{name: "mime", dt: MIMESample, off: 0, bits: 16})
	g := b.groups(cg{cycles: 2, data: 13, first: first[0]})
	rec := []byte{0x39, 0x30, 34, 0x80 | 21, 5<<5 | 29, 2, 24}             // 2024-02-29 21:34:12.345
	rec = append(rec, 0x15, 0xcd, 0x5b, 0x00, 0x01, 0x00)                  // 1984-01-02, 6016277 ms
	rec = append(rec, 0, 0, 0, 0, 31, 2, 99, 0xff, 0xff, 0xff, 0x0f, 0, 0) // 31 February; more than a day
	b.dg(0, g[0], b.append("DT", nil, rec))
	group := mustOpen(t, &b.memory).Groups[0]
	r, err := group.Read(ReadOptions{}, group.Channels...)
	if err != nil {
		t.Fatal(err)
	}
	blk, err := r.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Time{time.Date(2024, 2, 29, 21, 34, 12, 345e6, time.UTC), time.Date(1984, 1, 2, 1, 40, 16, 277e6, time.UTC)} {
		if got, ok := blk.Columns[i].Time(0); !ok || !got.Equal(want) {
			t.Errorf("%v, %v, want %v", got, ok, want)
		}
		if got, ok := blk.Columns[i].Time(1); ok {
			t.Errorf("column %d: %v is no time", i, got)
		}
	}
	if _, ok := blk.Columns[2].Time(0); ok || blk.Columns[2].Kind != Bytes || len(blk.Columns[2].At(0)) != 2 {
		t.Error("a MIME sample is bytes")
	}
}

// A writer that was cut off before it updated the last list: one link is there but not counted, the last block is not linked.
func TestBlocksThatAreNotListedYetAreFound(t *testing.T) {
	for flags, n := range map[uint16]int{unfinCycles | unfinDL: 50, unfinCycles: 20} {
		b := newBuilder(flags)
		g := b.groups(cg{cycles: 0, data: 12, first: sampleChannels(b)})
		dg := b.dg(0, g[0], 0)
		data := samples(50)
		dl := b.append("DL", []int64{0, 0, 0, 0, 0}, []byte{0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 32))
		b.setLink(dl, 1, b.dz("DT", data[:240], 0))
		second := b.dz("DT", data[240:470], 12)
		b.setLink(dl, 2, second)
		b.append("DT", nil, data[470:])
		b.setLink(dg, 2, dl)
		got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		checkSamples(t, got, n)
	}
}
