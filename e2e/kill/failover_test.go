//go:build e2e && kafka

package kill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// TestFailover: what holds the events is killed in the middle of a run, and everything comes out as without. How long nothing
// was stored is printed for each: it is the machine's, and no test.
func TestFailover(t *testing.T) {
	p := samples()
	want, total := p.undisturbed(t)
	t.Run("embedded, the process", func(t *testing.T) {
		dir := p.folder(t)
		run := p.start(t, dir)
		if _, ok := run.Appends(total / 2); !ok {
			t.Fatalf("the run was over too early:\n%s", run.Tail())
		}
		run.kill()
		again := p.start(t, dir)
		if code := again.wait(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, again.Tail())
		}
		b, err := results.Embedded(t.Context(), filepath.Join(dir, "state", "jetstream"))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		p.compare(t, dir, b, want)
	})
	t.Run("three nats-servers, the one that leads", func(t *testing.T) {
		c := startCluster(t)
		p.failover(t, c, want, fmt.Sprintf("transport: { nats: { url: [%s], replicas: 3 } }", strings.Join(c.urls, ", ")), func() { c.killLeader(t, "MP_drives_read") })
	})
	t.Run("Kafka, the broker", func(t *testing.T) {
		s := startKafka(t)
		p.failover(t, s, want, fmt.Sprintf("transport: { kafka: { brokers: [%q] } }", s.Address), func() {
			s.kill(t)
			s.start(t)
		})
	})
}

// failover runs the plan on a broker, with the blow in the middle.
func (p plan) failover(t *testing.T, s interface {
	connect(*testing.T) transport.Broker
}, want results.Results, block string, blow func()) {
	t.Helper()
	first, rest, _ := strings.Cut(p.yaml, "transport:")
	_, rest, _ = strings.Cut(rest, "\n")
	p.yaml = first + block + "\n" + rest
	dir := p.folder(t)
	run := p.start(t, dir)
	run.Drain()
	b := s.connect(t)
	defer b.Close()
	waitFor(t, b, planStages[1], 20)
	begun := time.Now()
	blow()
	t.Logf("%s: the blow itself, with the start of a new server where there is one, took %s", t.Name(), time.Since(begun).Round(time.Millisecond))
	if code := run.wait(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, run.Tail())
	}
	p.compare(t, dir, b, want)
}

// waitFor waits until so many out events lie in a stage's log.
func waitFor(t *testing.T, b transport.Broker, stage string, n int) {
	t.Helper()
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

// compare is the end of each: the bytes, and the longest time without an event.
func (p plan) compare(t *testing.T, dir string, b transport.Broker, want results.Results) {
	t.Helper()
	for _, d := range p.collectFrom(t, dir, b).Diff(want) {
		t.Error(d)
	}
	var stored []time.Time
	for _, stage := range planStages {
		all, err := results.Records(t.Context(), b, planPipeline, stage, transport.WatchConfig{Headers: true})
		if err != nil {
			t.Fatal(err)
		}
		for k := range all {
			stored = append(stored, all[k].At)
		}
	}
	slices.SortFunc(stored, time.Time.Compare)
	longest := time.Duration(0)
	for k := range stored[1:] {
		longest = max(longest, stored[k+1].Sub(stored[k]))
	}
	t.Logf("%s: %s without an event stored, of %s in all, %d events", t.Name(), longest.Round(time.Millisecond), stored[len(stored)-1].Sub(stored[0]).Round(time.Millisecond), len(stored))
}

// A cluster is three nats-servers.
type cluster struct {
	urls  []string
	nodes []*clusterNode
}

type clusterNode struct {
	name, dir, config, binary string
	process                   *program
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nats-server")
	if err := process.Build(t.Context(), binary, "github.com/nats-io/nats-server/v2"); err != nil {
		t.Fatal(err)
	}
	c, routes := &cluster{}, []string{}
	for range 3 {
		c.urls = append(c.urls, "nats://"+freeAddress(t))
		routes = append(routes, freeAddress(t))
	}
	quoted := make([]string, len(routes))
	for k, r := range routes {
		quoted[k] = fmt.Sprintf("%q", "nats-route://"+r)
	}
	for k := range 3 {
		n := &clusterNode{name: fmt.Sprintf("n%d", k+1), dir: t.TempDir(), binary: binary}
		text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream { store_dir: %q }\ncluster { name: failover, listen: %q, routes: [%s] }\n", n.name, strings.TrimPrefix(c.urls[k], "nats://"), n.dir, routes[k], strings.Join(quoted, ", "))
		n.config = filepath.Join(n.dir, "node.conf")
		if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.ready(t)
	return c
}

func (n *clusterNode) start(t *testing.T) {
	t.Helper()
	n.process = start(t, n.dir, n.binary, "-c", n.config)
	if !n.process.Until(process.Contains("Server is ready")) {
		t.Fatalf("nats-server did not start:\n%s", n.process.Tail())
	}
	n.process.Drain()
}

// ask has a client of the cluster.
func (c *cluster) ask(t *testing.T, f func(ctx context.Context, j js.JetStream) error) {
	t.Helper()
	nc, err := nats.Connect(strings.Join(c.urls, ","))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for err = f(ctx, j); err != nil && ctx.Err() == nil; {
		err = f(ctx, j)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ready waits until the three can hold a stream.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	c.ask(t, func(ctx context.Context, j js.JetStream) error {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := j.CreateOrUpdateStream(short, js.StreamConfig{Name: "READY", Subjects: []string{"ready"}, Replicas: 3}); err != nil {
			return err
		}
		return j.DeleteStream(short, "READY")
	})
}

// killLeader kills the server that leads a stream; the two others go on without it.
func (c *cluster) killLeader(t *testing.T, stream string) {
	t.Helper()
	leader := ""
	c.ask(t, func(ctx context.Context, j js.JetStream) error {
		s, err := j.Stream(ctx, stream)
		if err != nil {
			return err
		}
		leader = s.CachedInfo().Cluster.Leader
		return nil
	})
	for _, n := range c.nodes {
		if n.name == leader {
			n.process.kill()
			return
		}
	}
	t.Fatalf("%q leads stream %s, and is no server of ours", leader, stream)
}

func (c *cluster) connect(t *testing.T) transport.Broker {
	t.Helper()
	b, err := jetstream.Connect(t.Context(), jetstream.Config{URL: strings.Join(c.urls, ","), Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
