// Package results reads everything that a run left behind, and says what differs from what it should be, byte for byte.
package results

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // results.db is read as anybody would

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// Results are everything that a run left, under a name each: the n-th out event of each chain with all its attributes and
// its data, each result file, each row of the result store.
type Results map[string]string

// Diff lists what differs, at most ten of it.
func (r Results) Diff(want Results) (list []string) {
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

// Wrong is how many of both differ.
func (r Results) Wrong(want Results) (n int) {
	n = r.False(want)
	for name := range want {
		if _, here := r[name]; !here {
			n++
		}
	}
	return n
}

// False is how many of r should not be there, or be otherwise; what is missing may still come.
func (r Results) False(want Results) (n int) {
	for name, got := range r {
		if w, there := want[name]; !there || w != got {
			n++
		}
	}
	return n
}

// short is the beginning of a long value, enough to see what it is.
func short(value string) string {
	const most = 600
	if len(value) <= most {
		return value
	}
	return value[:most] + "…"
}

// Embedded opens the store of a run that has ended.
func Embedded(ctx context.Context, dir string) (transport.Broker, error) {
	return jetstream.Embedded(ctx, jetstream.EmbeddedConfig{Dir: dir, Sync: jetstream.SyncLater, Log: slog.New(slog.DiscardHandler)})
}

// Records reads records of one log, in its order: out events where c names no kinds.
func Records(ctx context.Context, b transport.Broker, pipeline, stage string, c transport.WatchConfig) (all []transport.Stored, err error) {
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: pipeline, Stage: stage})
	if err != nil {
		return nil, err
	}
	if c.Drain = true; c.Kinds == nil {
		c.Kinds = []transport.Kind{transport.Out}
	}
	err = transport.Each(ctx, log, c, func(s *transport.Stored) error { all = append(all, *s); return nil })
	return all, err
}

// AddEvents adds the out events of the stages' logs, of which each must have some.
func (r Results) AddEvents(ctx context.Context, b transport.Broker, pipeline string, stages []string) error {
	for _, stage := range stages {
		all, err := Records(ctx, b, pipeline, stage, transport.WatchConfig{})
		if err != nil {
			return fmt.Errorf("read the events of %s/%s: %w", pipeline, stage, err)
		}
		if len(all) == 0 {
			return fmt.Errorf("stage %s/%s has no events", pipeline, stage)
		}
		n := map[schemas.ChainID]int{}
		for k := range all {
			e := &all[k].Event
			n[e.Chain]++
			r.AddEvent(e, n[e.Chain])
		}
	}
	return nil
}

// AddEvent adds the n-th out event of its chain.
func (r Results) AddEvent(e *schemas.Event, n int) {
	r[fmt.Sprintf("event %s %d", e.Chain, n)] = eventText(e)
}

func eventText(e *schemas.Event) string {
	var b strings.Builder
	e.Attributes(func(name, value string) { fmt.Fprintf(&b, "%s=%s ", name, value) })
	fmt.Fprintf(&b, "data=%d bytes, %x", len(e.Data), sha256.Sum256(e.Data))
	return b.String()
}

// AddLetters adds what the dead letters of the nodes decided; how often and when an input was tried is not theirs.
func (r Results) AddLetters(ctx context.Context, b transport.Broker, pipeline string, nodes []string) error {
	for _, node := range nodes {
		all, err := Records(ctx, b, pipeline, node, transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}})
		if err != nil {
			return fmt.Errorf("read the dead letters of %s/%s: %w", pipeline, node, err)
		}
		for k := range all {
			var l schemas.DeadLetter
			if err := json.Unmarshal(all[k].Event.Data, &l); err != nil {
				return err
			}
			r.AddLetter(all[k].Chain, l)
		}
	}
	return nil
}

// AddLetter adds one dead letter; a second one about the same input is another result.
func (r Results) AddLetter(id schemas.ChainID, l schemas.DeadLetter) {
	name := fmt.Sprintf("letter %s %s %d", id, l.Input.Edge, l.Input.Sequence)
	if before, ok := r[name]; ok {
		r[name] = before + ", and again"
		return
	}
	if r[name] = string(l.Decision); l.Permanent { // of a panic, a timeout or a death there is no telling beforehand
		r[name] += ": " + l.Error
	}
}

// AddFiles adds the files below a folder; those of a hidden folder are the sinks' own.
func (r Results) AddFiles(dir string) error {
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
	if err == nil && n == 0 {
		err = fmt.Errorf("no result files in %s", dir)
	}
	return err
}

// StoreTables are those of the result store that hold results, in an order that does not depend on when they came. What is left
// out holds positions of the broker or times of day.
var StoreTables = map[string]string{
	"docs":       "SELECT * FROM docs ORDER BY job, stage, sequence, row",
	"recordings": "SELECT * FROM recordings ORDER BY job",
	"labels":     "SELECT * FROM labels ORDER BY job, name",
	"fleet":      "SELECT * FROM fleet ORDER BY run, type",
	"folds":      "SELECT * FROM folds ORDER BY job, stage, name",
	"chunks": `SELECT job, stage, name, signal, unit, level, chunk, data FROM chunks JOIN series ON series.id = chunks.series
		ORDER BY job, stage, name, signal, level, chunk`,
}

// SinkTables are those of sink/sqlite.
var SinkTables = map[string]string{
	"events":  "SELECT * FROM events ORDER BY job, stage, sequence, row",
	"batches": "SELECT * FROM batches ORDER BY job, stage, sequence, name",
	"fleet":   "SELECT * FROM fleet ORDER BY run, type",
}

// AddTables adds the rows of a SQLite file.
func (r Results) AddTables(ctx context.Context, file string, queries map[string]string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer db.Close()
	for table, query := range queries {
		if err := r.addRows(ctx, db, filepath.Base(file)+" "+table, query); err != nil {
			return fmt.Errorf("read %s of %s: %w", table, file, err)
		}
	}
	return nil
}

func (r Results) addRows(ctx context.Context, db *sql.DB, table, query string) error {
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

// Finished counts the jobs that are over, in a copy of a killed run's state, made in dir: opening it would change it.
func Finished(ctx context.Context, state, pipeline, dir string) (n int, err error) {
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(state, "jetstream"))); err != nil {
		return 0, err
	}
	b, err := Embedded(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	all, err := Records(ctx, b, pipeline, transport.JobStage, transport.WatchConfig{Newest: true})
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		var e schemas.JobEvent
		if err := json.Unmarshal(s.Event.Data, &e); err != nil {
			return 0, err
		}
		if e.State.Over() {
			n++
		}
	}
	return n, nil
}
