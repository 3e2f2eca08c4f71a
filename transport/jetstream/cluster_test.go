package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

// cluster starts three servers and returns their addresses; streams with three copies live on all of them.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	var routes []*url.URL
	var ports []int
	var held []net.Listener
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l) // all ports first, or one would be given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	for _, l := range held {
		l.Close()
	}
	var all []*server.Server
	for i, port := range ports {
		o := &server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			LameDuckDuration: 11 * time.Second, LameDuckGracePeriod: 10 * time.Second,
			Cluster: server.ClusterOpts{Name: "suite", Host: "127.0.0.1", Port: port}, Routes: routes,
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
		t.Cleanup(func() { stop(s) })
	}
	for _, s := range all {
		s.Start()
	}
	for _, s := range all {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server does not come up")
		}
	}
	return all
}

// TestCluster runs the suite on streams with three copies, each client connected to another server, so that appends to one
// chain meet in the leader and direct gets are answered by replicas that lag.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := cluster(t)
	n := 0
	open := func(t testing.TB) transport.Broker {
		n++
		for { // JetStream answers once the cluster has a leader
			b, err := Connect(context.Background(), Config{URL: servers[n%3].ClientURL(), Replicas: 3})
			if err == nil {
				return b
			}
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
	}
	f := features()
	f.Client = func(t testing.TB, _ transport.Broker) transport.Broker { return open(t) }
	f.Reopen, f.Lag = nil, true
	transporttest.Run(t, open, f)
}

// TestLameDuck: clients leave a server of a cluster that is about to shut down, before it cuts them, and go on at another one.
func TestLameDuck(t *testing.T) {
	t.Parallel()
	servers := cluster(t)
	left := make(chan string, 10)
	words := slog.New(slog.NewTextHandler(lines(func(line string) {
		if strings.Contains(line, "found again") {
			left <- line
		}
	}), nil))
	var b *Broker
	for b == nil { // JetStream answers once the cluster has a leader
		b, _ = Connect(t.Context(), Config{URL: servers[0].ClientURL(), Replicas: 3, Log: words})
	}
	defer b.Close()
	log, ch, _, err := openCrash(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	ch = insist(t, log, ch, 1)
	for !b.others() {
		if err := b.nc.Flush(); err != nil { // the server tells of the others as it hears of them
			t.Fatal(err)
		}
	}
	gone, address := make(chan struct{}), servers[0].Addr().String()
	go func() { defer close(gone); servers[0].LameDuckShutdown() }()
	if line := <-left; strings.Contains(line, address) {
		t.Errorf("it went back: %s", line)
	}
	select {
	case <-gone:
		t.Error("the server was gone before its client")
	default:
	}
	ch = insist(t, log, ch, 2)
	insist(t, log, ch, 3)
	<-gone
}

// TestNewLeader: an append that the stream's leader has not answered is given up when another server leads.
func TestNewLeader(t *testing.T) {
	t.Parallel()
	servers := cluster(t)
	var b *Broker
	for b == nil && t.Context().Err() == nil { // JetStream answers once the cluster has a leader
		b, _ = Connect(t.Context(), Config{URL: servers[0].ClientURL(), Replicas: 3})
	}
	defer b.Close()
	opened, _, _, err := openCrash(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	l := opened.(*log)
	unanswered, done := l.led(t.Context())
	defer done()
	for answered := false; !answered; { // the meta leader may change its mind as well
		m, err := b.nc.RequestWithContext(t.Context(), apiPrefix+"STREAM.LEADER.STEPDOWN."+l.stream, nil)
		if err != nil {
			t.Fatal(err)
		}
		answered = strings.Contains(string(m.Data), `"success":true`)
	}
	<-unanswered.Done()
	if cause := context.Cause(unanswered); !errors.Is(cause, errLeader) {
		t.Errorf("given up because of %v", cause)
	}
}
