package mdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// excerpt writes an excerpt and opens it.
func excerpt(t *testing.T, f *File, c Compression, opts ExcerptOptions) *File {
	t.Helper()
	var m memory
	w, err := NewWriter(&m, WriterOptions{Compression: c, BlockBytes: 60, Start: f.Start, Comment: f.Comment})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Excerpt(context.Background(), w, opts), w.Close()); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, &m)
}

// readable lists the channels of the group that can be read.
func readable(g *ChannelGroup) (chans []*Channel) {
	for _, c := range g.Channels {
		if c.err == nil {
			chans = append(chans, c)
		}
	}
	return chans
}

// checkCopy compares what is read of two groups: raw and physical values, texts, validity, units.
func checkCopy(t *testing.T, want, got *ChannelGroup, wantChans, gotChans []*Channel) {
	t.Helper()
	for _, raw := range []bool{true, false} {
		a, errA := readAll(want, ReadOptions{Raw: raw}, wantChans...)
		b, errB := readAll(got, ReadOptions{Raw: raw}, gotChans...)
		if errA != nil || errB != nil {
			t.Fatalf("group %d: %v, %v", want.Index, errA, errB)
		}
		for i, c := range wantChans { // a structure is its bytes, which are copied where no channel has them only by chance
			if c.Kind() == Struct {
				a.texts[i], b.texts[i] = nil, nil
			}
		}
		bits := cmp.Transformer("bits", math.Float64bits)
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(table{}), bits, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("group %d, raw %v: %s", want.Index, raw, diff)
		}
	}
	for i, c := range wantChans {
		d := gotChans[i]
		if c.Name != d.Name || c.Unit != d.Unit || comment(t, c) != comment(t, d) || c.Type != d.Type || c.BitCount != d.BitCount ||
			c.Sync != d.Sync || (c.Parent == nil) != (d.Parent == nil) {
			t.Errorf("channel %+v became %+v", c, d)
		}
	}
}

func TestExcerptOfEverythingIsTheSame(t *testing.T) {
	for name, data := range seedFiles(t) {
		for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
			t.Run(name, func(t *testing.T) {
				f := mustOpen(t, &memory{data})
				got := excerpt(t, f, c, ExcerptOptions{})
				i := 0
				for _, g := range f.Groups {
					if g.VLSD {
						continue
					}
					copied := got.Groups[i]
					i++
					if g.AcqName != copied.AcqName || g.Bus() != copied.Bus() || g.HasFrames() != copied.HasFrames() {
						t.Errorf("group %+v became %+v", g, copied)
					}
					chans := readable(copied)
					if g.Master == nil && g.RemoteMaster != nil {
						chans = chans[1:] // the times have become a channel
					}
					checkCopy(t, g, copied, readable(g), chans)
				}
				if i != len(got.Groups) || got.Comment != f.Comment || !got.Finalized {
					t.Errorf("%d of %d groups, comment %q", i, len(got.Groups), got.Comment)
				}
			})
		}
	}
}

func TestExcerptTakesTheChosenChannelsOfATime(t *testing.T) {
	b := newBuilder(0)
	list := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
		cn{name: "x", dt: UintLE, off: 8, bits: 32}, cn{name: "nibble", dt: UintLE, off: 10, bit: 4, bits: 4}, cn{name: "low", dt: UintBE, off: 9, bits: 16})
	g := b.groups(cg{cycles: 100, data: 12, first: list[0]})
	b.dg(0, g[0], b.split("DT", samples(100), 50, 333, 1))
	f := mustOpen(t, &b.memory)
	got := excerpt(t, f, TransposedDeflate, ExcerptOptions{From: new(2.0), To: new(5.0), Channels: func(c *Channel) bool { return c.Name == "nibble" || c.Name == "low" }})
	copied := got.Groups[0]
	if len(copied.Channels) != 3 || copied.DataBytes != 10 || copied.Cycles != 24 {
		t.Fatalf("%d channels in %d bytes, %d records", len(copied.Channels), copied.DataBytes, copied.Cycles)
	}
	want, err := readAll(f.Groups[0], ReadOptions{}, f.Groups[0].Channels[2:]...)
	if err != nil {
		t.Fatal(err)
	}
	have, err := readAll(copied, ReadOptions{}, copied.Channels[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	cut := &table{times: want.times[16:40], values: [][]float64{want.values[0][16:40], want.values[1][16:40]}, texts: want.texts, valid: want.valid}
	if diff := cmp.Diff(cut, have, cmp.AllowUnexported(table{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if none := excerpt(t, f, Deflate, ExcerptOptions{Channels: func(*Channel) bool { return false }}); len(none.Groups) != 0 {
		t.Errorf("%d groups of nothing", len(none.Groups))
	}
}

// The raw values of virtual channels are the numbers of the records in the file: without the records in front they would be others.
func TestExcerptOfVirtualChannelsKeepsTheirValues(t *testing.T) {
	for _, sync := range []SyncType{SyncTime, SyncIndex} {
		b := newBuilder(0)
		const n = 2000
		data := make([]byte, 0, 2*n)
		for i := range n {
			data = binary.LittleEndian.AppendUint16(data, uint16(i))
		}
		list := b.channels(cn{name: "t", typ: VirtualMaster, sync: sync, conv: b.conversion(Linear, "", []float64{0, 0.01})},
			cn{name: "n", typ: VirtualData, conv: b.conversion(Linear, "", []float64{5, 2})}, cn{name: "raw", typ: VirtualData}, cn{name: "x", dt: UintLE, bits: 16})
		g := b.groups(cg{cycles: n, data: 2, first: list[0]})
		b.dg(0, g[0], b.split("DT", data, 300))
		alone := b.groups(cg{cycles: n, first: b.channels(cn{name: "t", typ: VirtualMaster, sync: sync, conv: b.conversion(Linear, "", []float64{0, 0.01})})[0]})
		b.dg(0, alone[0], 0)
		from, to := 1000, 1200
		if sync == SyncIndex {
			from, to = 0, n // it is no time: the group is taken whole
		}
		f := mustOpen(t, &b.memory)
		got := excerpt(t, f, TransposedDeflate, ExcerptOptions{From: new(10.0), To: new(12.0)})
		for i, group := range f.Groups {
			copied := got.Groups[i]
			for _, raw := range []bool{true, false} {
				want, err := readAll(group, ReadOptions{Raw: raw})
				if err != nil {
					t.Fatal(err)
				}
				have, err := readAll(copied, ReadOptions{Raw: raw})
				if err != nil {
					t.Fatal(err)
				}
				want.times = want.times[from:to]
				for k := range want.values {
					want.values[k] = want.values[k][from:to]
				}
				if diff := cmp.Diff(want, have, cmp.AllowUnexported(table{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("sync %d, group %d, raw %v: %s", sync, i, raw, diff)
				}
			}
			if virtual := copied.Master.Type == VirtualMaster; virtual != (sync == SyncIndex) || copied.Master.Sync != sync {
				t.Errorf("sync %d, group %d: master %+v", sync, i, copied.Master)
			}
		}
	}
}

func TestExcerptOfACutFileGivesTheTimesInFrontOfTheCut(t *testing.T) {
	f := mustOpen(t, cutFile(60))
	var m memory
	w, err := NewWriter(&m, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Excerpt(context.Background(), w, ExcerptOptions{From: new(7.0), To: new(9.0)}); !IsTruncated(err) {
		t.Errorf("%v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(mustOpen(t, &m).Groups[0], ReadOptions{})
	if err != nil || len(got.times) != 4 || got.times[0] != 7 || got.values[1][3] != 3*59 {
		t.Errorf("%v, %v", got.times, err)
	}
}

func TestExcerptOfDamageGivesWhatIsInFrontOfIt(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(90), 120))
	f := mustOpen(t, &b.memory)
	var m memory
	w, err := NewWriter(&m, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Excerpt(context.Background(), w, ExcerptOptions{}); !IsTruncated(err) {
		t.Errorf("%v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(mustOpen(t, &m).Groups[0], ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, 90)
}

func TestAttachmentsAreWritten(t *testing.T) {
	for _, c := range []Compression{Uncompressed, Deflate} {
		var m memory
		w, err := NewWriter(&m, WriterOptions{Compression: c})
		if err != nil {
			t.Fatal(err)
		}
		data := [][]byte{bytes.Repeat([]byte("calibration "), 100), {}}
		err = errors.Join(w.Attach(AttachmentSpec{Name: "a.hex", MIMEType: "application/octet-stream", Comment: "of the ECU"}, data[0]),
			w.Attach(AttachmentSpec{Name: "b.txt"}, data[1]), w.Close())
		if err != nil {
			t.Fatal(err)
		}
		all, err := mustOpen(t, &m).Attachments()
		if err != nil || len(all) != 2 || all[0].Name != "a.hex" || all[0].Comment != "of the ECU" || all[0].MIMEType != "application/octet-stream" {
			t.Fatalf("%+v, %v", all, err)
		}
		for i, a := range all {
			r, err := a.Open()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := got.ReadFrom(r); err != nil || !bytes.Equal(got.Bytes(), data[i]) || a.MD5 == nil {
				t.Errorf("attachment %d: %d bytes, %v", i, got.Len(), err)
			}
		}
	}
}

func TestExcerptPassesDamage(t *testing.T) {
	b := newBuilder(0)
	group := func(data int64) {
		list := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: UintLE, bits: 32, conv: b.conversion(Linear, "", []float64{-10, 0.5})},
			cn{name: "x", dt: UintLE, off: 4, bits: 32})
		b.dg(0, b.groups(cg{cycles: 100, data: 8, first: list[0]})[0], data)
	}
	data := make([]byte, 800)
	for i := range 100 {
		binary.LittleEndian.PutUint32(data[8*i:], uint32(i))
	}
	blocks := []int64{b.append("DT", nil, data[:160]), b.dz("DT", data[160:400], 0), b.append("DT", nil, data[400:])}
	b.b[blocks[1]+dzHeader+9] ^= 0x55
	group(b.dl(9, blocks...))
	group(1 << 40)
	f := mustOpen(t, &b.memory)
	for _, tt := range []struct {
		from, to *float64
		records  uint64
		lost     int
	}{{nil, nil, 70, 2}, {nil, new(-2.0), 16, 1}, {new(20.0), nil, 40, 1}, {new(-10.0), new(20.0), 30, 2}} {
		var lost []Loss
		got := excerpt(t, f, Uncompressed, ExcerptOptions{From: tt.from, To: tt.to, Lost: func(g *ChannelGroup, l Loss) {
			if l.Err == nil || g != f.Groups[0] && g != f.Groups[1] {
				t.Errorf("%+v", l)
			}
			lost = append(lost, l)
		}})
		if len(got.Groups) != 2 || got.Groups[0].Cycles != tt.records || got.Groups[1].Cycles != 0 || len(lost) != tt.lost {
			t.Errorf("%+v: %d groups, lost %+v", tt, len(got.Groups), lost)
		}
		if len(lost) == 2 && (lost[0].From != 20 || lost[0].To != 50 || lost[0].Before != -0.5 || lost[0].After != 15) {
			t.Errorf("lost %+v", lost)
		}
	}
}

func TestConversionsOfAllTypesAreWritten(t *testing.T) {
	f := mustOpen(t, &conversionFile().memory)
	var m memory
	w, err := NewWriter(&m, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var spec GroupSpec
	var numeric []*Channel
	for _, c := range f.Groups[0].Channels {
		if c.Conversion != nil && c.DataType <= IntBE {
			numeric = append(numeric, c)
			spec.Channels = append(spec.Channels, ChannelSpec{Name: c.Name, DataType: c.DataType, Bits: 16, Conversion: c.Conversion})
		}
	}
	g, err := w.AddGroup(spec)
	if err != nil {
		t.Fatal(err)
	}
	want, err := readAll(f.Groups[0], ReadOptions{}, numeric...)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := readAll(f.Groups[0], ReadOptions{Raw: true}, numeric...)
	if err != nil {
		t.Fatal(err)
	}
	cols := make([]Samples, len(numeric))
	for i := range cols {
		cols[i].Float = raw.values[i]
	}
	if err := errors.Join(g.Append(raw.times, cols...), w.Close()); err != nil {
		t.Fatal(err)
	}
	got := mustOpen(t, &m).Groups[0]
	have, err := readAll(got, ReadOptions{}, got.Channels[1:]...)
	if err != nil || len(numeric) < 7 {
		t.Fatalf("%d channels, %v", len(numeric), err)
	}
	if diff := cmp.Diff(want, have, cmp.AllowUnexported(table{}), cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	if _, err := w.AddGroup(GroupSpec{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	w, _ = NewWriter(&memory{}, WriterOptions{})
	for _, bad := range []*Conversion{{Type: Linear}, {Type: 99}, {Type: Algebraic, Formula: "X +"}, {Type: ValueToText, Values: []float64{1, 2, 3}}} {
		if _, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "x", DataType: UintLE, Bits: 8, Conversion: bad}}}); err == nil {
			t.Errorf("%+v is written", bad)
		}
	}
}

// A clock that was set back, once or for good, hides no record of the range from an excerpt.
func TestExcerptOfTimesThatStepBack(t *testing.T) {
	const n = 1000
	times := map[string]func(i int) float64{
		"one record":       func(i int) float64 { return float64(i) * float64(min(1, abs(i-n/2))) },
		"the second half":  func(i int) float64 { return float64(i % (n / 2)) },
		"a few at the end": func(i int) float64 { return float64(i) - 900*float64(max(0, i-n+11)/10) },
	}
	for name, at := range times {
		var m memory
		w, err := NewWriter(&m, WriterOptions{BlockBytes: 400})
		if err != nil {
			t.Fatal(err)
		}
		g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "x", DataType: UintLE, Bits: 32}}})
		if err != nil {
			t.Fatal(err)
		}
		all, x := make([]float64, n), make([]uint64, n)
		from, to, want := 30.0, 60.0, 0
		for i := range all {
			if all[i], x[i] = at(i), uint64(i); all[i] >= from && all[i] < to {
				want++
			}
		}
		if err := errors.Join(g.Append(all, Samples{Uint: x}), w.Close()); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(excerpt(t, mustOpen(t, &m), Uncompressed, ExcerptOptions{From: &from, To: &to}).Groups[0], ReadOptions{})
		if err != nil || len(got.times) != want || want < 30 {
			t.Errorf("%s: %d records, %v, want %d", name, len(got.times), err, want)
		}
	}
}

func abs(n int) int { return max(n, -n) }
