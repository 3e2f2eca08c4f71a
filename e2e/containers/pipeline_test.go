//go:build containers || local

package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/kafka"
)

// hung is when a run is given up.
const hung = 10 * time.Minute

// milepost is the built binary.
var milepost string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "milepost-containers-")
	if err == nil {
		milepost = filepath.Join(dir, "milepost")
		err = process.Build(context.Background(), milepost, "github.com/milepost-dev/milepost/cmd/milepost")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A site is where a case runs: its broker, and its second worker.
type site struct {
	url     string // of the broker, for this machine
	connect func(t *testing.T) transport.Broker
	// worker starts a worker in the folder, and returns what ends it; the worker is ready, and its figures were looked at.
	worker func(t *testing.T, dir string) (stop func())
}

const pipelineName = "drives"

// folder makes a folder that anybody may write to, the recordings in it: the worker is another user, perhaps.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "milepost-case-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	samples := filepath.Join("..", "..", "samples")
	if err := os.CopyFS(filepath.Join(dir, "samples"), os.DirFS(samples)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pipelines.yaml"), []byte(pipelines), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{".": 0o755, "out": 0o777} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The sinks' files are written by `milepost run`: the worker takes the stages.
const pipelines = `version: 1
transport: { embedded: { dir: ./state } }
pipelines:
  drives:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 2, checkpoint: { inputs: 8 }, with: { paths: ["samples/*.mf4"], bindings: samples/signals.yaml, slice_max: 2s } }
      - { name: aeb, uses: process/aeb, parallelism: 2, checkpoint: { inputs: 16 } }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: 2, checkpoint: { inputs: 32 } }
`

func start(t *testing.T, dir string, args ...string) *process.Process {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), hung)
	p, err := process.Start(ctx, process.Config{Dir: dir, Name: milepost, Args: args, Wide: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		stop()
	})
	return p
}

func run(t *testing.T, dir string, flags ...string) {
	t.Helper()
	p := start(t, dir, append([]string{"run", "--state", "state", "--exit", "--retain", "--progress", "json", "--listen", "127.0.0.1:0"}, flags...)...)
	code, err := p.Wait()
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, p.Tail())
	}
}

func collect(t *testing.T, dir string, b transport.Broker) results.Results {
	t.Helper()
	r := results.Results{}
	err := errors.Join(r.AddEvents(t.Context(), b, pipelineName, []string{"read", "aeb", "kpi"}),
		r.AddTables(t.Context(), filepath.Join(dir, "state", "results.db"), results.StoreTables))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPipeline: with a worker beside the run, results are those of embedded JetStream, byte for byte, on either broker.
func TestPipeline(t *testing.T) {
	alone := folder(t)
	run(t, alone)
	b, err := results.Embedded(t.Context(), filepath.Join(alone, "state", "jetstream"))
	if err != nil {
		t.Fatal(err)
	}
	want := collect(t, alone, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(t *testing.T) site{"NATS": natsSite, "Kafka": kafkaSite} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t), folder(t)
			stop := s.worker(t, dir)
			run(t, dir, "--transport", s.url)
			stop()
			b := s.connect(t)
			defer b.Close()
			for _, d := range collect(t, dir, b).Diff(want) {
				t.Error(d)
			}
		})
	}
}

func connectNATS(url string) func(t *testing.T) transport.Broker {
	return func(t *testing.T) transport.Broker {
		b, err := jetstream.Connect(t.Context(), jetstream.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func connectKafka(address string) func(t *testing.T) transport.Broker {
	return func(t *testing.T) transport.Broker {
		b, err := kafka.Connect(t.Context(), kafka.Config{Seeds: []string{address}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// looked fails the test unless the figures at /metrics are those of stages.
func looked(t *testing.T, figures string) {
	t.Helper()
	for _, want := range []string{"milepost_build_info", `milepost_stage_events_out_total{pipeline="drives",stage="aeb"}`} {
		if !strings.Contains(figures, want) {
			t.Errorf("%s is not among the worker's figures:\n%.1000s", want, figures)
		}
	}
}

// TestDashboard: what the provisioned dashboard asks for is what processes say.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "deploy", "grafana", "dashboards", "milepost.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, "run", "--state", "state", "--progress", "json", "--listen", "127.0.0.1:0", "--metrics", address)
	figures := ""
	for figures == "" {
		if p.Ended() {
			t.Fatalf("the run is over:\n%s", p.Tail())
		}
		figures, _ = get(t.Context(), "http://"+address+"/metrics")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range board.Panels {
		for _, q := range panel.Targets {
			for _, name := range metricNames(q.Expr) {
				asked++
				if !strings.Contains(figures, "\n"+name+"{") && !strings.Contains(figures, "\n"+name+" ") {
					t.Errorf("the dashboard asks for %s, which no process says", name)
				}
			}
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks for nothing")
	}
}
