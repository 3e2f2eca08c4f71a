package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

const pipelinesFile = "pipelines.yaml"

// What is run: made-up recordings through stages in which something is wrong with inputs everywhere, a fan-out, a join behind
// stages of which one says little, a pipeline over another one's events; and the sample recordings through the function under
// test. %s are the transport and the folder of the samples.
const workload = `version: 1
transport: %s
defaults: { retry: { attempts: 9, backoff: 20ms, max_backoff: 300ms }, checkpoint: { inputs: 16, interval: 2s }, timeout: 3s }
sinks:
  documents: { json: { path: "./out/documents/{item}.json", form: document, types: [aeb.kpi.v1, aeb.fleet.v1] } }
  lines: { json: { path: "./out/{stage}/{item}.jsonl" } }
  rows: { sqlite: { path: ./rows.db } }
pipelines:
  ordeal:
    stages:
      - { name: read, uses: reader/ordeal, parallelism: 2, with: { items: 6, batches: 180, rows: 40, slow: 5ms, flaky: 31 } }
      - name: all
        uses: process/ordeal
        parallelism: 2
        on_error: skip
        retry: { attempts: 6 }
        with: { slow: 3ms, bad: 23, panic: 61, flaky: 17, twice: 5, hang: drive02/37, kill: drive03/50 }
        to: [lines, rows]
      - { name: some, uses: process/ordeal, from: read, parallelism: 2, on_error: skip, with: { slow: 1ms, only: 9, bad: 41, flaky: 29, weight: 400000 } }
      - { name: join, uses: process/ordeal, from: [all, some, read], parallelism: 2, on_error: skip, with: { bad: 97, drop: 3 }, to: [lines, rows] }
  below:
    from: ordeal/some
    stages:
      - { name: picky, uses: process/ordeal, when: 'type == "ordeal.row.v1" && int(data.n) %% 2 == 0', on_error: skip, with: { bad: 13, twice: 3 }, to: lines }
      - { name: both, uses: process/ordeal, from: [picky, ordeal/some], with: { drop: 2 }, to: rows }
  drives:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 2, with: { paths: [%s], bindings: %s, slice_max: 2s } }
      - { name: aeb, uses: process/aeb, parallelism: 2, to: [lines, rows] }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: 2, to: [documents, lines, rows] }
`

// checkpointInputs is the interval above: what a takeover may have to take again.
const checkpointInputs = 16

// nodes are the stages and sinks of the workload, by pipeline.
var nodes = map[string]struct{ stages, sinks []string }{
	"ordeal": {[]string{"read", "all", "some", "join"}, []string{"lines@all", "rows@all", "lines@join", "rows@join"}},
	"below":  {[]string{"picky", "both"}, []string{"lines@picky", "rows@both"}},
	"drives": {[]string{"read", "aeb", "kpi"}, []string{"lines@aeb", "rows@aeb", "documents@kpi", "lines@kpi", "rows@kpi"}},
}

// write puts the workload into a folder.
func writeWorkload(dir, transport string) error {
	samples, err := filepath.Abs("samples")
	if err != nil {
		return err
	}
	quoted := func(path string) string {
		text, _ := json.Marshal(path)
		return string(text)
	}
	if _, err := os.Stat(filepath.Join(samples, "signals.yaml")); err != nil {
		return fmt.Errorf("run this in the repository's folder: %w", err)
	}
	text := fmt.Sprintf(workload, transport, quoted(filepath.Join(samples, "*.mf4")), quoted(filepath.Join(samples, "signals.yaml")))
	return os.WriteFile(filepath.Join(dir, pipelinesFile), []byte(text), 0o644)
}

// expected is what the workload gives, computed by this binary in a process of its own, in a folder like a worker's.
func expected(ctx context.Context, dir string) (results.Results, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := writeWorkload(dir, "{ memory: {} }"); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-oracle")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("compute without a transport: %w", err)
	}
	r := results.Results{}
	return r, json.Unmarshal(out, &r)
}

// storeTables are those of the result store that are results of stages; the others are a projection of jobs.
func storeTables() map[string]string {
	t := map[string]string{}
	for _, name := range []string{"docs", "chunks", "folds", "fleet"} {
		t[name] = results.StoreTables[name]
	}
	return t
}

// collectFiles adds what a round left in its folder.
func collectFiles(ctx context.Context, r results.Results, dir string) error {
	return errors.Join(
		r.AddFiles(filepath.Join(dir, "out")),
		r.AddTables(ctx, filepath.Join(dir, "rows.db"), results.SinkTables),
		r.AddTables(ctx, filepath.Join(stateOf(dir), view.FileName), storeTables()))
}

// collectBroker adds what lies in the broker, events where they are kept.
func collectBroker(ctx context.Context, r results.Results, b transport.Broker, events bool) error {
	for pipeline, n := range nodes {
		all := append(append([]string(nil), n.stages...), n.sinks...)
		err := r.AddLetters(ctx, b, pipeline, all)
		if events {
			err = errors.Join(err, r.AddEvents(ctx, b, pipeline, n.stages))
		}
		if err != nil {
			return err
		}
		jobs, err := results.Records(ctx, b, pipeline, transport.JobStage, transport.WatchConfig{Newest: true})
		if err != nil {
			return err
		}
		for _, s := range jobs {
			var e schemas.JobEvent
			if err := json.Unmarshal(s.Event.Data, &e); err != nil {
				return err
			}
			r["job "+string(s.Chain.Job)] = string(e.State)
		}
	}
	return nil
}
