package mf4

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
)

// progress replays the only recording and returns what Progress says before the first and after each slice.
func progress(t *testing.T, cfg Config) []float64 {
	t.Helper()
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	p := r.(pipeline.Progresser)
	shares := []float64{p.Progress()}
	for {
		_, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			return append(shares, p.Progress())
		}
		must(t, err)
		shares = append(shares, p.Progress())
	}
}

// wantSteadyProgress checks that no step is longer than a quarter.
func wantSteadyProgress(t *testing.T, shares []float64) {
	t.Helper()
	for i, p := range shares[1:] {
		if p < shares[i] || p > shares[i]+0.25 {
			t.Fatalf("progress %v", shares)
		}
	}
	if shares[0] != 0 || shares[len(shares)-1] != 1 {
		t.Errorf("progress from %v to %v", shares[0], shares[len(shares)-1])
	}
}

func TestProgressGoesFromNothingToAll(t *testing.T) {
	groups := []group{{"fast", []spec{signal("V", "")}, ramp(2000, 200, math.Sin), nil},
		{"slow", []spec{signal("W", "")}, ramp(1, 200, math.Sin), nil}}
	for name, write := range map[string]func(t *testing.T, file string){
		"groups of their own": func(t *testing.T, file string) { record(t, file, groups...) },
		"groups that share":   func(t *testing.T, file string) { unsorted(t, file, groups...) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := setup(t, "")
			write(t, filepath.Join(folder(cfg), "a.mf4"))
			cfg.Signals, cfg.SliceBytes = signals(`{v: {channel: V}, w: {channel: W}}`), 64<<10
			wantSteadyProgress(t, progress(t, cfg))
		})
	}
}

func TestProgressOfARecordingThatWasCutOff(t *testing.T) {
	cfg := setup(t, "")
	file := filepath.Join(folder(cfg), "a.mf4")
	unsorted(t, file, group{"a", []spec{signal("V", "")}, ramp(2000, 200, math.Sin), nil})
	unfinalize(t, file)
	cfg.Signals, cfg.SliceBytes = signals(`{v: {channel: V}}`), 64<<10
	wantSteadyProgress(t, progress(t, cfg))
}

// unfinalize makes a file one that the recorder had no time to finish (MDF 4.2, 5.3, id_unfin_flags): neither records nor the
// last block are counted.
func unfinalize(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	copy(b, "UnFinMF ")
	b[60] = 1<<0 | 1<<2
	must(t, os.WriteFile(file, b, 0o644))
}

func TestProgressGoesOnAfterARestart(t *testing.T) {
	cfg := setup(t, "", group{"a", []spec{signal("V", "")}, ramp(1000, 100, math.Sin), nil})
	cfg.Signals, cfg.SliceBytes = signals(`{v: {channel: V}}`), 64<<10
	items, open := build(t, cfg)
	first, err := open(t.Context(), items[0])
	must(t, err)
	defer first.Close()
	for range 15 {
		_, err := first.Read(t.Context())
		must(t, err)
	}
	state, err := first.Snapshot(t.Context())
	must(t, err)
	second, err := open(t.Context(), items[0])
	must(t, err)
	defer second.Close()
	must(t, second.Restore(t.Context(), state))
	before, after := first.(pipeline.Progresser).Progress(), second.(pipeline.Progresser).Progress()
	if after < before-0.1 || after > before {
		t.Errorf("progress is %v after a restart at %v", after, before)
	}
}
