package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// A Job is one recording through one pipeline.
type Job struct {
	ID          schemas.JobID    `json:"id"`
	Pipeline    string           `json:"pipeline"`
	Home        string           `json:"home"` // the pipeline that reads the recording
	Recording   string           `json:"recording"`
	Run         string           `json:"run,omitempty"`
	Version     string           `json:"version"` // of the configuration that it was made with
	Current     bool             `json:"current"` // that is the one at hand
	State       schemas.JobState `json:"state"`   // as stored
	Status      string           `json:"status"`  // the state, or left-behind: unfinished, of another configuration, so that nobody works on it
	Priority    int              `json:"priority"`
	Queued      time.Time        `json:"queued"`
	Started     *time.Time       `json:"started"`
	Ended       *time.Time       `json:"ended"`
	Stage       string           `json:"stage,omitempty"` // of a failed job: where
	Error       string           `json:"error,omitempty"`
	Progress    float64          `json:"progress"`           // 0 to 1: how much of its recording was read, as far as this process knows
	Attempts    int              `json:"attempts,omitempty"` // of a failed job: tries of the input that halted it
	Tries       int              `json:"tries,omitempty"`    // and how many its stage has for one
	Resumed     int              `json:"resumed"`
	Resumable   bool             `json:"resumable"`
	Cancellable bool             `json:"cancellable"`
}

// A JobFilter chooses jobs; empty fields choose all.
type JobFilter struct {
	Pipeline string          `json:"pipeline,omitempty"`
	Status   string          `json:"status,omitempty"` // states, separated by commas; left-behind is one
	Search   string          `json:"search,omitempty"` // part of the recording, job or error, in any case
	IDs      []schemas.JobID `json:"ids,omitempty"`    // ids, or beginnings of at least four characters
}

// A JobList is what a filter chose.
type JobList struct {
	Total       int            `json:"total"`    // jobs there are
	Matching    int            `json:"matching"` // of the filter
	Offset      int            `json:"offset"`
	Limit       int            `json:"limit"`
	Counts      map[string]int `json:"counts"`      // by status, of what matches but for the state
	Resumable   int            `json:"resumable"`   // of those that match, the failed ones
	Cancellable int            `json:"cancellable"` // of those that match
	Jobs        []Job          `json:"jobs"`
}

func (s *Server) jobs(ctx context.Context, q query) (any, error) {
	offset, limit, err := q.page()
	if err != nil {
		return nil, err
	}
	f := JobFilter{Pipeline: q.Get("pipeline"), Status: q.Get("status"), Search: q.Get("search")}
	if err := s.checkJobFilter(f); err != nil {
		return nil, err
	}
	l := JobList{Offset: offset, Limit: limit, Counts: map[string]int{}}
	var hits []Job
	for _, j := range s.allJobs() {
		l.Total++
		if !f.matchesButState(j) {
			continue
		}
		l.Counts[j.Status]++
		if f.matches(j) {
			hits = append(hits, j)
			l.count(j)
		}
	}
	l.Matching, l.Jobs = len(hits), slice(hits, offset, limit)
	return l, s.readSoFar(ctx, l.Jobs)
}

// readSoFar says of jobs how far they are.
func (s *Server) readSoFar(ctx context.Context, jobs []Job) error {
	ids := make([]schemas.JobID, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	stored := map[schemas.JobID]float64{}
	if s.c.Store != nil {
		rows, _, err := s.c.Store.Jobs(ctx, view.Filter{Jobs: ids}, view.Page{})
		if err != nil {
			return err
		}
		for _, r := range rows {
			stored[r.Job] = r.Progress
		}
	}
	for i := range jobs {
		jobs[i].Progress = max(stored[jobs[i].ID], s.c.Engine.Progress(jobs[i].ID))
		if jobs[i].State == schemas.JobFinished {
			jobs[i].Progress = 1
		}
	}
	return nil
}

func (l *JobList) count(j Job) {
	if j.Resumable && j.State == schemas.JobFailed {
		l.Resumable++
	}
	if j.Cancellable {
		l.Cancellable++
	}
}

func (s *Server) checkJobFilter(f JobFilter) error {
	if f.Pipeline != "" && s.c.Managers[f.Pipeline] == nil {
		return s.noPipeline(f.Pipeline)
	}
	for _, st := range splitList(f.Status) {
		if st != LeftBehind && !slices.Contains(jobStates, schemas.JobState(st)) {
			return badParam("status", st, "one of "+commas(jobStates)+", "+LeftBehind)
		}
	}
	return nil
}

var jobStates = []schemas.JobState{schemas.JobDeferred, schemas.JobScheduled, schemas.JobQueued, schemas.JobStarted,
	schemas.JobFinished, schemas.JobFailed, schemas.JobCancelled, schemas.JobExpired}

// LeftBehind is the status of a job that another configuration left unfinished.
const LeftBehind = "left-behind"

func splitList(v string) []string {
	return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
}

func (f JobFilter) choosesAll() bool {
	return f.Pipeline == "" && f.Status == "" && f.Search == "" && len(f.IDs) == 0
}

func (f JobFilter) matches(j Job) bool {
	states := splitList(f.Status)
	return f.matchesButState(j) && (len(states) == 0 || slices.Contains(states, j.Status))
}

func (f JobFilter) matchesButState(j Job) bool {
	if f.Pipeline != "" && j.Pipeline != f.Pipeline {
		return false
	}
	if len(f.IDs) > 0 && !slices.ContainsFunc(f.IDs, func(id schemas.JobID) bool { return isID(id, j.ID) }) {
		return false
	}
	return contains(j.Recording, f.Search) || contains(string(j.ID), f.Search) || contains(j.Error, f.Search)
}

func isID(given, id schemas.JobID) bool {
	return given == id || len(given) >= 4 && strings.HasPrefix(string(id), string(given))
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// allJobs lists the jobs of all pipelines, those that were submitted last first.
func (s *Server) allJobs() []Job {
	var list []Job
	for _, name := range s.c.Engine.Pipelines() {
		if m := s.c.Managers[name]; m != nil {
			for _, j := range m.Jobs() {
				list = append(list, s.describe(name, j))
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Job) int { return b.Queued.Compare(a.Queued) })
	return list
}

func (s *Server) describe(pipelineName string, j job.Job) Job {
	status := string(j.State)
	if j.LeftBehind() {
		status = LeftBehind
	}
	return Job{ID: j.ID, Pipeline: pipelineName, Home: s.lineage.Home(pipelineName), Recording: j.Item, Run: j.Run, Version: j.Version, Current: !j.Foreign,
		State: j.State, Status: status, Priority: j.Priority,
		Queued: j.Queued.UTC(), Started: instant(j.Started), Ended: instant(j.Ended), Stage: j.Stage, Error: j.Error, Resumed: j.Resumed,
		Attempts: j.Attempts, Tries: s.tries(pipelineName, j),
		Resumable: s.resumable(pipelineName, j), Cancellable: !j.State.Over()}
}

// tries is how many tries the stage at which a job failed has for an input.
func (s *Server) tries(pipelineName string, j job.Job) int {
	name := j.Stage
	if _, stage, ok := strings.Cut(name, "@"); ok {
		name = stage
	}
	st := s.c.Spec.Stage(spec.Ref{Pipeline: pipelineName, Stage: name})
	if j.Attempts == 0 || j.Foreign || st == nil {
		return 0
	}
	return st.Settings.Retry.Attempts
}

func (s *Server) resumable(pipelineName string, j job.Job) bool {
	if j.Foreign {
		return false
	}
	if j.State != schemas.JobCancelled && (j.State != schemas.JobFailed || j.Bereft() || j.NonDeterministic()) {
		return false
	}
	_, superseded := s.lineage.Successor(pipelineName, j.ID)
	return !superseded
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) job(ctx context.Context, q query) (any, error) {
	j, err := s.findJob(q.Get("job"))
	if err != nil {
		return nil, err
	}
	one := []Job{j}
	err = s.readSoFar(ctx, one)
	return one[0], err
}

// findJob takes an id or the beginning of one.
func (s *Server) findJob(id string) (Job, error) {
	var found []Job
	for _, j := range s.allJobs() {
		if j.ID == schemas.JobID(id) {
			return j, nil
		}
		if isID(schemas.JobID(id), j.ID) {
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return Job{}, notFound("no job %q", id)
	case 1:
		return found[0], nil
	}
	return Job{}, notFound("job %q could be %s or %s", id, found[0].ID, found[1].ID)
}

func (s *Server) cancelJob(ctx context.Context, q query, _ json.RawMessage) (any, error) {
	return s.change(q.Get("job"), func(j Job) error { return s.c.Managers[j.Pipeline].Cancel(ctx, j.ID) })
}

func (s *Server) resumeJob(ctx context.Context, q query, _ json.RawMessage) (any, error) {
	return s.change(q.Get("job"), func(j Job) error { return s.resume(ctx, j) })
}

// change does something to one job and gives it back as it is then.
func (s *Server) change(id string, do func(Job) error) (any, error) {
	j, err := s.findJob(id)
	if err != nil {
		return nil, err
	}
	if err := do(j); err != nil {
		return nil, jobError(err)
	}
	return s.findJob(string(j.ID))
}

func jobError(err error) error {
	switch {
	case errors.Is(err, job.ErrNoJob):
		return notFound("%v", err)
	case errors.Is(err, job.ErrNotFailed):
		return conflict(err, "only a failed or cancelled job can be retried; one whose upstream job failed goes on with that one")
	case errors.Is(err, job.ErrNoFunction):
		return conflict(err, "mend the stage, then milepost run --again")
	case errors.Is(err, job.ErrForeign):
		return conflict(err, "milepost run makes it anew; with its own configuration it goes on")
	case errors.Is(err, job.ErrOver):
		return conflict(err, "a job that is over cannot be cancelled")
	}
	return err
}

// A JobOrder is the body of the bulk commands: everything that the filter matches and that can take the command.
type JobOrder struct {
	Filter JobFilter `json:"filter"`
	All    bool      `json:"all,omitempty"`     // to cancel with a filter that chooses all: yes, all
	DryRun bool      `json:"dry_run,omitempty"` // say what would be touched, touch nothing
}

// cancelJobs ends jobs that are not over; failed ones only when they are named, or asked for alone.
func (s *Server) cancelJobs(_ context.Context, _ query, body json.RawMessage) (any, error) {
	var order JobOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	if order.Filter.choosesAll() && !order.All && !order.DryRun {
		return nil, badBody(errors.New(`the filter chooses every job: choose fewer, or say "all": true`))
	}
	return s.bulk("cancel", body, func(f JobFilter, j Job) bool {
		return j.Cancellable || j.State == schemas.JobFailed && (f.Status == string(schemas.JobFailed) || len(f.IDs) > 0)
	}, func(ctx context.Context, j Job) error { return s.c.Managers[j.Pipeline].Cancel(ctx, j.ID) })
}

// resumeJobs resumes failed jobs; cancelled ones begin again only when they are named, or asked for alone.
func (s *Server) resumeJobs(_ context.Context, _ query, body json.RawMessage) (any, error) {
	return s.bulk("resume", body, func(f JobFilter, j Job) bool {
		return j.Resumable && (j.State == schemas.JobFailed || len(f.IDs) > 0 || f.Status == string(schemas.JobCancelled))
	}, s.resume)
}

// resume lets a failed job go on. A cancelled one has ended for its stages: its next generation is queued.
func (s *Server) resume(ctx context.Context, j Job) error {
	s.ordering.Lock()
	defer s.ordering.Unlock()
	if !j.Current {
		return fmt.Errorf("%s: %w", j.ID, job.ErrForeign)
	}
	if by, is := s.lineage.Successor(j.Pipeline, j.ID); is {
		return fmt.Errorf("%s has begun again since, as %s of %s: %w", j.ID, by, j.Home, job.ErrNotFailed)
	}
	if j.State == schemas.JobCancelled {
		return s.lineage.Again(ctx, j.Pipeline, j.ID)
	}
	return s.c.Managers[j.Pipeline].Resume(ctx, j.ID)
}

func (s *Server) bulk(kind string, body json.RawMessage, can func(JobFilter, Job) bool, do func(context.Context, Job) error) (any, error) {
	var order JobOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	if err := s.checkJobFilter(order.Filter); err != nil {
		return nil, err
	}
	var steps []step
	matching := 0
	for _, j := range s.allJobs() {
		if !order.Filter.matches(j) {
			continue
		}
		matching++
		if can(order.Filter, j) {
			steps = append(steps, step{name: string(j.ID), stage: j.Pipeline, do: func(ctx context.Context) error { return do(ctx, j) }})
		}
	}
	return s.operate(Operation{Kind: kind, DryRun: order.DryRun, Matching: matching}, steps), nil
}

// decodeBody is strict: a misspelt filter must not widen a command to everything.
func decodeBody(body json.RawMessage, into any) error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badBody(err)
	}
	return nil
}
