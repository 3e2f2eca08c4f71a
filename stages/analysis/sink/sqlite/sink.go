// Package sqlite stores documents, and signals if asked to, in one SQLite file that any tool can query.
//
// Rows and cursor go in one transaction that compares the cursor it began with. Batches wait in memory until then, so no lock
// is held between two calls and several processes may share the file. Tables:
//
//	events   a row a document, keyed (job, stage, sequence, row)
//	batches  a row a table of a batch: how many rows, over which stretch
//	signals  with `tables: true`, a row a value
//	fleet    the fleet results of each run, keyed (run, pipeline, stage, type)
//	cursors  how far each (job, stage) is stored
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	driver "modernc.org/sqlite" // "sqlite", without C
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Config is the sink's `with:` block.
type Config struct {
	Path   string `yaml:"path" required:"true" doc:"The SQLite file; it and its folder are made if they are not there."`
	Tables bool   `yaml:"tables" doc:"Store each value of each signal too; about 60 bytes a value."`
}

// Type is what a registry lists as sink/sqlite.
var Type = pipeline.SinkType[Config]{
	Name: "sink/sqlite", Summary: "all documents in one SQLite file, to query", Version: "1",
	Accepts: []string{pipeline.Any},
	Build:   open,
}

// Validate refuses a missing path.
func (c Config) Validate() error {
	if c.Path == "" {
		return pipeline.FieldErrorf("path", "names no file")
	}
	return nil
}

const schema = `
CREATE TABLE IF NOT EXISTS cursors (
	job TEXT, stage TEXT, cursor TEXT NOT NULL, PRIMARY KEY (job, stage)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
	job TEXT, stage TEXT, sequence INTEGER, row INTEGER, pipeline TEXT, item TEXT, type TEXT, time TEXT, doc TEXT,
	PRIMARY KEY (job, stage, sequence, row)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_type ON events (type, item);
CREATE TABLE IF NOT EXISTS batches (
	job TEXT, stage TEXT, sequence INTEGER, name TEXT, pipeline TEXT, item TEXT, type TEXT, start TEXT, from_ns INTEGER, to_ns INTEGER,
	rows INTEGER, PRIMARY KEY (job, stage, sequence, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signals (
	job TEXT, stage TEXT, sequence INTEGER, name TEXT, signal TEXT, row INTEGER, t_ns INTEGER, value REAL,
	PRIMARY KEY (job, stage, sequence, name, signal, row)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fleet (
	run TEXT, pipeline TEXT, stage TEXT, type TEXT, doc TEXT NOT NULL, PRIMARY KEY (run, pipeline, stage, type)) WITHOUT ROWID;
`

type sink struct {
	db     *sql.DB
	tables bool

	mu      sync.Mutex
	pending map[schemas.ChainID]map[uint64]pipeline.Batch // since the last commit, by sequence; memory of our own
}

// open makes or opens the file. Transactions take the write lock at once (two that began by reading could not both go on),
// and wait for it up to ten seconds.
func open(ctx context.Context, c Config) (pipeline.Sink, error) {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		return nil, pipeline.FileError("make the folder of "+c.Path, err)
	}
	options := "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: c.Path}).EscapedPath()+"?"+options)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Path, err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(openError(c.Path, err), db.Close())
	}
	return &sink{db: db, tables: c.Tables, pending: map[schemas.ChainID]map[uint64]pipeline.Batch{}}, nil
}

// openError says what is wrong with a file, and what helps.
func openError(path string, err error) error {
	next := "`ls -l` on it and its folder shows who may write there"
	if e := (*driver.Error)(nil); errors.As(err, &e) {
		switch e.Code() & 0xff { // the rest tells kinds of it apart
		case sqlite3.SQLITE_NOTADB:
			next = "it is another kind of file: give path the name of a new one, or of a SQLite file"
		case sqlite3.SQLITE_CORRUPT:
			next = "it is damaged: move it away; the next run writes the results of finished recordings again"
		case sqlite3.SQLITE_FULL:
			next = "make room on that disk, or give another path"
		case sqlite3.SQLITE_BUSY:
			next = "another program holds it locked: close that"
		}
	}
	return fmt.Errorf("open %s: %w [E-file]\n  next: %s", path, err, next)
}

// Cursor implements pipeline.Sink. It drops what was written and not committed.
func (s *sink) Cursor(ctx context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	s.take(id)
	return storedCursor(ctx, s.db, id)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func storedCursor(ctx context.Context, q querier, id schemas.ChainID) (c schemas.Cursor, err error) {
	var text []byte
	err = q.QueryRowContext(ctx, "SELECT cursor FROM cursors WHERE job = ? AND stage = ?", string(id.Job), id.Stage).Scan(&text)
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
		if v := t.Float64(name); v != nil && s.tables {
			columns = append(columns, schemas.Column{Name: name, Float64: slices.Clone(v)})
		} else if v := t.Int64(name); v != nil && s.tables {
			columns = append(columns, schemas.Column{Name: name, Int64: slices.Clone(v)})
		}
	}
	return schemas.NewTable(t.Name, slices.Clone(t.Times()), columns...)
}

// Commit implements pipeline.Sink.
func (s *sink) Commit(ctx context.Context, id schemas.ChainID, from, to schemas.Cursor) error {
	batches := s.take(id)
	err := s.transaction(ctx, func(tx *sql.Tx) error {
		stored, err := storedCursor(ctx, tx, id)
		if err != nil {
			return err
		}
		if !stored.SameInput(from) {
			return pipeline.ErrStale
		}
		for _, sequence := range slices.Sorted(maps.Keys(batches)) {
			if err := insert(ctx, tx, batches[sequence]); err != nil {
				return fmt.Errorf("event %d: %w", sequence, err)
			}
		}
		text, err := json.Marshal(to)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", string(id.Job), id.Stage, string(text))
		return err
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", id, err)
	}
	return nil
}

func (s *sink) transaction(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return cmp.Or(err, tx.Rollback())
	}
	return tx.Commit()
}

// insert stores one batch in the place of what was stored under its sequence.
func insert(ctx context.Context, tx *sql.Tx, b pipeline.Batch) error {
	for _, table := range []string{"events", "batches", "signals"} {
		query := "DELETE FROM " + table + " WHERE job = ? AND stage = ? AND sequence = ?"
		if _, err := tx.ExecContext(ctx, query, string(b.Job), b.Stage, int64(b.Sequence)); err != nil {
			return err
		}
	}
	for row, d := range b.Docs {
		_, err := tx.ExecContext(ctx, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", string(b.Job), b.Stage, int64(b.Sequence), row,
			b.Pipeline, b.Item, b.Type, b.Time().UTC().Format(time.RFC3339Nano), string(d))
		if err != nil {
			return err
		}
	}
	for _, t := range b.Tables {
		if err := insertTable(ctx, tx, b, t); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	return nil
}

func insertTable(ctx context.Context, tx *sql.Tx, b pipeline.Batch, t pipeline.Table) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", string(b.Job), b.Stage, int64(b.Sequence), t.Name,
		b.Pipeline, b.Item, b.Type, b.Start.UTC().Format(time.RFC3339Nano), int64(b.From), int64(b.To), t.Rows())
	if err != nil || len(t.Signals()) == 0 {
		return err
	}
	statement, err := tx.PrepareContext(ctx, "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer statement.Close()
	times := t.Times()
	for _, name := range t.Signals() {
		floats, ints := t.Float64(name), t.Int64(name)
		for row, at := range times {
			var value any // NaN becomes NULL
			if floats != nil {
				value = floats[row]
			} else {
				value = ints[row]
			}
			if _, err := statement.ExecContext(ctx, string(b.Job), b.Stage, int64(b.Sequence), t.Name, name, row, at, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteFleet implements pipeline.FleetSink.
func (s *sink) WriteFleet(ctx context.Context, run string, b pipeline.Batch) error {
	if len(b.Docs) == 0 {
		return nil
	}
	doc := string(b.Docs[len(b.Docs)-1])
	if _, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO fleet VALUES (?, ?, ?, ?, ?)", run, b.Pipeline, b.Stage, b.Type, doc); err != nil {
		return fmt.Errorf("store the fleet result of run %s: %w", run, err)
	}
	return nil
}

// Close implements io.Closer.
func (s *sink) Close() error { return s.db.Close() }
