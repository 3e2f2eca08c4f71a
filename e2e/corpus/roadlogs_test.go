//go:build corpus

package main

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
)

// TestRoadlogs replays the shared recordings: every expected number must come out.
func TestRoadlogs(t *testing.T) {
	logs := cmp.Or(os.Getenv("ROADLOGS"), filepath.Join("..", "..", "..", "shared", "roadlogs"))
	if _, err := os.Stat(logs); err != nil {
		t.Fatalf("the recordings are missing, set ROADLOGS: %v", err)
	}
	found, err := findRecordings(logs)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.names) < 43 || len(found.missing) > 0 {
		t.Errorf("%d recordings, %v are missing", len(found.names), found.missing)
	}
	call(t, options{build(t), logs, t.TempDir(), filepath.Join(logs, "expected")}, exitDone, "44 passed, 0 failed\n")
}
