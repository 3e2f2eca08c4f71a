package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// readSkipping reads a group past its damage: the numbers of the records that came, and what was lost.
func readSkipping(t *testing.T, g *ChannelGroup, opts ReadOptions) (records []uint64, texts []string, losses []Loss) {
	t.Helper()
	opts.SkipDamage, opts.BlockRecords = true, 7
	r, err := g.Read(opts, g.Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return records, texts, slices.Clone(r.Losses())
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.N {
			n := b.First + uint64(i)
			records = append(records, n)
			if c := &b.Columns[1]; c.Values != nil && c.Values[i] != float64(3*n) {
				t.Fatalf("record %d is %v", n, c.Values[i])
			}
			for k := range b.Columns {
				if c := &b.Columns[k]; c.Offsets != nil && (c.Valid == nil || c.Valid[i]) {
					texts = append(texts, string(c.At(i)))
				}
			}
		}
	}
}

func numbers(ranges ...[2]uint64) (out []uint64) {
	for _, r := range ranges {
		for n := r[0]; n < r[1]; n++ {
			out = append(out, n)
		}
	}
	return out
}

func TestReadingGoesOnBehindADamagedBlock(t *testing.T) {
	for _, cols := range []int{0, 12, 7} {
		for _, ahead := range []int{0, 3} {
			b := newBuilder(0)
			g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
			data := samples(100)
			var blocks []int64
			for _, part := range [][2]int{{0, 250}, {250, 500}, {500, 700}, {700, 705}, {705, 1200}} { // bytes: records cross borders
				blocks = append(blocks, b.dz("DT", data[part[0]:part[1]], cols))
			}
			for _, k := range []int{1, 3} {
				b.b[blocks[k]+dzHeader+int64(binary.LittleEndian.Uint64(b.b[blocks[k]+40:]))-1] ^= 1 // the check sum
			}
			b.dg(0, g[0], b.dl(2, blocks...))
			records, _, losses := readSkipping(t, mustOpen(t, &b.memory).Groups[0], ReadOptions{Ahead: ahead})
			if want := numbers([2]uint64{0, 20}, [2]uint64{42, 58}, [2]uint64{59, 100}); !slices.Equal(records, want) {
				t.Fatalf("cols %d, ahead %d: records %v, want %v", cols, ahead, records, want)
			}
			want := []Loss{{From: 20, To: 42, Before: 19.0 / 8, After: 42.0 / 8}, {From: 58, To: 59, Before: 57.0 / 8, After: 59.0 / 8}}
			for i, l := range losses {
				var fe *FormatError
				if !errors.As(l.Err, &fe) || fe.Offset != blocks[2*i+1] {
					t.Errorf("loss %d: %v", i, l.Err)
				}
				l.Err = nil
				if l != want[i] {
					t.Errorf("loss %+v, want %+v", l, want[i])
				}
			}
			if len(losses) != 2 {
				t.Errorf("losses %+v", losses)
			}
		}
	}
}

func TestWhatLiesBehindDamageThatCannotBePassedIsLost(t *testing.T) {
	sorted := newBuilder(0)
	g := sorted.groups(cg{cycles: 100, data: 12, first: sampleChannels(sorted)})
	sorted.dg(0, g[0], sorted.dl(1, sorted.append("DT", nil, samples(10)), 1<<40))
	unsorted, _ := unsortedFile(0, 1, 50, false)
	unsorted.b[slices.Index(unsorted.b[1000:], 200)+1000] = 77 // the first record id 200
	for name, tt := range map[string]struct {
		f    *memory
		loss Loss
	}{
		"link":      {&sorted.memory, Loss{From: 10, To: 100, Before: 9.0 / 8, After: math.NaN()}},
		"record id": {&unsorted.memory, Loss{From: 1, To: 50, Before: 0, After: math.NaN()}},
	} {
		records, _, losses := readSkipping(t, mustOpen(t, tt.f).Groups[0], ReadOptions{})
		if len(losses) != 1 || uint64(len(records)) != tt.loss.From || losses[0].From != tt.loss.From || losses[0].To != tt.loss.To ||
			losses[0].Before != tt.loss.Before || losses[0].After == losses[0].After || losses[0].Err == nil {
			t.Errorf("%s: %d records, %+v, want %+v", name, len(records), losses, tt.loss)
		}
	}
}

func TestOtherChannelsGoOnWithoutValuesThatCannotBeRead(t *testing.T) {
	b := newBuilder(0)
	le := binary.LittleEndian
	var sd, data []byte
	for i := range 40 {
		data = le.AppendUint64(append(data, sample(i)...), uint64(len(sd)))
		sd = append(le.AppendUint32(sd, 3), 'a', 'b', byte('0'+i%10))
	}
	first, second := b.dz("SD", sd[:100], 0), b.dz("SD", sd[100:], 0)
	b.b[second+dzHeader+3] ^= 0x55
	chans := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64}, cn{name: "x", dt: UintLE, off: 8, bits: 32},
		cn{name: "s", typ: VLSD, dt: UTF8, off: 12, bits: 64, data: b.dl(2, first, second)})
	g := b.groups(cg{cycles: 40, data: 20, first: chans[0]})
	b.dg(0, g[0], b.append("DT", nil, data))
	group := mustOpen(t, &b.memory).Groups[0]
	records, texts, losses := readSkipping(t, group, ReadOptions{})
	if len(records) != 40 || len(texts) != 14 || texts[13] != "ab3" {
		t.Errorf("%d records, texts %q", len(records), texts)
	}
	if len(losses) != 1 || losses[0].From != 14 || losses[0].To != 40 || losses[0].Channel != group.Channels[2] {
		t.Errorf("%+v", losses)
	}
}

func TestDamageEndsReadingWhereItIsNotToBeSkipped(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 20, data: 12, first: sampleChannels(b)})
	one, two := b.dz("DT", samples(10), 0), b.dz("DT", samples(20)[120:], 0)
	b.b[one+dzHeader+5] ^= 0x55
	b.dg(0, g[0], b.dl(9, one, two))
	group := mustOpen(t, &b.memory).Groups[0]
	if got, err := readAll(group, ReadOptions{}); err == nil || len(got.times) != 0 {
		t.Errorf("%d records, %v", len(got.times), err)
	}
	if records, _, losses := readSkipping(t, group, ReadOptions{}); !slices.Equal(records, numbers([2]uint64{10, 20})) || len(losses) != 1 ||
		losses[0].Before == losses[0].Before || losses[0].After != 10.0/8 {
		t.Errorf("%v, %+v", records, losses)
	}
}

// Of a block that the end of the file cuts, what is there is delivered, also where the list says how long the block was.
func TestBlockThatIsCutGivesWhatIsThere(t *testing.T) {
	records, _, losses := readSkipping(t, mustOpen(t, cutFile(60)).Groups[0], ReadOptions{})
	if !slices.Equal(records, numbers([2]uint64{0, 60})) || len(losses) != 1 || losses[0].From != 60 || losses[0].To != 100 {
		t.Errorf("records %v, losses %+v", records, losses)
	}
}

func TestBlocksThatAreNoDataAreBounded(t *testing.T) {
	b := newBuilder(0)
	long := b.append("TX", nil, make([]byte, 2000))
	first := sampleChannels(b)
	b.setLink(first, 2, long)
	g := b.groups(cg{cycles: 9, data: 12, first: first})
	b.dg(0, g[0], b.append("DT", nil, samples(9)))
	_, err := Options{MaxBlockBytes: 1000}.NewFile(&b.memory, int64(len(b.b)))
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "##TX") {
		t.Errorf("%v", err)
	}
	mustOpen(t, &b.memory)
}

func TestGroupsWhoseTimesAreBehindDamageCanBeKept(t *testing.T) {
	b := remoteFile(9)
	b.b[b.lastDG] = 'x'
	f, err := Options{KeepReadable: true}.NewFile(&b.memory, int64(len(b.b)))
	if err != nil || len(f.Groups) != 1 || f.Damage == nil {
		t.Fatalf("%+v, %v", f, err)
	}
	got, err := readAll(f.Groups[0], ReadOptions{})
	if err != nil || len(got.values[0]) != 9 || got.times != nil {
		t.Errorf("%+v, %v", got, err)
	}
	b.b[b.lastDG] = '#'
	b.setLink(f.Groups[0].off, 6, 64)
	if _, err := b.open(); err == nil {
		t.Error("a master that is no group is none that is lost")
	}
}
