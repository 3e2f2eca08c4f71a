package mdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// finalized finalizes a file and opens the copy.
func finalized(t *testing.T, f *File) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.mf4")
	if err := f.Finalize(context.Background(), path, time.Unix(1800000000, 0), nil); err != nil {
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
			t.Errorf("%v leaves %v", err, left)
		}
		return nil, err
	}
	got, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Close() })
	return got, nil
}

// checkFinalized compares what is read of the copy, which may not need repair, with what is read of the file.
func checkFinalized(t *testing.T, f *File) {
	t.Helper()
	got, err := finalized(t, f)
	if err != nil {
		t.Fatal(err)
	}
	history, err := got.History()
	if err != nil || len(history) == 0 || history[len(history)-1].Tool != "milepost" || !got.Finalized || got.UnfinFlags != 0 {
		t.Errorf("history %+v, %v", history, err)
	}
	for i, g := range f.Groups {
		if g.VLSD {
			continue
		}
		want, errA := readAll(g, ReadOptions{}, readable(g)...)
		have, errB := readAll(got.Groups[i], ReadOptions{}, readable(got.Groups[i])...)
		bits := cmp.Transformer("bits", math.Float64bits)
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(table{}), bits, cmpopts.EquateEmpty()); diff != "" || errA != nil || errB != nil {
			t.Errorf("group %d: %v, %v, %s", i, errA, errB, diff)
		}
		if n := uint64(len(want.times)); len(want.times) > 0 && got.Groups[i].Cycles != n {
			t.Errorf("group %d: %d records, says %d", i, n, got.Groups[i].Cycles)
		}
	}
}

func TestFinalizedCopyNeedsNoRepair(t *testing.T) {
	const all = unfinCycles | unfinReduction | unfinDTLength | unfinVLSDBytes
	for _, flags := range []uint16{all, all | unfinOffsets} {
		for _, after := range []bool{true, false} {
			whole, _ := unsortedFile(flags, 2, 30, after)
			data, _ := unsorted(2, 30, after)
			start := bytes.Index(whole.b, data)
			if start < 0 {
				t.Fatal("the data are not in one piece")
			}
			binary.LittleEndian.PutUint64(whole.b[start-16:], headerSize) // as loggers leave it
			front := moveDataLast(whole, start, len(data))
			for cut := len(front) - len(data); cut <= len(front); cut += 23 { // the end of the data anywhere
				checkFinalized(t, mustOpen(t, &memory{front[:cut]}))
			}
		}
	}
}

func TestFinalizeListsWhatIsThere(t *testing.T) {
	b := newBuilder(unfinCycles | unfinDL)
	g := b.groups(cg{data: 12, first: sampleChannels(b)})
	// The list has room for more blocks; the last record is half there, once in a plain and once in a compressed block.
	data := samples(50)
	for _, last := range []int64{b.append("DT", nil, data[:100]), b.dz("DT", data[:100], 0), b.dz("DT", data[:100], 12)} {
		b.dg(0, g[0], b.dl(9, b.dz("DT", data[:120], 12), last, 0, 0))
		checkFinalized(t, mustOpen(t, &b.memory))
		b.lastDG = 0
	}
}

// A file that ends within a block gives what is there, and what is missing is told; one that ends in front of a block that is linked
// to would give none of what stands in the blocks, and no copy is made.
func TestFinalizeTellsWhatTheEndOfTheFileHasCutOff(t *testing.T) {
	for _, cols := range []int{-1, 0, 12} {
		b := newBuilder(unfinCycles)
		g := b.groups(cg{data: 12, first: sampleChannels(b)})
		dg := b.dg(0, g[0], 0)
		first := b.append("DT", nil, samples(20)[:230])
		var last int64
		if cols < 0 {
			last = b.append("DT", nil, samples(100)[230:])
		} else {
			last = b.dz("DT", samples(100)[230:], cols)
		}
		end := b.end
		list := b.dl(9, first, last)
		b.setLink(dg, 2, list)
		if _, err := finalized(t, mustOpen(t, &memory{b.b[:end]})); !IsTruncated(err) {
			t.Errorf("a file without the list of its blocks: %v", err)
		}
		// The list in front of the blocks.
		b = newBuilder(unfinCycles)
		g = b.groups(cg{data: 12, first: sampleChannels(b)})
		list = b.dl(9, 0, 0)
		b.dg(0, g[0], list)
		b.setLink(list, 1, b.append("DT", nil, samples(20)[:230]))
		if cols < 0 {
			last = b.append("DT", nil, samples(100)[230:])
		} else {
			last = b.dz("DT", samples(100)[230:], cols)
		}
		b.setLink(list, 2, last)
		f := mustOpen(t, &memory{b.b[:last+dzHeader+50]})
		var lost []Loss
		path := filepath.Join(t.TempDir(), "copy.mf4")
		if err := f.Finalize(t.Context(), path, time.Unix(1800000000, 0), func(g *ChannelGroup, l Loss) { lost = append(lost, l) }); err != nil {
			t.Fatal(err)
		}
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		n := got.Groups[0].Cycles
		if have, err := readAll(got.Groups[0], ReadOptions{}); err != nil || uint64(len(have.times)) != n || n < 19 || n > 28 {
			t.Errorf("%d of %d records, %v", len(have.times), n, err)
		}
		if len(lost) != 1 || lost[0].From != n || lost[0].Before != float64(n-1)/8 || !IsTruncated(lost[0].Err) {
			t.Errorf("lost %+v behind %d records", lost, n)
		}
	}
}

func TestFinalizeRefusesValuesThatAreCutOff(t *testing.T) {
	b := newBuilder(unfinCycles)
	values := b.end + 1<<20
	list := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64}, cn{name: "s", typ: VLSD, dt: UTF8, off: 8, bits: 64, data: values})
	b.dg(0, b.groups(cg{data: 16, first: list[0]})[0], b.append("DT", nil, make([]byte, 160)))
	if _, err := finalized(t, mustOpen(t, &b.memory)); !IsTruncated(err) {
		t.Error(err)
	}
}

func TestWhatCannotBeFinalized(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 10, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.append("DT", nil, samples(10)))
	if _, err := finalized(t, mustOpen(t, &b.memory)); !errors.Is(err, ErrFinalized) {
		t.Errorf("finalized already: %v", err)
	}
	b = newBuilder(1 << 9)
	b.dg(0, b.groups(cg{data: 12, first: sampleChannels(b)})[0], b.append("DT", nil, samples(10)))
	if _, err := finalized(t, mustOpen(t, &b.memory)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unknown flag: %v", err)
	}
	b = newBuilder(unfinCycles)
	b.b[62] = 1
	b.dg(0, b.groups(cg{data: 12, first: sampleChannels(b)})[0], b.append("DT", nil, samples(10)))
	if _, err := finalized(t, mustOpen(t, &b.memory)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("flag of the recorder's own: %v", err)
	}
	b = newBuilder(unfinCycles)
	b.dg(0, b.groups(cg{data: 12, first: sampleChannels(b)})[0], b.append("XX", nil, samples(10)))
	if _, err := finalized(t, mustOpen(t, &b.memory)); err == nil {
		t.Error("damage goes unseen")
	}
}

// Columns whose count of records was never written are counted by their bytes.
func TestFinalizeCountsColumns(t *testing.T) {
	b := newBuilder(unfinCycles)
	g := b.groups(cg{data: 12, inval: 1, first: sampleChannels(b)})
	data := samples(30)
	dv := [2]int64{b.dz("DV", data[:12*11], 12), b.append("DV", nil, data[12*11:])}
	b.dg(0, g[0], b.ld(true, 0, dv[0], b.append("DI", nil, make([]byte, 11)), dv[1], b.append("DI", nil, make([]byte, 19))))
	checkFinalized(t, mustOpen(t, &b.memory))
}
