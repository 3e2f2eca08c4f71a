package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// LetterState is what became of a dead letter.
type LetterState string

// The states. An open letter holds its job up; a skipped one left a hole in a job that went on.
const (
	LetterOpen      LetterState = "open"
	LetterResumed   LetterState = "resumed"   // the job was resumed and has taken the input again
	LetterSkipped   LetterState = "skipped"   // on_error: skip
	LetterRedriven  LetterState = "redriven"  // skipped, and the job's next generation was queued
	LetterCancelled LetterState = "cancelled" // the job was cancelled
	LetterOutdated  LetterState = "outdated"  // the job was made with another configuration: it cannot go on with this one
)

// A Letter is an input that was given up.
type Letter struct {
	ID         string           `json:"id"` // unique in the pipeline
	Pipeline   string           `json:"pipeline"`
	Home       string           `json:"home"` // the pipeline that reads the recording
	Stage      string           `json:"stage"`
	Job        schemas.JobID    `json:"job"`
	Recording  string           `json:"recording"`
	Input      schemas.InputRef `json:"input"`
	Error      string           `json:"error"`
	Permanent  bool             `json:"permanent"`
	Attempts   int              `json:"attempts"`
	Decision   schemas.Decision `json:"decision"`
	State      LetterState      `json:"state"`
	Redrivable bool             `json:"redrivable"`
	Purgeable  bool             `json:"purgeable"`         // its job is over
	Chained    string           `json:"chained,omitempty"` // of chained stages: the one that failed
	First      time.Time        `json:"first"`
	Last       time.Time        `json:"last"`

	position schemas.Position
}

// A LetterFilter chooses dead letters; empty fields choose all, but for State.
type LetterFilter struct {
	Pipeline  string   `json:"pipeline,omitempty"`
	Stage     string   `json:"stage,omitempty"`
	State     string   `json:"state,omitempty"`      // "" is open and skipped, "all", or one state
	Error     string   `json:"error,omitempty"`      // part of the error, in any case
	Recording string   `json:"recording,omitempty"`  // part of the name, in any case
	OlderThan string   `json:"older_than,omitempty"` // by the last attempt: 5m, 12h, 30d
	NewerThan string   `json:"newer_than,omitempty"`
	IDs       []string `json:"ids,omitempty"`
}

// Query is the filter as the query of an address.
func (f LetterFilter) Query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"pipeline": f.Pipeline, "stage": f.Stage, "state": f.State, "error": f.Error, "recording": f.Recording,
		"older_than": f.OlderThan, "newer_than": f.NewerThan, "ids": strings.Join(f.IDs, ",")} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

func letterFilter(q query) LetterFilter {
	return LetterFilter{Pipeline: q.Get("pipeline"), Stage: q.Get("stage"), State: q.Get("state"), Error: q.Get("error"),
		Recording: q.Get("recording"), OlderThan: q.Get("older_than"), NewerThan: q.Get("newer_than"), IDs: splitList(q.Get("ids"))}
}

// A LetterList is what a filter chose, newest first.
type LetterList struct {
	Total      int      `json:"total"` // there are
	Matching   int      `json:"matching"`
	Redrivable int      `json:"redrivable"` // of those that match
	Purgeable  int      `json:"purgeable"`  // likewise
	Offset     int      `json:"offset"`
	Limit      int      `json:"limit"`
	Stages     []string `json:"stages"` // names of stages that have any
	Letters    []Letter `json:"letters"`
}

func (s *Server) dlq(ctx context.Context, q query) (any, error) {
	offset, limit, err := q.page()
	if err != nil {
		return nil, err
	}
	match, err := s.letterMatcher(letterFilter(q))
	if err != nil {
		return nil, err
	}
	all, err := s.letters.all(ctx, q.streamed())
	if err != nil {
		return nil, err
	}
	l := LetterList{Total: len(all), Offset: offset, Limit: limit, Stages: []string{}}
	var hits []Letter
	for _, c := range all {
		if !slices.Contains(l.Stages, c.Stage) {
			l.Stages = append(l.Stages, c.Stage)
		}
		if !match(c) {
			continue
		}
		hits = append(hits, s.atHome(c))
		if c.Redrivable {
			l.Redrivable++
		}
		if c.Purgeable {
			l.Purgeable++
		}
	}
	slices.Sort(l.Stages)
	l.Matching, l.Letters = len(hits), slice(hits, offset, limit)
	return l, nil
}

func (s *Server) atHome(l Letter) Letter {
	l.Home = s.home(l.Pipeline)
	return l
}

// letterMatcher compiles a filter.
func (s *Server) letterMatcher(f LetterFilter) (func(Letter) bool, error) {
	if f.Pipeline != "" && s.c.Managers[f.Pipeline] == nil {
		return nil, s.noPipeline(f.Pipeline)
	}
	if !slices.Contains([]string{"", "all", "open", "resumed", "skipped", "redriven", "cancelled", "outdated"}, f.State) {
		return nil, badParam("state", f.State, "one of all, open, resumed, skipped, redriven, cancelled, outdated")
	}
	q := query{f.Query()}
	older, err := q.duration("older_than")
	if err != nil {
		return nil, err
	}
	newer, err := q.duration("newer_than")
	if err != nil {
		return nil, err
	}
	now := s.c.Now()
	return func(l Letter) bool {
		age := now.Sub(l.Last)
		return f.matches(l) && (older == 0 || age >= older) && (newer == 0 || age <= newer)
	}, nil
}

func (f LetterFilter) matches(l Letter) bool {
	switch {
	case f.Pipeline != "" && l.Pipeline != f.Pipeline, f.Stage != "" && l.Stage != f.Stage:
		return false
	case len(f.IDs) > 0 && !slices.Contains(f.IDs, l.ID):
		return false
	case f.State == "" && l.State != LetterOpen && l.State != LetterSkipped:
		return false
	case f.State != "" && f.State != "all" && string(l.State) != f.State:
		return false
	}
	return contains(l.Error, f.Error) && contains(l.Recording, f.Recording)
}

// A LetterOrder is the body of a redrive: everything that the filter matches and that can be sent back.
type LetterOrder struct {
	Filter LetterFilter `json:"filter"`
	DryRun bool         `json:"dry_run,omitempty"`
}

func (s *Server) redrive(ctx context.Context, _ query, body json.RawMessage) (any, error) {
	var order LetterOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	return s.overLetters(ctx, "redrive", order, func(l Letter) bool { return l.Redrivable }, s.redriveOne)
}

// purge removes dead letters of jobs that are over; those of others are refused. Without a state the filter means all.
func (s *Server) purge(ctx context.Context, _ query, body json.RawMessage) (any, error) {
	var order LetterOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	if order.Filter.State == "" {
		order.Filter.State = "all"
	}
	return s.overLetters(ctx, "purge", order, func(l Letter) bool { return l.Purgeable }, s.purgeOne)
}

// overLetters starts an operation over the letters that an order's filter matches and that may be acted on.
func (s *Server) overLetters(ctx context.Context, verb string, order LetterOrder, may func(Letter) bool, do func(context.Context, Letter) error) (any, error) {
	match, err := s.letterMatcher(order.Filter)
	if err != nil {
		return nil, err
	}
	all, err := s.letters.all(ctx, false)
	if err != nil {
		return nil, err
	}
	matching := 0
	var steps []step
	for _, l := range all {
		if !match(l) {
			continue
		}
		matching++
		if may(l) {
			steps = append(steps, step{name: l.ID, stage: l.Pipeline + "/" + l.Stage, do: func(ctx context.Context) error { return do(ctx, l) }})
		}
	}
	return s.operate(verb, order.DryRun, matching, steps), nil
}

func (s *Server) purgeOne(ctx context.Context, l Letter) error {
	_, err := s.c.Engine.Purge(ctx, engine.Letter{ID: l.ID, Pipeline: l.Pipeline, Stage: l.Stage, Job: l.Job, Position: l.position})
	s.letters.forget()
	return err
}

// redriveOne resumes the halted job; after a skip it queues the job's next generation, whose results replace the old.
func (s *Server) redriveOne(ctx context.Context, l Letter) error {
	if l.State == LetterOpen {
		return s.c.Managers[l.Pipeline].Resume(ctx, l.Job)
	}
	return s.again(ctx, s.home(l.Pipeline), l.Job)
}

// generations finds the job of an item that comes after a given one.
type generations struct {
	engine   *engine.Engine
	managers map[string]*job.Manager
}

const maxGenerations = 1000

// source is the job, of the pipeline that reads recordings, that job derives from: itself, where that pipeline is its own.
func (g generations) source(home string, id schemas.JobID) (job.Job, bool) {
	m := g.managers[home]
	if m == nil {
		return job.Job{}, false
	}
	for range len(g.managers) {
		if j, ok := m.Job(id); ok {
			return j, true
		}
		id = g.upstream(id)
	}
	return job.Job{}, false
}

// upstream is the job that a job of any pipeline reads the events of; "" when it reads an item.
func (g generations) upstream(id schemas.JobID) schemas.JobID {
	for _, m := range g.managers {
		if j, ok := m.Job(id); ok {
			return j.Upstream
		}
	}
	return ""
}

// after is the submission of the generation behind that of job j.
func (g generations) after(home string, j job.Job) (job.Submission, error) {
	var it pipeline.Item
	if err := json.Unmarshal(j.Source, &it); err != nil {
		return job.Submission{}, fmt.Errorf("job %s: its item: %w", j.ID, err)
	}
	for n := range maxGenerations {
		if g.engine.JobID(home, it, n) == j.ID {
			return job.Submission{ID: g.engine.JobID(home, it, n+1), Item: j.Item, Source: j.Source, Run: j.Run, Priority: j.Priority}, nil
		}
	}
	return job.Submission{}, fmt.Errorf("job %s was made of another version of the pipeline: run it again", j.ID)
}

// again queues the next generation of the job that a job derives from, and the jobs that derive from that one. That one comes
// last: it says that all are queued (redriven), and whoever is stopped or refused before it can do all of it again.
func (s *Server) again(ctx context.Context, home string, id schemas.JobID) error {
	g := generations{s.c.Engine, s.c.Managers}
	j, ok := g.source(home, id)
	if !ok {
		return fmt.Errorf("job %s: its recording's job in %s is not known", id, home)
	}
	sub, err := g.after(home, j)
	if err != nil {
		return err
	}
	names := s.tree(home)
	subs := map[string]job.Submission{home: sub}
	for _, name := range names[1:] {
		sub.Upstream = subs[s.c.Spec.Pipeline(name).From[0].Pipeline].ID
		sub.ID = s.c.Engine.Derived(name, sub.Upstream)
		subs[name] = sub
	}
	for _, name := range slices.Backward(names) {
		s.c.Managers[name].Proceed(sub.Run)
		if _, err := s.c.Managers[name].Submit(ctx, subs[name]); err != nil {
			return err
		}
	}
	return nil
}

// redriven says whether the next generation was queued already, and all that derives from it.
func (g generations) redriven(home string, id schemas.JobID) bool {
	j, ok := g.source(home, id)
	if !ok {
		return false
	}
	sub, err := g.after(home, j)
	if err != nil {
		return false
	}
	_, ok = g.managers[home].Job(sub.ID)
	return ok
}

// letterCache keeps the dead letters, without the inputs they hold, until a job changes or a stage gives up an input; at the
// latest for ten seconds, since a worker elsewhere may have.
type letterCache struct {
	engine   *engine.Engine
	managers map[string]*job.Manager
	now      func() time.Time
	home     func(string) string

	mu      sync.Mutex
	loaded  time.Time
	given   int64 // dead letters that the meters counted then
	changed []<-chan struct{}
	list    []Letter
}

const (
	letterAge  = 10 * time.Second
	letterRest = 500 * time.Millisecond // between two reads of the logs for streams, while jobs change all the time
)

func newLetterCache(e *engine.Engine, managers map[string]*job.Manager, now func() time.Time, home func(string) string) *letterCache {
	return &letterCache{engine: e, managers: managers, now: now, home: home}
}

// all lists every dead letter, newest first; rested allows a list half a second old. The list is not to be changed.
func (c *letterCache) all(ctx context.Context, rested bool) ([]Letter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	given := int64(0)
	for _, n := range c.engine.Status() {
		given += n.DeadLetters
	}
	age := c.now().Sub(c.loaded)
	if c.list != nil && age < letterAge && given == c.given && (rested && age < letterRest || !anyClosed(c.changed)) {
		return c.list, nil
	}
	changed := make([]<-chan struct{}, 0, len(c.managers))
	for _, m := range c.managers {
		changed = append(changed, m.Changed())
	}
	list, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	c.list, c.given, c.loaded, c.changed = list, given, c.now(), changed
	return list, nil
}

// forget makes the next list be read anew.
func (c *letterCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
}

func (c *letterCache) read(ctx context.Context) ([]Letter, error) {
	list := []Letter{}
	for _, name := range c.engine.Pipelines() {
		letters, err := c.engine.Letters(ctx, name)
		if err != nil {
			return nil, err
		}
		newest := map[schemas.ChainID]schemas.Position{}
		for _, l := range letters {
			id := schemas.ChainID{Job: l.Job, Stage: l.Stage}
			newest[id] = max(newest[id], l.Position)
		}
		for _, l := range letters {
			list = append(list, c.describe(l, newest[schemas.ChainID{Job: l.Job, Stage: l.Stage}] == l.Position))
		}
	}
	slices.SortStableFunc(list, func(a, b Letter) int { return byNewest(a.Last, b.Last, a.ID, b.ID) })
	return list, nil
}

func (c *letterCache) describe(l engine.Letter, newest bool) Letter {
	d := Letter{ID: l.ID, Pipeline: l.Pipeline, Stage: l.Stage, Job: l.Job, Recording: l.Item, Input: l.Letter.Input, Error: l.Letter.Error,
		Permanent: l.Letter.Permanent, Attempts: l.Letter.Attempts, Decision: l.Letter.Decision, First: l.Letter.First.UTC(), Last: l.Letter.Last.UTC(),
		Chained: l.Letter.Stage, position: l.Position}
	d.State = c.state(l, newest)
	if m := c.managers[l.Pipeline]; m != nil {
		j, ok := m.Job(l.Job)
		d.Purgeable = ok && j.State.Over() && j.State != schemas.JobFailed
	}
	d.Redrivable = d.State == LetterOpen || d.State == LetterSkipped
	return d
}

func (c *letterCache) state(l engine.Letter, newest bool) LetterState {
	var j job.Job
	if m := c.managers[l.Pipeline]; m != nil {
		j, _ = m.Job(l.Job)
	}
	switch {
	case j.Foreign:
		return LetterOutdated
	case l.Letter.Decision == schemas.Skip:
		if (generations{c.engine, c.managers}).redriven(c.home(l.Pipeline), l.Job) {
			return LetterRedriven
		}
		return LetterSkipped
	case j.State == schemas.JobCancelled:
		return LetterCancelled
	case newest && j.State == schemas.JobFailed && j.Stage == l.Stage:
		return LetterOpen
	}
	return LetterResumed
}
