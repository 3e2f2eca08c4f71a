package mdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type mergedRow struct {
	group  int
	record uint64
	time   float64
	value  float64
}

func timedFile(t interface{ Fatal(...any) }, times ...[]float64) *File {
	b := newBuilder(0)
	le := binary.LittleEndian
	for _, list := range times {
		var data []byte
		for i, x := range list {
			data = le.AppendUint32(le.AppendUint64(data, math.Float64bits(x)), uint32(i*3))
		}
		g := b.groups(cg{cycles: uint64(len(list)), data: 12, first: sampleChannels(b)})
		b.dg(0, g[0], b.append("DT", nil, data))
	}
	f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func merged(t interface{ Fatal(...any) }, m *Merger) (rows []mergedRow) {
	for {
		b, err := m.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.N == 0 || len(b.Times) != b.N || len(b.Columns[0].Values) != b.N || b.Position(0).Record != b.First ||
			b.Position(0).Offset != int64(b.First)*12 || !bytes.Equal(b.Records[:8], binary.LittleEndian.AppendUint64(nil, math.Float64bits(b.Times[0]))) {
			t.Fatal("a part of a block is wrong")
		}
		for i := range b.N {
			rows = append(rows, mergedRow{b.Group.Index, b.First + uint64(i), b.Times[i], b.Columns[0].Values[i]})
		}
	}
}

func selectX(f *File) (all []Selection) {
	for _, g := range f.Groups {
		all = append(all, Selection{g, g.Channels[1:2]})
	}
	return all
}

func TestGroupsAreMergedInTheOrderOfTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := make([][]float64, rapid.IntRange(1, 5).Draw(t, "groups"))
		var want []mergedRow
		for g := range times {
			for _, x := range rapid.SliceOfN(rapid.IntRange(-50, 200), 0, 60).Draw(t, "times") {
				times[g] = append(times[g], float64(x)/8)
			}
			slices.Sort(times[g])
			for i, x := range times[g] {
				want = append(want, mergedRow{g, uint64(i), x, float64(3 * i)})
			}
		}
		slices.SortStableFunc(want, func(a, b mergedRow) int { return int(8 * (a.time - b.time)) })
		f := timedFile(t, times...)
		m, err := f.Merge(MergeOptions{ReadOptions: ReadOptions{BlockRecords: 7}}, selectX(f)...)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if got := merged(t, m); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		from := rapid.Float64Range(-10, 30).Draw(t, "from")
		if err := m.Seek(context.Background(), from); err != nil {
			t.Fatal(err)
		}
		want = slices.DeleteFunc(want, func(r mergedRow) bool { return r.time < from })
		if got := merged(t, m); !slices.Equal(got, want) {
			t.Fatalf("from %v: %v, want %v", from, got, want)
		}
	})
}

func TestWindowsOfAMergeComeInOrder(t *testing.T) {
	var a, b []float64
	for i := range 1000 {
		a, b = append(a, float64(i)*0.01), append(b, float64(i)*0.01+0.005)
	}
	f := timedFile(t, a, b)
	m, err := f.Merge(MergeOptions{Window: 0.5}, selectX(f)...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	blocks, at := 0, 0.0
	for {
		blk, err := m.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w := math.Floor(blk.Times[0] / 0.5)
		if w < at || math.Floor(blk.Times[blk.N-1]/0.5) != w {
			t.Fatalf("times %v to %v behind window %v", blk.Times[0], blk.Times[blk.N-1], at)
		}
		at = w
		blocks++
	}
	if blocks > 50 {
		t.Errorf("%d blocks", blocks)
	}
}

func TestMergeTakesTimesThatStepBackAsTheyStand(t *testing.T) {
	nan := math.NaN()
	f := timedFile(t, []float64{1, 0.5, 3, nan, 4}, []float64{2})
	m, err := f.Merge(MergeOptions{}, selectX(f)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var order []float64
	for _, r := range merged(t, m) {
		order = append(order, r.value)
	}
	if want := []float64{0, 3, 0, 6, 9, 12}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	m.Close()
	if _, err := m.Next(context.Background()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	b := newBuilder(0)
	g := b.groups(cg{cycles: 1, data: 4, first: b.channels(cn{name: "x", dt: UintLE, bits: 32})[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 4)))
	f = mustOpen(t, &b.memory)
	if _, err := f.Merge(MergeOptions{}, Selection{Group: f.Groups[0]}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a group without times: %v", err)
	}
}

// A logger writes while we read: the file is cut at every length in turn, and the readers go on.
func TestARecordingThatIsStillWrittenIsFollowed(t *testing.T) {
	for _, flags := range []uint16{unfinCycles | unfinDTLength, unfinCycles | unfinDTLength | unfinOffsets} {
		whole, texts := unsortedFile(flags, 1, 40, false)
		data, _ := unsorted(1, 40, false)
		start := bytes.Index(whole.b, data)
		binary.LittleEndian.PutUint64(whole.b[start-16:], headerSize)
		all := moveDataLast(whole, start, len(data))
		from := len(all) - len(data)
		m := &memory{all[:from]}
		f := mustOpen(t, m)
		got := [2]*table{}
		readers := [2]*GroupReader{}
		for i := range readers {
			g := f.Groups[i]
			r, err := g.Read(ReadOptions{}, g.Channels...)
			if err != nil {
				t.Fatal(err)
			}
			readers[i], got[i] = r, &table{values: make([][]float64, 2), texts: make([][]string, 2), valid: make([][]bool, 2)}
			defer r.Close()
		}
		for size := from; size <= len(all); size += 1 + size%5 {
			m.b = all[:size]
			f.Grow(int64(size))
			for i, r := range readers {
				r.Continue()
				if err := got[i].readFrom(r); err != nil {
					t.Fatalf("group %d, %d bytes: %v", i, size, err)
				}
			}
		}
		m.b = all
		f.Grow(int64(len(all)))
		for i, r := range readers {
			r.Continue()
			if err := got[i].readFrom(r); err != nil {
				t.Fatal(err)
			}
			if r.Continue() {
				t.Error("there is nothing new")
			}
		}
		checkSamples(t, got[0], 40)
		if !slices.Equal(got[1].texts[1], texts) {
			t.Errorf("flags %d: %d texts of %d", flags, len(got[1].texts[1]), len(texts))
		}
	}
}
