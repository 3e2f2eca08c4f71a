package mdf

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
)

// mixed has n records of 12 bytes in front of one of another group, which has 4 bytes.
func mixed(n int, other cg) *builder {
	b := newBuilder(0)
	other.id, other.first = 2, b.channels(cn{name: "y", dt: UintLE, bits: 32})[0]
	g := b.groups(cg{id: 1, cycles: uint64(n), data: 12, first: sampleChannels(b)}, other)
	data := make([]byte, 0, 13*n+5)
	for i := range n {
		data = append(append(data, 1), sample(i)...)
	}
	b.dg(1, g[0], b.split("DT", append(data, 2, 7, 0, 0, 0), 1<<20))
	return b
}

// Of a record that is too long only its group is told: it is not looked for in the data.
func TestRecordsOfOtherGroupsAreBounded(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{id: 1, cycles: 40, data: 12, first: sampleChannels(b)}, cg{id: 2, cycles: 1, data: 0x7FFFFFFF, first: sampleChannels(b)})
	var data []byte
	for i := range 20 {
		data = append(append(data, 1), sample(i)...)
	}
	data = append(data, 2)
	b.dg(1, g[0], b.append("DT", nil, data, make([]byte, 16<<20)))
	f := mustOpen(t, &b.memory)
	r, err := f.Groups[0].Read(ReadOptions{}, f.Groups[0].Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got = &table{values: make([][]float64, 2), texts: make([][]string, 2), valid: make([][]bool, 2)}
	if err := got.readFrom(r); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
	checkSamples(t, got, 20)
	if n := len(r.src.(*unsortedRows).d.s.buf); n > 4<<20 {
		t.Errorf("%d bytes are held", n)
	}
	s, err := f.ReadShared(ReadOptions{}, Selection{Group: f.Groups[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for err == nil {
		_, err = s.Next(t.Context())
	}
	if !errors.Is(err, ErrLimit) {
		t.Errorf("shared: %v", err)
	}
	err = f.Scan(t.Context(), ScanOptions{}, func(int, *Block) error { return nil }, Selection{Group: f.Groups[0]})
	if !errors.Is(err, ErrLimit) {
		t.Errorf("scan: %v", err)
	}
	for i := range f.Groups {
		f.Groups[i].CyclesKnown = false
	}
	if err := f.Recount(t.Context()); !errors.Is(err, ErrLimit) || f.Groups[0].Cycles != 20 {
		t.Errorf("%d records, %v", f.Groups[0].Cycles, err)
	}
}

// What a record of many data blocks takes is a multiple of its length, not of length and blocks.
func TestWindowGrowsGeometrically(t *testing.T) {
	const size, block = 4 << 20, 8 << 10
	b := newBuilder(0)
	g := b.groups(cg{cycles: 1, data: size, first: b.channels(cn{name: "x", dt: UintLE, bits: 32})[0]})
	b.dg(0, g[0], b.split("DT", make([]byte, size), block))
	f := mustOpen(t, &b.memory)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := readAll(f.Groups[0], ReadOptions{})
	runtime.ReadMemStats(&after)
	if err != nil || len(got.values[0]) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16*size {
		t.Errorf("%d bytes are allocated for a record of %d", n, size)
	}
}

// canceler cancels a context when it is read for the n-th time.
type canceler struct {
	io.ReaderAt
	n      int
	cancel func()
}

func (c *canceler) ReadAt(p []byte, off int64) (int, error) {
	if c.n--; c.n == 0 {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

// readCanceled cancels Next while it walks, and goes on with another context.
func readCanceled(t *testing.T, b *builder, group int, opts ReadOptions) (*Block, error) {
	t.Helper()
	src := &canceler{ReaderAt: &b.memory}
	f, err := NewFile(src, int64(len(b.b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Groups[group].Read(opts, f.Groups[group].Channels...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	src.n, src.cancel = 2, cancel
	blk, err := r.Next(ctx)
	if blk != nil || err != context.Canceled {
		t.Fatalf("%+v, %v", blk, err)
	}
	if src.n < -3 {
		t.Errorf("%d reads after the cancel", -src.n)
	}
	if len(r.Losses()) > 0 {
		t.Errorf("losses %+v", r.Losses())
	}
	return r.Next(t.Context())
}

func TestCancelReachesTheWalkThroughUnsortedData(t *testing.T) {
	for _, skip := range []bool{false, true} {
		blk, err := readCanceled(t, mixed(600_000, cg{cycles: 1, data: 4}), 1, ReadOptions{SkipDamage: skip})
		if err != nil || blk.N != 1 || blk.Columns[0].Values[0] != 7 {
			t.Errorf("%+v, %v", blk, err)
		}
	}
}

func TestCancelReachesTheWalkToAValue(t *testing.T) {
	for _, skip := range []bool{false, true} {
		b := newBuilder(0)
		plain := sampleChannels(b)
		const n = 600_000
		g := b.groups(cg{id: 1, cycles: n, data: 12, first: plain}, cg{id: 2, cycles: 1, flags: cgVLSD}, cg{id: 3, cycles: 1, data: 8})
		b.setLink(g[2], 1, b.channels(cn{name: "s", typ: VLSD, dt: UTF8, bits: 64, data: g[1]})[0])
		data := make([]byte, 9, 13*n+20)
		data[0] = 3
		for i := range n {
			data = append(append(data, 1), sample(i)...)
		}
		b.dg(1, g[0], b.append("DT", nil, data, []byte{2, 2, 0, 0, 0, 'o', 'k'}))
		blk, err := readCanceled(t, b, 2, ReadOptions{BlockRecords: 1, SkipDamage: skip})
		if err != nil || blk.N != 1 || string(blk.Columns[0].At(0)) != "ok" {
			t.Errorf("%+v, %v", blk, err)
		}
	}
}

func TestCancelReachesTheWalkThroughReservedSpace(t *testing.T) {
	b := newBuilder(unfinCycles | unfinDTLength)
	g := b.groups(cg{id: 1, data: 12, first: sampleChannels(b)}, cg{id: 2, data: 12, first: sampleChannels(b)})
	b.dg(1, g[0], b.append("DT", nil, append([]byte{1}, sample(0)...), make([]byte, 8<<20)))
	if blk, err := readCanceled(t, b, 1, ReadOptions{}); !errors.Is(err, io.EOF) {
		t.Errorf("%+v, %v", blk, err)
	}
}
