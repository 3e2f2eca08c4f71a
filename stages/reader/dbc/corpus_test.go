//go:build corpus

package dbc

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCorpusLoads loads every database of the corpora; what a database has to say is tested with the recordings.
func TestCorpusLoads(t *testing.T) {
	for variable, fallback := range map[string]string{"ROADLOGS": "../../../../shared/roadlogs", "MF4": "../../../../shared/mf4"} {
		folder := os.Getenv(variable)
		if folder == "" {
			folder = fallback
		}
		files, err := filepath.Glob(filepath.Join(folder, "dbc", "*.dbc"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no databases in %s/dbc (%v): set %s to the folder of the corpus", folder, err, variable)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			db, err := Load(filepath.Base(file), raw)
			if err != nil {
				t.Errorf("%v", err)
				continue
			}
			signals := 0
			for _, m := range db.Messages {
				signals += len(m.Signals)
			}
			t.Logf("%s: %d messages, %d signals, %d warnings", db.Name, len(db.Messages), signals, len(db.Warnings))
			for _, w := range db.Warnings[:min(len(db.Warnings), 5)] {
				t.Logf("  %d: %s", w.Line, w.Reason)
			}
		}
	}
}
