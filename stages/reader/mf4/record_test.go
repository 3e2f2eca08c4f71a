package mf4

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

var began = time.Date(2026, 10, 3, 8, 12, 44, 0, time.UTC)

// group is a channel group to write: the first column is the time in seconds.
type group struct {
	name  string
	chans []mdf.ChannelSpec
	rows  [][]float64
	bad   map[int][]int // rows in which a channel (from 0) is invalid
}

type spec = mdf.ChannelSpec

func signal(name, unit string) spec {
	return mdf.ChannelSpec{Name: name, Unit: unit, DataType: mdf.FloatLE, Bits: 64, Invalidation: true}
}

func record(t testing.TB, file string, groups ...group) {
	t.Helper()
	w, err := mdf.Create(file, mdf.WriterOptions{Start: began, Compression: mdf.TransposedDeflate, BlockBytes: 4096})
	must(t, err)
	for _, g := range groups {
		gw, err := w.AddGroup(mdf.GroupSpec{AcqName: g.name, Channels: g.chans})
		must(t, err)
		times := make([]float64, len(g.rows))
		cols := make([]mdf.Samples, len(g.chans))
		for c := range g.chans {
			cols[c] = mdf.Samples{Float: make([]float64, len(g.rows)), Valid: make([]bool, len(g.rows))}
			for i, row := range g.rows {
				times[i], cols[c].Float[i], cols[c].Valid[i] = row[0], row[c+1], true
			}
			for _, i := range g.bad[c] {
				cols[c].Valid[i] = false
			}
		}
		must(t, gw.Append(times, cols...))
	}
	must(t, w.Close())
}

func recordFrames(t testing.TB, file string, frames ...mdf.Frame) {
	t.Helper()
	w, err := mdf.Create(file, mdf.WriterOptions{Start: began})
	must(t, err)
	fw, err := w.AddFrames(mdf.FrameSpec{})
	must(t, err)
	for _, f := range frames {
		must(t, fw.Append(f))
	}
	must(t, w.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(text), 0o644))
}

// setup is a folder with a recording a.mf4 of groups and a bindings file, and the configuration that reads it.
func setup(t testing.TB, bindings string, groups ...group) Config {
	t.Helper()
	dir := t.TempDir()
	cfg := Defaults
	cfg.SliceMax = 10 * time.Second // so that a short recording has several slices
	cfg.Paths = pipeline.Strings{filepath.Join(dir, "*.mf4")}
	if len(groups) > 0 {
		record(t, filepath.Join(dir, "a.mf4"), groups...)
	}
	if bindings != "" {
		cfg.Bindings = filepath.Join(dir, "signals.yaml")
		write(t, cfg.Bindings, bindings)
	}
	return cfg
}

func folder(c Config) string { return filepath.Dir(c.Paths[0]) }

// items assembles the stage as the engine does.
func build(t testing.TB, cfg Config) ([]pipeline.Item, pipeline.Open[pipeline.Reader]) {
	t.Helper()
	parts, err := Type.Assemble(t.Context(), &cfg)
	must(t, err)
	items, err := parts.List(t.Context())
	must(t, err)
	return items, parts.Reader
}

// failure is the error of replaying the only item.
func failure(t *testing.T, cfg Config) error {
	t.Helper()
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := r.Read(t.Context()); err != nil {
			return err
		}
	}
}

// ramp is rows at a rate [Hz] for a duration [s] with values of the time.
func ramp(rate, duration float64, values ...func(t float64) float64) [][]float64 {
	var rows [][]float64
	for i := 0; float64(i) < rate*duration; i++ {
		t := float64(i) / rate
		row := []float64{t}
		for _, v := range values {
			row = append(row, v(t))
		}
		rows = append(rows, row)
	}
	return rows
}

func constant(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error lacks %q:\n%v", p, err)
		}
	}
}

// rename writes another text of the same length where the first stands in a recording.
func rename(t testing.TB, file, from, to string) {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	if !strings.Contains(string(data), from) || len(from) != len(to) {
		t.Fatalf("no %q in %s", from, file)
	}
	must(t, os.WriteFile(file, []byte(strings.Replace(string(data), from, to, 1)), 0o644))
}
