package view

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// dump prints what queries are answered from, but for cursors, with names in the place of row ids.
func dump(t testing.TB, file string) (string, error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var lines []string
	for _, query := range []string{
		"SELECT 'recording', * FROM recordings", "SELECT 'doc', * FROM docs", "SELECT 'fleet', * FROM fleet",
		"SELECT 'fold', job, stage, name, hex(state) FROM folds", "SELECT 'series', job, stage, name, signal, unit FROM series",
		"SELECT 'chunk', s.job, s.stage, s.name, s.signal, c.level, c.chunk, hex(c.data) FROM chunks c JOIN series s ON s.id = c.series",
	} {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			if strings.Contains(err.Error(), "no such table") {
				continue // nobody opened the store yet
			}
			return "", err
		}
		if lines, err = appendRows(lines, rows); err != nil {
			return "", err
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
}

func appendRows(lines []string, rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprint(values...))
	}
	return lines, rows.Err()
}

func TestSink(t *testing.T) {
	pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
		file := filepath.Join(t.TempDir(), FileName)
		return pipelinetest.Store{
			Open: func() (pipeline.Sink, error) { return Open(t.Context(), file) },
			Dump: func() (string, error) { return dump(t, file) },

			KeepsVersions: true,
		}
	})
}

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func cursor(sequence uint64) schemas.Cursor {
	if sequence == 0 {
		return schemas.Cursor{}
	}
	return schemas.Cursor{Edges: []schemas.EdgeCursor{{Stage: "read", Sequence: sequence}}}
}

// store writes batches into one chain and commits behind every nth.
func store(t testing.TB, s *Store, id schemas.ChainID, batches []pipeline.Batch, n int) {
	t.Helper()
	from := cursor(0)
	for i, b := range batches {
		b.Job, b.Stage, b.Item, b.Pipeline, b.Sequence = id.Job, id.Stage, "drive.mf4", "aeb-replay", uint64(i+1)
		must(t, s.Write(t.Context(), b))
		if (i+1)%n == 0 || i == len(batches)-1 {
			must(t, s.Commit(t.Context(), pipeline.Origin{ChainID: id}, from, cursor(b.Sequence)))
			from = cursor(b.Sequence)
		}
	}
}

func TestTypeNeedsAStore(t *testing.T) {
	if _, err := Type.Build(t.Context(), Config{}); !errors.Is(err, ErrNoStore) {
		t.Fatal(err)
	}
	s := openStore(t)
	sink, err := Type.Build(WithStore(t.Context(), s), Config{})
	must(t, err)
	must(t, sink.Close())
	if _, err := s.Cursor(t.Context(), schemas.ChainID{Job: "j-1", Stage: "x"}); err != nil {
		t.Fatal("closing the sink closed the store:", err)
	}
	if _, ok := sink.(pipeline.FleetSink); !ok {
		t.Error("fleet results have no place to go")
	}
}

func TestOpenRefusesAnotherVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), FileName)
	s, err := Open(t.Context(), file)
	must(t, err)
	_, err = s.write.db.ExecContext(t.Context(), "PRAGMA user_version = 99")
	must(t, err)
	must(t, s.Close())
	if _, err := Open(t.Context(), file); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Fatal(err)
	}
}

func TestChangedTellsOfCommits(t *testing.T) {
	s := openStore(t)
	changed := s.Changed()
	select {
	case <-changed:
		t.Fatal("nothing has changed")
	default:
	}
	must(t, s.Commit(t.Context(), pipeline.Origin{ChainID: schemas.ChainID{Job: "j-1", Stage: "x"}}, cursor(0), cursor(1)))
	<-changed
}

func TestForget(t *testing.T) {
	s := openStore(t)
	batches := pipelinetest.Batches(t, schemas.Signals, "t v\n0 1\n100 2", `@x.v1
		{"n":1}`)
	must(t, s.PutJobs(t.Context(), Job{Job: "j-1", Item: "drive.mf4", Labels: map[string]string{"a": "b"}}))
	store(t, s, schemas.ChainID{Job: "j-1", Stage: "read"}, batches, 1)
	store(t, s, schemas.ChainID{Job: "j-2", Stage: "read"}, batches, 1)
	must(t, s.Forget(t.Context(), "j-1"))
	for job, want := range map[schemas.JobID]int{"j-1": 0, "j-2": 1} {
		signals, err := s.Signals(t.Context(), job)
		must(t, err)
		docs, err := s.Documents(t.Context(), DocumentFilter{Job: job}, Page{})
		must(t, err)
		if len(signals) != want || len(docs) != want {
			t.Errorf("%s: %v, %v", job, signals, docs)
		}
	}
	if _, err := s.Job(t.Context(), "j-1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
