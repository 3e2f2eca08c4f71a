//go:build postgres

package postgres

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

var databases atomic.Int64

// fresh makes an empty database.
func fresh(t testing.TB) (name string) {
	t.Helper()
	name = fmt.Sprintf("d%d", databases.Add(1))
	do(t, root(t, "postgres"), "CREATE DATABASE "+name)
	return name
}

// dump prints all rows of all tables but the cursors, through a connection of its own.
func dump(t testing.TB, database, table string) (string, error) {
	db := root(t, database)
	var out strings.Builder
	for _, name := range []string{table, table + "_batches", table + "_signals", table + "_fleet"} {
		var there sql.NullString
		if err := db.QueryRowContext(t.Context(), "SELECT to_regclass($1)", name).Scan(&there); err != nil {
			return "", err
		}
		if !there.Valid {
			continue // nobody opened the store yet
		}
		var text string
		if err := db.QueryRowContext(t.Context(), "SELECT coalesce(string_agg(line, E'\n'), '') FROM (SELECT row_to_json(x)::text AS line FROM "+name+" AS x ORDER BY 1) AS y").Scan(&text); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s\n%s\n", name, text)
	}
	return out.String(), nil
}

func build(t testing.TB, c Config) pipeline.Sink {
	t.Helper()
	s, err := Type.Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSink(t *testing.T) {
	for _, values := range []bool{false, true} {
		t.Run(fmt.Sprint("tables ", values), func(t *testing.T) {
			pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
				name := fresh(t)
				return pipelinetest.Store{
					Open: func() (pipeline.Sink, error) {
						s, err := Type.Build(t.Context(), Config{DSN: shared.dsn("root", "pa55word", name), Table: "aeb_kpi", Tables: values})
						if err == nil {
							t.Cleanup(func() { s.Close() }) // of those that the suite abandons: the server has room for a hundred
						}
						return s, err
					},
					Dump: func() (string, error) { return dump(t, name, "aeb_kpi") },
				}
			})
		})
	}
}

// write stores a table and a document of a job.
func write(t testing.TB, s pipeline.Sink) error {
	t.Helper()
	b := pipelinetest.Batches(t, schemas.Signals, "[ego]\nt v\n0.5 1.5\n0.6 -")[0]
	b.Job, b.Stage, b.Item, b.Pipeline, b.Sequence = "j-1", "read", "a.mf4", "p", 1
	doc := pipeline.Batch{Type: "aeb.kpi.v1", Slice: b.Slice, Job: "j-1", Stage: "read", Item: "a.mf4", Pipeline: "p", Sequence: 2, Docs: []pipeline.Doc{[]byte(`{"b": 1.20,  "a": "\u00e4"}`)}}
	for _, w := range []pipeline.Batch{b, doc} {
		if err := s.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	return s.Commit(t.Context(), pipeline.Origin{ChainID: schemas.ChainID{Job: "j-1", Stage: "read"}, Pipeline: "p", Item: "a.mf4"}, schemas.Cursor{}, schemas.Cursor{Edges: []schemas.EdgeCursor{{Sequence: 2}}})
}

// TestRows: what is stored is what a query gets, the document's text byte for byte.
func TestRows(t *testing.T) {
	name := fresh(t)
	if err := write(t, build(t, Config{DSN: shared.dsn("root", "pa55word", name), Table: "events", Tables: true})); err != nil {
		t.Fatal(err)
	}
	db := root(t, name)
	for query, want := range map[string]string{
		"SELECT concat_ws(' ', job, stage, sequence, row, pipeline, item, type, time AT TIME ZONE 'UTC', doc) FROM events":    `j-1 read 2 0 p a.mf4 aeb.kpi.v1 2026-01-02 03:04:05.5 {"b": 1.20,  "a": "\u00e4"}`,
		"SELECT concat_ws(' ', name, start AT TIME ZONE 'UTC', from_ns, to_ns, rows) FROM events_batches":                     "ego 2026-01-02 03:04:05 500000000 600000001 2",
		"SELECT string_agg(concat_ws(' ', name, signal, row, t_ns, coalesce(value::text, 'none')), ', ') FROM events_signals": "ego v 0 500000000 1.5, ego v 1 600000000 none",
		"SELECT doc->>'b' FROM events": "1.20",
	} {
		var got string
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", query, got, err, want)
		}
	}
}

// TestOneOfManyCommits: of processes that commit the same at once one does, and the others are told that they are stale.
func TestOneOfManyCommits(t *testing.T) {
	name := fresh(t)
	var all errgroup.Group
	var stored, stale atomic.Int64
	for range 8 {
		all.Go(func() error { // each makes the tables too, if it is the first
			s, err := Type.Build(t.Context(), Config{DSN: shared.dsn("root", "pa55word", name), Table: "events"})
			if err != nil {
				return err
			}
			defer s.Close()
			switch err := write(t, s); {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, pipeline.ErrStale):
				stale.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil || stored.Load() != 1 || stale.Load() != 7 {
		t.Errorf("%d stored, %d stale, %v", stored.Load(), stale.Load(), err)
	}
}

// TestServerCrashes: what was committed is there when the server comes back, what was not can be told by the cursor, and the same
// sink goes on.
func TestServerCrashes(t *testing.T) {
	s := build(t, Config{DSN: shared.dsn("root", "pa55word", fresh(t)), Table: "events"})
	if err := write(t, s); err != nil {
		t.Fatal(err)
	}
	shared.kill()
	id := schemas.ChainID{Job: "j-1", Stage: "read"}
	first := schemas.Cursor{Edges: []schemas.EdgeCursor{{Sequence: 2}}}
	second := schemas.Cursor{Edges: []schemas.EdgeCursor{{Sequence: 3}}}
	if err := s.Commit(t.Context(), pipeline.Origin{ChainID: id, Pipeline: "p", Item: "a.mf4"}, first, second); err == nil {
		t.Error("a commit without a server is told to be stored")
	}
	if err := shared.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Cursor(t.Context(), id); err != nil || !c.SameInput(first) {
		t.Fatalf("the cursor is %v, %v", c, err)
	}
	if err := s.Commit(t.Context(), pipeline.Origin{ChainID: id, Pipeline: "p", Item: "a.mf4"}, first, second); err != nil {
		t.Error(err)
	}
}

// TestWhatTheServerRefuses is told with what to change, never with the password; with the tables made by somebody else the user
// needs no right to make any.
func TestWhatTheServerRefuses(t *testing.T) {
	name := fresh(t)
	db := root(t, name)
	do(t, db, "CREATE USER "+name+"_user PASSWORD 'hidden'")
	refused := func(dsn, want string) {
		t.Helper()
		_, err := Type.Build(t.Context(), Config{DSN: dsn, Table: "events"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "[E-database]") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("error is %v, and should say %q", err, want)
		}
	}
	refused(shared.dsn(name+"_user", "hidden-not", name), "with this password")
	refused(shared.dsn(name+"_user", "hidden", "nowhere"), "createdb")
	refused(shared.dsn(name+"_user", "hidden", name), "CREATE TABLE IF NOT EXISTS events_fleet")
	do(t, db, schema(namesOf("events")), "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+name+"_user")
	if err := write(t, build(t, Config{DSN: shared.dsn(name+"_user", "hidden", name), Table: "events", Tables: true})); err != nil {
		t.Error(err)
	}
}

// TestDashboard: every query of Grafana's dashboard of results is one that the tables answer.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../../../deploy/grafana/dashboards/results.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RawSQL string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil || len(board.Panels) < 3 {
		t.Fatalf("%d panels, %v", len(board.Panels), err)
	}
	name := fresh(t)
	s := build(t, Config{DSN: shared.dsn("root", "pa55word", name), Table: "events"})
	if err := write(t, s); err != nil {
		t.Fatal(err)
	}
	kpi := pipeline.Batch{Type: "aeb.fleet.v1", Pipeline: "p", Stage: "kpi", Docs: []pipeline.Doc{[]byte(`{"recordings":3}`)}}
	if err := s.(pipeline.FleetSink).WriteFleet(t.Context(), "run-1", kpi); err != nil {
		t.Fatal(err)
	}
	db := root(t, name)
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			rows := 0
			found, err := db.QueryContext(t.Context(), strings.NewReplacer("${type:sqlstring}", "'aeb.kpi.v1'").Replace(q.RawSQL))
			for err == nil && found.Next() {
				rows++
			}
			if err == nil {
				err = errors.Join(found.Err(), found.Close())
			}
			if err != nil || rows == 0 {
				t.Errorf("%s: %d rows, %v", p.Title, rows, err)
			}
		}
	}
}
