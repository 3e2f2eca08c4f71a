package mdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
)

// sample is the record of most layouts: float64 time, uint32 number.
func sample(i int) []byte {
	le := binary.LittleEndian
	return le.AppendUint32(le.AppendUint64(nil, floatBits(float64(i)/8)), uint32(i*3))
}

func samples(n int) (data []byte) {
	for i := range n {
		data = append(data, sample(i)...)
	}
	return data
}

func sampleChannels(b *builder) int64 {
	return b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
		cn{name: "x", dt: UintLE, off: 8, bits: 32})[0]
}

func checkSamples(t *testing.T, got *table, n int) {
	t.Helper()
	if len(got.times) != n || len(got.values[1]) != n {
		t.Fatalf("%d times and %d values, want %d", len(got.times), len(got.values[1]), n)
	}
	for i := range n {
		if got.times[i] != float64(i)/8 || got.values[1][i] != float64(i*3) {
			t.Fatalf("record %d: %v, %v", i, got.times[i], got.values[1][i])
		}
	}
}

func TestRecordsCrossBlockBorders(t *testing.T) {
	for _, sizes := range [][]int{{1}, {5}, {12}, {13, 7, 100}, {1000}, {11, 0, 40}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			b := newBuilder(0)
			g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
			b.dg(0, g[0], b.split("DT", samples(100), sizes...))
			f := mustOpen(t, &b.memory)
			for _, ahead := range []int{0, 1, 4} {
				got, err := readAll(f.Groups[0], ReadOptions{BlockRecords: 7, Ahead: ahead})
				if err != nil {
					t.Fatal(err)
				}
				checkSamples(t, got, 100)
			}
		})
	}
}

func TestSeekReadsFromTheRecordOn(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(100), 50, 333, 1))
	f := mustOpen(t, &b.memory)
	r, err := f.Groups[0].Read(ReadOptions{Ahead: 2}, f.Groups[0].Channels[1])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, at := range []uint64{99, 0, 41, 7, 7, 60} {
		if err := r.Seek(at); err != nil {
			t.Fatal(err)
		}
		blk, err := r.Next(context.Background())
		if err != nil || blk.First != at || blk.Columns[0].Values[0] != float64(3*at) {
			t.Fatalf("seek %d: %+v, %v", at, blk, err)
		}
	}
	if err := r.Seek(100); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(context.Background()); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

// unsorted writes a data group with three groups: numbers, values of variable length and their records. after puts
// a value behind the record that refers to it. It returns the data and the texts.
func unsorted(idSize, n int, after bool) (data []byte, texts []string) {
	le := binary.LittleEndian
	id := func(v uint64) { data = append(data, le.AppendUint64(nil, v)[:idSize]...) }
	pos := uint64(0)
	for i := range n {
		id(1)
		data = append(data, sample(i)...)
		text := fmt.Sprintf("%0*d", i%40, i)
		texts = append(texts, text)
		value := func() {
			id(2)
			data = le.AppendUint32(data, uint32(len(text)))
			data = append(data, text...)
		}
		if !after {
			value()
		}
		id(200)
		data = le.AppendUint64(data, floatBits(float64(i)))
		data = le.AppendUint64(data, pos)
		if after {
			value()
		}
		pos += uint64(4 + len(text))
	}
	return data, texts
}

func unsortedFile(flags uint16, idSize, n int, after bool) (*builder, []string) {
	b := newBuilder(flags)
	data, texts := unsorted(idSize, n, after)
	plain := sampleChannels(b)
	offs := b.groups(cg{id: 1, cycles: uint64(n), data: 12, first: plain},
		cg{id: 200, cycles: uint64(n), data: 16},
		cg{id: 2, cycles: uint64(n), flags: cgVLSD})
	first := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
		cn{name: "s", typ: VLSD, dt: UTF8, off: 8, bits: 64, data: offs[2]})
	b.setLink(offs[1], 1, first[0])
	link := b.split("DT", data, 100, 3000, 7)
	if flags != 0 {
		link = b.append("DT", nil, data)
	}
	b.dg(idSize, offs[0], link)
	return b, texts
}

func TestUnsortedGroupsAndTheirValues(t *testing.T) {
	for _, idSize := range []int{1, 2, 4, 8} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("id of %d bytes, value behind record %v", idSize, after), func(t *testing.T) {
				b, texts := unsortedFile(0, idSize, 500, after)
				f := mustOpen(t, &b.memory)
				got, err := readAll(f.Groups[0], ReadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				checkSamples(t, got, 500)
				got, err = readAll(f.Groups[1], ReadOptions{BlockRecords: 64})
				if err != nil || !slices.Equal(got.texts[1], texts) {
					t.Fatalf("%d texts, %v", len(got.texts[1]), err)
				}
			})
		}
	}
}

func TestGroupsThatShareTheirDataAreReadInOnePass(t *testing.T) {
	const n = 60000 // several windows
	b, texts := unsortedFile(1, 1, n, true)
	f := mustOpen(t, &b.memory)
	selected := []Selection{{f.Groups[0], f.Groups[0].Channels}, {f.Groups[1], f.Groups[1].Channels}}
	s, err := f.ReadShared(ReadOptions{}, selected...)
	if err != nil {
		t.Fatal(err)
	}
	var next [2]uint64
	var places []SharedPosition
	check := func(blk *Block) {
		i := blk.Group.Index
		if blk.First != next[i] {
			t.Fatalf("group %d: record %d, want %d", i, blk.First, next[i])
		}
		next[i] += uint64(blk.N)
		for k := range blk.N {
			r := int(blk.First) + k
			if i == 0 && blk.Columns[1].Values[k] != float64(3*r) || i == 1 && string(blk.Columns[1].At(k)) != texts[r] {
				t.Fatalf("group %d, record %d is wrong", i, r)
			}
		}
	}
	read := func() {
		for {
			blk, err := s.Next(context.Background())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			check(blk)
			places = append(places, s.Position())
		}
		if next != [2]uint64{n, n} {
			t.Fatalf("records %v", next)
		}
	}
	read()
	for _, p := range places[:len(places):len(places)] {
		if err := s.Resume(p); err != nil {
			t.Fatal(err)
		}
		next = [2]uint64(p.Records)
		read()
	}
}

func TestResumeGoesOnAtAnyRecord(t *testing.T) {
	b, texts := unsortedFile(0, 1, 300, false)
	f := mustOpen(t, &b.memory)
	for gi, g := range f.Groups[:2] {
		r, err := g.Read(ReadOptions{BlockRecords: 50}, g.Channels...)
		if err != nil {
			t.Fatal(err)
		}
		var saved [][]byte
		for range 6 {
			blk, err := r.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for i := range blk.N {
				p, _ := json.Marshal(blk.Position(i))
				saved = append(saved, p)
			}
		}
		for i, s := range saved {
			var p Position
			if err := json.Unmarshal(s, &p); err != nil {
				t.Fatal(err)
			}
			q, _ := g.Read(ReadOptions{}, g.Channels...)
			if err := q.Resume(p); err != nil {
				t.Fatal(err)
			}
			blk, err := q.Next(context.Background())
			if err != nil || blk.First != uint64(i) {
				t.Fatalf("group %d, record %d: %v", gi, i, err)
			}
			if gi == 1 && string(blk.Columns[1].At(0)) != texts[i] || gi == 0 && blk.Columns[1].Values[0] != float64(3*i) {
				t.Fatalf("group %d, record %d: other value", gi, i)
			}
		}
	}
}

func TestUnfinalizedFilesCutAnywhere(t *testing.T) {
	whole, _ := unsortedFile(unfinCycles|unfinDTLength|unfinVLSDBytes, 1, 40, false)
	data, _ := unsorted(1, 40, false)
	start := bytes.Index(whole.b, data)
	if start < 0 {
		t.Fatal("the data are not in one piece")
	}
	binary.LittleEndian.PutUint64(whole.b[start-16:], headerSize) // as loggers leave it
	// The data group follows the data: put it away by cutting; the header links to it, so move it to the front.
	front := moveDataLast(whole, start, len(data))
	for cut := len(front) - len(data); cut <= len(front); cut++ {
		f := mustOpen(t, &memory{front[:cut]})
		if f.Finalized || f.Groups[0].CyclesKnown {
			t.Fatal("an unfinalized file is taken for finalized")
		}
		got, err := readAll(f.Groups[0], ReadOptions{})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		checkSamples(t, got, len(got.times))
		if err := f.Recount(context.Background()); err != nil || f.Groups[0].Cycles != uint64(len(got.times)) {
			t.Fatalf("cut at %d: %d records counted, %d read, %v", cut, f.Groups[0].Cycles, len(got.times), err)
		}
		if _, err := readAll(f.Groups[1], ReadOptions{}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if cut == len(front) && len(got.times) != 40 {
			t.Fatalf("%d of 40 records", len(got.times))
		}
	}
}

// moveDataLast writes the file again with the data block at its end.
func moveDataLast(b *builder, start, n int) []byte {
	dg := bytes.Clone(b.b[b.lastDG : b.lastDG+64])
	body := bytes.Clone(b.b[start-headerSize : start+n])
	out := bytes.Clone(b.b[:start-headerSize])
	off := int64(len(out))
	binary.LittleEndian.PutUint64(dg[headerSize+16:], uint64(off+64))
	binary.LittleEndian.PutUint64(out[64+headerSize:], uint64(off))
	return append(append(out, dg...), body...)
}

func TestTruncatedFileDeliversWhatIsThere(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		b := newBuilder(0)
		g := b.groups(cg{cycles: 1000, data: 12, first: sampleChannels(b)})
		dg := b.dg(0, g[0], 0)
		data := samples(1000)
		link := b.append("DT", nil)
		b.end = link
		if compressed {
			b.dz("DT", data, 0)
		} else {
			b.append("DT", nil, data)
		}
		b.setLink(dg, 2, link)
		for _, cut := range []int{len(b.b) - 9, len(b.b) - 100, int(link) + 400, int(link) + 48, int(link) + 25, int(link) + 10} {
			f := mustOpen(t, &memory{b.b[:cut]})
			got, err := readAll(f.Groups[0], ReadOptions{})
			var fe *FormatError
			if !errors.As(err, &fe) || !IsTruncated(err) || fe.Offset != link {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if !compressed && cut > int(link)+24 && len(got.times) != (cut-int(link)-24)/12 {
				t.Fatalf("cut at %d: %d records", cut, len(got.times))
			}
			if len(got.times) > 0 {
				checkSamples(t, got, len(got.times))
			}
		}
	}
}

func TestFormatErrorSaysWhereAndWhat(t *testing.T) {
	err := error(truncated(0x1f4c10, "##DZ", 65536, 40112))
	want := `corrupt MF4 at offset 0x1f4c10 (2051088): block "##DZ" says 65536 bytes, file ends after 40112`
	if err.Error() != want {
		t.Errorf("%s, want %s", err, want)
	}
}

func TestSeekTimeFindsTheFirstRecordNotBefore(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(100), 50, 333, 1))
	u, _ := unsortedFile(0, 1, 100, false)
	for name, m := range map[string]*memory{"sorted": &b.memory, "unsorted": &u.memory} {
		group := mustOpen(t, m).Groups[0]
		r, err := group.Read(ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []float64{-1, 0, 0.1, 5, 12.3, 12.375, 99} {
			if err := r.SeekTime(context.Background(), at); err != nil {
				t.Fatal(err)
			}
			want := uint64(max(0, math.Ceil(at*8)))
			blk, err := r.Next(context.Background())
			if want >= 100 && err == io.EOF {
				continue
			}
			if err != nil || blk.First != want {
				t.Errorf("%s, %v: %+v, %v; want record %d", name, at, blk, err, want)
			}
		}
	}
}

func TestDataBlocksListWhatIsThere(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(100), 500))
	var ids []string
	total := int64(0)
	for blk, err := range mustOpen(t, &b.memory).Groups[0].DataBlocks() {
		if err != nil || blk.Start != total {
			t.Fatalf("%+v, %v", blk, err)
		}
		ids, total = append(ids, fmt.Sprint(blk.ID, blk.Transposed)), total+blk.Size
	}
	if total != 1200 || !slices.Equal(ids, []string{"##DTfalse", "##DZfalse", "##DZtrue"}) {
		t.Errorf("%v, %d bytes", ids, total)
	}
}
