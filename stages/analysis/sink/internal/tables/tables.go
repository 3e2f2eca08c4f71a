// Package tables is what the sinks into SQL databases share: documents, tables and cursors as rows.
//
// Rows and cursor go in one transaction that compares the cursor it began with. Batches wait in memory until then, so no lock
// is held between two calls and several processes may share the database.
//
// The transaction that stores the end of a version of a result takes the rows of all older ones away. While it is being written
// its rows stand beside those of an older one, told apart by job. See versions.go.
package tables

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Names are those of the tables. Their columns, in this order, and keys:
//
//	Cursors  job, stage, cursor; (job, stage)
//	Versions pipeline, item, stage, began, job; (pipeline, item, stage, began)
//	Events   job, stage, sequence, row, pipeline, item, type, time, doc; (job, stage, sequence, row)
//	Batches  job, stage, sequence, name, pipeline, item, type, start, from_ns, to_ns, rows; (job, stage, sequence, name)
//	Signals  job, stage, sequence, name, signal, row, t_ns, value; (job, stage, sequence, name, signal, row)
//	Fleet    run, pipeline, stage, type, doc; (run, pipeline, stage, type)
type Names struct{ Cursors, Versions, Events, Batches, Signals, Fleet string }

// A Database is an open one whose tables are there.
type Database struct {
	DB     *sql.DB
	Names  Names
	Values bool // each value of each signal is stored too

	Argument string // what stands before an argument's number in a statement: $ or ?
	Lock     string // has a transaction wait for others about the same result, which is its argument; "" where all wait for each other anyhow
	Signal   func(ctx context.Context, tx *sql.Tx, s Signal) error
}

// A Signal is one signal of one table of a batch, to be stored.
type Signal struct {
	Job, Stage, Table, Name string
	Sequence                int64
	Times                   []int64    // nanoseconds since the recording's start
	Values                  []*float64 // nil where there is none
}

type sink struct {
	Database

	mu      sync.Mutex
	pending map[schemas.ChainID]map[uint64]pipeline.Batch // since the last commit, by sequence; memory of our own
}

// Sink stores into the database, which it closes.
func Sink(d Database) pipeline.Sink {
	return &sink{Database: d, pending: map[schemas.ChainID]map[uint64]pipeline.Batch{}}
}

// statement is one in the database's own words; it is written with $1 for the first argument.
func (s *sink) statement(format string, names ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, names...), "$", s.Argument)
}

// Cursor implements pipeline.Sink. It drops what was written and not committed.
func (s *sink) Cursor(ctx context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	s.take(id)
	return s.stored(ctx, s.DB, id)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *sink) stored(ctx context.Context, q querier, id schemas.ChainID) (c schemas.Cursor, err error) {
	var text []byte
	err = q.QueryRowContext(ctx, s.statement("SELECT cursor FROM %s WHERE job = $1 AND stage = $2", s.Names.Cursors), string(id.Job), id.Stage).Scan(&text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return c, nil
	case err == nil:
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		err = fmt.Errorf("cursor of %s: %w", id, err)
	}
	return c, err
}

// take removes and returns what waits for the chain's commit.
func (s *sink) take(id schemas.ChainID) map[uint64]pipeline.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[id]
	delete(s.pending, id)
	return p
}

// Write implements pipeline.Sink.
func (s *sink) Write(_ context.Context, b pipeline.Batch) error {
	kept := b
	kept.Docs = make([]pipeline.Doc, len(b.Docs))
	for i, d := range b.Docs {
		kept.Docs[i] = slices.Clone(d)
	}
	kept.Tables = make([]pipeline.Table, len(b.Tables))
	for i, t := range b.Tables {
		var err error
		if kept.Tables[i], err = s.keep(t); err != nil {
			return pipeline.Permanent(fmt.Errorf("event %d of %s: %w", b.Sequence, b.Item, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	if s.pending[id] == nil {
		s.pending[id] = map[uint64]pipeline.Batch{}
	}
	s.pending[id][b.Sequence] = kept
	return nil
}

// keep copies a table, its time column alone where values are not stored.
func (s *sink) keep(t pipeline.Table) (pipeline.Table, error) {
	var columns []schemas.Column
	for _, name := range t.Signals() {
		if v := t.Float64(name); v != nil && s.Values {
			columns = append(columns, schemas.Column{Name: name, Float64: slices.Clone(v)})
		} else if v := t.Int64(name); v != nil && s.Values {
			columns = append(columns, schemas.Column{Name: name, Int64: slices.Clone(v)})
		}
	}
	return schemas.NewTable(t.Name, slices.Clone(t.Times()), columns...)
}

// Commit implements pipeline.Sink.
func (s *sink) Commit(ctx context.Context, of pipeline.Origin, from, to schemas.Cursor) error {
	batches := s.take(of.ChainID)
	err := s.transaction(ctx, func(tx *sql.Tx) error {
		if s.Lock != "" { // a chain is of one result, so this is its lock too
			if _, err := tx.ExecContext(ctx, s.Lock, of.Pipeline+"/"+of.Item+"/"+of.Stage); err != nil {
				return err
			}
		}
		stored, err := s.stored(ctx, tx, of.ChainID)
		if err != nil {
			return err
		}
		if !stored.SameInput(from) {
			return pipeline.ErrStale
		}
		if err := s.store(ctx, tx, of, batches, to.Ended()); err != nil {
			return err
		}
		text, err := json.Marshal(to)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.statement("INSERT INTO %s VALUES ($1, $2, $3) ON CONFLICT (job, stage) DO UPDATE SET cursor = excluded.cursor", s.Names.Cursors),
			string(of.Job), of.Stage, string(text))
		return err
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", of, err)
	}
	return nil
}

// store stores batches of a version, unless it was replaced. The first of it make it the newest one, the last the only one.
func (s *sink) store(ctx context.Context, tx *sql.Tx, of pipeline.Origin, batches map[uint64]pipeline.Batch, last bool) error {
	if err := s.begin(ctx, tx, of); err != nil {
		return err
	}
	older, there, err := s.older(ctx, tx, of)
	if err != nil || !there {
		return err
	}
	for _, sequence := range slices.Sorted(maps.Keys(batches)) {
		if err := s.insert(ctx, tx, batches[sequence]); err != nil {
			return fmt.Errorf("event %d: %w", sequence, err)
		}
	}
	if last {
		return s.remove(ctx, tx, of, older)
	}
	return nil
}

func (s *sink) transaction(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return cmp.Or(err, tx.Rollback())
	}
	return tx.Commit()
}

// insert stores one batch in the place of what was stored under its sequence.
func (s *sink) insert(ctx context.Context, tx *sql.Tx, b pipeline.Batch) error {
	for _, table := range []string{s.Names.Events, s.Names.Batches, s.Names.Signals} {
		query := s.statement("DELETE FROM %s WHERE job = $1 AND stage = $2 AND sequence = $3", table)
		if _, err := tx.ExecContext(ctx, query, string(b.Job), b.Stage, int64(b.Sequence)); err != nil {
			return err
		}
	}
	for row, d := range b.Docs {
		_, err := tx.ExecContext(ctx, s.statement("INSERT INTO %s VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", s.Names.Events), string(b.Job), b.Stage,
			int64(b.Sequence), row, b.Pipeline, b.Item, b.Type, b.Time().UTC().Format(time.RFC3339Nano), string(d))
		if err != nil {
			return err
		}
	}
	for _, t := range b.Tables {
		if err := s.insertTable(ctx, tx, b, t); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	return nil
}

func (s *sink) insertTable(ctx context.Context, tx *sql.Tx, b pipeline.Batch, t pipeline.Table) error {
	_, err := tx.ExecContext(ctx, s.statement("INSERT INTO %s VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", s.Names.Batches), string(b.Job), b.Stage,
		int64(b.Sequence), t.Name, b.Pipeline, b.Item, b.Type, b.Start.UTC().Format(time.RFC3339Nano), int64(b.From), int64(b.To), t.Rows())
	for _, name := range t.Signals() {
		if err != nil {
			break
		}
		err = s.Signal(ctx, tx, Signal{string(b.Job), b.Stage, t.Name, name, int64(b.Sequence), t.Times(), valuesOf(t, name)})
	}
	return err
}

// valuesOf are a signal's; what is not a number is none.
func valuesOf(t pipeline.Table, name string) []*float64 {
	floats, ints := t.Float64(name), t.Int64(name)
	values := make([]float64, t.Rows())
	pointers := make([]*float64, len(values))
	for row := range values {
		if floats != nil {
			values[row] = floats[row]
		} else {
			values[row] = float64(ints[row])
		}
		if !math.IsNaN(values[row]) {
			pointers[row] = &values[row]
		}
	}
	return pointers
}

// WriteFleet implements pipeline.FleetSink.
func (s *sink) WriteFleet(ctx context.Context, run string, b pipeline.Batch) error {
	if len(b.Docs) == 0 {
		return nil
	}
	query := s.statement("INSERT INTO %s VALUES ($1, $2, $3, $4, $5) ON CONFLICT (run, pipeline, stage, type) DO UPDATE SET doc = excluded.doc", s.Names.Fleet)
	if _, err := s.DB.ExecContext(ctx, query, run, b.Pipeline, b.Stage, b.Type, string(b.Docs[len(b.Docs)-1])); err != nil {
		return fmt.Errorf("store the fleet result of run %s: %w", run, err)
	}
	return nil
}

// Close implements io.Closer.
func (s *sink) Close() error { return s.DB.Close() }
