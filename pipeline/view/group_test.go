package view

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func TestChangesOfAGroupAreStoredApart(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.write.db.Exec("CREATE TABLE numbers (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad")
	var writers sync.WaitGroup
	for n := range 200 {
		writers.Go(func() {
			err := s.write.run(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, "INSERT INTO numbers VALUES (?)", n); err != nil {
					return err
				}
				if n%3 == 0 {
					return fmt.Errorf("%d: %w", n, bad)
				}
				return nil
			})
			if errors.Is(err, bad) != (n%3 == 0) {
				t.Errorf("change %d: %v", n, err)
			}
		})
	}
	writers.Wait()
	var stored, wrong int
	if err := s.read.QueryRow("SELECT count(*), count(*) FILTER (WHERE n % 3 = 0) FROM numbers").Scan(&stored, &wrong); err != nil {
		t.Fatal(err)
	}
	if stored != 133 || wrong != 0 {
		t.Errorf("%d numbers are stored, %d of them should not be; want 133", stored, wrong)
	}
}

func TestAChangeWhoseCallerHasGoneIsNotStored(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.write.run(ctx, func(context.Context, *sql.Tx) error { t.Error("it was done"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
