package mf4

import (
	"errors"
	"io"
	"math"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// canDrive is a recording of two buses: 1000 frames a second, of which 120 are bound.
func canDrive(t testing.TB, seconds int) Config {
	var frames []mdf.Frame
	for i := range 1000 * seconds {
		at := float64(i) / 1000
		switch {
		case i%10 == 0:
			frames = append(frames, wheels(at, 1, uint16(i), uint16(i), 1))
		case i%50 == 1:
			frames = append(frames, mdf.Frame{Time: at, Bus: 2, ID: 528, Data: []byte{0x10, 0x27, 0xF6, 0x9C, 0xFF, 1}})
		default:
			frames = append(frames, mdf.Frame{Time: at, Bus: 2, ID: uint32(0x300 + i%100), Data: []byte{byte(i), 2, 3, 4, 5, 6, 7, 8}})
		}
	}
	return canSetup(t, frames...)
}

// rowsOf replays a recording and counts its rows.
func rowsOf(t testing.TB, open pipeline.Open[pipeline.Reader], it pipeline.Item) int {
	r, err := open(t.Context(), it)
	must(t, err)
	defer r.Close()
	for rows := 0; ; {
		b, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			return rows
		}
		must(t, err)
		rows += b.Rows()
	}
}

func TestRowsAreReadWithoutAllocatingForEach(t *testing.T) {
	items, open := build(t, canDrive(t, 60))
	rows := 0
	allocs := testing.AllocsPerRun(3, func() { rows = rowsOf(t, open, items[0]) })
	if allocs > float64(rows)/4 {
		t.Errorf("%.0f allocations for %d rows", allocs, rows)
	}
}

func BenchmarkReadFrames(b *testing.B) {
	benchmark(b, canDrive(b, 120), 120)
}

func BenchmarkReadChannels(b *testing.B) {
	cfg := setup(b, "", group{"fast", []spec{signal("A", ""), signal("B", ""), signal("C", "")}, ramp(1000, 120, math.Sin, math.Cos, math.Sin), nil},
		group{"slow", []spec{signal("D", "")}, ramp(10, 120, math.Sin), nil})
	cfg.Signals = signals(`{a: {channel: A}, b: {channel: B}, c: {channel: C}, d: {channel: D}}`)
	benchmark(b, cfg, 120)
}

// benchmark reports road seconds, where the recording's are known, and rows a second besides the bytes of the file.
func benchmark(b *testing.B, cfg Config, roadSeconds float64) {
	items, open := build(b, cfg)
	b.SetBytes(items[0].Bytes)
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		rows = rowsOf(b, open, items[0])
	}
	perSecond := float64(b.N) / b.Elapsed().Seconds()
	if roadSeconds > 0 {
		b.ReportMetric(roadSeconds*perSecond, "road-s/s")
	}
	b.ReportMetric(float64(rows)*perSecond, "rows/s")
	b.Logf("%s, %d rows", filepath.Base(items[0].URL), rows)
}
