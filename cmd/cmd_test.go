package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages"
)

// line is one command line in a folder of its own, with a pipelines file over the repository's samples.
type line struct {
	t      *testing.T
	dir    string
	types  []pipeline.StageType // beside the standard ones
	stdout bytes.Buffer
	stderr bytes.Buffer
}

const file = `version: 1
transport: { embedded: { dir: STATE, sync: 10s } }
sinks:
  results: { json: { path: "OUT/{item}.json", types: [aeb.kpi.v1], form: document } }
pipelines:
  aeb:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 4, with: { paths: "SAMPLES/sim_[df]*.mf4", bindings: SAMPLES/signals.yaml } }
      - { name: aeb, uses: process/aeb }
      - { name: kpi, uses: analysis/aeb-kpi, to: results }
`

func setup(t *testing.T) *line {
	t.Helper()
	l := &line{t: t, dir: t.TempDir()}
	samples, err := filepath.Abs("../samples")
	if err != nil {
		t.Fatal(err)
	}
	l.write("pipelines.yaml", strings.NewReplacer("STATE", l.path("state"), "OUT", l.path("out"), "SAMPLES", samples).Replace(file))
	return l
}

func (l *line) path(name string) string { return filepath.Join(l.dir, name) }

func (l *line) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) read(name string) string {
	l.t.Helper()
	text, err := os.ReadFile(l.path(name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// run runs a command over the folder's pipelines file and wants an exit code.
func (l *line) run(code int, args ...string) (stdout string) {
	l.t.Helper()
	return l.with(l.t.Context(), code, append(args, "-f", l.path("pipelines.yaml"))...)
}

func (l *line) with(ctx context.Context, code int, args ...string) string {
	l.t.Helper()
	l.stdout.Reset()
	l.stderr.Reset()
	types := stages.Standard()
	for _, t := range l.types {
		types.Add(t)
	}
	if got := cmd.Run(ctx, types, args, strings.NewReader(""), &l.stdout, &l.stderr); got != code {
		l.t.Fatalf("milepost %v: exit %d, want %d\n%s%s", args, got, code, l.stdout.String(), l.stderr.String())
	}
	return l.stdout.String()
}

func (l *line) wants(text string, parts ...string) {
	l.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			l.t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

func TestLintListsEveryFault(t *testing.T) {
	l := setup(t)
	l.wants(l.run(0, "lint"), "1 pipeline, 3 stages, 1 sink: 0 errors")
	l.write("pipelines.yaml", `version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf5, with: { paths: "*.mf4" } }
      - { name: aeb, uses: process/aeb, pralelism: 4 }
      - { name: kpi, uses: analysis/aeb-kpi, from: reed }
`)
	l.wants(l.run(2, "lint"), `did you mean "reader/mf4"?`, `did you mean "parallelism"?`, `"reed"`, "E-stage", "E-field", "E-ref", ":6:")
	l.wants(l.run(2, "lint", "-o", "json"), `"code": "E-stage"`)
	l.run(2, "run", "--exit")
	l.wants(l.stderr.String(), "E-stage", "E-field", "E-ref")
}

func TestGraphAndSchema(t *testing.T) {
	l := setup(t)
	l.wants(l.run(0, "graph"), "read ─▶ aeb ─▶ kpi ─▶ [results]")
	l.wants(l.run(0, "graph", "-o", "mermaid"), "flowchart", "kpi")
	l.run(2, "graph", "-o", "picture")
	var schema map[string]any
	if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "schema")), &schema); err != nil {
		t.Error(err)
	}
}

func TestStages(t *testing.T) {
	l := setup(t)
	l.wants(l.with(t.Context(), 0, "stages", "ls"), "reader/mf4", "process/aeb", "analysis/aeb-kpi", "sink/json")
	l.wants(l.with(t.Context(), 0, "stages", "describe", "reader/mf4"), "with.paths", "required")
	var described struct {
		Fields []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "stages", "describe", "process/aeb", "-o", "json")), &described); err != nil || len(described.Fields) == 0 {
		t.Errorf("%d fields, %v", len(described.Fields), err)
	}
	l.with(t.Context(), 2, "stages", "describe", "process/abe")
	l.wants(l.stderr.String(), "milepost stages ls")
}

func TestInspect(t *testing.T) {
	l := setup(t)
	l.wants(l.with(t.Context(), 0, "inspect", "../samples/sim_full_braking.mf4"), "MDF 4.11", "wheel_speeds", "50 Hz", "finalized")
	l.wants(l.with(t.Context(), 0, "inspect", "../samples/sim_full_braking.mf4", "--channels", "Yaw*", "--blocks"), "YawRate", "##DZ transposed", "history:")
	var v struct {
		Version string
		Groups  []struct{ Records int }
	}
	if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "inspect", "../samples/sim_city_drive.mf4", "-o", "json")), &v); err != nil || v.Version != "4.11" || len(v.Groups) == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	data, err := os.ReadFile("../samples/sim_full_braking.mf4")
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Index(data, []byte("##DZ"))
	data[block+100] ^= 0x55
	l.write("damaged.mf4", string(data))
	l.wants(l.with(t.Context(), 1, "inspect", l.path("damaged.mf4")), "lost: ", "records 0 to ", "from the start to", "wheel_speeds")
	l.write("text.mf4", "hello\n")
	l.with(t.Context(), 1, "inspect", l.path("text.mf4"))
	l.wants(l.stderr.String(), "not an MDF file", "hello", "E-mf4")
}

func TestRunAndWhatIsAskedOfItAfterwards(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), "dashboard", "recording done", "events=", "activations=", "3 recordings, 0 failed", "AEB events")
	l.wants(l.run(0, "jobs", "ls"), "100%")
	for _, name := range []string{"sim_full_braking", "sim_driver_brakes", "sim_false_targets", "fleet"} {
		if _, err := os.Stat(l.path("out/" + name + ".json")); err != nil {
			t.Error(err)
		}
	}
	var jobs []struct{ ID, State, Recording string }
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json")), &jobs); err != nil || len(jobs) != 3 || jobs[0].State != "finished" {
		t.Fatalf("jobs %v, %v", jobs, err)
	}
	l.wants(l.run(0, "jobs", "show", jobs[0].ID), jobs[0].Recording, "finished")
	l.wants(l.run(0, "jobs", "watch"), "finished")
	l.wants(l.run(0, "dlq", "ls"), "ID", "STAGE")
	l.wants(l.run(0, "status"), "aeb", "done", "kpi")

	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "json")
	if strings.Contains(l.stderr.String(), `{"appends":`) {
		t.Errorf("a second run appended something: finished versions are shown, not repeated\n%s", l.stderr.String())
	}
	l.run(0, "run", "--exit", "--again", "--listen", "127.0.0.1:0", "--progress", "none")
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json")), &jobs); err != nil || len(jobs) != 6 {
		t.Errorf("%d jobs after --again, %v", len(jobs), err)
	}
}

func TestABadRecordingFailsAlone(t *testing.T) {
	l := setup(t)
	text, err := os.ReadFile(l.path("pipelines.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	l.write("sim_text.mf4", "hello\n")
	l.write("pipelines.yaml", strings.Replace(string(text), "paths: ", "paths: [\""+l.path("*.mf4")+"\", ", 1))
	text, _ = os.ReadFile(l.path("pipelines.yaml"))
	l.write("pipelines.yaml", strings.Replace(string(text), `sim_[df]*.mf4"`, `sim_[df]*.mf4"]`, 1))
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), "sim_text.mf4", "not an MDF file", "4 recordings, 1 failed", "milepost dlq ls aeb")
	var letters []struct{ ID, Stage, Recording, State string }
	if err := json.Unmarshal([]byte(l.run(0, "dlq", "ls", "-o", "json")), &letters); err != nil || len(letters) != 1 || letters[0].Stage != "read" {
		t.Fatalf("dead letters %v, %v", letters, err)
	}
	l.wants(l.run(0, "dlq", "show", letters[0].ID), "not an MDF file")
	l.wants(l.run(0, "dlq", "redrive", "aeb", "--dry-run"), "would redrive 1 of 1 event")
	l.run(0, "dlq", "redrive", "aeb")
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")                                               // it is still not an MDF file
	l.wants(l.run(0, "dlq", "purge", "--recording", "text", "--dry-run"), "would purge 0 of 2 events") // the job is not over
	l.run(0, "dlq", "purge", "--recording", "text", "--yes")
	l.wants(l.stderr.String(), "2 dead letters of jobs that are not over stay", "milepost jobs cancel JOB")
	l.run(2, "jobs", "cancel", "--status", "failed")
	l.wants(l.run(0, "jobs", "cancel", "--status", "failed", "--dry-run"), "would cancel 1 of 1 job")
	l.wants(l.run(0, "jobs", "cancel", l.jobs()["aeb/sim_text.mf4"].ID), "cancel: 1 of 1 job done")
	l.wants(l.run(0, "dlq", "purge", "aeb", "--dry-run"), "would purge")
	l.run(1, "dlq", "purge", "aeb") // nobody says yes
	l.wants(l.stderr.String(), "[y/N]", "nothing was removed", "--yes")
	l.wants(l.run(0, "dlq", "purge", "aeb", "--yes"), "purge: 2 of 2 events done, 0 refused") // though no stage has heard of the cancel
	if left := l.run(0, "dlq", "ls", "--status", "all", "-o", "name"); left != "" {
		t.Errorf("still there: %s", left)
	}
}

func TestAnInterruptedRunDrains(t *testing.T) {
	l := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	code := cmd.Run(ctx, stages.Standard(), []string{"run", "--exit", "--listen", "127.0.0.1:0", "--progress", "json", "-f", l.path("pipelines.yaml")},
		strings.NewReader(""), io.Discard, writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("appends")) {
				cancel() // with the first record stored, so in the middle
			}
			return len(p), nil
		}))
	if code != 130 {
		t.Errorf("exit %d, want 130", code)
	}
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestUsage(t *testing.T) {
	l := setup(t)
	l.run(2, "worker")
	l.wants(l.stderr.String(), "a worker needs a broker that other processes reach")
	l.run(2, "run", "nosuch")
	l.wants(l.stderr.String(), `no pipeline "nosuch"`)
	l.run(3, "run", "--exit", "--transport", "nats://127.0.0.1:1", "--state", l.path("state"))
	l.wants(l.stderr.String(), "nats://127.0.0.1:1", "next:")
	l.with(t.Context(), 2, "nonsense")
	l.run(2, "jobs", "cancel", "--all")
	l.wants(l.stderr.String(), "--dry-run")
	l.wants(l.with(t.Context(), 0, "version", "-o", "json"), `"version"`)
}
