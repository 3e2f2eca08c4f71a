//go:build unix

package mf4

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
)

func TestLinksInCirclesAndPipesAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	cfg := Defaults
	cfg.Paths, cfg.Signals = pipeline.Strings{filepath.Join(dir, "**", "*.mf4")}, readSignals
	write(t, filepath.Join(dir, "deep", "a.mf4"), "a")
	for _, link := range []string{"x", "y"} { // two circles: their ways double with each turn
		must(t, os.Symlink(dir, filepath.Join(dir, "deep", link)))
	}
	must(t, os.Symlink("a.mf4", filepath.Join(dir, "deep", "linked.mf4")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.mf4"), 0o600))
	items, open := build(t, cfg)
	if len(items) != 2 || items[0].Name != "deep/a.mf4" || items[1].Name != "deep/linked.mf4" {
		t.Errorf("items = %+v", items)
	}
	if w := cfg.Warnings(); len(w) != 1 {
		t.Errorf("warnings = %v", w)
	} else {
		wantText(t, w[0], "pipe.mf4 is not a regular file; it is not replayed")
	}
	_, err := open(t.Context(), pipeline.Item{Name: "pipe.mf4", URL: filepath.Join(dir, "pipe.mf4")})
	wantText(t, err, "pipe.mf4: not a regular file [E-file]", "\n  next: ")
	if !pipeline.IsPermanent(err) {
		t.Error("it is tried again")
	}
}
