package tables

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/milepost-dev/milepost/pipeline"
)

// The table of versions has a row for each version of a result that has rows, or may get some, in order of their first commits.
// The one that ends removes all rows before its own: so it stands first, and a version that has a cursor and no row here was
// replaced, whatever it commits later. Whoever commits holds the lock of the result (or that of the whole file), so the order is
// one for all processes.

// begin makes a version that has no cursor yet the newest one. Those that it comes after, and that have none either, get an empty
// one: they were replaced before they began.
func (s *sink) begin(ctx context.Context, tx *sql.Tx, of pipeline.Origin) error {
	var begun int
	query := s.statement("SELECT count(*) FROM %s WHERE job = $1 AND stage = $2", s.Names.Cursors)
	if err := tx.QueryRowContext(ctx, query, string(of.Job), of.Stage).Scan(&begun); err != nil || begun > 0 {
		return err
	}
	for _, job := range of.After {
		query := s.statement("INSERT INTO %s VALUES ($1, $2, '{}') ON CONFLICT (job, stage) DO NOTHING", s.Names.Cursors)
		if _, err := tx.ExecContext(ctx, query, string(job), of.Stage); err != nil {
			return fmt.Errorf("shut out job %s: %w", job, err)
		}
	}
	query = s.statement("SELECT coalesce(max(began), 0) FROM %s WHERE pipeline = $1 AND item = $2 AND stage = $3", s.Names.Versions)
	var last int64
	if err := tx.QueryRowContext(ctx, query, of.Pipeline, of.Item, of.Stage).Scan(&last); err != nil {
		return fmt.Errorf("look for other versions: %w", err)
	}
	_, err := tx.ExecContext(ctx, s.statement("INSERT INTO %s VALUES ($1, $2, $3, $4, $5)", s.Names.Versions), of.Pipeline, of.Item, of.Stage, last+1, string(of.Job))
	return err
}

// older are the jobs of the versions before one, and whether that one is there: it was not replaced.
func (s *sink) older(ctx context.Context, tx *sql.Tx, of pipeline.Origin) (jobs []string, there bool, err error) {
	query := s.statement("SELECT job FROM %s WHERE pipeline = $1 AND item = $2 AND stage = $3 ORDER BY began", s.Names.Versions)
	rows, err := tx.QueryContext(ctx, query, of.Pipeline, of.Item, of.Stage)
	if err != nil {
		return nil, false, fmt.Errorf("look for older versions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var job string
		if err := rows.Scan(&job); err != nil {
			return nil, false, err
		}
		if job == string(of.Job) {
			return jobs, true, rows.Err()
		}
		jobs = append(jobs, job)
	}
	return nil, false, rows.Err()
}

// remove takes the rows of jobs from a result.
func (s *sink) remove(ctx context.Context, tx *sql.Tx, of pipeline.Origin, jobs []string) error {
	for _, job := range jobs {
		for _, table := range []string{s.Names.Events, s.Names.Batches, s.Names.Signals} {
			if _, err := tx.ExecContext(ctx, s.statement("DELETE FROM %s WHERE job = $1 AND stage = $2", table), job, of.Stage); err != nil {
				return fmt.Errorf("remove the rows of job %s: %w", job, err)
			}
		}
		query := s.statement("DELETE FROM %s WHERE pipeline = $1 AND item = $2 AND stage = $3 AND job = $4", s.Names.Versions)
		if _, err := tx.ExecContext(ctx, query, of.Pipeline, of.Item, of.Stage, job); err != nil {
			return fmt.Errorf("remove job %s: %w", job, err)
		}
	}
	return nil
}

// Replaced implements pipeline.Sink.
func (s *sink) Replaced(ctx context.Context, of pipeline.Origin) (replaced bool, err error) {
	err = s.DB.QueryRowContext(ctx, s.statement(`SELECT EXISTS (SELECT 1 FROM %s WHERE job = $1 AND stage = $2)
		AND NOT EXISTS (SELECT 1 FROM %s WHERE pipeline = $3 AND item = $4 AND stage = $2 AND job = $1)`, s.Names.Cursors, s.Names.Versions),
		string(of.Job), of.Stage, of.Pipeline, of.Item).Scan(&replaced)
	if err != nil {
		err = fmt.Errorf("whether %s was replaced: %w", of, err)
	}
	return replaced, err
}
