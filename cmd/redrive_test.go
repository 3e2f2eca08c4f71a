package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages"
)

// gateConfig names a folder: a gate refuses an input for good while the folder has a file ITEM@SEQUENCE.
type gateConfig struct {
	Folder string `yaml:"folder"`
}

type gate struct {
	pipeline.Stateless
	folder string
}

const gated = "test.gated.v1"

func (g gate) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	shut := fmt.Sprintf("%s@%d", in.Item, in.Sequence)
	if _, err := os.Stat(filepath.Join(g.folder, shut)); err == nil {
		return pipeline.Permanent(fmt.Errorf("%s is shut", shut))
	}
	return pipeline.EmitDoc(ctx, out, gated, map[string]any{"sequence": in.Sequence, "from": in.From})
}

var gateType = pipeline.ProcessorType[gateConfig]{Name: "process/gate", Summary: "refuses what a folder names", Version: "1", Accepts: []string{pipeline.Any}, Emits: []string{gated},
	Build: func(_ context.Context, c gateConfig) (pipeline.Open[pipeline.Processor], error) {
		return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return gate{folder: c.Folder}, nil }, nil
	}}

const gates = `version: 1
transport: { embedded: { dir: DIR/state, sync: 10s } }
sinks:
  lines: { json: { path: "DIR/out/b/{item}.jsonl" } }
  docs: { json: { path: "DIR/out/c/{item}.jsonl" } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: "DIR/drives/*.mf4", bindings: SAMPLES/signals.yaml, slice_max: 2s } }
      - { name: b, uses: process/gate, on_error: skip, with: { folder: DIR/b }, to: lines }
      - { name: c, uses: process/gate, with: { folder: DIR/c }, to: docs }
`

// gatedLine runs drives through two gates, of which the first skips and the second halts.
func gatedLine(t *testing.T, drives ...string) *line {
	t.Helper()
	l := &line{t: t, dir: t.TempDir(), types: []pipeline.StageType{gateType}}
	samples, err := filepath.Abs("../samples")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"drives", "b", "c"} {
		if err := os.Mkdir(l.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(samples, "sim_driver_brakes.mf4"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drives {
		l.write("drives/"+d, string(data))
	}
	l.write("pipelines.yaml", strings.NewReplacer("DIR", l.dir, "SAMPLES", samples).Replace(gates))
	return l
}

func (l *line) replay(code int, more ...string) {
	l.t.Helper()
	l.run(code, append([]string{"run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none"}, more...)...)
}

// gatedFiles are all result files of a gated line.
func (l *line) gatedFiles() map[string]string {
	l.t.Helper()
	files, err := filepath.Glob(l.path("out/*/*.jsonl"))
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]string{}
	job := regexp.MustCompile(`j-[0-9a-z]+`) // generations differ in that alone
	for _, f := range files {
		rel, err := filepath.Rel(l.dir, f)
		if err != nil {
			l.t.Fatal(err)
		}
		all[rel] = job.ReplaceAllString(l.read(rel), "j-")
	}
	return all
}

func (l *line) isStored(want map[string]string, when string) {
	l.t.Helper()
	got := l.gatedFiles()
	if len(got) != len(want) || len(want) == 0 {
		l.t.Errorf("%s: %d result files, want %d", when, len(got), len(want))
	}
	for name, text := range want {
		if got[name] != text {
			l.t.Errorf("%s: %s has %d lines, want %d", when, name, strings.Count(got[name], "\n"), strings.Count(text, "\n"))
		}
	}
}

type letterRow struct {
	ID, Pipeline, Stage, Recording, State, Successor string
	Job                                              schemas.JobID
}

// letter is the one dead letter of a stage.
func (l *line) letter(stage string) letterRow {
	l.t.Helper()
	var rows []letterRow
	if err := json.Unmarshal([]byte(l.run(0, "dlq", "ls", stage, "--status", "all", "-o", "json")), &rows); err != nil || len(rows) != 1 {
		l.t.Fatalf("%v: dead letters of %s: %+v", err, stage, rows)
	}
	return rows[0]
}

// A recording of which one stage skipped an input and another one halts has two dead letters. Redriving the first makes the
// recording anew, so that the other one means nothing any more: whatever is redriven then, the old generation never comes back.
func TestARedriveBehindASkipSupersedesTheRestOfItsJob(t *testing.T) {
	ref := gatedLine(t, "sim_a.mf4", "sim_b.mf4")
	ref.replay(0)
	want := ref.gatedFiles()
	for _, redrive := range []string{"", "p/b"} {
		t.Run("redrive "+redrive, func(t *testing.T) {
			l := gatedLine(t, "sim_a.mf4", "sim_b.mf4")
			l.write("b/sim_a.mf4@5", "")
			l.write("c/sim_a.mf4@1", "")
			l.replay(1)
			l.wants(l.stderr.String(), "done  p  2 recordings, 1 failed, 1 with a hole", "2 events in the DLQ, 1 of them skipped")
			l.remove("b/sim_a.mf4@5", "c/sim_a.mf4@1")
			args := strings.Fields("dlq redrive " + redrive)
			l.wants(l.run(0, append(args, "--dry-run")...), "would redrive 1 of ")
			l.wants(l.run(0, args...), "redrive: 1 of 1 event done, 0 refused")
			if redrive == "" {
				l.wants(l.stderr.String(), "1 event passed over: superseded")
			}
			skipped, halted := l.letter("p/b"), l.letter("p/c")
			if skipped.State != "redriven" || halted.State != "superseded" || halted.Successor == "" || skipped.Successor != halted.Successor {
				t.Fatalf("%+v %+v", skipped, halted)
			}
			l.wants(l.run(0, "jobs", "show", string(halted.Job)), "cancelled", "superseded: "+halted.Successor+" does it anew")
			l.refuses(halted)
			l.replay(0)
			l.isStored(want, "after the redrive")
			l.refuses(halted)
			l.replay(0)
			l.wants(l.stderr.String(), "done  p  2 recordings, 0 failed, in")
			l.isStored(want, "after all redrives")
			l.wants(l.run(0, "dlq", "purge", halted.ID, "--yes"), "purge: 1 of 1 event done")
		})
	}
}

// refuses tries to bring a superseded letter back in every way.
func (l *line) refuses(d letterRow) {
	l.t.Helper()
	l.run(1, "dlq", "redrive", d.ID)
	l.wants(l.stderr.String(), d.ID+": superseded: job "+d.Successor+" of p does its recording anew", "milepost jobs show "+d.Successor)
	l.run(1, "dlq", "redrive", d.ID, "--dry-run")
	l.run(1, "dlq", "redrive", "p/c")
	l.wants(l.stderr.String(), "1 event passed over: superseded", "p/c: no event to redrive")
	l.run(1, "jobs", "retry", string(d.Job))
	if got := l.run(0, "dlq", "ls", "--status", "superseded", "-o", "name"); got != d.ID+"\n" {
		l.t.Errorf("superseded: %s", got)
	}
	if got := l.run(0, "dlq", "ls", "-o", "name"); got != "" {
		l.t.Errorf("open and skipped: %s", got)
	}
}

// run --again is another way to the next generation.
func TestAnotherGenerationSupersedesAHaltedOne(t *testing.T) {
	l := gatedLine(t, "sim_a.mf4")
	l.write("c/sim_a.mf4@1", "")
	l.replay(1)
	l.remove("c/sim_a.mf4@1")
	l.replay(0, "--again")
	if d := l.letter("p/c"); d.State != "superseded" {
		t.Fatalf("%+v", d)
	} else {
		l.refuses(d)
	}
}

// A redriven job whose recording is not listed any more has nobody but the next run.
func TestARunGoesOnWithOpenJobsOfOtherRecordings(t *testing.T) {
	ref := gatedLine(t, "sim_a.mf4", "sim_b.mf4")
	ref.replay(0)
	l := gatedLine(t, "sim_a.mf4", "sim_b.mf4")
	l.write("c/sim_a.mf4@1", "")
	l.replay(1)
	l.remove("drives/sim_a.mf4")
	l.replay(0)
	l.wants(l.stderr.String(), "done  p  1 recording, 0 failed, in")
	l.run(0, "dlq", "redrive")
	l.replay(1) // the gate is shut still
	l.wants(l.stderr.String(), "the run goes on with them", "done  p  1 recording, 0 failed", "and 1 job of recordings that are not listed now: 1 failed", "sim_a.mf4@1 is shut")
	l.remove("c/sim_a.mf4@1")
	l.run(0, "dlq", "redrive")
	l.replay(0)
	l.wants(l.stderr.String(), "and 1 job of recordings that are not listed now: 0 failed")
	l.isStored(ref.gatedFiles(), "after all")
	if s := l.run(0, "jobs", "ls", "--status", "queued,started,failed", "-o", "name"); s != "" {
		t.Errorf("not over: %s", s)
	}
}

// An id of a dead letter is unique in its pipeline: where two have it, a command by id says so and touches neither.
func TestAnIDThatSeveralPipelinesHaveIsRefused(t *testing.T) {
	l := gatedLine(t, "sim_a.mf4")
	text := l.read("pipelines.yaml")
	head, stages, _ := strings.Cut(text, "  p:\n")
	stages = regexp.MustCompile(`, to: (lines|docs)`).ReplaceAllString(stages, "")
	l.write("pipelines.yaml", head+"  p:\n"+stages+"  q:\n"+stages)
	l.write("c/sim_a.mf4@1", "")
	l.replay(1)
	p, q := l.letter("p/c"), l.letter("q/c")
	if p.ID != q.ID {
		t.Fatalf("the ids differ, %s and %s: this test is blind", p.ID, q.ID)
	}
	l.wants(l.run(0, "dlq", "ls"), "PIPELINE  STAGE", "p         c", "q         c")
	if one := l.run(0, "dlq", "ls", "q"); strings.Contains(one, "PIPELINE") {
		t.Errorf("one pipeline was asked for:\n%s", one)
	}
	for _, verb := range []string{"redrive", "purge"} {
		l.run(2, "dlq", verb, p.ID, "--dry-run")
		l.wants(l.stderr.String(), "pipelines p, q have a dead letter "+p.ID+" each", "next: milepost dlq "+verb+" p "+p.ID)
	}
	l.run(2, "dlq", "show", p.ID)
	l.wants(l.stderr.String(), "pipelines p, q have a dead letter "+p.ID+" each", "next: milepost dlq show --pipeline p "+p.ID)
	l.wants(l.run(0, "dlq", "show", p.ID, "--pipeline", "q"), `"pipeline": "q"`)
	l.wants(l.run(0, "dlq", "redrive", "--dry-run"), "would redrive 2 of 2 events", "  p "+p.ID, "  q "+p.ID)
	l.wants(l.run(0, "dlq", "redrive", "q", p.ID), "1 of 1 event done")
	if p, q := l.letter("p/c"), l.letter("q/c"); p.State != "open" || q.State != "resumed" {
		t.Errorf("%+v %+v", p, q)
	}
}

// Ctrl-C stops a bulk command between two of its steps, and it says what was done and what was not.
func TestAnInterruptedBulkRedriveSaysHowFarItCame(t *testing.T) {
	const total = 60
	l := gatedLine(t)
	for n := range total {
		l.write(fmt.Sprintf("drives/sim_%03d.mf4", n), "hello\n")
	}
	l.replay(1)
	ctx, cancel := context.WithCancel(t.Context())
	var said strings.Builder
	types := stages.Standard()
	types.Add(gateType)
	code := cmd.Run(ctx, types, []string{"dlq", "redrive", "-f", l.path("pipelines.yaml")}, strings.NewReader(""), io.Discard, writerFunc(func(text []byte) (int, error) {
		cancel() // with the first that is said of it
		return said.Write(text)
	}))
	found := regexp.MustCompile(`(?s)^redrive: \d+ of 60 events\n.*interrupted: (\d+) events? done, (\d+) left; the same command goes on with those\n$`).FindStringSubmatch(said.String())
	if code != cmd.ExitInterrupted || found == nil {
		t.Fatalf("exit %d: %s", code, said.String())
	}
	resumed := strings.Count(l.run(0, "dlq", "ls", "--status", "resumed", "-o", "name"), "\n")
	open := strings.Count(l.run(0, "dlq", "ls", "--status", "open", "-o", "name"), "\n")
	if found[1] != fmt.Sprint(resumed) || found[2] != fmt.Sprint(open) || resumed+open != total || open == 0 {
		t.Errorf("%s: there are %d resumed and %d open", found[0], resumed, open)
	}
	l.run(0, "dlq", "redrive")
	l.wants(l.stdout.String(), fmt.Sprintf("redrive: %d of %d events done, 0 refused", open, open))
}
