package mdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"
)

// metered is a file that counts what is read of it, and gives no more than allowed.
type metered struct {
	memory
	left int64
}

var errMetered = errors.New("more is read of the file than it is worth")

func (m *metered) ReadAt(p []byte, off int64) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errMetered
	}
	return m.memory.ReadAt(p, off)
}

// unfinishedList is a file whose writer was cut off before its last list had a link.
func unfinishedList() *builder {
	b := newBuilder(unfinDL)
	g := b.groups(cg{cycles: 9, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.append("DL", nil, make([]byte, 8)))
	return b
}

func TestUnfinishedListsOfNoLinksAreRefused(t *testing.T) {
	b := unfinishedList()
	g := mustOpen(t, &b.memory).Groups[0]
	var fe *FormatError
	if _, err := readAll(g, ReadOptions{}); !errors.As(err, &fe) || fe.Offset != g.data.link {
		t.Error(err)
	}
	r, err := g.Read(ReadOptions{SkipDamage: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(context.Background()); err != io.EOF || len(r.Losses()) != 1 || r.Losses()[0].To != 9 {
		t.Errorf("%v, lost %+v", err, r.Losses())
	}
}

// A file of a megabyte has room for 32,000 lists of which each goes on to its end.
func TestListsThatOverlapAreRefused(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 9, data: 12, first: sampleChannels(b)})
	first := b.end
	le := binary.LittleEndian
	const n = 2000
	for i := range int64(n) {
		head := append([]byte("##DL\x00\x00\x00\x00"), make([]byte, 24)...)
		le.PutUint64(head[8:], uint64(32*(n-i)))
		le.PutUint64(head[16:], 1)
		if i < n-1 {
			le.PutUint64(head[24:], uint64(first+32*(i+1)))
		}
		b.raw(head)
	}
	b.dg(0, g[0], first)
	m := &metered{b.memory, 10 * int64(len(b.b))}
	f, err := NewFile(m, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	var fe *FormatError
	if _, err := readAll(f.Groups[0], ReadOptions{}); !errors.As(err, &fe) || errors.Is(err, errMetered) {
		t.Error(err)
	}
}

// virtualFiles have channels without a field that point out of the record.
func virtualFiles() map[string]*builder {
	files := map[string]*builder{}
	add := func(name string, inval uint32, list ...cn) {
		b := newBuilder(0)
		first := b.channels(list...)
		for i, c := range list {
			if c.typ == MLSD {
				b.setLink(first[i], 5, first[0])
			}
		}
		g := b.groups(cg{cycles: 3, data: 5, inval: inval, first: first[0]})
		b.dg(0, g[0], b.append("DT", nil, make([]byte, 3*(5+inval))))
		files[name] = b
	}
	add("invalidation bit of a master", 1, cn{name: "t", typ: VirtualMaster, sync: SyncTime, flags: cnInvalBit, inval: 1<<32 - 1})
	add("invalidation bit of data", 1, cn{name: "v", typ: VirtualData, flags: cnInvalBit, inval: 8})
	add("text", 0, cn{name: "v", typ: VirtualData, dt: UTF8, off: 0xFFFFFF00, bits: 8})
	add("bytes", 0, cn{name: "v", typ: VirtualMaster, dt: ByteArray, off: 4, bits: 16})
	add("unknown type", 0, cn{name: "v", typ: VirtualData, dt: 77})
	b := newBuilder(0)
	member := b.channels(cn{name: "m", dt: UintLE, bits: 8})
	first := b.channels(cn{name: "v", typ: VirtualData, off: 0xFFFFFF00, bits: 8, comp: member[0]})
	g := b.groups(cg{cycles: 3, data: 5, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 15)))
	files["structure"] = b
	return files
}

func TestVirtualChannelsThatPointOutOfTheRecordAreRefused(t *testing.T) {
	for name, b := range virtualFiles() {
		t.Run(name, func(t *testing.T) {
			g := mustOpen(t, &b.memory).Groups[0]
			var fe *FormatError
			if err := g.Channels[0].Err(); !errors.As(err, &fe) || fe.Offset != g.Channels[0].off {
				t.Errorf("error %v", err)
			}
			exhaust(t, b.b)
		})
	}
}

// sizeFile has a channel of maximum length whose length is in a channel of the given kind.
func sizeFile(size cn) *builder {
	b := newBuilder(0)
	first := b.channels(size, cn{name: "s", typ: MLSD, dt: ByteArray, off: 1, bits: 32})
	b.setLink(first[1], 5, first[0])
	g := b.groups(cg{cycles: 3, data: 8, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 24)))
	return b
}

func TestLengthsHaveToBeIntegersOfTheRecord(t *testing.T) {
	for _, size := range []cn{
		{name: "n", typ: VirtualData, off: 0xFFFFFF00, bits: 8},
		{name: "n", dt: FloatLE, bits: 32},
		{name: "n", typ: VLSD, dt: UintLE, bits: 64},
	} {
		b := sizeFile(size)
		g := mustOpen(t, &b.memory).Groups[0]
		if g.Channels[0].Err() != nil || g.Channels[1].Err() == nil {
			t.Errorf("%+v: errors %v, %v", size, g.Channels[0].Err(), g.Channels[1].Err())
		}
		exhaust(t, b.b)
	}
}

// remoteMasterFile has a group of bytes whose times are in a group of other records.
func remoteMasterFile(master cg, data func(b *builder) int64) *builder {
	b := newBuilder(0)
	groups := b.groups(master)
	first := b.channels(cn{name: "y", dt: UintLE, bits: 8})
	other := b.groups(cg{cycles: 5, data: 1, flags: cgRemoteMaster, first: first[0], master: groups[0]})[0]
	b.dg(0, other, b.append("DT", nil, make([]byte, 5)))
	b.dg(0, groups[0], data(b))
	channels := b.channels(cn{name: "t", typ: VirtualMaster, sync: SyncIndex})
	b.setLink(groups[0], 1, channels[0])
	return b
}

// timesWithoutBytes is a remote master in columns of no bytes.
func timesWithoutBytes() *builder {
	return remoteMasterFile(cg{cycles: 5, inval: 1}, func(b *builder) int64 {
		return b.append("LD", []int64{0, b.append("DV", nil, make([]byte, 5))}, []byte{0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 8))
	})
}

func TestTimesOfAnotherGroupAreCheckedAsRecordsAre(t *testing.T) {
	b := timesWithoutBytes()
	g := mustOpen(t, &b.memory).Groups[0]
	var fe *FormatError
	if _, err := readAll(g, ReadOptions{}); g.RemoteMaster == nil || !errors.As(err, &fe) || fe.Offset != g.RemoteMaster.off {
		t.Errorf("no bytes: %v", err)
	}
	b = remoteMasterFile(cg{cycles: 5, data: 2 << 20}, func(b *builder) int64 { return b.dz("DT", make([]byte, 10<<20), 0) })
	f, err := Options{MaxBlockBytes: 1 << 20}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(f.Groups[0], ReadOptions{}); !errors.Is(err, ErrLimit) {
		t.Errorf("records of 2 MiB: %v", err)
	}
}

// Channels may lie on each other.
func TestManyColumnsOfOneByteMakeShortBlocks(t *testing.T) {
	b := newBuilder(0)
	list := slices.Repeat([]cn{{name: "x", dt: UintLE, bits: 8}}, 2000)
	g := b.groups(cg{cycles: 1000, data: 1, first: b.channels(list...)[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 1000)))
	f, err := Options{MaxBlockBytes: 1 << 20}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Groups[0].Read(ReadOptions{}, f.Groups[0].Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if blk, err := r.Next(context.Background()); err != nil || blk.N < 20 || 8*blk.N*len(list) > 1<<20 {
		t.Errorf("%d records of %d columns, %v", blk.N, len(list), err)
	}
	f, err = Options{MaxBlockBytes: 4 << 10}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Groups[0].Read(ReadOptions{}, f.Groups[0].Channels...); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

// overlaid has records of which each channel refers to the value that choose says: 0 is empty, 1 long.
func overlaid(channels, n, long int, choose func(record, channel int) int) *builder {
	b := newBuilder(0)
	le := binary.LittleEndian
	sd := b.dz("SD", append(le.AppendUint32(make([]byte, 4), uint32(long)), make([]byte, long)...), 0)
	var list []cn
	for i := range channels {
		list = append(list, cn{name: "v", typ: VLSD, dt: ByteArray, off: uint32(i), bits: 8, data: sd})
	}
	var data []byte
	for i := range n {
		for k := range channels {
			data = append(data, byte(4*choose(i, k)))
		}
	}
	g := b.groups(cg{cycles: uint64(n), data: uint32(channels), first: b.channels(list...)[0]})
	b.dg(0, g[0], b.append("DT", nil, data))
	return b
}

func TestChannelsThatShareALongValueAreBounded(t *testing.T) {
	const long = 900 << 10
	for name, c := range map[string]struct {
		choose func(record, channel int) int
		ok     bool
	}{
		"one a record": {func(record, channel int) int { return b2i(record+channel == 3) }, true},
		"all at once":  {func(record, channel int) int { return b2i(record == 3) }, false},
	} {
		b := overlaid(4, 4, long, c.choose)
		f, err := Options{MaxBlockBytes: 1 << 20}.NewFile(&b.memory, int64(len(b.b)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(f.Groups[0], ReadOptions{})
		if want := len(got.texts[0]) == 3 && errors.Is(err, ErrLimit); c.ok && err != nil || !c.ok && !want {
			t.Fatalf("%s: %d records, %v", name, len(got.texts[0]), err)
		}
		for k := range got.texts {
			for i, s := range got.texts[k] {
				if len(s) != long*c.choose(i, k) {
					t.Errorf("%s: record %d, channel %d: %d bytes", name, i, k, len(s))
				}
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Values of a group that is mixed with the records, referred to in turn from both ends.
func TestValuesOfAGroupReadOverAndOverAreRefused(t *testing.T) {
	b := newBuilder(0)
	le := binary.LittleEndian
	const long, values = 3 << 20, 4
	var data []byte
	for range values {
		data = append(data, 2)
		data = append(le.AppendUint32(data, long), make([]byte, long)...)
	}
	const n = 2000
	for i := range n {
		data = append(data, 1)
		data = le.AppendUint64(data, uint64(i%2*(values-1)*(long+4)))
	}
	first := b.channels(cn{name: "v", typ: VLSD, dt: ByteArray, bits: 64})
	g := b.groups(cg{id: 1, cycles: n, data: 8, first: first[0]}, cg{id: 2, cycles: values, flags: cgVLSD})
	b.setLink(first[0], 5, g[1])
	b.dg(1, g[0], b.append("DT", nil, data))
	m := &metered{b.memory, 6 << 30}
	f, err := NewFile(m, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Groups[0].Read(ReadOptions{BlockRecords: 1}, f.Groups[0].Channels...)
	for err == nil {
		_, err = r.Next(context.Background())
	}
	if !errors.Is(err, ErrLimit) {
		t.Errorf("%v after %+v", err, r.Progress())
	}
}

func TestAnyNumberOfRecordsMayShareAShortValue(t *testing.T) {
	const n, part = 12_000_000, 500_000
	b := newBuilder(0)
	sd := b.append("SD", nil, binary.LittleEndian.AppendUint32(nil, 20), []byte("twenty bytes of text"))
	first := b.channels(cn{name: "v", typ: VLSD, dt: UTF8, bits: 8, data: sd})
	g := b.groups(cg{cycles: n, data: 1, first: first[0]})
	var blocks []int64
	for range n / part {
		blocks = append(blocks, b.dz("DT", make([]byte, part), 0))
	}
	b.dg(0, g[0], b.dl(100, blocks...))
	group := mustOpen(t, &b.memory).Groups[0]
	r, err := group.Read(ReadOptions{}, group.Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, err = r.Next(context.Background())
	}
	if err != io.EOF || r.Progress().Records != n {
		t.Errorf("%d records, %v", r.Progress().Records, err)
	}
}

func TestSeekingAgainAndAgainIsNoMisuse(t *testing.T) {
	b := overlaid(1, 2, 2<<20, func(int, int) int { return 1 })
	group := mustOpen(t, &b.memory).Groups[0]
	r, err := group.Read(ReadOptions{}, group.Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 500 {
		if err := r.Seek(uint64(i % 2)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(context.Background()); err != nil {
			t.Fatalf("seek %d: %v", i, err)
		}
	}
}

// Units, comments and the like are often one XML for all; so is its text.
func TestTextOfAnXMLIsFoundOnce(t *testing.T) {
	b := newBuilder(0)
	md := b.append("MD", nil, []byte("<CNunit><TX>a &amp; b</TX></CNunit>\x00"))
	list := b.channels(cn{name: "x", dt: UintLE, bits: 8}, cn{name: "y", dt: UintLE, bits: 8})
	for _, off := range list {
		b.setLink(off, 6, md)
	}
	g := b.groups(cg{cycles: 1, data: 1, first: list[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte{0}))
	c := mustOpen(t, &b.memory).Groups[0].Channels
	if c[0].Unit != "a & b" || unsafe.StringData(c[0].Unit) != unsafe.StringData(c[1].Unit) {
		t.Errorf("%q and %q have memory of their own", c[0].Unit, c[1].Unit)
	}
}

func TestScanKeepsColumnsOfOneGroup(t *testing.T) {
	b := newBuilder(0)
	const n, groups = 16384, 60
	for range groups {
		list := slices.Repeat([]cn{{name: "x", dt: UintLE, bits: 8}}, 16)
		g := b.groups(cg{cycles: n, data: 16, first: b.channels(list...)[0]})
		b.dg(0, g[0], b.dz("DT", make([]byte, 16*n), 0))
	}
	f := mustOpen(t, &b.memory)
	scanHoldsNoMore(t, f, 16<<20)
}

func TestTextsThatManyConversionsLookUpAreBounded(t *testing.T) {
	b := newBuilder(0)
	tx := b.append("TX", nil, []byte(strings.Repeat("k", 100<<10)))
	var list []cn
	for range 40 {
		list = append(list, cn{name: "c", dt: UTF8, bits: 8, conv: b.conversion(TextToValue, "", make([]float64, 11), slices.Repeat([]any{tx}, 10)...)})
	}
	g := b.groups(cg{cycles: 1, data: 1, first: b.channels(list...)[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte{0}))
	chans := mustOpen(t, &b.memory).Groups[0].Channels
	if first, last := chans[0].Err(), chans[39].Err(); (first == nil) == (last == nil) {
		t.Errorf("errors %v, %v", first, last)
	}
}

func TestHistoryWhoseEntriesShareACommentIsReadOnce(t *testing.T) {
	b := newBuilder(0)
	md := b.append("MD", nil, []byte("<FHcomment><TX>x</TX><tool_id>a &amp; b</tool_id></FHcomment>\x00"))
	second := b.append("FH", []int64{0, md}, make([]byte, 16))
	b.setLink(64, hdHistory, b.append("FH", []int64{second, md}, make([]byte, 16)))
	h, err := mustOpen(t, &b.memory).History()
	if err != nil || len(h) != 2 || h[1].Tool != "a & b" || unsafe.StringData(h[0].Tool) != unsafe.StringData(h[1].Tool) {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestScanOfManyGroupsInTurnKeepsABatch(t *testing.T) {
	b := newBuilder(0)
	const groups, part = 100, 1 << 20
	var list []cg
	var blocks []int64
	for i := range groups {
		list = append(list, cg{id: uint64(i), cycles: part / 64, data: 63, first: b.channels(cn{name: "x", dt: UintLE, bits: 8})[0]})
		blocks = append(blocks, b.dz("DT", slices.Repeat(append([]byte{byte(i)}, make([]byte, 63)...), part/64), 0))
	}
	b.dg(1, b.groups(list...)[0], b.dl(groups, blocks...))
	f := mustOpen(t, &b.memory)
	scanHoldsNoMore(t, f, 32<<20)
}

// scanHoldsNoMore scans all channels of all groups. What is in use in any later group is not more than in the tenth and so many bytes.
func scanHoldsNoMore(t *testing.T, f *File, than uint64) {
	t.Helper()
	var selected []Selection
	for _, g := range f.Groups {
		selected = append(selected, Selection{g, g.Channels})
	}
	var last, most uint64
	err := f.Scan(context.Background(), ScanOptions{Workers: 1}, func(_ int, blk *Block) error {
		if blk.Group.Index%10 == 9 && blk.First == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if last = m.HeapAlloc; most == 0 {
				most = last + than
			}
		}
		return nil
	}, selected...)
	if err != nil || last > most {
		t.Errorf("%d MB are held at the end, %d MB would do, %v", last>>20, most>>20, err)
	}
}

// sharedValueFile is a file whose records share one value.
func sharedValueFile(records, size int) *builder {
	b := newBuilder(0)
	sd := b.dz("SD", append(binary.LittleEndian.AppendUint32(nil, uint32(size)), bytes.Repeat([]byte{'a'}, size)...), 0)
	list := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64}, cn{name: "s", typ: VLSD, dt: UTF8, off: 8, bits: 64, data: sd})
	data := make([]byte, 16*records)
	for i := range records {
		binary.LittleEndian.PutUint64(data[16*i:], math.Float64bits(float64(i)))
	}
	b.dg(0, b.groups(cg{cycles: uint64(records), data: 16, first: list[0]})[0], b.append("DT", nil, data))
	return b
}

// A value that records share is written once: a file of 100 kB would else become one of 100 GB.
func TestValuesThatRecordsShareAreCopiedOnce(t *testing.T) {
	f := mustOpen(t, &sharedValueFile(500, 10000).memory)
	got := excerpt(t, f, Uncompressed, ExcerptOptions{})
	if got.Size() > 100_000 {
		t.Errorf("%d bytes", got.Size())
	}
	checkCopy(t, f.Groups[0], got.Groups[0], f.Groups[0].Channels, got.Groups[0].Channels)
}

func TestValuesThatRecordsShareAreReadWithinABound(t *testing.T) {
	f := mustOpen(t, &sharedValueFile(1000, 1<<20).memory)
	got, err := readAll(f.Groups[0], ReadOptions{})
	if n := len(got.times); !errors.Is(err, ErrLimit) || n < 200 || n > 300 {
		t.Errorf("%d records of 1 MiB each, %v", n, err)
	}
}

// Rows that are as long as a block are in memory once, not once for each worker, nor once more to say which bytes are wanted.
func TestLongRowsAreScannedInLittleMemory(t *testing.T) {
	const size = 12 << 20
	b := newBuilder(0)
	data := make([]byte, 2*size)
	blocks := []int64{b.dz("DT", data[:size], size), b.dz("DT", data[:size], size)}
	b.dg(0, b.groups(cg{cycles: 2, data: size, first: sampleChannels(b)})[0], b.dl(9, blocks...))
	f := mustOpen(t, &b.memory)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var records atomic.Int64
	err := f.Scan(t.Context(), ScanOptions{Workers: 4}, func(_ int, b *Block) error {
		records.Add(int64(b.N))
		return nil
	}, Selection{f.Groups[0], f.Groups[0].Channels})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || records.Load() != 2 || took > 6*size {
		t.Errorf("%d records, %d bytes for records of %d, %v", records.Load(), took, size, err)
	}
}
