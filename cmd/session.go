package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A session is a process that owns the jobs of its pipelines: it holds the state directory, runs the stages and keeps the
// results that the dashboard shows.
type session struct {
	spec     *spec.Spec
	state    *stateDir
	broker   transport.Broker
	store    *view.Store
	engine   *engine.Engine
	managers map[string]*job.Manager
	log      *slog.Logger
	idle     bool // it was opened to answer one command: nobody works
	again    bool // a finished version is made another generation of
	retain   bool // events are kept

	run       string                      // this run's name, which its jobs give it
	mu        sync.Mutex                  // of submitted, once that is complete
	submitted map[string][]job.Submission // per pipeline, the jobs of this run
	before    map[schemas.JobID]bool      // of those, the ones that were finished before this run
	overThen  map[schemas.JobID]int       // jobs of all recordings that were over before it: how often they had been resumed
}

// sessionOptions are what run's flags decide.
type sessionOptions struct {
	pipelines []string
	retain    bool
	naive     bool
	again     bool
	idle      bool
	appended  func(total int64)
}

// openSession takes the state directory and builds everything; nothing runs yet.
func (a *app) openSession(ctx context.Context, s *spec.Spec, o sessionOptions, log *slog.Logger) (_ *session, err error) {
	x := &session{spec: s, log: log, idle: o.idle, again: o.again, retain: o.retain, managers: map[string]*job.Manager{}, submitted: map[string][]job.Submission{},
		before: map[schemas.JobID]bool{}, overThen: map[schemas.JobID]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close())
		}
	}()
	if x.state, err = holdState(ctx, a.stateFolder(s)); err != nil {
		return nil, exit(ExitUsage, err)
	}
	if x.broker, err = a.broker(ctx, s, log); err != nil {
		return nil, err
	}
	if x.store, err = view.Open(ctx, filepath.Join(x.state.path, "results.db")); err != nil {
		return nil, exit(ExitFailed, fmt.Errorf("open the result store: %w", err))
	}
	x.engine, err = engine.New(ctx, engine.Settings{Spec: s, Broker: x.broker, Pipelines: o.pipelines, Store: x.store, Retain: o.retain,
		Naive: o.naive, Appended: o.appended, Reran: a.reran, Log: log})
	if err != nil {
		return nil, builtWrong(err)
	}
	for _, name := range x.engine.Pipelines() {
		if x.managers[name], err = x.engine.Jobs(ctx, name); err != nil {
			return nil, exit(ExitFailed, err)
		}
		x.attach(name)
	}
	return x, nil
}

// builtWrong gives the error of engine.New its exit code: the broker's, or else it is the file that asks for what cannot be.
func builtWrong(err error) error {
	if errors.Is(err, transport.ErrDenied) || errors.Is(err, transport.ErrUnreachable) {
		return exit(ExitUnreachable, err)
	}
	return exit(ExitUsage, err)
}

// attach makes the jobs of a pipeline that reads another one's events follow that one's, which is open already.
func (x *session) attach(name string) {
	from := x.spec.Pipeline(name).From
	if len(from) == 0 {
		return
	}
	var stages []string
	for _, ref := range from {
		stages = append(stages, ref.Stage)
	}
	x.managers[name].Follow(x.managers[from[0].Pipeline], stages...)
}

// work works until ctx ends, then drains.
func (x *session) work(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.engine.Run(ctx) })
	for _, m := range x.managers {
		g.Go(func() error { return m.Run(ctx) })
	}
	g.Go(func() error { return x.reportProgress(ctx) })
	g.Go(func() error { return x.expireLetters(ctx) })
	return g.Wait()
}

// expireEvery is how often dead letters are looked through for those that are over their time.
const expireEvery = time.Hour

// expireLetters removes the dead letters of jobs that are over after their stages' dlq.max_age, until ctx ends.
func (x *session) expireLetters(ctx context.Context) error {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		n, err := x.engine.Expire(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			x.log.Warn("old dead letters were not removed", "error", err)
		}
		if n > 0 {
			x.log.Info("old dead letters were removed", "number", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// progressEvery is how often the store hears how far the recordings in work have been read.
const progressEvery = 500 * time.Millisecond

// reportProgress tells the result store how far the recordings in work have been read, until ctx ends.
func (x *session) reportProgress(ctx context.Context) error {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	told := map[schemas.JobID]float64{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		news := map[schemas.JobID]float64{}
		for id, share := range x.engine.InWork() {
			if told[id] != share {
				told[id], news[id] = share, share
			}
		}
		if len(news) == 0 {
			continue
		}
		if err := x.store.PutProgress(ctx, news); err != nil && ctx.Err() == nil {
			x.log.Warn("the progress of recordings was not stored", "error", err)
		}
	}
}

// submit lists the items of every pipeline and queues a job for each that has none yet, and the jobs that derive from them.
func (x *session) submit(ctx context.Context) error {
	ids := []string{}
	x.noteOver()
	for _, name := range x.engine.Pipelines() {
		subs, err := x.submissions(ctx, name)
		if err != nil {
			return err
		}
		for _, s := range subs {
			ids = append(ids, string(s.ID))
		}
		x.submitted[name] = subs
	}
	x.run = "r-" + strings.TrimPrefix(string(schemas.NewJobID(ids...)), "j-")
	for _, name := range x.engine.Pipelines() {
		for i := range x.submitted[name] {
			x.submitted[name][i].Run = x.run
			if err := x.whole(ctx, name, x.submitted[name][i].ID); err != nil {
				return err
			}
			if j, ok := x.managers[name].Job(x.submitted[name][i].ID); ok && j.State == schemas.JobFinished {
				x.before[j.ID] = true
			}
		}
		if _, err := x.managers[name].Submit(ctx, x.submitted[name]...); err != nil {
			return err
		}
		r := view.Run{Pipeline: name, Name: x.run, At: time.Now().UTC()}
		for _, s := range x.submitted[name] {
			r.Items = append(r.Items, s.Item)
		}
		if err := x.store.PutRun(ctx, r); err != nil {
			return err
		}
		if err := x.restore(ctx, name); err != nil {
			return err
		}
	}
	return x.supersede(ctx)
}

// whole tells of a finished job that the log has forgotten a part of, and where events are kept has that computed again.
func (x *session) whole(ctx context.Context, name string, id schemas.JobID) error {
	stages := x.managers[name].Lacking(id)
	if len(stages) == 0 {
		return nil
	}
	j, _ := x.managers[name].Job(id)
	if !x.retain {
		x.log.Warn("the log lost events of a finished recording, as in a power cut with sync other than always; its results are stored",
			"pipeline", name, "recording", j.Item, "stages", strings.Join(stages, ","))
		return nil
	}
	x.log.Warn("the log lost events of a finished recording, as in a power cut with sync other than always; they are computed again",
		"pipeline", name, "recording", j.Item, "stages", strings.Join(stages, ","))
	return x.managers[name].Restart(ctx, id)
}

// restore puts back the result files of jobs that were finished before, where they are not there or not theirs any more.
func (x *session) restore(ctx context.Context, name string) error {
	restored := 0
	for _, j := range x.jobs(name) {
		if !x.before[j.ID] {
			continue
		}
		n, err := x.engine.Restore(ctx, name, j, x.batches)
		if err != nil {
			return exit(ExitFailed, err)
		}
		restored += n
	}
	if restored > 0 {
		x.log.Info("result files written again", "pipeline", name, "files", restored)
	}
	return nil
}

// batches reads the documents that a stage emitted for a job from the result store.
func (x *session) batches(ctx context.Context, id schemas.JobID, stage string) (batches []pipeline.Batch, err error) {
	found, err := x.store.Documents(ctx, view.DocumentFilter{Job: id, Stage: stage}, view.Page{})
	slices.SortFunc(found, func(a, b view.Document) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Row, b.Row))
	})
	for _, d := range found {
		if n := len(batches); n == 0 || batches[n-1].Sequence != d.Sequence {
			batches = append(batches, pipeline.Batch{Type: d.Type, Sequence: d.Sequence})
		}
		b := &batches[len(batches)-1]
		b.Docs = append(b.Docs, pipeline.Doc(d.Doc))
	}
	return batches, err
}

func (x *session) submissions(ctx context.Context, name string) (subs []job.Submission, err error) {
	p := x.spec.Pipeline(name)
	if len(p.From) > 0 {
		for _, up := range x.submitted[p.From[0].Pipeline] {
			subs = append(subs, job.Submission{ID: x.engine.Derived(name, up.ID), Item: up.Item, Source: up.Source, Upstream: up.ID})
		}
		return subs, nil
	}
	items, err := x.engine.List(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		source, err := json.Marshal(it)
		if err != nil {
			return nil, err
		}
		id, err := x.id(ctx, name, it)
		if err != nil {
			return nil, err
		}
		subs = append(subs, job.Submission{ID: id, Item: it.Name, Source: source})
	}
	return subs, nil
}

// id is the item's job: of its last generation, or of another one when a job stopped that, when its results are lost or another
// configuration's stand in their place, or, with --again, when that is over.
func (x *session) id(ctx context.Context, name string, it pipeline.Item) (schemas.JobID, error) {
	last := x.engine.JobID(name, it, 0)
	for generation := 1; ; generation++ {
		j, ok := x.managers[name].Job(last)
		next := x.engine.JobID(name, it, generation)
		if !ok {
			replaced, err := x.replaced(ctx, name, job.Job{ID: last, Item: it.Name})
			if !replaced || err != nil {
				return last, err
			}
			last = next // an earlier state had the job
			continue
		}
		if _, ok := x.managers[name].Job(next); ok || x.stopped(name, last) || x.again && j.State.Over() {
			last = next
			continue
		}
		if j.State != schemas.JobFinished && j.State != schemas.JobCancelled {
			replaced, err := x.replaced(ctx, name, j)
			if !replaced || err != nil {
				return last, err
			}
			last = next // it began before a job of another configuration, and would store nothing
			continue
		}
		lost, err := x.lost(ctx, name, last)
		if !lost || err != nil {
			return last, err
		}
		x.log.Warn("the results of a finished recording are gone from where they were stored, or another configuration's stand there; it is replayed again", "pipeline", name, "recording", it.Name)
		last = next
	}
}

// lost says whether a store of results knows nothing of a finished job any more, or of one that derives from it.
func (x *session) lost(ctx context.Context, name string, id schemas.JobID) (bool, error) {
	j, ok := x.managers[name].Job(id)
	if !ok || j.State != schemas.JobFinished {
		return false, nil
	}
	if lost, err := x.engine.Lost(ctx, name, j); lost || err != nil {
		return lost, err
	}
	for _, below := range x.engine.Pipelines() {
		if from := x.spec.Pipeline(below).From; len(from) > 0 && from[0].Pipeline == name {
			if lost, err := x.lost(ctx, below, x.engine.Derived(below, id)); lost || err != nil {
				return lost, err
			}
		}
	}
	return false, nil
}

// replaced says whether stores would not take what a job gives, or one that derives from it: they took it before, and that of a
// newer one since.
func (x *session) replaced(ctx context.Context, name string, j job.Job) (bool, error) {
	if replaced, err := x.engine.Replaced(ctx, name, j); replaced || err != nil {
		return replaced, err
	}
	for _, below := range x.engine.Pipelines() {
		if from := x.spec.Pipeline(below).From; len(from) > 0 && from[0].Pipeline == name {
			derived := job.Job{ID: x.engine.Derived(below, j.ID), Item: j.Item, Upstream: j.ID}
			if replaced, err := x.replaced(ctx, below, derived); replaced || err != nil {
				return replaced, err
			}
		}
	}
	return false, nil
}

// stopped says whether another job's stop ended a job, or one that derives from it.
func (x *session) stopped(name string, id schemas.JobID) bool {
	if j, ok := x.managers[name].Job(id); ok && j.Stopped() {
		return true
	}
	return slices.ContainsFunc(x.engine.Pipelines(), func(below string) bool {
		from := x.spec.Pipeline(below).From
		return len(from) > 0 && from[0].Pipeline == name && x.stopped(below, x.engine.Derived(below, id))
	})
}

// jobs lists the run's jobs of one pipeline, in the order of submission.
func (x *session) jobs(name string) (jobs []job.Job) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.submitted[name] {
		if j, ok := x.managers[name].Job(s.ID); ok {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// renew puts a recording's newest job into the place of the one that was submitted: a redrive after a skip queues another
// generation, whose results replace the old.
func (x *session) renew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range x.engine.Pipelines() { // those that others read come first
		from := x.spec.Pipeline(name).From
		for i := range x.submitted[name] {
			s := &x.submitted[name][i]
			if len(from) > 0 {
				s.Upstream = x.submitted[from[0].Pipeline][i].ID
				s.ID = x.engine.Derived(name, s.Upstream)
			} else {
				s.ID = x.newest(name, *s)
			}
		}
	}
}

// newest is the last known generation behind a submitted job; itself, when there is none.
func (x *session) newest(name string, s job.Submission) schemas.JobID {
	var it pipeline.Item
	if err := json.Unmarshal(s.Source, &it); err != nil {
		return s.ID // it was made of an item a moment ago
	}
	last, passed := s.ID, false
	for generation := 0; ; generation++ {
		id := x.engine.JobID(name, it, generation)
		if _, ok := x.managers[name].Job(id); !ok {
			return last
		}
		if passed = passed || id == s.ID; passed {
			last = id
		}
	}
}

// activations is what the log says of a finished job of a pipeline that has the AEB function's KPIs.
func (x *session) activations(id schemas.JobID) []any {
	r, err := x.store.Recording(context.Background(), id)
	if err != nil || r.KPIs == nil {
		return nil
	}
	return []any{"activations", r.Activations}
}

// standings says how far every node is with the run's jobs, whoever works on them.
func (x *session) standings() map[string]engine.Standing {
	all := map[string][]job.Job{}
	for _, name := range x.engine.Pipelines() {
		all[name] = x.jobs(name)
	}
	return x.engine.Standings(all)
}

// fleet folds what the run's finished jobs gave.
func (x *session) fleet(ctx context.Context) error {
	var errs []error
	for _, name := range x.engine.Pipelines() {
		errs = append(errs, x.engine.Fleet(ctx, name, x.run, x.jobs(name), x.results))
	}
	return errors.Join(errs...)
}

// fleetEvery is how often the fleet results are folded anew while jobs finish; seldomer where that takes long, since it reads what all
// finished recordings gave: a tenth of the time at most goes into it.
const fleetEvery = 2 * time.Second

// keepFleet folds the fleet results anew as jobs finish, and are finished once more after a redrive, until the function that it
// returns is called.
func (x *session) keepFleet(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		t := time.NewTimer(fleetEvery)
		defer t.Stop()
		for folded := x.finished(); ; {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			begun := time.Now()
			x.renew()
			if now := x.finished(); !slices.Equal(now, folded) {
				folded = now
				if err := x.fleet(ctx); err != nil && ctx.Err() == nil {
					x.log.Warn("the fleet results were not made", "error", err)
				}
			}
			t.Reset(max(fleetEvery, 9*time.Since(begun)))
		}
	}()
	return func() { cancel(); <-gone }
}

// finished are the jobs of the run that are.
func (x *session) finished() (ids []schemas.JobID) {
	for _, name := range x.engine.Pipelines() {
		for _, j := range x.jobs(name) {
			if j.State == schemas.JobFinished {
				ids = append(ids, j.ID)
			}
		}
	}
	return ids
}

// results reads what a stage emitted for a job from the result store.
func (x *session) results(ctx context.Context, id schemas.JobID, stage, eventType string) (docs []pipeline.Doc, err error) {
	found, err := x.store.Documents(ctx, view.DocumentFilter{Job: id, Stage: stage, Types: []string{eventType}}, view.Page{})
	for _, d := range found {
		docs = append(docs, d.Doc)
	}
	return docs, err
}

func (x *session) close() error {
	var errs []error
	if x.engine != nil {
		errs = append(errs, x.engine.Close())
	}
	if x.store != nil {
		errs = append(errs, x.store.Close())
	}
	if x.broker != nil {
		errs = append(errs, x.broker.Close())
	}
	if x.state != nil {
		errs = append(errs, x.state.release())
	}
	return errors.Join(errs...)
}
