// Package sqlite stores documents, and signals if asked to, in one SQLite file that any tool can query.
//
// How is said in package tables; several processes may share the file. Tables:
//
//	events   a row a document, keyed (job, stage, sequence, row)
//	batches  a row a table of a batch: how many rows, over which stretch
//	signals  with `tables: true`, a row a value
//	fleet    the fleet results of each run, keyed (run, pipeline, stage, type)
//	cursors  how far each (job, stage) is stored
//	versions the jobs that have rows of a (pipeline, item, stage), by the order in which they began
//
// A query sees each result once: the commit that makes a newer job's whole takes the older job's rows away. While a newer job is
// at work its rows stand beside the older ones, told apart by job; the first in versions is the one that was there.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite" // "sqlite", without C
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/analysis/sink/internal/tables"
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

// StoredIn is where rows go, for lint.
func (c Config) StoredIn() (field, place string) { return "path", filepath.Clean(c.Path) }

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
CREATE TABLE IF NOT EXISTS versions (
	pipeline TEXT, item TEXT, stage TEXT, began INTEGER, job TEXT, PRIMARY KEY (pipeline, item, stage, began)) WITHOUT ROWID;
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
	return tables.Sink(tables.Database{DB: db, Values: c.Tables, Argument: "?", Signal: insertSignal,
		Names: tables.Names{Cursors: "cursors", Versions: "versions", Events: "events", Batches: "batches", Signals: "signals", Fleet: "fleet"}}), nil
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

func insertSignal(ctx context.Context, tx *sql.Tx, s tables.Signal) error {
	statement, err := tx.PrepareContext(ctx, "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer statement.Close()
	for row, at := range s.Times {
		if _, err := statement.ExecContext(ctx, s.Job, s.Stage, s.Sequence, s.Table, s.Name, row, at, s.Values[row]); err != nil {
			return err
		}
	}
	return nil
}
