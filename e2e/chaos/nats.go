package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// comeUp is how long a server may take to be there again.
const comeUp = 5 * time.Minute

// A node is one nats-server in a process of its own, with a small disk of its own. Whoever wants to reach it, worker or other
// node, goes through a proxy.
type node struct {
	name, dir, config string
	client, route     string // addresses
	monitor           string
	way               *proxy            // of the workers
	routes            map[string]*proxy // to the other nodes, by name
	disk              *disk
	tools             tools
	life              context.Context // of the round: longer than that of a blow which starts the server again
	process           *process.Process
	kills             int
}

// natsServers are one server, or three that hold three copies of everything.
type natsServers struct {
	nodes []*node
}

func newServer(t tools, dir string) (system, error) { return newNodes(t, dir, 1) }

func newCluster(t tools, dir string) (system, error) { return newNodes(t, dir, 3) }

func newNodes(t tools, dir string, count int) (_ system, err error) {
	s, ways := &natsServers{}, newProxies()
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	for k := range count {
		n := &node{name: fmt.Sprintf("n%d", k+1), tools: t, routes: map[string]*proxy{}}
		n.dir = filepath.Join(dir, "server", n.name)
		n.config = filepath.Join(dir, n.name+".conf")
		if n.disk, err = mountDisk(n.dir); err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, n)
		for _, address := range []*string{&n.client, &n.route, &n.monitor} {
			if *address, err = process.FreeAddress(); err != nil {
				return nil, err
			}
		}
		if n.way, err = ways.to(n.name, n.client); err != nil {
			return nil, err
		}
	}
	for _, n := range s.nodes {
		for _, other := range s.nodes {
			if n == other {
				continue
			}
			if n.routes[other.name], err = ways.to(n.name+" to "+other.name, other.route); err != nil {
				return nil, err
			}
		}
		if err = os.WriteFile(n.config, n.configuration(), 0o644); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// configuration is the server's file. Servers tell nobody where they or others are: whoever went there would go past the proxies.
// To the other nodes each says an address where nobody is, and reaches them by the routes in its file alone.
func (n *node) configuration() []byte {
	text := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\nping_interval: \"2s\"\nping_max: 2\nwrite_deadline: \"5s\"\njetstream { store_dir: %q, max_file_store: 1GB, sync_interval: always }\n",
		n.name, n.client, n.monitor, n.dir)
	if len(n.routes) == 0 {
		return []byte(text)
	}
	var routes []string
	for _, p := range n.routes {
		routes = append(routes, fmt.Sprintf("%q", "nats-route://"+p.Listen))
	}
	return []byte(text + fmt.Sprintf("cluster { name: chaos, listen: %q, no_advertise: true, cluster_advertise: \"127.0.0.1:1\", pool_size: -1, connect_retries: 1000000, routes: [%s] }\n",
		n.route, strings.Join(routes, ", ")))
}

// start starts the server and waits until it takes connections.
func (n *node) start() error {
	p, err := process.Start(n.life, process.Config{Dir: n.dir, Name: n.tools.server, Args: []string{"-c", n.config}, Env: n.tools.env, Wide: true})
	if err != nil {
		return err
	}
	n.process = p
	if !p.Until(process.Contains("Server is ready")) {
		return fmt.Errorf("nats-server %s did not start:\n%s", n.name, p.Tail())
	}
	p.Drain()
	return nil
}

// kill kills it, and starts it again after a while.
func (n *node) kill(ctx context.Context, after time.Duration) error {
	n.kills++
	if err := n.process.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, after); err != nil {
		return err
	}
	return n.start()
}

func (s *natsServers) start(ctx context.Context) error {
	for _, n := range s.nodes {
		n.life = ctx
		if err := n.start(); err != nil {
			return err
		}
	}
	return s.ready(ctx)
}

// ready waits until JetStream answers, and of three servers until all have caught up.
func (s *natsServers) ready(ctx context.Context) error {
	err := until(ctx, "JetStream does not answer", comeUp, func(ctx context.Context) error {
		return s.ask(ctx, func(ctx context.Context, j js.JetStream) error {
			if _, err := j.AccountInfo(ctx); err != nil {
				return err
			}
			list := j.ListStreams(ctx)
			for i := range list.Info() {
				if len(s.nodes) > 1 && !whole(i.Cluster, len(s.nodes)) {
					return fmt.Errorf("stream %s has not all its copies", i.Config.Name)
				}
			}
			return list.Err()
		})
	})
	if err != nil && ctx.Err() == nil {
		for _, n := range s.nodes {
			err = fmt.Errorf("%w\n%s said last:\n%s", err, n.name, n.process.Tail())
		}
	}
	return err
}

func whole(c *js.ClusterInfo, nodes int) bool {
	if c == nil || c.Leader == "" || len(c.Replicas) != nodes-1 {
		return false
	}
	for _, r := range c.Replicas {
		if !r.Current || r.Offline {
			return false
		}
	}
	return true
}

// ask connects past the proxies.
func (s *natsServers) ask(ctx context.Context, question func(context.Context, js.JetStream) error) error {
	nc, err := nats.Connect(s.direct(), nats.Timeout(10*time.Second), nats.MaxReconnects(0))
	if err != nil {
		return err
	}
	defer nc.Close()
	j, err := js.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return question(ctx, j)
}

func (s *natsServers) direct() string {
	var urls []string
	for _, n := range s.nodes {
		urls = append(urls, "nats://"+n.client)
	}
	return strings.Join(urls, ",")
}

func (s *natsServers) transport() string {
	var urls []string
	for _, n := range s.nodes {
		urls = append(urls, fmt.Sprintf("%q", "nats://"+n.way.Listen))
	}
	replicas := 1
	if len(s.nodes) > 1 {
		replicas = 3
	}
	return fmt.Sprintf("{ nats: { url: [%s], replicas: %d } }", strings.Join(urls, ", "), replicas)
}

func (s *natsServers) shared() bool { return true }

func (s *natsServers) tempo() tempo {
	return tempo{attacked: 22 * time.Second, deaths: 1700 * time.Millisecond}
}

func (s *natsServers) clocked() bool { return true }

func (s *natsServers) open(ctx context.Context) (transport.Broker, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	replicas := 1
	if len(s.nodes) > 1 {
		replicas = 3
	}
	return jetstream.Connect(ctx, jetstream.Config{URL: s.direct(), Replicas: replicas, Log: slog.New(slog.DiscardHandler)})
}

func (s *natsServers) allows() linear.Allowance { return linear.Allowance{} }

func (s *natsServers) kills() (n int) {
	for _, node := range s.nodes {
		n += node.kills
	}
	return n
}

func (s *natsServers) any(rng *rand.Rand) *node { return s.nodes[rng.IntN(len(s.nodes))] }

func (s *natsServers) blows() []blow {
	var ways []*proxy
	for _, n := range s.nodes {
		ways = append(ways, n.way)
	}
	all := append(cuts(ways),
		blow{"a server is killed", 12, func(ctx context.Context, rng *rand.Rand) error {
			return s.any(rng).kill(ctx, between(rng, 0, 1500*time.Millisecond))
		}},
		blow{"a server is frozen", 2, func(ctx context.Context, rng *rand.Rand) error {
			n := s.any(rng)
			if err := n.process.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			err := pause(ctx, between(rng, 500*time.Millisecond, 6*time.Second))
			return errors.Join(err, n.process.Signal(syscall.SIGCONT))
		}},
		blow{"a server's disk is full", 1, s.diskFull})
	if len(s.nodes) == 1 {
		return all
	}
	return append(all,
		blow{"a leader is killed", 6, s.killLeader},
		blow{"a node is cut off", 3, func(ctx context.Context, rng *rand.Rand) error {
			n := s.any(rng)
			return s.part(ctx, rng, func(a, b *node) bool { return a == n || b == n })
		}},
		blow{"two nodes do not see each other", 3, func(ctx context.Context, rng *rand.Rand) error {
			n := s.any(rng)
			return s.part(ctx, rng, func(a, b *node) bool { return a != n && b != n })
		}})
}

// diskFull takes all room on a server's disk. JetStream switches itself off then and stays so: whoever runs the server makes room
// and starts it again.
func (s *natsServers) diskFull(ctx context.Context, rng *rand.Rand) error {
	n := s.any(rng)
	err := n.disk.fill()
	if err == nil {
		err = pause(ctx, between(rng, 500*time.Millisecond, 2*time.Second))
	}
	if err = errors.Join(err, n.disk.free()); err != nil {
		return err
	}
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if _, err := n.process.Wait(); err != nil {
		return err
	}
	return n.start()
}

// killLeader kills the server that leads a drawn stream.
func (s *natsServers) killLeader(ctx context.Context, rng *rand.Rand) error {
	leader := s.any(rng).name
	err := s.ask(ctx, func(ctx context.Context, j js.JetStream) error {
		var leaders []string
		list := j.ListStreams(ctx)
		for i := range list.Info() {
			if i.Cluster != nil && i.Cluster.Leader != "" {
				leaders = append(leaders, i.Cluster.Leader)
			}
		}
		if len(leaders) > 0 {
			leader = leaders[rng.IntN(len(leaders))]
		}
		return nil // without an answer, the drawn one
	})
	if ctx.Err() != nil {
		return err
	}
	for _, n := range s.nodes {
		if n.name == leader {
			return n.kill(ctx, between(rng, 0, 3*time.Second))
		}
	}
	return fmt.Errorf("leader %q is no node", leader)
}

// part cuts the routes between nodes for a while.
func (s *natsServers) part(ctx context.Context, rng *rand.Rand, apart func(a, b *node) bool) error {
	var cut []*proxy
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if p := a.routes[b.name]; p != nil && apart(a, b) {
				p.cut()
				cut = append(cut, p)
			}
		}
	}
	err := pause(ctx, between(rng, time.Second, 6*time.Second))
	for _, p := range cut {
		err = errors.Join(err, p.join())
	}
	return err
}

// heal is called when nothing strikes any more; whatever was interrupted is made good.
func (s *natsServers) heal(ctx context.Context) error {
	var errs []error
	for _, n := range s.nodes {
		errs = append(errs, n.disk.free(), n.way.join())
		for _, p := range n.routes {
			errs = append(errs, p.join())
		}
		if n.process == nil || n.process.Ended() { // it could not go on
			errs = append(errs, n.start())
		} else {
			errs = append(errs, n.process.Signal(syscall.SIGCONT))
		}
	}
	return errors.Join(append(errs, s.ready(ctx))...)
}

func (s *natsServers) stop() {
	for _, n := range s.nodes {
		if n.process != nil {
			_ = n.process.Kill() // it is ours, and goes with this process at the latest
		}
		if n.way != nil {
			n.way.Stop()
		}
		for _, p := range n.routes {
			p.Stop()
		}
		_ = n.disk.unmount()
	}
}
