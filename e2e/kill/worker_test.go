//go:build e2e

package kill

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// A server is a broker outside the process, as a test starts and kills it.
type server interface {
	start(t *testing.T) // on the store that is there, until it takes connections
	kill(t *testing.T)
	url() string
	connect(t *testing.T) transport.Broker
}

// natsServer is a nats-server.
type natsServer struct {
	binary, address, store string
	process                *program
}

// buildServer makes the binary of the module that go.mod names.
func buildServer(t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{binary: filepath.Join(t.TempDir(), "nats-server"), address: freeAddress(t), store: t.TempDir()}
	if err := process.Build(t.Context(), s.binary, "github.com/nats-io/nats-server/v2"); err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs the server, on the store that is there, until it takes connections.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	host, port, _ := strings.Cut(s.address, ":")
	s.process = start(t, s.store, s.binary, "-js", "-sd", s.store, "-a", host, "-p", port)
	if !s.process.Until(process.Contains("Server is ready")) {
		t.Fatalf("nats-server did not start:\n%s", s.process.Tail())
	}
	s.process.Drain() // else the server would wait for a reader of its log
}

func (s *natsServer) url() string { return "nats://" + s.address }

func (s *natsServer) kill(*testing.T) { s.process.kill() }

func (s *natsServer) connect(t *testing.T) transport.Broker {
	t.Helper()
	b, err := jetstream.Connect(t.Context(), jetstream.Config{URL: s.url()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// worker starts `milepost worker` and waits until it works.
func (p plan) worker(t *testing.T, dir, url string) *program {
	t.Helper()
	w := start(t, dir, milepost, "worker", "-f", "pipelines.yaml", "--transport", url, "--retain")
	if !w.Until(process.Contains("working")) {
		t.Fatalf("a worker did not start:\n%s", w.Tail())
	}
	w.Drain()
	return w
}

// TestWorkersAndServerAreKilled kills one of two workers, then the server, when drawn numbers of events lie in the log of
// the reader, whoever stored them.
func TestWorkersAndServerAreKilled(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	s := buildServer(t)
	for range 3 {
		s.store = t.TempDir()
		s.start(t)
		p.drawn(t, s, want)
		s.process.kill()
	}
}

// drawn runs the plan with a worker and the server killed at drawn numbers of the reader's events.
func (p plan) drawn(t *testing.T, s server, want results.Results) {
	t.Helper()
	events := 0
	for name := range want {
		if strings.HasPrefix(name, "event ") && strings.Contains(name, "/"+planStages[0]+" ") {
			events++
		}
	}
	seed := rand.Uint64()
	draw := rand.New(rand.NewPCG(seed, 0))
	first := 1 + draw.IntN(events/2)
	second := first + draw.IntN(events*9/10-first)
	t.Logf("seed %d: of %d events of the reader, a worker is killed at %d, the server at %d", seed, events, first, second)
	p.disturbed(t, s, first, second, want)
}

// stored waits until so many out events lie in a stage's log.
func stored(t *testing.T, s server, stage string, n int) {
	t.Helper()
	b := s.connect(t)
	defer b.Close()
	log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: planPipeline, Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	w, err := log.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Headers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range n {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// disturbed runs the plan with two workers on the server.
func (p plan) disturbed(t *testing.T, s server, killWorker, killServer int, want results.Results) {
	t.Helper()
	dir := p.folder(t)
	workers := []*program{p.worker(t, dir, s.url()), p.worker(t, dir, s.url())}
	run := p.start(t, dir, "--transport", s.url())
	run.Drain()
	stored(t, s, planStages[0], killWorker)
	workers[0].kill()
	stored(t, s, planStages[0], killServer)
	s.kill(t)
	s.start(t)
	if code := run.wait(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, run.Tail())
	}
	own := int64(0)
	for _, n := range run.totals() {
		own += n.Out
	}
	workers[1].signal(syscall.SIGTERM)
	if code := workers[1].wait(); code != 130 {
		t.Errorf("the other worker: exit code %d, want 130:\n%s", code, workers[1].Tail())
	}
	b := s.connect(t)
	defer b.Close()
	got := p.collectFrom(t, dir, b)
	for _, d := range got.Diff(want) {
		t.Error(d)
	}
	t.Logf("the run itself stored %d events, %d inputs taken again by it", own, run.reruns())
}
