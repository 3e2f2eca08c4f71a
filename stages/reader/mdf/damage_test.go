package mdf

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// seedFiles are small files that have every kind of block between them.
func seedFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		var m memory
		w, err := NewWriter(&m, WriterOptions{Compression: c, BlockBytes: 50, Comment: "seed"})
		if err != nil {
			t.Fatal(err)
		}
		writeSmall(t, w)
		fw, err := w.AddFrames(FrameSpec{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := fw.Append(Frame{Time: float64(i), Bus: 1, ID: 0x100, Data: []byte{1, 2, byte(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files["sorted "+[]string{"plain", "deflate", "transposed"}[c]] = m.b
	}
	b, _ := unsortedFile(0, 1, 6, true)
	files["unsorted"] = b.b
	b, _ = unsortedFile(unfinCycles|unfinDTLength|unfinOffsets, 2, 6, false)
	files["unfinalized"] = b.b
	b = vlsdFile([]int{2, 0, 1}, UTF16LE, func(i int) []byte { return []byte{65, 0, byte(i), 0} }, 9)
	files["values in lists"] = b.b
	files["columns"] = columnFile(5).b
	files["lists that are not finished"] = inLists(unfinCycles|unfinDTLength|unfinDL, headerSize, 3, 2, 1, 4).b
	b = columnFile(5)
	copy(b.b, "UnFinMF ")
	b.b[60] = unfinCycles | unfinDTLength
	files["columns that are not finished"] = b.b
	files["times of another group"] = remoteFile(5).b
	files["hierarchy"] = hierarchyFile().b
	files["conversions"] = conversionFile().b
	files["values that records share"] = sharedValueFile(6, 100).b
	files["metadata"] = metadataFile().b
	b = structFile(structures)
	elementsWithRecords(b, 1)
	files["structures"] = b.b
	return files
}

// conversionFile has a channel for each type of conversion and an array.
func conversionFile() *builder {
	b := newBuilder(0)
	list := []cn{{name: "t", typ: VirtualMaster, sync: SyncIndex}}
	add := func(cc int64, dt DataType) { list = append(list, cn{name: "c", dt: dt, bits: 16, conv: cc}) }
	add(b.conversion(Rational, "", []float64{1, 2, 3, 4, 5, 6}), UintLE)
	add(b.conversion(Algebraic, "", nil, "X*2 + sin(X)"), IntBE)
	add(b.conversion(TableInterpolated, "", []float64{0, 1, 2, 3}), UintLE)
	add(b.conversion(RangeToValue, "", []float64{0, 1, 2, 3}), UintLE)
	inner := b.conversion(Linear, "", []float64{0, 1})
	table := b.conversion(ValueToText, "n", []float64{1}, "one", inner)
	add(table, UintLE)
	add(b.conversion(RangeToText, "", []float64{0, 9}, "low", table), UintLE)
	bits := b.conversion(BitfieldText, "", []float64{1}, table)
	add(bits, UintLE)
	add(b.conversion(BitfieldText, "bits", []float64{3, 6}, bits, table), UintLE)
	add(b.conversion(TextToValue, "", []float64{1, 2}, "a"), UTF8)
	add(b.conversion(TextToText, "", nil, "a", "b", "c"), Latin1)
	ca := b.append("CA", []int64{0}, []byte{0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0})
	list = append(list, cn{name: "array", dt: UintLE, off: 2, bits: 8, comp: ca})
	member := b.channels(cn{name: "s.a", dt: UintLE, bits: 3}, cn{name: "s.b", dt: UintLE, bit: 3, bits: 7})
	list = append(list, cn{name: "s", dt: ByteArray, bits: 16, comp: member[0]},
		cn{name: "z", dt: ComplexLE, bits: 64})
	first := b.channels(list...)
	g := b.groups(cg{cycles: 3, data: 8, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte("a\x00123456b\x00123456c\x00123456")))
	return b
}

// exhaust opens a file and reads all that can be read. It fails on what a damaged file may not do: give a reader more
// records than its size allows.
func exhaust(t testing.TB, data []byte) {
	f, err := Options{MaxBlockBytes: 1 << 22, KeepReadable: true}.NewFile(&memory{data}, int64(len(data)))
	if err != nil {
		return
	}
	for _, g := range f.Groups {
		if !g.VLSD && g.Cycles < 1<<16 { // virtual groups may be long, which takes time only
			readAll(g, ReadOptions{})
			readAll(g, ReadOptions{SkipDamage: true})
		}
		if r, err := g.Frames(); err == nil {
			for err == nil {
				_, err = r.Next(context.Background())
			}
		}
		if r, err := g.BusFrames(ReadOptions{}); err == nil {
			for err == nil {
				_, err = r.Next(context.Background())
			}
		}
	}
	if !slices.ContainsFunc(f.Groups, func(g *ChannelGroup) bool { return g.Cycles >= 1<<16 }) {
		exhaustOtherwise(f)
	}
	f.History()
	f.Events()
	if list, _ := f.Attachments(); len(list) > 0 {
		for i := range list {
			if r, err := list[i].Open(); err == nil {
				io.Copy(io.Discard, r)
			}
		}
	}
	var shared []Selection
	for _, g := range f.Groups {
		if !g.VLSD && g.SharesData(f.Groups[0]) {
			shared = append(shared, Selection{Group: g})
		}
	}
	if s, err := f.ReadShared(ReadOptions{}, shared...); err == nil {
		for err == nil {
			_, err = s.Next(context.Background())
		}
	}
	if err := f.Recount(context.Background()); err == nil {
		for _, g := range f.Groups {
			if !g.VLSD {
				readAll(g, ReadOptions{Raw: true, Ahead: 2})
			}
		}
	}
}

// exhaustOtherwise reads by all ways but a reader of one group.
func exhaustOtherwise(f *File) {
	ctx := context.Background()
	for _, opts := range []ExcerptOptions{{}, {From: new(0.2)}, {To: new(0.2), Lost: func(*ChannelGroup, Loss) {}}} {
		if w, err := NewWriter(&memory{}, WriterOptions{BlockBytes: 100}); err == nil {
			f.Excerpt(ctx, w, opts)
			w.Close()
		}
	}
	var all []Selection
	for _, g := range f.Groups {
		if !g.VLSD {
			all = append(all, Selection{g, readable(g)})
		}
	}
	f.Scan(ctx, ScanOptions{Workers: 2}, func(int, *Block) error { return nil }, all...)
	if m, err := f.Merge(MergeOptions{Window: 1}, all...); err == nil {
		err = m.Seek(ctx, 0.2)
		for err == nil {
			_, err = m.Next(ctx)
		}
		m.Close()
	}
}

func TestDamageNeverPanics(t *testing.T) {
	every := 1
	if testing.Short() {
		every = 7
	}
	for name, data := range seedFiles(t) {
		t.Run(name, func(t *testing.T) {
			for i := 0; i < len(data); i += every {
				values := []byte{0, 1, 0x7F, 0xFF, data[i] ^ 1, data[i] ^ 0x80}
				damaged := append([]byte(nil), data...)
				damaged[i] = values[i%len(values)] // the fuzz target tries the others
				exhaust(t, damaged)
				if i/every%4 == 0 {
					exhaust(t, data[:i])
				}
			}
		})
	}
}

func TestFilesThatAreNoMDF4AreRefusedByName(t *testing.T) {
	old := make([]byte, 300)
	copy(old, "MDF     3.30    TGT 15.0\x00\x00\x00\x00")
	old[28], old[29] = 0x4A, 1
	for _, c := range []struct {
		data []byte
		err  error
		says string
	}{
		{old, ErrOldVersion, "MDF 3.30"},
		{[]byte("PK\x03\x04 something else, long enough to be an identification block of 64 bytes"), ErrNotMDF, `PK\x03\x04`},
		{[]byte("MDF"), ErrNotMDF, "MDF"},
		{nil, ErrNotMDF, "it is empty"},
		{slices.Concat([]byte("MDF     4.10    "), make([]byte, 47)), io.ErrUnexpectedEOF, "the identification block is 64 bytes long, file ends after 63"},
	} {
		_, err := NewFile(&memory{c.data}, int64(len(c.data)))
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.data[:min(9, len(c.data))], err)
		}
	}
}

func TestLinksThatFormACycleAreRefused(t *testing.T) {
	b := newBuilder(0)
	first := sampleChannels(b)
	g := b.groups(cg{cycles: 9, data: 12, first: first})
	dl := b.dl(1, b.append("DT", nil, samples(3)))
	b.setLink(dl, 0, dl)
	b.dg(0, g[0], dl)
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	var fe *FormatError
	if !errors.As(err, &fe) || fe.Offset != dl || len(got.times) != 3 {
		t.Errorf("list: %d records, %v", len(got.times), err)
	}
	b.setLink(first, 0, first)
	if _, err := b.open(); !errors.As(err, &fe) || fe.Offset != first {
		t.Errorf("channels: %v", err)
	}
}

func TestBlocksListedAgainAndAgainAreRefused(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 1 << 40, data: 12, first: sampleChannels(b)})
	dt := b.append("DT", nil, samples(100))
	b.dg(0, g[0], b.dl(1000, dt, dt, dt, dt, dt, dt, dt, dt, dt))
	_, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	var fe *FormatError
	if !errors.As(err, &fe) || !strings.Contains(err.Error(), "longer than the file") {
		t.Error(err)
	}
}

func TestInflateBombsAreBounded(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 1 << 22, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.dz("DT", make([]byte, 48<<20), 12))
	f, err := Options{MaxBlockBytes: 1 << 20}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(f.Groups[0], ReadOptions{}); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

func TestWrongCheckSumGivesNoRecordOfItsBlock(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 20, data: 12, first: sampleChannels(b)})
	one, two := b.dz("DT", samples(10), 0), b.dz("DT", samples(20)[120:], 0)
	size := int64(b.b[two+headerSize+16])
	b.b[two+48+size-1] ^= 1
	b.dg(0, g[0], b.dl(9, one, two))
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	var fe *FormatError
	if !errors.As(err, &fe) || fe.Offset != two || fe.Block != "##DZ" {
		t.Error(err)
	}
	checkSamples(t, got, 10)
}

// columnFile has data and invalidation bytes apart, in blocks that do not match.
func columnFile(n int) *builder {
	b := newBuilder(0)
	first := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
		cn{name: "x", dt: UintLE, off: 8, bits: 32, flags: cnInvalBit, inval: 1})
	var inval []byte
	for i := range n {
		inval = append(inval, byte(i%2*2))
	}
	g := b.groups(cg{cycles: uint64(n), data: 12, inval: 1, first: first[0]})
	data := samples(n)
	cut := n / 2 * 12
	links := []int64{0, b.append("DV", nil, data[:cut]), b.dz("DV", data[cut:], 12), b.append("DI", nil, inval[:1]), b.append("DI", nil, inval[1:])}
	b.dg(0, g[0], b.append("LD", links, []byte{0, 0, 0, 0x80, 2, 0, 0, 0}, make([]byte, 16)))
	return b
}

func TestColumnOrientedGroups(t *testing.T) {
	b := columnFile(30)
	f := mustOpen(t, &b.memory)
	checkColumns(t, f, 30)
	dg := f.Groups[0].data
	b.setLink(dg.off, 2, b.append("HL", []int64{dg.link}, make([]byte, 8))) // as lists of compressed blocks have it
	checkColumns(t, mustOpen(t, &b.memory), 30)
}

func checkColumns(t *testing.T, f *File, n int) {
	t.Helper()
	got, err := readAll(f.Groups[0], ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, n)
	for i, ok := range got.valid[1] {
		if ok != (i%2 == 0) {
			t.Errorf("record %d: valid %v", i, ok)
		}
	}
}

// remoteFile has a group with the times of the group behind it.
func remoteFile(n int) *builder {
	b := newBuilder(0)
	master := b.groups(cg{cycles: uint64(n), data: 12, first: sampleChannels(b)})[0]
	first := b.channels(cn{name: "y", dt: UintLE, bits: 8})
	other := b.groups(cg{cycles: uint64(n), data: 1, flags: cgRemoteMaster, first: first[0], master: master})[0]
	b.dg(0, other, b.append("DT", nil, make([]byte, n)))
	b.dg(0, master, b.split("DT", samples(n), 77))
	return b
}

// hierarchyFile is not finalized: that is when the hierarchy is looked at.
func hierarchyFile() *builder {
	b := newBuilder(unfinCycles | unfinDTLength)
	g := b.groups(cg{data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.append("DT", nil, samples(3)))
	child := b.append("CH", []int64{0, 0, b.text("child"), 0, g[0]}, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	b.setLink(64, hdHierarchy, b.append("CH", []int64{0, child, b.text("parent"), b.md("<CHcomment><TX>x</TX></CHcomment>")}, make([]byte, 8)))
	return b
}

func TestTimesFromAnotherGroup(t *testing.T) {
	f := mustOpen(t, &remoteFile(50).memory)
	got, err := readAll(f.Groups[0], ReadOptions{})
	if err != nil || f.Groups[0].RemoteMaster != f.Groups[1] || len(got.times) != 50 || got.times[49] != 49.0/8 {
		t.Errorf("%d times, %v", len(got.times), err)
	}
}

func TestEveryErrorOfTheReaderRepeats(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 9, data: 12, first: sampleChannels(b)})
	dt := b.append("DT", nil, samples(3))
	b.dg(0, g[0], dt)
	f := mustOpen(t, &b.memory)
	r, err := f.Groups[0].Read(ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if blk, err := r.Next(context.Background()); err != nil || blk.N != 3 {
		t.Fatal(err)
	}
	_, first := r.Next(context.Background())
	_, second := r.Next(context.Background())
	if first == nil || first != second || errors.Is(first, io.EOF) {
		t.Errorf("%v, then %v", first, second)
	}
	if p := r.Progress(); p != (Progress{Records: 3, Expected: 9, Last: 0.25, Offset: dt + headerSize + 36}) {
		t.Errorf("%+v", p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Next(ctx); err != context.Canceled {
		t.Error(err)
	}
	r.Close()
	if _, err := r.Next(context.Background()); err != ErrClosed {
		t.Error(err)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mf4")
	if err := os.WriteFile(path, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestGroupsInFrontOfDamageCanBeKept(t *testing.T) {
	b := newBuilder(0)
	for range 3 {
		g := b.groups(cg{cycles: 9, data: 12, first: sampleChannels(b)})
		b.dg(0, g[0], b.append("DT", nil, samples(9)))
	}
	b.b = b.b[:b.lastDG]
	if _, err := b.open(); !IsTruncated(err) {
		t.Errorf("cut file: %v", err)
	}
	f, err := Options{KeepReadable: true}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil || len(f.Groups) != 2 || !IsTruncated(f.Damage) {
		t.Fatalf("%+v, %v", f, err)
	}
	got, err := readAll(f.Groups[1], ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, 9)
}
