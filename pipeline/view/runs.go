package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A Run is what one `run` set out to do in one pipeline: a closed list of items. A job that was finished before belongs to it
// too, so the jobs themselves cannot tell.
type Run struct {
	Pipeline, Name string
	At             time.Time // when it began, for the last time
	Items          []string
}

// PutRun stores a run, in the place of one of the same name.
func (s *Store) PutRun(ctx context.Context, r Run) error {
	items, err := json.Marshal(r.Items)
	if err != nil {
		return err
	}
	err = s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", r.Pipeline, r.Name, nanos(r.At), string(items))
		return err
	})
	if err != nil {
		return fmt.Errorf("store run %s of %s: %w", r.Name, r.Pipeline, err)
	}
	s.mu.Lock()
	s.remember(r)
	s.mu.Unlock()
	s.signal()
	return nil
}

// remember puts a run before all others of its pipeline; s.mu is held.
func (s *Store) remember(r Run) {
	older := slices.DeleteFunc(slices.Clone(s.runs[r.Pipeline]), func(o Run) bool { return o.Name == r.Name })
	s.runs[r.Pipeline] = append([]Run{r}, older...)
}

func (s *Store) loadRuns(ctx context.Context) error {
	rows, err := s.read.QueryContext(ctx, "SELECT pipeline, run, at_ns, items FROM runs ORDER BY at_ns, run")
	if err != nil {
		return fmt.Errorf("load runs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Run
		var at int64
		var items []byte
		if err := rows.Scan(&r.Pipeline, &r.Name, &at, &items); err != nil {
			return fmt.Errorf("load runs: %w", err)
		}
		if err := json.Unmarshal(items, &r.Items); err != nil {
			return fmt.Errorf("load run %s: %w", r.Name, err)
		}
		r.At = time.Unix(0, at).UTC()
		s.remember(r)
	}
	return rows.Err()
}

// Runs lists the runs of a pipeline, the one that began last first. The list is not to be changed.
func (s *Store) Runs(pipeline string) []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[pipeline]
}
