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
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
	"github.com/milepost-dev/milepost/transport"
)

const eventType = "price.rows.v1"

// work is what the loops do with an event, as the stage does: read it, and write what comes of it.
func (r *round) work(data []byte) ([]byte, error) {
	if r.isEnd(data) {
		return data, nil
	}
	if documents(r.size.bytes) {
		docs, err := schemas.DecodeDocs(data, schemas.ContentJSON)
		if err != nil {
			return nil, err
		}
		out, _ := schemas.EncodeDocs(docs)
		return out, nil
	}
	tables, slice, err := arrowipc.Decode(data, schemas.ContentArrow, 1)
	if err != nil {
		return nil, err
	}
	out, _, err := arrowipc.Encode(eventType, tables, slice)
	return out, err
}

// isEnd says whether an event is a job's end, which the loops pass on.
func (r *round) isEnd(data []byte) bool { return len(data) < r.size.bytes/2 }

// An opener makes a new connection as a milepost process has it.
type opener interface {
	broker(ctx context.Context) (transport.Broker, error)
}

// A round has a pipeline of its own, whose reader has done its work: its chains are whole.
type round struct {
	name   string
	size   size
	jobs   int
	broker transport.Broker
	engine *engine.Engine
	ids    []job.Submission
	first  atomic.Int64 // when the stage had its first event, in Unix nanoseconds
}

// events is how many the round has, the jobs' ends among them.
func (r *round) events() int { return r.jobs * (r.size.perJob + 1) }

func newRound(ctx context.Context, o opener, dir, name string, size size, jobs int) (r *round, err error) {
	r = &round{name: name, size: size, jobs: jobs}
	file := filepath.Join(dir, "pipelines.yaml")
	text := fmt.Sprintf("version: 1\ntransport: { memory: {} }\npipelines:\n  %s:\n    stages:\n      - { name: read, uses: reader/full, parallelism: %d, with: { items: %d } }\n      - { name: pass, uses: process/pass, parallelism: %d }\n",
		r.name, jobs, jobs, inFlight) // no process has the dashboard's store here, so no job finishes: all are started at once
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	types := &pipeline.Registry{}
	types.Add(fullType, r.passType())
	list, problems := spec.Load(ctx, []string{file}, spec.Options{Registry: types})
	if problems.Errors() > 0 {
		return nil, fmt.Errorf("%v", problems)
	}
	if r.broker, err = o.broker(ctx); err != nil {
		return nil, err
	}
	r.engine, err = engine.New(ctx, engine.Settings{Spec: list, Broker: r.broker, Stages: []string{"pass"}, Retain: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return r, r.fill(ctx)
}

func (r *round) close() error { return errors.Join(r.engine.Close(), r.broker.Close()) }

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
	data, contentType, err := fullEvent(r.size.bytes)
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
		if err := r.write(ctx, chain, it.Name, data, contentType); err != nil {
			return err
		}
	}
	return nil
}

// write writes one job's events, and its end.
func (r *round) write(ctx context.Context, chain transport.Chain, item string, data []byte, contentType string) error {
	event := func(n uint64, kind, content string, data []byte) schemas.Event {
		return schemas.Event{Chain: chain.ID(), Sequence: n, Pipeline: r.name, Item: item, Type: kind, ContentType: content, Data: data}
	}
	count := uint64(r.size.perJob)
	for n := range count {
		e := event(n+1, eventType, contentType, data)
		e.Time = time.Unix(int64(n), 0).UTC()
		if !documents(r.size.bytes) {
			e.Tables = 1
		}
		if _, err := chain.Append(ctx, transport.Record{Kind: transport.Out, Event: e}); err != nil {
			return err
		}
	}
	end := schemas.End{Out: count + 1, Consumed: count}
	text, err := json.Marshal(end)
	if err != nil {
		return err
	}
	control, err := json.Marshal(schemas.Control{Kind: schemas.ControlEnd, End: &end})
	if err != nil {
		return err
	}
	_, err = chain.Append(ctx, transport.Record{Kind: transport.Out, Event: event(count+1, schemas.TypeEnd, schemas.ContentJSON, text)},
		transport.Record{Kind: transport.Control, Cursor: &schemas.Cursor{}, Event: event(count+1, schemas.TypeControl, schemas.ContentJSON, control)})
	return err
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
	_, err = manager.Submit(ctx, r.ids...)
	if err == nil {
		err = r.ended(ctx)
	}
	took := time.Since(time.Unix(0, r.first.Load()))
	stop()
	return took, errors.Join(err, g.Wait())
}

// ended waits until the stage has closed every chain, which is the last thing it stores there.
func (r *round) ended(ctx context.Context) error {
	log, err := r.broker.Log(ctx, transport.LogConfig{Pipeline: r.name, Stage: "pass"})
	if err != nil {
		return err
	}
	w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}})
	if err != nil {
		return err
	}
	defer w.Close()
	for n := 0; n < r.jobs; {
		s, err := w.Next(ctx)
		if err != nil {
			return err
		}
		var c schemas.Control
		if err := json.Unmarshal(s.Event.Data, &c); err != nil {
			return err
		}
		if c.Kind == schemas.ControlEnd {
			n++
		}
	}
	return nil
}

// documents says whether events of so many bytes are JSON documents; larger ones are tables.
func documents(bytes int) bool { return bytes < 16<<10 }

// fullEvent is a document or a table of about so many bytes.
func fullEvent(bytes int) (data []byte, contentType string, err error) {
	if documents(bytes) {
		doc := []byte(`{"t":1.5,"ego_speed":20.25,"target_dist":12.125,"note":"` + strings.Repeat("x", bytes-60) + `"}`)
		data, contentType = schemas.EncodeDocs([]json.RawMessage{doc})
		return data, contentType, nil
	}
	rows := bytes / 16
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
	Name: "reader/full", Summary: "events of one size", Emits: []string{eventType},
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
type pass struct {
	pipeline.Stateless
	first *atomic.Int64
}

func (p pass) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	if p.first.Load() == 0 {
		p.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	return out.Emit(ctx, pipeline.Batch{Type: in.Type, Tables: in.Tables, Docs: in.Docs})
}

func (r *round) passType() pipeline.ProcessorType[struct{}] {
	return pipeline.ProcessorType[struct{}]{
		Name: "process/pass", Summary: "emits what it gets", Accepts: []string{eventType}, Emits: []string{eventType},
		Build: func(context.Context, struct{}) (pipeline.Open[pipeline.Processor], error) {
			return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return pass{first: &r.first}, nil }, nil
		},
	}
}
