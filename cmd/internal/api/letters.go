package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/cmd/internal/lineage"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// LetterState is what became of a dead letter.
type LetterState string

// The states. An open letter holds its job up; a skipped one left a hole in a job that went on.
const (
	LetterOpen       LetterState = "open"
	LetterResumed    LetterState = "resumed"    // the job was resumed and has taken the input again
	LetterSkipped    LetterState = "skipped"    // on_error: skip
	LetterRedriven   LetterState = "redriven"   // skipped, and the job's next generation was queued
	LetterSuperseded LetterState = "superseded" // it held its job up, and that job's next generation, which does everything anew, was queued
	LetterCancelled  LetterState = "cancelled"  // the job was cancelled
	LetterOutdated   LetterState = "outdated"   // the job, or one that it comes from, was made with another configuration: it cannot go on with this one
)

var letterStates = []LetterState{LetterOpen, LetterResumed, LetterSkipped, LetterRedriven, LetterSuperseded, LetterCancelled, LetterOutdated}

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
	Successor  schemas.JobID    `json:"successor,omitempty"` // of a letter that is redriven or superseded: the next generation, in the home pipeline
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
	Pipelines  []string `json:"pipelines"` // all there are
	Stages     []string `json:"stages"`    // names of stages that have any
	Letters    []Letter `json:"letters"`
}

func (s *Server) dlq(ctx context.Context, q query) (any, error) {
	offset, limit, err := q.page()
	if err != nil {
		return nil, err
	}
	f := letterFilter(q)
	match, err := s.letterMatcher(f)
	if err != nil {
		return nil, err
	}
	all, err := s.letters.all(ctx, q.streamed())
	if err != nil {
		return nil, err
	}
	l := LetterList{Total: len(all), Offset: offset, Limit: limit, Pipelines: s.c.Engine.Pipelines(), Stages: []string{}}
	var hits []Letter
	for _, c := range all {
		if !slices.Contains(l.Stages, c.Stage) {
			l.Stages = append(l.Stages, c.Stage)
		}
		if !match(c) || !f.matchesState(c) {
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
	l.Home = s.lineage.Home(l.Pipeline)
	return l
}

// letterMatcher compiles a filter, but for the state.
func (s *Server) letterMatcher(f LetterFilter) (func(Letter) bool, error) {
	if f.Pipeline != "" && s.c.Managers[f.Pipeline] == nil {
		return nil, s.noPipeline(f.Pipeline)
	}
	if f.State != "" && f.State != "all" && !slices.Contains(letterStates, LetterState(f.State)) {
		return nil, badParam("state", f.State, "one of all, "+commas(letterStates))
	}
	if err := s.checkStage(f); err != nil {
		return nil, err
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
		return f.matchesButState(l) && (older == 0 || age >= older) && (newer == 0 || age <= newer)
	}, nil
}

// checkStage refuses a stage that no pipeline has, or not the one that is named: an empty list would read as if all were well.
func (s *Server) checkStage(f LetterFilter) error {
	within := func(n engine.NodeStatus) bool { return f.Pipeline == "" || f.Pipeline == n.Pipeline }
	if f.Stage == "" || slices.ContainsFunc(s.c.Engine.Totals(), func(n engine.NodeStatus) bool { return within(n) && (n.Stage == f.Stage || n.Node == f.Stage) }) {
		return nil
	}
	names, of := []string{}, "any pipeline"
	if f.Pipeline != "" {
		of = "pipeline " + f.Pipeline
	}
	for _, n := range s.c.Engine.Status() {
		if within(n) && !slices.Contains(names, n.Stage) {
			names = append(names, n.Stage)
		}
	}
	text := fmt.Sprintf("no stage %q in %s; there are %s", f.Stage, of, strings.Join(names, ", "))
	if near := pipeline.Nearest(f.Stage, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return &apiError{http.StatusBadRequest, guard.Refusal{Message: text, Code: CodeParam}}
}

func (f LetterFilter) matchesState(l Letter) bool {
	if f.State == "" {
		return l.State == LetterOpen || l.State == LetterSkipped
	}
	return f.State == "all" || string(l.State) == f.State
}

func (f LetterFilter) matchesButState(l Letter) bool {
	switch {
	case f.Pipeline != "" && l.Pipeline != f.Pipeline, f.Stage != "" && l.Stage != f.Stage && l.Chained != f.Stage:
		return false
	case len(f.IDs) > 0 && !slices.Contains(f.IDs, l.ID):
		return false
	}
	return contains(l.Error, f.Error) && contains(l.Recording, f.Recording)
}

// letterCache keeps the dead letters, without the inputs they hold, until a job changes or a stage gives up an input; at the
// latest for ten seconds, since a worker elsewhere may have.
type letterCache struct {
	lineage lineage.Lineage
	now     func() time.Time

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

func newLetterCache(l lineage.Lineage, now func() time.Time) *letterCache {
	return &letterCache{lineage: l, now: now}
}

// all lists every dead letter, newest first; rested allows a list half a second old. The list is not to be changed.
func (c *letterCache) all(ctx context.Context, rested bool) ([]Letter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	given := int64(0)
	for _, n := range c.lineage.Engine.Status() {
		given += n.DeadLetters
	}
	age := c.now().Sub(c.loaded)
	if c.list != nil && age < letterAge && given == c.given && (rested && age < letterRest || !anyClosed(c.changed)) {
		return c.list, nil
	}
	changed := make([]<-chan struct{}, 0, len(c.lineage.Managers))
	for _, m := range c.lineage.Managers {
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
	for _, name := range c.lineage.Engine.Pipelines() {
		letters, err := c.lineage.Engine.Letters(ctx, name)
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
	if d.State == LetterRedriven || d.State == LetterSuperseded {
		d.Successor, _ = c.lineage.Successor(l.Pipeline, l.Job)
	}
	if m := c.lineage.Managers[l.Pipeline]; m != nil {
		j, ok := m.Job(l.Job)
		d.Purgeable = ok && j.State.Over() && j.State != schemas.JobFailed
	}
	d.Redrivable = d.State == LetterOpen || d.State == LetterSkipped
	return d
}

func (c *letterCache) state(l engine.Letter, newest bool) LetterState {
	var j job.Job
	if m := c.lineage.Managers[l.Pipeline]; m != nil {
		j, _ = m.Job(l.Job)
	}
	_, foreign, _ := c.lineage.Source(l.Pipeline, l.Job)
	halted, skipped := newest && j.State == schemas.JobFailed && j.Stage == l.Stage, l.Letter.Decision == schemas.Skip
	if foreign || j.Foreign {
		return LetterOutdated
	}
	if skipped || halted || j.State == schemas.JobCancelled {
		if _, is := c.lineage.Successor(l.Pipeline, l.Job); is {
			if skipped {
				return LetterRedriven
			}
			return LetterSuperseded
		}
	}
	switch {
	case skipped:
		return LetterSkipped
	case j.State == schemas.JobCancelled:
		return LetterCancelled
	case halted:
		return LetterOpen
	}
	return LetterResumed
}
