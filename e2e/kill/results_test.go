package kill

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // results.db is read as anybody would

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// results are everything that a run left, under a name each: the n-th out event of each chain with all its attributes and
// its data, each result file, each row of the result store.
type results map[string]string

// diff lists what differs, at most ten of it.
func (r results) diff(want results) (list []string) {
	names := maps.Clone(want)
	maps.Copy(names, r)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		got, here := r[name]
		w, there := want[name]
		switch {
		case here && there && got == w:
			continue
		case len(list) == 10:
			return append(list, "…")
		case !here:
			list = append(list, name+": is missing: "+short(w))
		case !there:
			list = append(list, name+": should not be there: "+short(got))
		default:
			list = append(list, fmt.Sprintf("%s: is\n    %s\n  not\n    %s", name, short(got), short(w)))
		}
	}
	return list
}

// short is the beginning of a long value, enough to see what it is.
func short(value string) string {
	const most = 600
	if len(value) <= most {
		return value
	}
	return value[:most] + "…"
}

// embedded opens the store of a run that has ended.
func embedded(t *testing.T, dir string) transport.Broker {
	t.Helper()
	b, err := jetstream.Embedded(t.Context(), jetstream.EmbeddedConfig{Dir: dir, Sync: jetstream.SyncLater, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// records reads records of one log, in its order.
func records(ctx context.Context, t *testing.T, b transport.Broker, pipeline, stage string, c transport.WatchConfig) (all []transport.Stored) {
	t.Helper()
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: pipeline, Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	c.Kinds, c.Drain = []transport.Kind{transport.Out}, true
	w, err := log.Watch(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

// events adds the out events of the stages' logs.
func (r results) events(t *testing.T, b transport.Broker, pipeline string, stages []string) {
	t.Helper()
	for _, stage := range stages {
		n := map[schemas.ChainID]int{}
		for _, s := range records(t.Context(), t, b, pipeline, stage, transport.WatchConfig{}) {
			n[s.Chain]++
			r[fmt.Sprintf("event %s %d", s.Chain, n[s.Chain])] = eventText(&s.Event)
		}
		if len(n) == 0 {
			t.Errorf("stage %s has no events", stage)
		}
	}
}

func eventText(e *schemas.Event) string {
	var b strings.Builder
	e.Attributes(func(name, value string) { fmt.Fprintf(&b, "%s=%s ", name, value) })
	fmt.Fprintf(&b, "data=%d bytes, %x", len(e.Data), sha256.Sum256(e.Data))
	return b.String()
}

// files adds the files below a folder; those of a hidden folder are the sinks' own.
func (r results) files(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if e.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		r["file "+path[len(dir)+1:]] = string(data)
		n++
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d result files in %s: %v", n, dir, err)
	}
}

// storeTables are those of the result store that hold results, in an order that does not depend on when they came. What is left
// out holds positions of the broker or times of day.
var storeTables = map[string]string{
	"docs":       "SELECT * FROM docs ORDER BY job, stage, sequence, row",
	"recordings": "SELECT * FROM recordings ORDER BY job",
	"labels":     "SELECT * FROM labels ORDER BY job, name",
	"fleet":      "SELECT * FROM fleet ORDER BY run, type",
	"folds":      "SELECT * FROM folds ORDER BY job, stage, name",
	"chunks": `SELECT job, stage, name, signal, unit, level, chunk, data FROM chunks JOIN series ON series.id = chunks.series
		ORDER BY job, stage, name, signal, level, chunk`,
}

// sinkTables are those of sink/sqlite.
var sinkTables = map[string]string{
	"events":  "SELECT * FROM events ORDER BY job, stage, sequence, row",
	"batches": "SELECT * FROM batches ORDER BY job, stage, sequence, name",
	"fleet":   "SELECT * FROM fleet ORDER BY run, type",
}

// tables adds the rows of a SQLite file.
func (r results) tables(t *testing.T, file string, queries map[string]string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, query := range queries {
		if err := r.rows(t.Context(), db, filepath.Base(file)+" "+table, query); err != nil {
			t.Errorf("read %s of %s: %v", table, file, err)
		}
	}
}

func (r results) rows(ctx context.Context, db *sql.DB, table, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for k := range values {
		into[k] = &values[k]
	}
	found := false
	for n := 1; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for k, v := range values {
			if blob, ok := v.([]byte); ok {
				values[k] = fmt.Sprintf("%d bytes, %x", len(blob), sha256.Sum256(blob))
			}
		}
		r[fmt.Sprintf("row %s %d", table, n)] = fmt.Sprint(values...)
		found = true
	}
	if err := rows.Err(); err != nil || found {
		return err
	}
	return errors.New("it has no row")
}

// finished counts the jobs that are over, in a copy of a killed run's state: opening it would change it.
func finished(t *testing.T, state, pipeline string) (n int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(state, "jetstream"))); err != nil {
		t.Fatal(err)
	}
	b := embedded(t, dir)
	defer b.Close()
	for _, s := range records(t.Context(), t, b, pipeline, transport.JobStage, transport.WatchConfig{Newest: true}) {
		var e schemas.JobEvent
		if err := json.Unmarshal(s.Event.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.State.Over() {
			n++
		}
	}
	return n
}
