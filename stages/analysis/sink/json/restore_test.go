package jsonsink

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

func TestRestorePutsBackWhatIsNotThere(t *testing.T) {
	for _, form := range []string{FormLines, FormDocument} {
		t.Run(form, func(t *testing.T) {
			folder := t.TempDir()
			s, err := open(configOf(folder, form))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			batches := []pipeline.Batch{doc(1, `{"n":1}`), doc(3, `{"n":3}`)}
			for _, b := range batches {
				if err := s.Write(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Commit(t.Context(), origin, schemas.Cursor{}, ended(4)); err != nil {
				t.Fatal(err)
			}
			want, err := dump(folder)
			if err != nil {
				t.Fatal(err)
			}
			restored := func(when string, n int) {
				t.Helper()
				got, err := s.Restore(t.Context(), origin, batches)
				if err != nil || got != n {
					t.Errorf("%s: %d files restored, want %d; %v", when, got, n, err)
				}
				if there, err := dump(folder); err != nil || there != want {
					t.Errorf("%s: %s, want %s; %v", when, there, want, err)
				}
				if c, err := s.Cursor(t.Context(), chainID); err != nil || !c.SameInput(ended(4)) {
					t.Errorf("%s: the cursor is %+v, %v", when, c, err)
				}
			}
			restored("untouched", 0)
			if err := os.Remove(filepath.Join(folder, "p/kpi/drive.json")); err != nil {
				t.Fatal(err)
			}
			restored("removed", 1)
			other := doc(1, `{"n":7}`)
			other.Job = "j-2"
			if err := s.Write(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(t.Context(), originOf(other), schemas.Cursor{}, ended(2)); err != nil {
				t.Fatal(err)
			}
			restored("of another version", 1)
			if n, err := s.Restore(t.Context(), origin, nil); n != 0 || err != nil {
				t.Errorf("nothing to restore: %d, %v", n, err)
			}
		})
	}
}
