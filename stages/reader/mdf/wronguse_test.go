package mdf

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
)

// What File.Group and ChannelGroup.Channel return for a name that is not there is an error where it is used.
func TestGroupsAndChannelsThatAreNotThere(t *testing.T) {
	b, _ := unsortedFile(0, 2, 3, true)
	f := mustOpen(t, &b.memory)
	g := f.Groups[0]
	visit := func(int, *Block) error { return nil }
	none, missing := Selection{Group: f.Group("nosuch")}, Selection{Group: g, Channels: []*Channel{g.Channel("nosuch", 0)}}
	for what, do := range map[string]func() error{
		"channel":           func() error { _, err := g.Read(ReadOptions{}, g.Channel("nosuch", 0)); return err },
		"second channel":    func() error { _, err := g.Read(ReadOptions{}, g.Channels[0], nil); return err },
		"group":             func() error { _, err := f.Group("nosuch").Read(ReadOptions{}); return err },
		"channel of none":   func() error { _, err := g.Read(ReadOptions{}, f.Group("nosuch").Channel("x", 0)); return err },
		"frames":            func() error { _, err := f.Group("nosuch").Frames(); return err },
		"bus frames":        func() error { _, err := f.Group("nosuch").BusFrames(ReadOptions{}); return err },
		"merge":             func() error { _, err := f.Merge(MergeOptions{}, none); return err },
		"merge, channel":    func() error { _, err := f.Merge(MergeOptions{}, missing); return err },
		"together":          func() error { _, err := f.ReadShared(ReadOptions{}, none); return err },
		"together, channel": func() error { _, err := f.ReadShared(ReadOptions{}, missing); return err },
		"scan":              func() error { return f.Scan(t.Context(), ScanOptions{}, visit, none) },
		"scan, channel":     func() error { return f.Scan(t.Context(), ScanOptions{}, visit, missing) },
	} {
		if err := do(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhatCannotBeMerged(t *testing.T) {
	f := timedFile(t, []float64{1, 2}, []float64{1, 3})
	all := selectX(f)
	for what, do := range map[string]func() error{
		"nothing":          func() error { _, err := f.Merge(MergeOptions{}); return err },
		"a group twice":    func() error { _, err := f.Merge(MergeOptions{}, all[0], all[1], all[0]); return err },
		"no window":        func() error { _, err := f.Merge(MergeOptions{Window: math.NaN()}, all...); return err },
		"a window of −1 s": func() error { _, err := f.Merge(MergeOptions{Window: -1}, all...); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("%s is merged", what)
		}
	}
}

// A merger whose first call is cancelled while it reads the groups' first blocks begins with all of them.
func TestMergeIsCancelledBeforeItBegins(t *testing.T) {
	times := make([]float64, 3000)
	for i := range times {
		times[i] = float64(i)
	}
	f := timedFile(t, times, times, times)
	for reads := 1; reads < 4; reads++ {
		ctx, cancel := context.WithCancel(t.Context())
		src := &canceler{ReaderAt: f.src.r, n: -1, cancel: cancel}
		h, err := NewFile(src, f.Size())
		if err != nil {
			t.Fatal(err)
		}
		m, err := h.Merge(MergeOptions{ReadOptions: ReadOptions{BlockRecords: 10}}, selectX(h)...)
		if err != nil {
			t.Fatal(err)
		}
		src.n = reads
		if b, err := m.Next(ctx); err == nil {
			t.Fatalf("%+v is read", b)
		}
		if rows := merged(t, m); len(rows) != 9000 {
			t.Errorf("cancelled in read %d: %d rows", reads, len(rows))
		}
		m.Close()
	}
}

func TestSeekToNowhere(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 20, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(20), 100))
	u, _ := unsortedFile(0, 2, 20, true)
	for _, m := range []*memory{&b.memory, &u.memory} {
		r, err := mustOpen(t, m).Groups[0].Read(ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.SeekTime(t.Context(), math.NaN()); err == nil {
			t.Error("a time that is no number is found")
		}
		for _, p := range []Position{{Record: 21, Offset: 1 << 40}, {Record: 10, Offset: -1}} {
			if err := r.Resume(p); err == nil {
				t.Errorf("resume at %+v", p)
			}
		}
		for _, record := range []uint64{20, 25, 1 << 62, math.MaxUint64} {
			if err := r.Seek(record); err != nil {
				t.Errorf("record %d: %v", record, err)
			}
			if blk, err := r.Next(t.Context()); err != io.EOF {
				t.Errorf("record %d: %+v, %v", record, blk, err)
			}
		}
	}
}
