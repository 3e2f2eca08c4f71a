//go:build e2e

package kill

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
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
		c := buildCluster(t)
		c.start(t)
		p.failover(t, c, want, fmt.Sprintf("transport: { nats: { url: [\"%s\"], replicas: 3 } }", strings.ReplaceAll(c.url(), ",", `", "`)), func() { c.killLeader(t, "MP_drives_read") })
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
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: planPipeline, Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Headers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range n {
		if _, err := w.Next(ctx); err != nil {
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

// killLeader kills the server that leads a stream; the two others go on without it.
func (c *natsCluster) killLeader(t *testing.T, stream string) {
	t.Helper()
	nc, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	leader := s.CachedInfo().Cluster.Leader
	n, err := strconv.Atoi(strings.TrimPrefix(leader, "n"))
	if err != nil || n >= len(c.nodes) {
		t.Fatalf("%q leads stream %s, and is no server of ours", leader, stream)
	}
	c.nodes[n].process.kill()
}
