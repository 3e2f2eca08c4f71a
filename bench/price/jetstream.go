package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// A natsClient is a connection of the loops, and what both kinds of server have in common.
type natsClient struct {
	nc      *nats.Conn
	js      js.JetStream
	options []nats.Option
	url     string
}

func (c *natsClient) connect(url string, options ...nats.Option) (err error) {
	c.url, c.options = url, options
	if c.nc, err = nats.Connect(url, options...); err == nil {
		c.js, err = js.New(c.nc)
	}
	return err
}

// broker is a new connection as a milepost process has it.
func (c *natsClient) broker(ctx context.Context) (transport.Broker, error) {
	return jetstream.Connect(ctx, jetstream.Config{URL: c.url, Options: c.options, Log: slog.New(slog.DiscardHandler)})
}

func (c *natsClient) remove(ctx context.Context, _ *round) error {
	var err error
	list := c.js.StreamNames(ctx)
	for name := range list.Name() {
		err = errors.Join(err, c.js.DeleteStream(ctx, name))
	}
	return errors.Join(err, list.Err())
}

// move pulls the round's events with so many hands, has each published, and acks. The hands' time is from the first event on.
func (c *natsClient) move(ctx context.Context, r *round, publish func(ctx context.Context, m js.Msg, data []byte) error) (time.Duration, error) {
	const target = "PLAIN"
	if _, err := c.js.CreateStream(ctx, js.StreamConfig{Name: target, Subjects: []string{"plain.>"}, Storage: js.FileStorage}); err != nil {
		return 0, err
	}
	source, err := c.js.Stream(ctx, "MP_"+r.name+"_read")
	if err != nil {
		return 0, err
	}
	var first atomic.Int64
	var hands errgroup.Group
	for _, jobs := range shares(r) {
		consumer, err := source.CreateConsumer(ctx, js.ConsumerConfig{AckPolicy: js.AckExplicitPolicy, MaxAckPending: 64, FilterSubjects: jobs})
		if err != nil {
			return 0, err
		}
		hands.Go(func() error {
			messages, err := consumer.Messages(js.PullMaxMessages(8))
			if err != nil {
				return err
			}
			defer messages.Stop()
			for range len(jobs) * (r.size.perJob + 1) {
				m, err := messages.Next()
				if err != nil {
					return err
				}
				first.CompareAndSwap(0, time.Now().UnixNano())
				data, err := r.work(m.Data())
				if err != nil {
					return err
				}
				if err := publish(ctx, m, data); err != nil {
					return err
				}
				if err := m.Ack(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := hands.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(time.Unix(0, first.Load()))
	return took, c.js.DeleteStream(ctx, target)
}

// shares are the subjects of each hand's jobs: a job stays in order in one hand.
func shares(r *round) [][]string {
	shares := make([][]string, min(inFlight, r.jobs))
	for k, s := range r.ids {
		n := k % len(shares)
		shares[n] = append(shares[n], fmt.Sprintf("mp.%s.read.%s.out", r.name, s.ID))
	}
	return shares
}

// own are the headers of an event itself, without what its place in the first stream was expected to be.
func own(h nats.Header) nats.Header {
	kept := nats.Header{}
	for name, values := range h {
		if !strings.HasPrefix(name, "Nats-") {
			kept[name] = values
		}
	}
	return kept
}

// embedded is a server without a socket, as `milepost run` has it, with room for a client of its own.
type embedded struct {
	natsClient
	server *server.Server
	sync   string
}

func newEmbedded(dir string, always bool) (system, error) {
	o := &server.Options{ServerName: "price", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, MaxPayload: 1 << 20,
		MaxPending: 512 << 20, SyncAlways: always, SyncInterval: jetstream.DefaultSyncEvery}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return nil, errors.New("the server is not ready in time")
	}
	e := &embedded{server: s, sync: map[bool]string{true: "always", false: "later"}[always]}
	return e, e.connect("", nats.InProcessServer(s))
}

func (e *embedded) pid() int { return 0 }

func (e *embedded) name() string { return "embedded, sync " + e.sync }

// loop publishes each event and waits for the answer: at least once.
func (e *embedded) loop(ctx context.Context, r *round) (time.Duration, error) {
	return e.move(ctx, r, func(ctx context.Context, m js.Msg, data []byte) error {
		_, err := e.js.PublishMsg(ctx, &nats.Msg{Subject: "plain.out", Header: own(m.Headers()), Data: data})
		return err
	})
}

func (e *embedded) close() error {
	e.nc.Close()
	e.server.Shutdown()
	e.server.WaitForShutdown()
	return nil
}

// external is a nats-server in a process of its own.
type external struct {
	natsClient
	process *exec.Cmd
}

func newExternal(ctx context.Context, dir string) (system, error) {
	binary := filepath.Join(dir, "nats-server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build nats-server: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	e := &external{process: exec.CommandContext(ctx, binary, "-js", "-sd", filepath.Join(dir, "store"), "-a", "127.0.0.1", "-p", strconv.Itoa(port))}
	if err := e.process.Start(); err != nil {
		return nil, err
	}
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	err = e.connect(url, nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond), nats.MaxReconnects(200))
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err = e.ready(limited)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.options = nil
	return e, nil
}

// ready waits until JetStream answers.
func (e *external) ready(ctx context.Context) error {
	for {
		_, err := e.js.AccountInfo(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func (e *external) pid() int { return e.process.Process.Pid }

func (e *external) name() string { return "nats-server" }

// loop publishes each event behind the last of its job, which the server checks, so that one whose answer was lost is not there
// twice, and another process with the same job is noticed.
func (e *external) loop(ctx context.Context, r *round) (time.Duration, error) {
	var last sync.Map // by subject
	return e.move(ctx, r, func(ctx context.Context, m js.Msg, data []byte) error {
		subject := "plain." + m.Subject()
		before, _ := last.LoadOrStore(subject, uint64(0))
		ack, err := e.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: own(m.Headers()), Data: data},
			js.WithExpectLastSequencePerSubject(before.(uint64)))
		if err == nil {
			last.Store(subject, ack.Sequence)
		}
		return err
	})
}

func (e *external) close() error {
	if e.nc != nil {
		e.nc.Close()
	}
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
	return nil
}
