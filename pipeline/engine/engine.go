package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Settings are what an Engine is made of.
type Settings struct {
	Spec      *spec.Spec
	Broker    transport.Broker
	Pipelines []string                                            // run only these; none is all
	Stages    []string                                            // run only these nodes' stages, by name or pipeline/name (a worker); none is all
	Store     pipeline.Sink                                       // the result store behind the dashboard, in the process that serves it; nil in others
	Retain    bool                                                // never trim: every out event stays readable
	Appended  func(total int64)                                   // called after records were stored, with how many so far; on any goroutine, nil is nobody
	Reran     func(chain schemas.ChainID, input schemas.InputRef) // called when an input is taken again after a crash or takeover; nil is nobody
	Naive     bool                                                // at-least-once without fence, checkpoint or comparison: the negative control of kill tests
	Log       *slog.Logger
}

// An Engine runs the stages of a Spec over a Broker.
type Engine struct {
	spec      *spec.Spec
	broker    transport.Broker
	retain    bool
	naive     bool
	watched   bool // from another process: this one has no result store
	maxEvent  int
	maxLog    int64 // limit of each stage's log in bytes; 0 is none of ours
	appends   atomic.Int64
	appended  func(int64)
	reran     func(schemas.ChainID, schemas.InputRef)
	progress  sync.Map                                  // schemas.JobID to float64, of jobs that a reader of this process works on
	elsewhere atomic.Pointer[map[schemas.JobID]float64] // the same of readers in other processes, as Look found it
	log       *slog.Logger
	flows     *flows
	suspects  suspects
	nodes     []*node // inputs before consumers
	mine      []*node // those that this process runs
	pipelines map[string]*line
	order     []string
}

// line is one pipeline: its jobs log and its nodes.
type line struct {
	e        *Engine
	spec     *spec.Pipeline
	identity string // of its configuration, in full
	version  string // of its configuration, as the jobs made with it say
	jobs     transport.Log
	nodes    []*node

	mu       sync.Mutex
	finished []schemas.JobID          // the last ones
	failed   map[schemas.JobID]uint64 // jobs that are failed, and the sequence of the event that says so
}

// New builds every stage of the pipelines with its configuration and opens the logs. It starts nothing.
func New(ctx context.Context, s Settings) (*Engine, error) {
	e := &Engine{appended: s.Appended, reran: s.Reran, spec: s.Spec, broker: s.Broker, retain: s.Retain, naive: s.Naive, watched: s.Store == nil,
		maxEvent: s.Broker.Describe().MaxEvent, maxLog: int64(s.Spec.Transport.Limits().MaxBytes), log: s.Log, flows: newFlows(), suspects: newSuspects(), pipelines: map[string]*line{}}
	if len(s.Stages) > 0 {
		s.Stages = wholeGroups(s.Spec, s.Stages)
	}
	b := builder{e: e, s: s, byRef: map[spec.Ref]*node{}, sinks: map[string]pipeline.Sink{}, joined: beforeJoins(s.Spec)}
	for _, p := range s.Spec.Pipelines {
		if len(s.Pipelines) > 0 && !slices.Contains(s.Pipelines, p.Name) {
			continue
		}
		if err := b.line(ctx, p); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	if len(e.mine) == 0 {
		return nil, errors.Join(fmt.Errorf("no stage to run: %v names none of the file", s.Stages), e.Close())
	}
	return e, nil
}

// Run works until ctx ends, then drains: every instance finishes its step, writes a checkpoint and gives its job back. The
// error is nil then.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range e.mine {
		g.Go(func() error { return n.run(ctx) })
	}
	for _, l := range e.pipelines {
		g.Go(func() error { return l.follow(ctx, e.log) })
	}
	return g.Wait()
}

// stored books records that a node has appended.
func (n *node) stored(records int) {
	n.meter.Appends.Add(int64(records))
	if total := n.e.appends.Add(int64(records)); n.e.appended != nil && records > 0 {
		n.e.appended(total)
	}
}

// reran books an input that is taken again.
func (n *node) reran(job schemas.JobID, input schemas.InputRef) {
	n.meter.Reruns.Add(1)
	if n.e.reran != nil {
		n.e.reran(schemas.ChainID{Job: job, Stage: n.name}, input)
	}
}

// Progress is the share of a job's item that its reader has read, 0 to 1; 0 when nothing of it is known. Of a reader in another
// process it is what the last Look found.
func (e *Engine) Progress(job schemas.JobID) float64 {
	if p, ok := e.progress.Load(job); ok {
		return p.(float64)
	}
	if far := e.elsewhere.Load(); far != nil {
		return (*far)[job]
	}
	return 0
}

// InWork is the same of every job that a reader has begun and whose end this process has not heard of.
func (e *Engine) InWork() map[schemas.JobID]float64 {
	all := map[schemas.JobID]float64{}
	if far := e.elsewhere.Load(); far != nil {
		maps.Copy(all, *far)
	}
	e.progress.Range(func(id, share any) bool {
		all[id.(schemas.JobID)] = share.(float64)
		return true
	})
	return all
}

// Close closes the sinks. The broker and the store are the caller's.
func (e *Engine) Close() error {
	var errs []error
	closed := map[pipeline.Sink]bool{}
	for _, n := range e.nodes {
		if s := n.parts.Sink; s != nil && !n.hidden && !closed[s] {
			closed[s] = true
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Pipelines lists the names of the pipelines, upstream before downstream.
func (e *Engine) Pipelines() []string { return e.order }

// Jobs opens the owner of a pipeline's jobs.
func (e *Engine) Jobs(ctx context.Context, pipelineName string) (*job.Manager, error) {
	l := e.pipelines[pipelineName]
	if l == nil {
		return nil, fmt.Errorf("no pipeline %q", pipelineName)
	}
	c := job.Config{Pipeline: pipelineName, Version: l.version, Active: l.active(), Jobs: l.jobs, Logs: map[string]transport.Log{}, Log: e.log}
	for _, n := range l.nodes {
		c.Stages = append(c.Stages, n.name)
		c.Logs[n.name] = n.out
	}
	return job.Open(ctx, c)
}

// active is how many jobs of the pipeline are started at once: what the reader can take, and as many in the stages behind.
func (l *line) active() int { return spec.AtWork(l.nodes[0].settings.Parallelism) }

// List lists the items of a pipeline's reader, by name. A pipeline that reads another's events has none of its own.
func (e *Engine) List(ctx context.Context, pipelineName string) ([]pipeline.Item, error) {
	l := e.pipelines[pipelineName]
	if l == nil || l.nodes[0].parts.List == nil {
		return nil, nil
	}
	items, err := l.nodes[0].parts.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the items of %s: %w", l.nodes[0].key(), err)
	}
	slices.SortFunc(items, func(a, b pipeline.Item) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return items, nil
}

// JobID is the job of an item in a pipeline; a higher generation is another job for the same version.
func (e *Engine) JobID(pipelineName string, it pipeline.Item, generation int) schemas.JobID {
	l := e.pipelines[pipelineName]
	return schemas.NewJobID(pipelineName, it.Name, it.Identity, l.identity, fmt.Sprint(generation))
}

// Derived is the job of a pipeline that reads another one's events, made from that one's job.
func (e *Engine) Derived(pipelineName string, upstream schemas.JobID) schemas.JobID {
	return e.pipelines[pipelineName].derive(upstream)
}

func (l *line) derive(upstream schemas.JobID) schemas.JobID {
	return schemas.NewJobID(l.spec.Name, string(upstream), l.identity)
}

// A builder makes the nodes of a Spec.
type builder struct {
	e     *Engine
	s     Settings
	byRef map[spec.Ref]*node
	sinks map[string]pipeline.Sink

	joined map[spec.Ref]bool
}

// beforeJoins are the stages with a path into a join: what waits there needs to hear of each of them now and then. Pipelines
// that are not run count too, since progress events are part of what a job's chain holds, whoever reads it.
func beforeJoins(s *spec.Spec) map[spec.Ref]bool {
	before := map[spec.Ref]bool{}
	var mark func(refs []spec.Ref)
	mark = func(refs []spec.Ref) {
		for _, r := range refs {
			if st := s.Stage(r); st != nil && !before[r] {
				before[r] = true
				mark(st.Inputs)
			}
		}
	}
	for _, p := range s.Pipelines {
		for _, st := range p.Stages {
			if len(st.Inputs) > 1 {
				mark(st.Inputs)
			}
		}
	}
	return before
}

func (b *builder) line(ctx context.Context, p *spec.Pipeline) error {
	jobs, err := b.e.broker.Log(ctx, transport.LogConfig{Pipeline: p.Name, Stage: transport.JobStage})
	if err != nil {
		return fmt.Errorf("open the jobs of %s: %w", p.Name, err)
	}
	identity := p.Identity()
	l := &line{e: b.e, spec: p, identity: identity, version: schemas.Version(identity), jobs: jobs, failed: map[schemas.JobID]uint64{}}
	b.e.pipelines[p.Name] = l
	b.e.order = append(b.e.order, p.Name)
	for _, st := range p.Stages {
		if st.Chained {
			continue // part of the stage that it is chained to
		}
		n, err := b.stage(ctx, l, st)
		if err != nil {
			return err
		}
		alias := ""
		if i := slices.IndexFunc(st.Sinks, func(sk *spec.Sink) bool { return sk.Info.Name == storeSink }); i >= 0 {
			alias = sinkNode(st.Sinks[i].Name, st.Name)
		}
		if err := b.store(ctx, l, n, alias); err != nil {
			return err
		}
		for _, sk := range st.Sinks {
			if sk.Info.Name == storeSink {
				continue
			}
			if err := b.sink(ctx, l, n, sk); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) stage(ctx context.Context, l *line, st *spec.Stage) (*node, error) {
	n := &node{pipeline: st.Pipeline, name: st.Name, info: st.Info, settings: st.Settings, when: st.When, leadsToJoin: b.joined[st.Ref()]}
	first := b.chainedTo(st)[0]
	for _, ref := range first.Inputs {
		in := b.byRef[ref]
		if in == nil {
			return nil, fmt.Errorf("%s reads %s, whose pipeline is not run", st.Ref(), ref)
		}
		b.connect(in, n)
	}
	members, err := b.group(ctx, st, b.wanted(n, st.Name))
	switch {
	case err != nil:
		return nil, err
	case members != nil:
		n.adopt(members)
	case b.wanted(n, st.Name) || n.info.Role == pipeline.RoleReader:
		if n.parts, err = st.Type.Assemble(ctx, st.Config); err != nil {
			return nil, fmt.Errorf("stage %s: %w", st.Ref(), err)
		}
	}
	n.keeps = slices.ContainsFunc(b.s.Spec.Consumers(st.Ref()), func(c *spec.Stage) bool {
		return len(b.s.Pipelines) > 0 && !slices.Contains(b.s.Pipelines, c.Pipeline)
	})
	b.byRef[st.Ref()] = n
	return n, b.add(ctx, l, n, st.Name)
}

func (b *builder) sink(ctx context.Context, l *line, from *node, sk *spec.Sink) error {
	n := &node{pipeline: l.spec.Name, name: sinkNode(sk.Name, from.name), info: sk.Info, settings: spec.DefaultSettings()}
	n.settings.Parallelism, n.settings.DLQ = from.settings.Parallelism, b.s.Spec.DLQ
	b.connect(from, n)
	n.parts.Sink = b.sinks[sk.Name]
	if b.wanted(n, from.name) && n.parts.Sink == nil {
		parts, err := sk.Type.Assemble(ctx, sk.Config)
		if err != nil {
			return fmt.Errorf("sink %s: %w", sk.Name, err)
		}
		n.parts, b.sinks[sk.Name] = parts, parts.Sink
	}
	return b.add(ctx, l, n, from.name)
}

// storeSink is the sink type that stands for the result store. Every stage feeds the store, whether or not it has that sink in
// `to:`, and in every process the node is known, since what it has read decides what may be trimmed.
const storeSink = "sink/dashboard"

// storeNode and sinkNode are the names of the nodes behind a stage.
func storeNode(stage string) string      { return sinkNode("dashboard", stage) }
func sinkNode(sink, stage string) string { return sink + "@" + stage }

func (b *builder) store(ctx context.Context, l *line, from *node, alias string) error {
	n := &node{pipeline: l.spec.Name, name: storeNode(from.name), alias: alias, settings: spec.DefaultSettings(), hidden: true,
		info: pipeline.Info{Name: storeSink, Role: pipeline.RoleSink, Accepts: []string{pipeline.Any}, Local: true}}
	n.settings.Parallelism, n.settings.DLQ = from.settings.Parallelism, b.s.Spec.DLQ
	n.parts.Sink = b.s.Store
	b.connect(from, n)
	return b.add(ctx, l, n, from.name)
}

func (b *builder) connect(from, to *node) {
	to.inputs = append(to.inputs, from)
	from.consumers = append(from.consumers, to)
	if len(to.inputs) < 2 {
		return
	}
	for _, in := range to.inputs {
		in.feedsJoin = true
	}
}

func (b *builder) add(ctx context.Context, l *line, n *node, stage string) (err error) {
	n.e, n.line, n.jobs = b.e, l, l.jobs
	n.held = newHeld(n)
	n.slots = make(chan struct{}, max(1, n.settings.Parallelism))
	n.log = b.e.log.With("pipeline", n.pipeline, "stage", n.name)
	n.meter = &Meter{}
	n.reach = newReaches(n)
	l.nodes, b.e.nodes = append(l.nodes, n), append(b.e.nodes, n)
	if b.wanted(n, stage) {
		b.e.mine = append(b.e.mine, n)
	}
	n.out, err = b.e.broker.Log(ctx, transport.LogConfig{Pipeline: n.pipeline, Stage: n.name, MaxBytes: b.e.maxLog, Reserve: b.e.maxLog / logReserve, Ahead: !b.e.naive})
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.key(), err)
	}
	if n.info.Role == pipeline.RoleSink && b.s.Store != nil && b.s.Spec.Transport.Shared() {
		_, err = n.floorLog(ctx) // a worker may not be permitted to make it
	}
	return err
}

// wanted says whether this process runs the node; a sink goes with its stage.
func (b *builder) wanted(n *node, stage string) bool {
	if n.info.Local && b.s.Store == nil {
		return false
	}
	return len(b.s.Stages) == 0 || slices.Contains(b.s.Stages, stage) || slices.Contains(b.s.Stages, n.pipeline+"/"+stage)
}
