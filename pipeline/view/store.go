package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", without C

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// FileName is the store's file in a state directory.
const FileName = "results.db"

// schemaVersion stands in the file; another one is refused, since a projection can be made anew.
const schemaVersion = 3

const schema = `
CREATE TABLE IF NOT EXISTS cursors (
	job TEXT, stage TEXT, cursor TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (job, stage)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recordings (
	job TEXT PRIMARY KEY, pipeline TEXT NOT NULL, item TEXT NOT NULL, start_ns INTEGER, first_ns INTEGER, last_ns INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS docs (
	job TEXT, stage TEXT, sequence INTEGER, row INTEGER, type TEXT NOT NULL, at_ns INTEGER NOT NULL, t_ns INTEGER, doc TEXT NOT NULL,
	PRIMARY KEY (job, stage, sequence, row)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS docs_type ON docs (type, job);
CREATE TABLE IF NOT EXISTS series (
	id INTEGER PRIMARY KEY, job TEXT, stage TEXT, name TEXT, signal TEXT, unit TEXT NOT NULL, UNIQUE (job, stage, name, signal));
CREATE TABLE IF NOT EXISTS folds (
	job TEXT, stage TEXT, name TEXT, state BLOB NOT NULL, PRIMARY KEY (job, stage, name));
CREATE TABLE IF NOT EXISTS chunks (
	series INTEGER, level INTEGER, chunk INTEGER, data BLOB NOT NULL, PRIMARY KEY (series, level, chunk));
CREATE TABLE IF NOT EXISTS jobs (
	job TEXT PRIMARY KEY, pipeline TEXT NOT NULL, item TEXT NOT NULL, run TEXT NOT NULL, state TEXT NOT NULL, queued_ns INTEGER NOT NULL,
	progress REAL NOT NULL, row TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_item ON jobs (pipeline, item, queued_ns);
CREATE TABLE IF NOT EXISTS labels (
	job TEXT, name TEXT, value TEXT, PRIMARY KEY (job, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
	pipeline TEXT, run TEXT, at_ns INTEGER NOT NULL, items TEXT NOT NULL, PRIMARY KEY (pipeline, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fleet (
	run TEXT, pipeline TEXT, stage TEXT, type TEXT, doc TEXT NOT NULL, PRIMARY KEY (run, pipeline, stage, type)) WITHOUT ROWID;
`

// A Store is the result store of a process. All methods may be called concurrently. One process has a file open for
// writing; others may read it.
type Store struct {
	write group
	read  *sql.DB

	mu      sync.Mutex
	chains  map[schemas.ChainID]*chain
	changed chan struct{}
	closed  bool
	runs    map[string][]Run // by pipeline, newest first
}

// Open opens or makes the store in a file. The caller closes it.
func Open(ctx context.Context, file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", file, err)
	}
	// Pages of 16 KiB: blobs of 3 KiB leave a quarter of a page of 4 KiB empty. The driver runs pragmas in order of the alphabet,
	// and a journal mode after them; it must come behind the page size.
	name := "file:" + (&url.URL{Path: file}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=page_size(16384)&_journal_mode=WAL"
	s := &Store{chains: map[schemas.ChainID]*chain{}, changed: make(chan struct{}), runs: map[string][]Run{}}
	var err error
	// FULL: a commit that a power cut takes back would leave a hole, since the stream is trimmed behind it.
	if s.write.db, err = sql.Open("sqlite", name+"&_txlock=immediate&_pragma=synchronous(FULL)"); err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	s.write.db.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", name+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), s.write.db.Close())
	}
	s.read.SetMaxOpenConns(2 * runtime.GOMAXPROCS(0))
	if err := errors.Join(s.migrate(ctx), s.loadRuns(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), s.Close())
	}
	return s, nil
}

func (s *Store) migrate(ctx context.Context) error {
	return s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		if version != 0 && version != schemaVersion {
			return fmt.Errorf("its schema is version %d, this binary writes %d: remove the file, results are made anew by --again", version, schemaVersion)
		}
		_, err := tx.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
		return err
	})
}

// Changed returns a channel that is closed at the next change of the results, whoever made it in this process.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Cursor implements pipeline.Sink. It drops what was written and not committed.
func (s *Store) Cursor(ctx context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	s.take(id)
	c, _, err := storedCursor(ctx, s.read, id)
	return c, err
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// storedCursor also returns the sequence of the last batch that is stored.
func storedCursor(ctx context.Context, q querier, id schemas.ChainID) (c schemas.Cursor, sequence int64, err error) {
	var text []byte
	row := q.QueryRowContext(ctx, "SELECT cursor, sequence FROM cursors WHERE job = ? AND stage = ?", string(id.Job), id.Stage)
	err = row.Scan(&text, &sequence)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return c, 0, nil
	case err == nil:
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		err = fmt.Errorf("cursor of %s: %w", id, err)
	}
	return c, sequence, err
}

// take removes and returns the chain's state in memory.
func (s *Store) take(id schemas.ChainID) *chain {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chains[id]
	delete(s.chains, id)
	return c
}

func (s *Store) put(id schemas.ChainID, c *chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chains[id] = c
}

// Write implements pipeline.Sink. What it makes of the batch stays in memory until Commit. Batches of a chain come in order;
// one that is stored already is left out, since it can only be the same.
func (s *Store) Write(ctx context.Context, b pipeline.Batch) error {
	id := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	c := s.take(id)
	if c == nil {
		var err error
		if c, err = loadChain(ctx, s.read, id); err != nil {
			return err
		}
	}
	c.add(b)
	s.put(id, c)
	return nil
}

// Commit implements pipeline.Sink.
func (s *Store) Commit(ctx context.Context, of pipeline.Origin, from, to schemas.Cursor) error {
	id := of.ChainID
	c := s.take(id)
	err := s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		stored, sequence, err := storedCursor(ctx, tx, id)
		if err != nil {
			return err
		}
		if !stored.SameInput(from) {
			return pipeline.ErrStale
		}
		if c != nil {
			sequence = int64(c.sequence)
			if err := c.save(ctx, tx); err != nil {
				return err
			}
		}
		text, err := json.Marshal(to)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", string(id.Job), id.Stage, string(text), sequence)
		return err
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", id, err)
	}
	if c != nil && !to.Ended() {
		c.saved()
		s.put(id, c)
	}
	s.signal()
	return nil
}

// Replaced implements pipeline.Sink: versions stand side by side, and all who ask name a job.
func (s *Store) Replaced(context.Context, pipeline.Origin) (bool, error) { return false, nil }

// WriteFleet implements pipeline.FleetSink. Results of a run are told apart by pipeline, stage and type.
func (s *Store) WriteFleet(ctx context.Context, run string, b pipeline.Batch) error {
	if len(b.Docs) == 0 {
		return nil
	}
	doc := string(b.Docs[len(b.Docs)-1])
	err := s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO fleet VALUES (?, ?, ?, ?, ?)", run, b.Pipeline, b.Stage, b.Type, doc)
		return err
	})
	if err != nil {
		return fmt.Errorf("store the fleet result of run %s: %w", run, err)
	}
	s.signal()
	return nil
}

// Forget removes all that is stored of a job but its cursors: results that are over their time. It is no way to run a job
// again.
func (s *Store) Forget(ctx context.Context, job schemas.JobID) error {
	err := s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, query := range []string{
			"DELETE FROM chunks WHERE series IN (SELECT id FROM series WHERE job = ?)", "DELETE FROM series WHERE job = ?", "DELETE FROM folds WHERE job = ?",
			"DELETE FROM docs WHERE job = ?", "DELETE FROM recordings WHERE job = ?", "DELETE FROM labels WHERE job = ?", "DELETE FROM jobs WHERE job = ?",
		} {
			if _, err := tx.ExecContext(ctx, query, string(job)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget job %s: %w", job, err)
	}
	s.signal()
	return nil
}

// Close implements io.Closer.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	clear(s.chains)
	return errors.Join(s.read.Close(), s.write.db.Close())
}

// nanos is a time as stored: Unix nanoseconds; of recordings that do not say when they began, nanoseconds since the zero time.
func nanos(t time.Time) int64 {
	if t.Year() < 1700 {
		return int64(t.Sub(time.Time{}))
	}
	return t.UnixNano()
}
