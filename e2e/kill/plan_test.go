package kill

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
)

// A plan is what is run: one pipeline with the stages read, aeb and kpi.
type plan struct {
	yaml string // the pipelines file, written into the run's folder
	jobs int
}

const planPipeline = "drives"

var planStages = []string{"read", "aeb", "kpi"}

// newPlan makes a plan of many small steps: slices of so long, checkpoints often.
func newPlan(paths, bindings, slice string, jobs int) plan {
	quoted := func(path string) string {
		abs, err := filepath.Abs(path)
		if err != nil {
			panic(err)
		}
		text, _ := json.Marshal(abs)
		return string(text)
	}
	// Written through later: a kill of the process loses nothing that the system has.
	return plan{jobs: jobs, yaml: `version: 1
transport: { embedded: { dir: ./state, sync: 1h } }
sinks:
  results: { json: { path: "./out/results/{item}.json", form: document, types: [aeb.kpi.v1, aeb.fleet.v1] } }
  lines: { json: { path: "./out/{stage}/{item}.jsonl" } }
  rows: { sqlite: { path: ./rows.db } }
pipelines:
  ` + planPipeline + `:
    stages:
      - name: read
        uses: reader/mf4
        parallelism: 2
        checkpoint: { inputs: 8 }
        with: { paths: [` + quoted(paths) + `], bindings: ` + quoted(bindings) + `, slice_max: ` + slice + ` }
      - { name: aeb, uses: process/aeb, parallelism: 2, checkpoint: { inputs: 16 }, to: [lines, rows] }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: 2, checkpoint: { inputs: 32 }, to: [results, lines, rows] }
`}
}

// samples is the plan over the repository's own recordings.
func samples() plan {
	dir := filepath.Join("..", "..", "samples")
	return newPlan(filepath.Join(dir, "*.mf4"), filepath.Join(dir, "signals.yaml"), "2s", 4)
}

// folder makes the folder of a run.
func (p plan) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pipelines.yaml"), []byte(p.yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs the plan in its folder, on the state that is there.
func (p plan) start(t *testing.T, dir string, flags ...string) *program {
	t.Helper()
	return start(t, dir, milepost, append([]string{"run", "-f", "pipelines.yaml", "--state", "state", "--exit", "--retain",
		"--progress", "json", "--listen", "127.0.0.1:0"}, flags...)...)
}

// collect reads everything that a run that has ended left in its folder.
func (p plan) collect(t *testing.T, dir string) results.Results {
	t.Helper()
	b, err := results.Embedded(t.Context(), filepath.Join(dir, "state", "jetstream"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return p.collectFrom(t, dir, b)
}

// collectFrom is collect where the broker is open.
func (p plan) collectFrom(t *testing.T, dir string, b transport.Broker) results.Results {
	t.Helper()
	r := results.Results{}
	err := errors.Join(
		r.AddEvents(t.Context(), b, planPipeline, planStages),
		r.AddFiles(filepath.Join(dir, "out")),
		r.AddTables(t.Context(), filepath.Join(dir, "state", "results.db"), results.StoreTables),
		r.AddTables(t.Context(), filepath.Join(dir, "rows.db"), results.SinkTables))
	if err != nil {
		t.Error(err)
	}
	return r
}

// undisturbed runs the plan once and returns its results and its number of appends.
func (p plan) undisturbed(t *testing.T, flags ...string) (results.Results, int64) {
	t.Helper()
	dir := p.folder(t)
	run := p.start(t, dir, flags...)
	total, _ := run.Appends(0)
	if code := run.wait(); code != 0 {
		t.Fatalf("a run that nobody disturbed ended with %d:\n%s", code, run.Tail())
	}
	if n := run.reruns(); n != 0 {
		t.Errorf("%d inputs were taken again without a kill", n)
	}
	return p.collect(t, dir), total
}

// A killing is one killed run, started again until it ended by itself.
type killing struct {
	at        int64 // count of appends that was waited for
	finished  int   // jobs that were over at the kill
	code      int   // of the run that ended by itself
	reruns    int64
	tail      string
	collected results.Results
}

// kill runs the plan in a fresh folder, kills it at a count of appends and starts it again. How many appends a run makes
// depends a little on time: where it ends before the count, or with all jobs over, an earlier one is taken.
func (p plan) kill(t *testing.T, at int64, flags ...string) killing {
	t.Helper()
	for {
		dir := p.folder(t)
		run := p.start(t, dir, flags...)
		reached, ok := run.Appends(at)
		run.kill()
		k := killing{at: at}
		if k.finished = finished(t, dir); !ok || k.finished == p.jobs {
			t.Logf("at %d of %d appends the run was over; once more, earlier", at, reached)
			if at = min(at, reached) - 1; at < 1 {
				t.Fatalf("no run lived to its first append:\n%s", run.Tail())
			}
			continue
		}
		again := p.start(t, dir, flags...)
		k.code, k.tail = again.wait(), again.Tail()
		k.reruns = again.reruns()
		k.collected = p.collect(t, dir)
		return k
	}
}

// points are the counts to kill at: the first, the last but one, and drawn ones between.
func points(t *testing.T, total int64, drawn int) []int64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("KILL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("KILL_SEED: %v", err)
		}
		seed = n
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	list := []int64{1, total - 1}
	for range drawn {
		list = append(list, 2+draw.Int64N(max(1, total-3)))
	}
	t.Logf("KILL_SEED=%d, %d appends, kills at %v", seed, total, list)
	return list
}

// finished counts the jobs of a killed run that are over.
func finished(t *testing.T, dir string) int {
	t.Helper()
	n, err := results.Finished(t.Context(), filepath.Join(dir, "state"), planPipeline, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// check fails the test where a killed run is not as it must be.
func (k killing) check(t *testing.T, p plan, want results.Results) {
	t.Helper()
	if k.code != 0 {
		t.Errorf("killed at %d appends and started again, the run ended with %d:\n%s", k.at, k.code, k.tail)
	}
	if k.finished >= p.jobs {
		t.Errorf("killed at %d appends all %d jobs were over", k.at, p.jobs)
	}
	for _, d := range k.collected.Diff(want) {
		t.Errorf("killed at %d appends: %s", k.at, d)
	}
}

// survives kills the plan at many points.
func (p plan) survives(t *testing.T, drawn int) {
	want, total := p.undisturbed(t)
	t.Logf("%d events, files and rows", len(want))
	for _, at := range points(t, total, drawn) {
		t.Run(fmt.Sprintf("at %d", at), func(t *testing.T) {
			t.Parallel()
			p.survivesAt(t, at, want)
		})
	}
}

// survivesAt kills at a count, or, where nothing was left to be run again, at another one: a later one at the beginning (the
// first records are of jobs that nobody has begun), an earlier one else (behind the last input there are still records).
func (p plan) survivesAt(t *testing.T, at int64, want results.Results) {
	step := int64(-1)
	if at <= most {
		step = 1
	}
	for range most {
		k := p.kill(t, at)
		k.check(t, p, want)
		t.Logf("killed at %d appends: %d of %d jobs were over, %d inputs taken again", k.at, k.finished, p.jobs, k.reruns)
		if k.reruns > 0 {
			return
		}
		at = k.at + step
	}
	t.Errorf("of %d kills none had an input taken again", most)
}

// most is how many counts are tried in the place of one.
const most = 10

// tells runs the plan in the naive mode until a kill shows: a harness that never sees a difference is blind.
func (p plan) tells(t *testing.T, kills int) {
	want, total := p.undisturbed(t, "--naive")
	for _, at := range points(t, total, kills)[2:] {
		k := p.kill(t, at, "--naive")
		if d := k.collected.Diff(want); len(d) > 0 {
			t.Logf("killed at %d appends the naive mode differs: %s", k.at, d[0])
			return
		}
	}
	t.Errorf("%d kills of the naive mode, and no difference: the harness is blind", kills)
}
