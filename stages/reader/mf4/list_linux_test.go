package mf4

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
)

// Linux takes any bytes for a file's name; other systems refuse such a name themselves.
func TestNamesThatAreNotUTF8AreRefused(t *testing.T) {
	cfg := setup(t, "")
	cfg.Signals = readSignals
	cfg.Paths = pipeline.Strings{filepath.Join(folder(cfg), "*.mf4")}
	must(t, os.WriteFile(filepath.Join(folder(cfg), "drive_M\xfcnchen.mf4"), nil, 0o600))
	_, err := new(lister).list(t.Context(), cfg)
	wantText(t, err, `drive_M\xfcnchen.mf4" is not UTF-8`, "rename it")
}
