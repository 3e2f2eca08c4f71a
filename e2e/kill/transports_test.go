//go:build e2e

package kill

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// natsCluster is three nats-servers, each log of which has three copies.
type natsCluster struct {
	nodes  []*natsServer
	routes []string
}

func buildCluster(t *testing.T) *natsCluster {
	t.Helper()
	first := buildServer(t)
	c := &natsCluster{}
	for range 3 {
		c.nodes = append(c.nodes, &natsServer{binary: first.binary, address: freeAddress(t), store: t.TempDir()})
		c.routes = append(c.routes, "nats://"+freeAddress(t))
	}
	return c
}

// start runs the three until they have a leader.
func (c *natsCluster) start(t *testing.T) {
	t.Helper()
	for i, n := range c.nodes {
		host, port, _ := strings.Cut(n.address, ":")
		n.process = start(t, n.store, n.binary, "-js", "-sd", n.store, "-a", host, "-p", port, "-n", "n"+strconv.Itoa(i),
			"--cluster_name", "kill", "--cluster", c.routes[i], "--routes", strings.Join(c.routes, ","))
	}
	var ready sync.WaitGroup
	for _, n := range c.nodes { // all at once: one that nobody reads waits, and the others for it
		ready.Go(func() {
			if !n.process.Until(process.Contains("Server is ready")) {
				t.Errorf("nats-server did not start:\n%s", n.process.Tail())
			}
			n.process.Drain()
		})
	}
	ready.Wait()
	if err := c.connect(t).Close(); err != nil {
		t.Fatal(err)
	}
}

func (c *natsCluster) url() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.url())
	}
	return strings.Join(all, ",")
}

// kill ends one of the three, which the others do not need.
func (c *natsCluster) kill(*testing.T) { c.nodes[0].process.kill() }

// connect tries again: what is asked while the three agree on a leader may never be answered.
func (c *natsCluster) connect(t *testing.T) transport.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	for {
		b, err := jetstream.Connect(ctx, jetstream.Config{URL: c.url(), Replicas: 3, Timeout: 30 * time.Second})
		if err == nil {
			return b
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// A place is a transport that the same file is run on, by --transport alone.
type place struct {
	name  string
	start func(t *testing.T) server
	flags []string
}

// places are all but Kafka, which needs another build tag: TestSameBytesOnKafka.
var places = []place{
	{"one server", func(t *testing.T) server { return buildServer(t) }, nil},
	{"three servers, three copies", func(t *testing.T) server { return buildCluster(t) }, []string{"--set", "transport.nats.replicas=3"}},
}

// TestSameBytes runs the same file on each transport: every event with all its attributes, every result file and every row is
// that of embedded JetStream.
func TestSameBytes(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) { p.same(t, at, want) })
	}
}

func (p plan) same(t *testing.T, at place, want results.Results) {
	t.Helper()
	s := at.start(t)
	s.start(t)
	dir := p.folder(t)
	run := p.start(t, dir, append([]string{"--transport", s.url()}, at.flags...)...)
	run.Appends(0) // to its end
	if code := run.wait(); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, run.Tail())
	}
	b := s.connect(t)
	defer b.Close()
	for _, d := range p.collectFrom(t, dir, b).Diff(want) {
		t.Error(d)
	}
	if len(want) == 0 {
		t.Error("there are no results")
	}
}

// TestMirrorKilled: a run is killed in the middle and mirrored to a server, by a mirror that is killed again and again; what comes of it
// there is what comes of a run that nobody disturbed.
func TestMirrorKilled(t *testing.T) {
	s := buildServer(t)
	s.start(t)
	mirrorKilled(t, s)
}

func mirrorKilled(t *testing.T, s server) {
	t.Helper()
	p := samples()
	want, total := p.undisturbed(t)
	dir := p.folder(t)
	run := p.start(t, dir)
	if _, ok := run.Appends(total / 2); !ok {
		t.Fatalf("the run ended before it was killed:\n%s", run.Tail())
	}
	run.kill()
	args := []string{"mirror", "-f", "pipelines.yaml", "--state", "state", "--to", s.url()}
	for logs := range 3 { // killed as soon as so many logs are copied, so in the next one
		m := start(t, dir, milepost, args...)
		for range logs + 1 {
			if !m.Until(process.Contains("mirrored")) {
				t.Fatalf("a mirror ended before it was killed:\n%s", m.Tail())
			}
		}
		m.kill()
	}
	m := start(t, dir, milepost, args...)
	m.Drain()
	if code := m.wait(); code != 0 {
		t.Fatalf("the mirror ended with %d:\n%s", code, m.Tail())
	}
	again := p.start(t, dir, "--transport", s.url())
	again.Appends(0)
	if code := again.wait(); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, again.Tail())
	}
	b := s.connect(t)
	defer b.Close()
	for _, d := range p.collectFrom(t, dir, b).Diff(want) {
		t.Error(d)
	}
}
