package mf4

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// faultyFile is a file on a share of which one read fails, counted down by left.
type faultyFile struct {
	*os.File
	left int
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left == 0 {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// replay reads a recording whole, through a file of which one read fails.
func replay(t *testing.T, cfg Config, file *faultyFile) (map[string][][]float64, error) {
	t.Helper()
	lib, err := newLibrary(cfg)
	must(t, err)
	r, err := newReader(lib, cfg, 0, "a.mf4", file)
	if err != nil {
		return nil, err
	}
	r.close = func() error { return nil }
	defer r.Close()
	all := map[string][][]float64{}
	for {
		b, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		for name, rows := range tables([]pipeline.Batch{b}) {
			all[name] = append(all[name], rows...)
		}
	}
}

// A share that fails for a moment is no damage: whichever read fails, with `on_corrupt: keep` too, nothing is left out, and the job is
// tried again.
func TestAShareThatFailsForAMomentIsNoDamage(t *testing.T) {
	wave := func(t float64) float64 { return float64(int(t*7919) % 1000) }
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "km/h")}, ramp(100, 60, wave), nil},
		group{"b", []mdf.ChannelSpec{signal("W", "")}, ramp(10, 60, wave), nil})
	cfg.Signals = signals(`{v: {channel: V}, w: {channel: W}}`)
	f, err := os.Open(filepath.Join(folder(cfg), "a.mf4"))
	must(t, err)
	defer f.Close()
	want, err := replay(t, cfg, &faultyFile{File: f})
	must(t, err)
	for _, cfg.OnCorrupt = range []string{CorruptFail, CorruptKeep} {
		failed := 0
		for fail := 1; ; fail++ {
			file := &faultyFile{File: f, left: fail}
			got, err := replay(t, cfg, file)
			if file.left > 0 {
				break
			}
			if err == nil {
				if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
					t.Fatalf("read %d fails: %s", fail, d)
				}
				continue
			}
			failed++
			if pipeline.IsPermanent(err) {
				t.Errorf("read %d fails: not tried again: %v", fail, err)
			}
			wantText(t, err, "a.mf4: ", "input/output error")
		}
		if failed < 3 {
			t.Errorf("%s: %d reads can fail", cfg.OnCorrupt, failed)
		}
	}
}
