package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// scanned collects the blocks of a scan, which come in any order.
type scanned struct {
	mu     sync.Mutex
	blocks map[*ChannelGroup][]scannedBlock
}

type scannedBlock struct {
	first uint64
	n     int
	table
}

func (s *scanned) visit(_ int, b *Block) error {
	t := table{values: make([][]float64, len(b.Columns)), texts: make([][]string, len(b.Columns)), valid: make([][]bool, len(b.Columns))}
	t.add(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks == nil {
		s.blocks = map[*ChannelGroup][]scannedBlock{}
	}
	s.blocks[b.Group] = append(s.blocks[b.Group], scannedBlock{b.First, b.N, t})
	return nil
}

// table puts the first records of a group together; more says whether there are others. Blocks may not overlap.
func (s *scanned) table(t rapid.TB, g *ChannelGroup, columns, records int) (all *table, more bool) {
	t.Helper()
	blocks := s.blocks[g]
	slices.SortFunc(blocks, func(a, b scannedBlock) int { return int(a.first) - int(b.first) })
	all = &table{values: make([][]float64, columns), texts: make([][]string, columns), valid: make([][]bool, columns)}
	next := uint64(0)
	for _, b := range blocks {
		if b.first < next {
			t.Fatalf("group %d: record %d is visited twice", g.Index, b.first)
		}
		if b.first > next || next >= uint64(records) {
			return all, true // behind damage
		}
		next += uint64(b.n)
		all.times = append(all.times, b.times...)
		for i := range columns {
			all.values[i] = append(all.values[i], b.values[i]...)
			all.texts[i] = append(all.texts[i], b.texts[i]...)
			all.valid[i] = append(all.valid[i], b.valid[i]...)
		}
	}
	return all, false
}

// first cuts a table to so many records, given how many it has.
func (t *table) first(n, have int) *table {
	cut := func(l int) int {
		if have == 0 {
			return 0
		}
		return l / have * n
	}
	out := &table{times: t.times[:cut(len(t.times))]}
	for i := range t.values {
		out.values = append(out.values, t.values[i][:cut(len(t.values[i]))])
		out.texts = append(out.texts, t.texts[i][:cut(len(t.texts[i]))])
		out.valid = append(out.valid, t.valid[i][:cut(len(t.valid[i]))])
	}
	return out
}

// records counts by whatever each record has one of.
func (s *scanned) records(g *ChannelGroup) (n int) {
	next := uint64(0)
	for _, b := range s.blocks[g] {
		if b.first == next {
			next += uint64(b.n)
		}
	}
	return int(next)
}

// checkScan compares a scan of each group with what a GroupReader reads: the same records in front of damage, and an error if and
// only if the reader has one.
func checkScan(t rapid.TB, f *File, opts ScanOptions) {
	t.Helper()
	for _, g := range f.Groups {
		var chans []*Channel
		for _, c := range g.Channels {
			if c.err == nil {
				chans = append(chans, c)
			}
		}
		if g.VLSD || g.Cycles >= 1<<16 {
			continue
		}
		r, err := g.Read(ReadOptions{Raw: opts.Raw}, chans...)
		var s scanned
		scanErr := f.Scan(context.Background(), opts, s.visit, Selection{g, chans})
		if err != nil {
			if scanErr == nil {
				t.Errorf("group %d: scanned, but cannot be read: %v", g.Index, err)
			}
			continue
		}
		want := &table{values: make([][]float64, len(chans)), texts: make([][]string, len(chans)), valid: make([][]bool, len(chans))}
		readErr := want.readFrom(r)
		n := int(r.Progress().Records)
		r.Close()
		if (readErr == nil) != (scanErr == nil) {
			t.Errorf("group %d: scanned with %v, read with %v", g.Index, scanErr, readErr)
		}
		got, more := s.table(t, g, len(chans), n)
		have := s.records(g)
		if have < n || readErr == nil && (more || have > n) {
			t.Errorf("group %d: %d records scanned, %d read; error %v", g.Index, have, n, readErr)
			continue
		}
		bits := cmp.Transformer("bits", math.Float64bits)
		if diff := cmp.Diff(want, got.first(n, have), cmp.AllowUnexported(table{}), bits, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("group %d: %s", g.Index, diff)
		}
	}
}

func TestScanReadsWhatReadersRead(t *testing.T) {
	for name, data := range seedFiles(t) {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, &memory{data})
			for _, opts := range []ScanOptions{{}, {Raw: true, BlockRecords: 1, Workers: 1}, {BlockRecords: 2, Workers: 4}} {
				checkScan(t, f, opts)
			}
		})
	}
}

func TestScanOfRecordsThatCrossBlockBorders(t *testing.T) {
	for _, sizes := range [][]int{{1}, {5}, {12}, {13, 7, 100}, {1000}, {11, 0, 40}, {24, 36}, {84, 840}} {
		for _, cycles := range []uint64{100, 77, 101} { // all, fewer than there are, more
			t.Run(fmt.Sprint(sizes, cycles), func(t *testing.T) {
				b := newBuilder(0)
				g := b.groups(cg{cycles: cycles, data: 12, first: sampleChannels(b)})
				b.dg(0, g[0], b.split("DT", samples(100), sizes...))
				f := mustOpen(t, &b.memory)
				for _, opts := range []ScanOptions{{}, {BlockRecords: 3, Workers: 3}} {
					checkScan(t, f, opts)
				}
			})
		}
	}
}

// TestScanOfEveryFieldFromPlanes draws channels at any place of the record, which overlap, in transposed blocks whose rows are the
// records, and compares what is gathered from planes with what is decoded from rows.
func TestScanOfEveryFieldFromPlanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBuilder(0)
		size, inval := rapid.IntRange(1, 40).Draw(t, "size"), rapid.IntRange(0, 2).Draw(t, "invalidation bytes")
		var list []cn
		for range rapid.IntRange(1, 12).Draw(t, "channels") {
			list = append(list, drawField(t, b, size, inval))
		}
		list[0].typ, list[0].sync = Master, SyncTime
		list[0].flags = 0
		n := rapid.SampledFrom([]int{1, 7, 8, 9, 255, 256, 257, 600}).Draw(t, "records")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		data := make([]byte, n*(size+inval))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		per := rapid.IntRange(1, n).Draw(t, "records of a block") * (size + inval)
		var blocks []int64
		for rest := data; len(rest) > 0; rest = rest[min(per, len(rest)):] {
			blocks = append(blocks, b.dz("DT", rest[:min(per, len(rest))], size+inval))
		}
		g := b.groups(cg{cycles: uint64(n), data: uint32(size), inval: uint32(inval), first: b.channels(list...)[0]})
		b.dg(0, g[0], b.dl(3, blocks...))
		f, err := b.open()
		if err != nil {
			t.Fatal(err)
		}
		checkScan(t, f, ScanOptions{Raw: rapid.Bool().Draw(t, "raw"), BlockRecords: rapid.IntRange(0, 300).Draw(t, "block")})
	})
}

func drawField(t *rapid.T, b *builder, size, inval int) cn {
	c := cn{name: "c", dt: DataType(rapid.IntRange(0, 10).Draw(t, "type")), off: uint32(rapid.IntRange(0, size-1).Draw(t, "byte"))}
	most := 8 * (size - int(c.off))
	switch {
	case c.dt == FloatLE || c.dt == FloatBE:
		widths := slices.DeleteFunc([]uint32{16, 32, 64}, func(w uint32) bool { return int(w) > most })
		if len(widths) == 0 {
			c.dt, c.bits = UintLE, 8
			break
		}
		c.bits = rapid.SampledFrom(widths).Draw(t, "width")
	case c.dt > FloatBE:
		c.bits = uint32(8 * rapid.IntRange(0, min(most/8, 9)).Draw(t, "bytes"))
	default:
		c.bit = uint8(rapid.IntRange(0, 7).Draw(t, "bit"))
		c.bits = uint32(rapid.IntRange(0, min(most-int(c.bit), 64)).Draw(t, "bits"))
	}
	if inval > 0 && rapid.Bool().Draw(t, "invalid") {
		c.flags, c.inval = cnInvalBit, uint32(rapid.IntRange(0, 8*inval-1).Draw(t, "invalidation bit"))
	}
	if c.dt <= FloatBE && rapid.Bool().Draw(t, "converted") {
		c.conv = b.conversion(Linear, "", []float64{1, 0.1})
		if rapid.Bool().Draw(t, "text") {
			c.conv = b.conversion(ValueToText, "", []float64{1}, "one", "other")
		}
	}
	return c
}

func TestScanOfDamagedFiles(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for name, data := range seedFiles(t) {
		t.Run(name, func(t *testing.T) {
			for i := range 120 {
				cut := slices.Clone(data)
				switch i % 3 {
				case 0:
					cut[r.IntN(len(cut))] ^= 1 << r.IntN(8)
				case 1:
					binary.LittleEndian.PutUint64(cut[r.IntN(len(cut)-8)&^7:], r.Uint64()>>(8*r.IntN(8)))
				default:
					cut = cut[:64+r.IntN(len(cut)-64)]
				}
				f, err := Options{KeepReadable: true, MaxBlockBytes: 1 << 20}.NewFile(&memory{cut}, int64(len(cut)))
				if err == nil {
					checkScan(t, f, ScanOptions{BlockRecords: 2, Workers: 2})
				}
				if t.Failed() {
					t.Fatalf("file %d", i)
				}
			}
		})
	}
}

// TestScanOfSeveralGroups scans sorted and unsorted groups in one call.
func TestScanOfSeveralGroups(t *testing.T) {
	b, _ := unsortedFile(0, 1, 500, true)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(100), 50, 333, 1))
	f := mustOpen(t, &b.memory)
	var all []Selection
	for _, g := range f.Groups {
		if !g.VLSD {
			all = append(all, Selection{g, g.Channels})
		}
	}
	var s scanned
	if err := f.Scan(context.Background(), ScanOptions{BlockRecords: 9}, s.visit, all...); err != nil {
		t.Fatal(err)
	}
	for _, sel := range all {
		want, err := readAll(sel.Group, ReadOptions{}, sel.Channels...)
		got, more := s.table(t, sel.Group, len(sel.Channels), len(want.times))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(table{}), cmpopts.EquateEmpty()); err != nil || more || diff != "" {
			t.Errorf("group %d: %v, more %v, %s", sel.Group.Index, err, more, diff)
		}
	}
}

func TestScanEndsWithTheErrorOfItsCaller(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 1000, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(1000), 120))
	f := mustOpen(t, &b.memory)
	sel := Selection{f.Groups[0], f.Groups[0].Channels}
	stop := errors.New("enough")
	if err := f.Scan(context.Background(), ScanOptions{}, func(int, *Block) error { return stop }, sel); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := f.Scan(ctx, ScanOptions{BlockRecords: 1}, func(int, *Block) error { cancel(); return nil }, sel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
