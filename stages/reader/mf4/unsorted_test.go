package mf4

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
)

// blockFile writes MDF blocks by hand, since the writer of package mdf writes sorted files only.
type blockFile struct{ b []byte }

// block appends a block and returns its offset (MDF 4.2, 5.2.1: id, length, number of links, links, data).
func (f *blockFile) block(id string, links []int64, data []byte) int64 {
	for len(f.b)%8 != 0 {
		f.b = append(f.b, 0)
	}
	off := int64(len(f.b))
	f.b = append(f.b, "##"+id+"\x00\x00\x00\x00"...)
	f.b = binary.LittleEndian.AppendUint64(f.b, uint64(24+8*len(links)+len(data)))
	f.b = binary.LittleEndian.AppendUint64(f.b, uint64(len(links)))
	for _, l := range links {
		f.b = binary.LittleEndian.AppendUint64(f.b, uint64(l))
	}
	f.b = append(f.b, data...)
	return off
}

func (f *blockFile) channel(next int64, name string, kind, sync byte, offset uint32) int64 {
	text := f.block("TX", nil, append([]byte(name), 0))
	d := make([]byte, 72)
	d[0], d[1], d[2] = kind, sync, 4 // cn_type, cn_sync_type, cn_data_type: float, little-endian
	binary.LittleEndian.PutUint32(d[4:], offset)
	binary.LittleEndian.PutUint32(d[8:], 64)
	return f.block("CN", []int64{next, 0, text, 0, 0, 0, 0, 0}, d)
}

// unsorted writes groups into one data group, records in the order of their times, each behind a byte with its group's id.
func unsorted(t *testing.T, file string, groups ...group) {
	t.Helper()
	type record struct {
		t    float64
		data []byte
	}
	var records []record
	f := &blockFile{b: make([]byte, 64)}
	copy(f.b, "MDF     4.10    test    ")
	binary.LittleEndian.PutUint16(f.b[28:], 410)
	hd := make([]byte, 32)
	binary.LittleEndian.PutUint64(hd, uint64(began.UnixNano()))
	f.block("HD", make([]int64, 6), hd)
	cg := int64(0)
	for id, g := range slices.Backward(groups) {
		next := int64(0)
		for i, c := range slices.Backward(g.chans) {
			next = f.channel(next, c.Name, 0, 0, uint32(8+8*i))
		}
		first := f.channel(next, "time", 2, 1, 0)
		d := make([]byte, 32)
		binary.LittleEndian.PutUint64(d, uint64(id+1))
		binary.LittleEndian.PutUint64(d[8:], uint64(len(g.rows)))
		binary.LittleEndian.PutUint32(d[24:], uint32(8+8*len(g.chans)))
		cg = f.block("CG", []int64{cg, first, f.block("TX", nil, append([]byte(g.name), 0)), 0, 0, 0}, d)
		for _, row := range g.rows {
			data := []byte{byte(id + 1)}
			for _, v := range row {
				data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
			}
			records = append(records, record{row[0], data})
		}
	}
	slices.SortStableFunc(records, func(a, b record) int { return int(math.Round(1e6 * (a.t - b.t))) })
	var data []byte
	for _, r := range records {
		data = append(data, r.data...)
	}
	dg := f.block("DG", []int64{0, cg, f.block("DT", nil, data), 0}, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	binary.LittleEndian.PutUint64(f.b[64+24:], uint64(dg))
	must(t, os.WriteFile(file, f.b, 0o644))
}

// TestUnsortedGroupsReadInOnePassAsSortedOnes compares a recording with its unsorted twin and cuts that at every slice.
func TestUnsortedGroupsReadInOnePassAsSortedOnes(t *testing.T) {
	groups := []group{
		{"fast", []spec{signal("L", ""), signal("R", ""), signal("Brake", "")}, ramp(200, 250, math.Sin, math.Cos, constant(1)), nil},
		{"slow", []spec{signal("Yaw", "")}, ramp(1, 250, math.Sin), nil},
		{"radar", []spec{signal("X", ""), signal("Y", ""), signal("V", ""), signal("Ok", ""), signal("New", "")},
			ramp(20, 150, math.Sin, math.Cos, math.Sin, constant(1), constant(0)), nil},
	}
	cfg := setup(t, physical, groups...)
	cfg.SliceMax = time.Minute
	want := tables(readOnly(t, cfg))
	unsorted(t, filepath.Join(folder(cfg), "a.mf4"), groups...)
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	for _, s := range r.(*recordingReader).plan.sources {
		if _, ok := s.in.(*member); !ok {
			t.Errorf("group %s is not read in one pass with the others", s.group.AcqName)
		}
	}
	must(t, r.Close())
	got := tables(readOnly(t, cfg))
	for name := range want {
		wantRows(t, got[name], want[name])
	}
	if len(got) != len(want) {
		t.Errorf("%d tables, want %d", len(got), len(want))
	}
	pipelinetest.TestReader(t, Type, cfg, items[0])
}
