// Package oracle computes what a pipelines file gives, without any transport: no broker, no stream, no checkpoint, no retry,
// one goroutine, every event in memory. It shares with the engine the stages, the sinks and how an event is encoded, and
// nothing of how anything is settled, so that it can tell whether the engine's results are right.
package oracle

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// An oracle is one file's.
type oracle struct {
	spec   *spec.Spec
	joined map[spec.Ref]bool
	sinks  map[string]pipeline.Sink
	store  *view.Store
	jobs   map[string][]*job // by pipeline, in order of submission
	got    results.Results
}

// A job is one item through one pipeline, with what its stages emitted.
type job struct {
	id       schemas.JobID
	upstream *job
	item     pipeline.Item
	chains   map[string][]schemas.Event // by stage, the end event last; without it the stage halted
	failed   bool
}

// Compute runs the pipelines of a file over all their items. Paths in it are relative to the process's folder; the result store
// is made in state. It returns the out events, dead letters, jobs' states and everything the sinks hold.
func Compute(ctx context.Context, types *pipeline.Registry, file, state string) (results.Results, error) {
	s, problems := spec.Load(ctx, []string{file}, spec.Options{Registry: types, NoAdvice: true})
	if problems.Errors() > 0 {
		return nil, fmt.Errorf("%v", problems)
	}
	store, err := view.Open(ctx, filepath.Join(state, view.FileName))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	o := &oracle{spec: s, joined: leadToJoins(s), sinks: map[string]pipeline.Sink{}, store: store, jobs: map[string][]*job{}, got: results.Results{}}
	for _, p := range s.Pipelines {
		if err := o.pipeline(ctx, p); err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
	}
	if err := o.fleet(ctx); err != nil {
		return nil, err
	}
	for _, k := range o.sinks {
		if err := k.Close(); err != nil {
			return nil, err
		}
	}
	return o.got, nil
}

// leadToJoins are the stages from which a join can be reached: their silence ends in progress events.
func leadToJoins(s *spec.Spec) map[spec.Ref]bool {
	found := map[spec.Ref]bool{}
	for again := true; again; {
		again = false
		for _, p := range s.Pipelines {
			for _, st := range p.Stages {
				if len(st.Inputs) < 2 && !found[st.Ref()] {
					continue
				}
				for _, in := range st.Inputs {
					again = again || !found[in]
					found[in] = true
				}
			}
		}
	}
	return found
}

func (o *oracle) pipeline(ctx context.Context, p *spec.Pipeline) error {
	parts := map[string]pipeline.Parts{}
	for _, st := range p.Stages {
		assembled, err := st.Type.Assemble(ctx, st.Config)
		if err != nil {
			return err
		}
		parts[st.Name] = assembled
	}
	if err := o.items(ctx, p, parts); err != nil {
		return err
	}
	for _, j := range o.jobs[p.Name] {
		if err := o.job(ctx, p, parts, j); err != nil {
			return fmt.Errorf("%s: %w", j.item.Name, err)
		}
	}
	return nil
}

// items makes the pipeline's jobs, as `milepost run` submits them.
func (o *oracle) items(ctx context.Context, p *spec.Pipeline, parts map[string]pipeline.Parts) error {
	if len(p.From) > 0 {
		for _, up := range o.jobs[p.From[0].Pipeline] {
			id := schemas.NewJobID(p.Name, string(up.id), p.Identity())
			o.jobs[p.Name] = append(o.jobs[p.Name], &job{id: id, upstream: up, item: up.item})
		}
		return nil
	}
	items, err := parts[p.Stages[0].Name].List(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(items, func(a, b pipeline.Item) int { return strings.Compare(a.Name, b.Name) })
	for _, it := range items {
		o.jobs[p.Name] = append(o.jobs[p.Name], &job{id: schemas.NewJobID(p.Name, it.Name, it.Identity, p.Identity(), "0"), item: it})
	}
	return nil
}

func (o *oracle) job(ctx context.Context, p *spec.Pipeline, parts map[string]pipeline.Parts, j *job) error {
	j.chains = map[string][]schemas.Event{}
	if j.upstream != nil && j.upstream.failed {
		j.failed = true
		o.got["job "+string(j.id)] = string(schemas.JobFailed)
		return nil
	}
	for _, st := range p.Stages {
		r := &run{o: o, stage: st, parts: parts[st.Name], job: j, skip: map[schemas.InputRef]bool{}}
		if err := r.all(ctx); err != nil {
			return fmt.Errorf("stage %s: %w", st.Name, err)
		}
		j.chains[st.Name] = r.out
		for k := range r.out {
			o.got.AddEvent(&r.out[k], k+1)
		}
		for _, l := range r.letters {
			o.got.AddLetter(r.id(), l)
		}
		if err := o.keep(ctx, p.Name, st, j); err != nil {
			return fmt.Errorf("sinks of %s: %w", st.Name, err)
		}
	}
	state := schemas.JobFinished
	if j.failed {
		state = schemas.JobFailed
	}
	o.got["job "+string(j.id)] = string(state)
	return nil
}

// keep writes a chain's events to the sinks of its stage, and to the result store.
func (o *oracle) keep(ctx context.Context, p string, st *spec.Stage, j *job) error {
	all := []pipeline.Sink{o.store}
	accepts := [][]string{{pipeline.Any}}
	for _, sk := range st.Sinks {
		k, err := o.sink(ctx, sk)
		if err != nil {
			return err
		}
		all, accepts = append(all, k), append(accepts, sk.Info.Accepts)
	}
	for n, k := range all {
		if err := store(ctx, k, accepts[n], pipeline.Origin{ChainID: schemas.ChainID{Job: j.id, Stage: st.Name}, Pipeline: p, Item: j.item.Name}, j.chains[st.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (o *oracle) sink(ctx context.Context, sk *spec.Sink) (pipeline.Sink, error) {
	if k, ok := o.sinks[sk.Name]; ok {
		return k, nil
	}
	parts, err := sk.Type.Assemble(ctx, sk.Config)
	if err != nil {
		return nil, err
	}
	o.sinks[sk.Name] = parts.Sink
	return parts.Sink, nil
}

func store(ctx context.Context, k pipeline.Sink, accepts []string, of pipeline.Origin, events []schemas.Event) error {
	from, err := k.Cursor(ctx, of.ChainID)
	if err != nil {
		return err
	}
	to := schemas.Cursor{Edges: []schemas.EdgeCursor{{Stage: of.Stage, Sequence: uint64(len(events)), Position: schemas.Position(len(events)), Ended: true}}}
	for n := range events {
		e := &events[n]
		if e.Marks() || !accepted(accepts, e.Type) {
			continue
		}
		b, err := decode(e)
		if err != nil {
			return err
		}
		if err := k.Write(ctx, b); err != nil {
			return err
		}
	}
	return k.Commit(ctx, of, from, to)
}

func accepted(accepts []string, eventType string) bool {
	return slices.Contains(accepts, pipeline.Any) || slices.Contains(accepts, eventType)
}

// fleet folds each stage's results of the jobs that finished, under the name that a run of all of them has.
func (o *oracle) fleet(ctx context.Context) error {
	var ids []string
	for _, p := range o.spec.Pipelines {
		for _, j := range o.jobs[p.Name] {
			ids = append(ids, string(j.id))
		}
	}
	run := "r-" + strings.TrimPrefix(string(schemas.NewJobID(ids...)), "j-")
	for _, p := range o.spec.Pipelines {
		for _, st := range p.Stages {
			if err := o.fold(ctx, run, p, st); err != nil {
				return fmt.Errorf("fleet result of %s: %w", st.Ref(), err)
			}
		}
	}
	return nil
}

func (o *oracle) fold(ctx context.Context, run string, p *spec.Pipeline, st *spec.Stage) error {
	parts, err := st.Type.Assemble(ctx, st.Config)
	if err != nil || parts.Fold == nil {
		return err
	}
	var found []pipeline.Result
	for _, j := range o.jobs[p.Name] {
		r := pipeline.Result{Item: j.item}
		for k := range j.chains[st.Name] {
			if e := &j.chains[st.Name][k]; e.Type == parts.FoldOf && !j.failed {
				b, err := decode(e)
				if err != nil {
					return err
				}
				r.Docs = append(r.Docs, b.Docs...)
			}
		}
		if len(r.Docs) > 0 {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil
	}
	doc, err := parts.Fold(found)
	if err != nil {
		return err
	}
	b := pipeline.Batch{Type: parts.FoldEmits, Docs: []pipeline.Doc{doc}, Pipeline: p.Name, Stage: st.Name}
	for _, sk := range st.Sinks {
		if k, ok := o.sinks[sk.Name].(pipeline.FleetSink); ok && accepted(sk.Info.Accepts, b.Type) {
			if err := k.WriteFleet(ctx, run, b); err != nil {
				return err
			}
		}
	}
	return o.store.WriteFleet(ctx, run, b)
}

// Encode writes results for another process.
func Encode(r results.Results) ([]byte, error) { return json.Marshal(maps.Clone(r)) }
