package cmd_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages"
)

// picky tells of each batch in a document, and of some in one of another type. refuses is whether it takes the first of city drives.
type picky struct {
	pipeline.Stateless
	item    string
	more    bool
	refuses *bool
}

func (p *picky) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	if *p.refuses && in.Sequence == 1 && strings.Contains(p.item, "city") {
		return pipeline.Permanent(errors.New("not to its taste"))
	}
	if p.more {
		if err := pipeline.EmitDoc(ctx, out, "more.v1", map[string]any{"batch": in.Sequence}); err != nil {
			return err
		}
	}
	return pipeline.EmitDoc(ctx, out, "told.v1", map[string]any{"batch": in.Sequence, "rows": in.Rows()})
}

const versionsFile = `version: 1
transport: { embedded: { dir: STATE, sync: 10s } }
sinks:
  files: { json: { path: "OUT/{type}/{item}.jsonl" } }
  rows: { sqlite: { path: "OUT/results.db" } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: "SAMPLES/sim_[cd]*.mf4", bindings: SAMPLES/signals.yaml }, to: rows }
      - { name: tell, uses: process/picky, on_error: skip, with: { more: false }, to: [files, rows] }
`

// told is a line over that file, and a way to run it with the stage.
func told(t *testing.T, refuses *bool) (l *line, run func(args ...string)) {
	t.Helper()
	l = setup(t)
	samples, err := filepath.Abs("../samples")
	if err != nil {
		t.Fatal(err)
	}
	l.write("pipelines.yaml", strings.NewReplacer("STATE", l.path("state"), "OUT", l.path("out"), "SAMPLES", samples).Replace(versionsFile))
	types := stages.Standard()
	type config struct {
		More bool `yaml:"more" doc:"Tell more."`
	}
	types.Add(pipeline.ProcessorType[config]{Name: "process/picky", Summary: "tells of batches", Version: "1", Accepts: []string{schemas.Signals}, Emits: []string{"told.v1", "more.v1"},
		Build: func(_ context.Context, c config) (pipeline.Open[pipeline.Processor], error) {
			return func(_ context.Context, it pipeline.Item) (pipeline.Processor, error) {
				return &picky{item: it.Name, more: c.More, refuses: refuses}, nil
			}, nil
		}})
	return l, func(args ...string) {
		t.Helper()
		l.stdout.Reset()
		l.stderr.Reset()
		if code := cmd.Run(t.Context(), types, append(args, "-f", l.path("pipelines.yaml")), strings.NewReader(""), &l.stdout, &l.stderr); code != 0 {
			t.Fatalf("milepost %v: exit %d\n%s%s", args, code, l.stdout.String(), l.stderr.String())
		}
	}
}

// stored is all that the sinks hold, but the names of jobs.
func (l *line) stored() string {
	l.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(l.path("out"), func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == ".milepost":
			return filepath.SkipDir
		case filepath.Ext(path) != ".jsonl":
			return nil
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s\n%s", strings.TrimPrefix(path, l.dir), text)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", l.path("out/results.db"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		"SELECT concat_ws(' ', item, stage, sequence, row, pipeline, type, time, doc) FROM events ORDER BY item, stage, sequence, row",
		"SELECT concat_ws(' ', item, stage, sequence, name, pipeline, type, start, from_ns, to_ns, rows) FROM batches ORDER BY item, stage, sequence, name",
	} {
		rows, err := db.QueryContext(l.t.Context(), query)
		if err != nil {
			l.t.Fatal(err)
		}
		n := 0
		for ; rows.Next(); n++ {
			var text string
			if err := rows.Scan(&text); err != nil {
				l.t.Fatal(err)
			}
			all.WriteString(text + "\n")
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || n == 0 {
			l.t.Fatalf("%s: %d rows, %v", query, n, err)
		}
	}
	return all.String()
}

func (l *line) holds(want, when string) {
	l.t.Helper()
	if got := l.stored(); got != want {
		l.t.Errorf("%s the sinks hold\n%s\nwant\n%s", when, got, want)
	}
}

// What a redrive after a skip gives, or --again, or an edited stage, stands in the place of what was there, in tables and files.
func TestResultsOfANewerJobReplaceTheOlderOnes(t *testing.T) {
	never := false
	calm, undisturbed := told(t, &never)
	undisturbed("run", "--exit", "--listen", "127.0.0.1:0")
	want := calm.stored()

	refuses := true
	l, run := told(t, &refuses)
	again := func() { t.Helper(); run("run", "--exit", "--listen", "127.0.0.1:0") }
	again()
	if l.stored() == want {
		t.Fatal("nothing was skipped")
	}
	refuses = false
	run("dlq", "redrive")
	l.wants(l.stdout.String(), "1 of 1 event done")
	again()
	l.holds(want, "after skip and redrive")
	again()
	l.holds(want, "after another run")
	run("run", "--exit", "--again", "--listen", "127.0.0.1:0")
	l.holds(want, "after --again")

	first := l.read("pipelines.yaml")
	l.write("pipelines.yaml", strings.Replace(first, "more: false", "more: true", 1))
	again()
	if more := l.stored(); strings.Count(more, "more.v1") == 0 || strings.Count(more, "told.v1") != strings.Count(want, "told.v1") {
		t.Errorf("with an edited stage the sinks hold\n%s", more)
	}
	l.write("pipelines.yaml", first)
	again()
	l.wants(l.stderr.String(), "another configuration's stand there; it is replayed again")
	l.holds(want, "with the first configuration again")
	again()
	l.wants(l.stderr.String(), `msg="already finished"`)
	l.holds(want, "with nothing changed")

	l.write("pipelines.yaml", strings.Replace(first, "more: false", "more: true", 1))
	again()
	l.remove("state") // what was done is not known any more, but to the sinks
	l.write("pipelines.yaml", first)
	again()
	l.holds(want, "with the first configuration and another state")
}
