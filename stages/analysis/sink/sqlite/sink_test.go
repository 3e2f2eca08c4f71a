package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// dump prints all rows of all tables but the cursors, through a connection of its own.
func dump(t testing.TB, file string) (string, error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var out strings.Builder
	for _, table := range []string{"events", "batches", "signals", "fleet"} {
		order := "1, 2"
		if table == "events" || table == "batches" {
			order = "1, 2, 3, 4"
		}
		if table == "signals" {
			order = "1, 2, 3, 4, 5, 6"
		}
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY "+order)
		if err != nil {
			if strings.Contains(err.Error(), "no such table") {
				continue // nobody opened the store yet
			}
			return "", err
		}
		if err := printRows(&out, table, rows); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func printRows(out *strings.Builder, table string, rows *sql.Rows) error {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		fmt.Fprintln(out, table, values)
	}
	return rows.Err()
}

func TestSink(t *testing.T) {
	for _, tables := range []bool{false, true} {
		t.Run(fmt.Sprint("tables ", tables), func(t *testing.T) {
			pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
				file := filepath.Join(t.TempDir(), "a folder", "100% results?.db")
				return pipelinetest.Store{
					Open: func() (pipeline.Sink, error) { return Type.Build(t.Context(), Config{Path: file, Tables: tables}) },
					Dump: func() (string, error) {
						return dump(t, "file:"+strings.NewReplacer("%", "%25", "?", "%3F").Replace(file))
					},
				}
			})
		})
	}
}

func TestRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.db")
	s, err := Type.Build(t.Context(), Config{Path: file, Tables: true})
	if err != nil {
		t.Fatal(err)
	}
	b := pipelinetest.Batches(t, schemas.Signals, "[ego]\nt v\n0.5 1.5\n0.6 -")[0]
	b.Job, b.Stage, b.Item, b.Pipeline, b.Sequence = "j-1", "read", "a.mf4", "p", 1
	doc := pipeline.Batch{Type: "x.v1", Slice: b.Slice, Job: "j-1", Stage: "read", Item: "a.mf4", Pipeline: "p", Sequence: 2, Docs: []pipeline.Doc{[]byte(`{"ttc": 1.2}`)}}
	for _, w := range []pipeline.Batch{b, doc} {
		if err := s.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(t.Context(), pipeline.Origin{ChainID: schemas.ChainID{Job: "j-1", Stage: "read"}, Pipeline: "p", Item: "a.mf4"}, schemas.Cursor{}, schemas.Cursor{Edges: []schemas.EdgeCursor{{Sequence: 2}}}); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{"kpi", "strict", "kpi"} { // of two stages, and one of them again
		fleet := pipeline.Batch{Type: "f.v1", Pipeline: "p", Stage: stage, Docs: []pipeline.Doc{[]byte(`{}`)}}
		if err := s.(pipeline.FleetSink).WriteFleet(t.Context(), "run-1", fleet); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dump(t, file)
	want := `events [j-1 read 2 0 p a.mf4 x.v1 2026-01-02T03:04:05.5Z {"ttc": 1.2}]
batches [j-1 read 1 ego p a.mf4 signal.batch.v1 2026-01-02T03:04:05Z 500000000 600000001 2]
signals [j-1 read 1 ego v 0 500000000 1.5]
signals [j-1 read 1 ego v 1 600000000 <nil>]
fleet [run-1 p kpi f.v1 {}]
fleet [run-1 p strict f.v1 {}]
`
	if err != nil || got != want {
		t.Fatalf("%v\n%s\nwant\n%s", err, got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestACancelledCommitStoresNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.db")
	s, err := Type.Build(t.Context(), Config{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	id := schemas.ChainID{Job: "j-1", Stage: "x"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, pipeline.Origin{ChainID: id}, schemas.Cursor{}, schemas.Cursor{Edges: []schemas.EdgeCursor{{Sequence: 2}}}); err == nil {
		t.Fatal("committed")
	}
	if c, err := s.Cursor(t.Context(), id); err != nil || len(c.Edges) != 0 {
		t.Fatal(c, err)
	}
}

func TestWhatIsNoDatabaseIsToldWithTheNextStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.db")
	if err := os.WriteFile(file, []byte("signals: what somebody wrote into this file by hand, and would miss\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                         "open " + file + ": file is not a database (26) [E-file]\n  next: it is another kind of file",
		filepath.Join(file, "below"): "make the folder of " + filepath.Join(file, "below") + ": not a directory [E-file]\n  next: a file stands where",
		filepath.Dir(file):           "[E-file]\n  next: `ls -l` on it",
	} {
		if _, err := open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
