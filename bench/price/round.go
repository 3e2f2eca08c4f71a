package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

const eventType = "price.rows.v1"

// A bench server is one without a socket, as `milepost run` has it, with room for a client of its own.
type benchServer struct {
	server *server.Server
	nc     *nats.Conn
	js     js.JetStream
	dir    string
}

func newServer(ctx context.Context, dir string, always bool) (*benchServer, error) {
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
	b := &benchServer{server: s, dir: dir}
	if b.nc, err = nats.Connect("", nats.InProcessServer(s)); err == nil {
		b.js, err = js.New(b.nc)
	}
	return b, err
}

func (s *benchServer) close() {
	s.nc.Close()
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// broker is a new connection as a milepost process has it.
func (s *benchServer) broker(ctx context.Context) (transport.Broker, error) {
	return jetstream.Connect(ctx, jetstream.Config{Options: []nats.Option{nats.InProcessServer(s.server)}, Log: slog.New(slog.DiscardHandler)})
}

// A round has a pipeline of its own, whose reader has done its work: its chains are whole.
type round struct {
	s      *benchServer
	spec   *spec.Spec
	name   string
	jobs   int
	broker transport.Broker
	engine *engine.Engine
	ids    []job.Submission
}

func (s *benchServer) newRound(ctx context.Context, k, jobs int) (r *round, err error) {
	r = &round{s: s, name: fmt.Sprintf("p%d", k), jobs: jobs}
	file := filepath.Join(s.dir, "pipelines.yaml")
	text := fmt.Sprintf("version: 1\ntransport: { memory: {} }\npipelines:\n  %s:\n    stages:\n      - { name: read, uses: reader/full, parallelism: %d, with: { items: %d } }\n      - { name: pass, uses: process/pass, parallelism: %d }\n",
		r.name, inFlight, jobs, inFlight)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	types := &pipeline.Registry{}
	types.Add(fullType, passType)
	var problems spec.Problems
	if r.spec, problems = spec.Load(ctx, []string{file}, spec.Options{Registry: types}); problems.Errors() > 0 {
		return nil, fmt.Errorf("%v", problems)
	}
	if r.broker, err = s.broker(ctx); err != nil {
		return nil, err
	}
	r.engine, err = engine.New(ctx, engine.Settings{Spec: r.spec, Broker: r.broker, Stages: []string{"pass"}, Retain: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return r, r.fill(ctx)
}

// fill writes what the reader would have.
func (r *round) fill(ctx context.Context) error {
	items, err := r.engine.List(ctx, r.name)
	if err != nil {
		return err
	}
	log, err := r.broker.Log(ctx, transport.LogConfig{Pipeline: r.name, Stage: "read"})
	if err != nil {
		return err
	}
	data, contentType, err := fullEvent()
	if err != nil {
		return err
	}
	for _, it := range items {
		source, err := json.Marshal(it)
		if err != nil {
			return err
		}
		id := schemas.ChainID{Job: r.engine.JobID(r.name, it, 0), Stage: "read"}
		r.ids = append(r.ids, job.Submission{ID: id.Job, Item: it.Name, Source: source})
		chain, _, err := log.Open(ctx, id)
		if err != nil {
			return err
		}
		event := func(n uint64, kind, content string, data []byte) schemas.Event {
			return schemas.Event{Chain: id, Sequence: n, Pipeline: r.name, Item: it.Name, Type: kind, ContentType: content, Data: data}
		}
		for n := range uint64(perJob) {
			e := event(n+1, eventType, contentType, data)
			e.Tables, e.Time = 1, time.Unix(int64(n), 0).UTC()
			if _, err := chain.Append(ctx, transport.Record{Kind: transport.Out, Event: e}); err != nil {
				return err
			}
		}
		end := schemas.End{Out: perJob + 1, Consumed: perJob}
		text, err := json.Marshal(end)
		if err != nil {
			return err
		}
		control, err := json.Marshal(schemas.Control{Kind: schemas.ControlEnd, End: &end})
		if err != nil {
			return err
		}
		_, err = chain.Append(ctx, transport.Record{Kind: transport.Out, Event: event(perJob+1, schemas.TypeEnd, schemas.ContentJSON, text)},
			transport.Record{Kind: transport.Control, Cursor: &schemas.Cursor{}, Event: event(perJob+1, schemas.TypeControl, schemas.ContentJSON, control)})
		if err != nil {
			return err
		}
	}
	return nil
}

// plain copies the events into a stream of its own as everybody does it, with so many hands.
func (r *round) plain(ctx context.Context) (time.Duration, error) {
	const target = "PLAIN"
	out := js.StreamConfig{Name: target, Subjects: []string{"plain.>"}, Storage: js.FileStorage}
	if _, err := r.s.js.CreateStream(ctx, out); err != nil {
		return 0, err
	}
	source, err := r.s.js.Stream(ctx, "MP_"+r.name+"_read")
	if err != nil {
		return 0, err
	}
	c, err := source.CreateConsumer(ctx, js.ConsumerConfig{Durable: "plain", AckPolicy: js.AckExplicitPolicy, MaxAckPending: 64, FilterSubject: "mp." + r.name + ".read.*.out"})
	if err != nil {
		return 0, err
	}
	left := make(chan struct{}, r.jobs*(perJob+1))
	for range r.jobs * (perJob + 1) {
		left <- struct{}{}
	}
	close(left)
	start := time.Now()
	var hands errgroup.Group
	for range inFlight {
		hands.Go(func() error {
			messages, err := c.Messages(js.PullMaxMessages(8))
			if err != nil {
				return err
			}
			defer messages.Stop()
			for range left {
				m, err := messages.Next()
				if err != nil {
					return err
				}
				if _, err := r.s.js.PublishMsg(ctx, &nats.Msg{Subject: "plain.out", Header: own(m.Headers()), Data: m.Data()}); err != nil {
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
	took := time.Since(start)
	return took, r.s.js.DeleteStream(ctx, target)
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

// stage runs the stage over all jobs.
func (r *round) stage(ctx context.Context) (time.Duration, error) {
	manager, err := r.engine.Jobs(ctx, r.name)
	if err != nil {
		return 0, err
	}
	work, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return r.engine.Run(work) })
	g.Go(func() error { return manager.Run(work) })
	start := time.Now()
	_, err = manager.Submit(ctx, r.ids...)
	if err == nil {
		err = r.ended(ctx)
	}
	took := time.Since(start)
	stop()
	return took, errors.Join(err, g.Wait())
}

// ended waits until the stage has closed every chain.
func (r *round) ended(ctx context.Context) error {
	log, err := r.broker.Log(ctx, transport.LogConfig{Pipeline: r.name, Stage: "pass"})
	if err != nil {
		return err
	}
	w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Headers: true})
	if err != nil {
		return err
	}
	defer w.Close()
	for n := 0; n < r.jobs; {
		s, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if s.Event.Type == schemas.TypeEnd {
			n++
		}
	}
	return nil
}

// remove takes the round's streams away.
func (r *round) remove(ctx context.Context) error {
	err := errors.Join(r.engine.Close(), r.broker.Close())
	list := r.s.js.StreamNames(ctx)
	for name := range list.Name() {
		err = errors.Join(err, r.s.js.DeleteStream(ctx, name))
	}
	return errors.Join(err, list.Err())
}

func fullEvent() (data []byte, contentType string, err error) {
	const rows = eventBytes / 16
	t, v := make([]int64, rows), make([]float64, rows)
	for k := range t {
		t[k], v[k] = int64(k), float64(k)
	}
	table, err := schemas.NewTable("rows", t, schemas.Column{Name: "v", Float64: v})
	if err != nil {
		return nil, "", err
	}
	return arrowipc.Encode(eventType, []schemas.Table{table}, schemas.Slice{Start: time.Unix(0, 0).UTC()})
}

type fullConfig struct {
	Items int `yaml:"items" doc:"Number of recordings."`
}

// fullType stands for a reader; what it would read is written beforehand.
var fullType = pipeline.ReaderType[fullConfig]{
	Name: "reader/full", Summary: "events of 256 KiB", Emits: []string{eventType},
	List: func(_ context.Context, c fullConfig) (items []pipeline.Item, err error) {
		for k := range c.Items {
			items = append(items, pipeline.Item{Name: fmt.Sprintf("drive%03d", k), Identity: fmt.Sprint(k)})
		}
		return items, nil
	},
	Build: func(context.Context, fullConfig) (pipeline.Open[pipeline.Reader], error) {
		return func(context.Context, pipeline.Item) (pipeline.Reader, error) { return nil, io.EOF }, nil
	},
}

// pass emits what it gets.
type pass struct{ pipeline.Stateless }

func (pass) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	return out.Emit(ctx, pipeline.Batch{Type: in.Type, Tables: in.Tables})
}

var passType = pipeline.ProcessorType[struct{}]{
	Name: "process/pass", Summary: "emits what it gets", Accepts: []string{eventType}, Emits: []string{eventType},
	Build: func(context.Context, struct{}) (pipeline.Open[pipeline.Processor], error) {
		return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return pass{}, nil }, nil
	},
}
