package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/transport/memory"
)

// A resim runs a pipeline over one of its recordings again, in this process, as fast as it goes: what a run keeps of the stages'
// signals is trimmed once everybody has read it. The results are those of any run, since stages are deterministic. Nothing is
// stored: the broker is in memory, and the pipeline's sinks are left out.
type resim struct {
	engine   *engine.Engine
	lines    []string // the pipelines that have to be run, upstream first
	managers map[string]*job.Manager
}

// results makes a file of the signals and documents that the stages of a pipeline emit for a recording.
func (a *app) results(ctx context.Context, recording, name string) (_ *mdf.File, remove func(), err error) {
	s, err := a.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := s.Pipeline(name)
	if p == nil {
		return nil, nil, exit(ExitUsage, fmt.Errorf("there is no pipeline %q [E-pipeline]\n  next: milepost graph shows those of %s", name, a.files[len(a.files)-1]))
	}
	log, err := a.logger()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "milepost-export-")
	if err != nil {
		return nil, nil, exit(ExitFailed, err)
	}
	clean := func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			clean()
		}
	}()
	out := newResultSink(dir)
	defer out.Close()
	r := &resim{lines: upstream(s, p), managers: map[string]*job.Manager{}}
	if r.engine, err = engine.New(ctx, engine.Settings{Spec: alone(s), Broker: memory.New(), Pipelines: r.lines, Store: out, Log: log}); err != nil {
		return nil, nil, exit(ExitUsage, err)
	}
	defer r.engine.Close()
	it, err := r.run(ctx, recording)
	if err != nil {
		return nil, nil, err
	}
	var stages []string
	for _, st := range p.Stages {
		stages = append(stages, st.Name)
	}
	f, err := out.file(ctx, name, stages, fmt.Sprintf("results of pipeline %s for %s", name, it.Name))
	return f, clean, exit(ExitFailed, err)
}

// upstream lists a pipeline behind those that it reads.
func upstream(s *spec.Spec, p *spec.Pipeline) []string {
	var names []string
	for _, from := range p.From {
		for _, n := range upstream(s, s.Pipeline(from.Pipeline)) {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return append(names, p.Name)
}

// alone takes from the pipelines what has an effect outside, and lets every stage's signals be seen.
func alone(s *spec.Spec) *spec.Spec {
	for _, p := range s.Pipelines {
		for _, st := range p.Stages {
			st.Sinks, st.Chained = nil, false
			st.Type = unpaced{st.Type}
		}
	}
	return s
}

// unpaced is a stage type whose reader does not wait.
type unpaced struct{ pipeline.StageType }

func (u unpaced) Assemble(ctx context.Context, config any) (pipeline.Parts, error) {
	parts, err := u.StageType.Assemble(ctx, config)
	if open := parts.Reader; open != nil {
		parts.Reader = func(ctx context.Context, it pipeline.Item) (pipeline.Reader, error) {
			r, err := open(ctx, it)
			return unpacedReader{r}, err
		}
	}
	return parts, err
}

type unpacedReader struct{ pipeline.Reader }

func (u unpacedReader) Read(ctx context.Context) (pipeline.Batch, error) {
	b, err := u.Reader.Read(ctx)
	b.Pace = 0
	return b, err
}

// run works on the recording until all pipelines are through with it.
func (r *resim) run(ctx context.Context, recording string) (*pipeline.Item, error) {
	work, stop := context.WithCancel(ctx)
	defer stop()
	g, working := errgroup.WithContext(work)
	for _, name := range r.lines {
		m, err := r.engine.Jobs(ctx, name)
		if err != nil {
			return nil, exit(ExitFailed, err)
		}
		r.managers[name] = m
		g.Go(func() error { return m.Run(working) })
	}
	it, err := r.item(ctx, recording)
	if err != nil {
		stop()
		return nil, errors.Join(err, g.Wait())
	}
	g.Go(func() error { return r.engine.Run(working) })
	err = r.wait(working, *it)
	stop()
	if ended := g.Wait(); err == nil || errors.Is(err, context.Canceled) {
		err = errors.Join(ended, ctx.Err())
	}
	return it, exit(ExitFailed, err)
}

// item finds the recording among the items of the pipeline's reader, by its name or its file.
func (r *resim) item(ctx context.Context, recording string) (*pipeline.Item, error) {
	items, err := r.engine.List(ctx, r.lines[0])
	if err != nil {
		return nil, exit(ExitFailed, err)
	}
	given, _ := os.Stat(recording)
	for i := range items {
		if items[i].Name == recording {
			return &items[i], nil
		}
	}
	for i := range items {
		st, err := os.Stat(strings.TrimPrefix(items[i].URL, "file://"))
		if given != nil && err == nil && os.SameFile(st, given) {
			return &items[i], nil
		}
	}
	return nil, exit(ExitUsage, fmt.Errorf("%s is none of the %d recordings of pipeline %s [E-recording]\n  next: give its reader a path that matches it",
		recording, len(items), r.lines[0]))
}

// wait submits the recording to every pipeline and waits for the last one; the error says what failed.
func (r *resim) wait(ctx context.Context, it pipeline.Item) error {
	source, err := json.Marshal(it)
	if err != nil {
		return err
	}
	sub := job.Submission{ID: r.engine.JobID(r.lines[0], it, 0), Item: it.Name, Source: source}
	for i, name := range r.lines {
		if i > 0 {
			sub = job.Submission{ID: r.engine.Derived(name, sub.ID), Item: sub.Item, Source: sub.Source, Upstream: sub.ID}
		}
		m := r.managers[name]
		if _, err := m.Submit(ctx, sub); err != nil {
			return err
		}
		if err := m.Wait(ctx, []schemas.JobID{sub.ID}); err != nil {
			return err
		}
		if j, _ := m.Job(sub.ID); j.State != schemas.JobFinished {
			return fmt.Errorf("stage %s of pipeline %s: %s", j.Stage, name, j.Error)
		}
	}
	return nil
}
