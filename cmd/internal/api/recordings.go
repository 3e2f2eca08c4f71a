package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// A Recording is one drive as the pipeline at hand, and those that read its events, know it.
type Recording struct {
	Name      string            `json:"name"`
	Pipeline  string            `json:"pipeline"`
	Job       schemas.JobID     `json:"job"`
	Run       string            `json:"run,omitempty"`
	State     schemas.JobState  `json:"state"`
	Stage     string            `json:"stage,omitempty"` // of a failed one: where
	Error     string            `json:"error,omitempty"`
	Labels    map[string]string `json:"labels"`
	Bytes     int64             `json:"bytes"`
	Queued    time.Time         `json:"queued"`
	Started   *time.Time        `json:"started"`
	Ended     *time.Time        `json:"ended"`
	Start     *time.Time        `json:"start"`      // of the drive, if the recording says
	Progress  *float64          `json:"progress"`   // 0 to 1; null: not known
	ReadS     float64           `json:"read_s"`     // of the drive, so far
	DurationS *float64          `json:"duration_s"` // of the drive; null until all is read
	Events    int               `json:"events"`     // AEB events so far
	Brakings  *int              `json:"brakings"`   // of these with braking; null until the result is there
	MinTTC    *float64          `json:"min_ttc"`    // s
	MinETTC   *float64          `json:"min_ettc"`   // s
	Findings  int               `json:"findings"`   // of signal health
}

// A RecordingList is what a filter chose.
type RecordingList struct {
	Pipeline   string              `json:"pipeline"`
	Total      int                 `json:"total"`
	Matching   int                 `json:"matching"`
	Offset     int                 `json:"offset"`
	Limit      int                 `json:"limit"`
	Labels     map[string][]string `json:"labels"` // values there are, by key
	Recordings []Recording         `json:"recordings"`
}

func (s *Server) store() (*view.Store, error) {
	if s.c.Store == nil {
		return nil, &apiError{http.StatusServiceUnavailable, guard.Refusal{Message: "this process keeps no results", Code: "E-no-store",
			Next: "the process of `milepost run` does"}}
	}
	return s.c.Store, nil
}

// recordingFilter reads search, status, label=key=value (several) and sort.
func (s *Server) recordingFilter(q query) (view.Filter, view.Sort, error) {
	f := view.Filter{Pipeline: q.Get("pipeline"), Run: q.Get("run"), Search: q.Get("search"), Jobs: ids(s.current(q.Get("pipeline"))), Labels: map[string]string{}}
	if s.c.Managers[f.Pipeline] == nil {
		return f, "", s.noPipeline(f.Pipeline)
	}
	if err := s.checkJobFilter(JobFilter{Status: q.Get("status")}); err != nil {
		return f, "", err
	}
	for _, st := range splitList(q.Get("status")) {
		f.States = append(f.States, schemas.JobState(st))
	}
	for _, l := range q.Values["label"] {
		k, v, ok := strings.Cut(l, "=")
		if l != "" && !ok {
			return f, "", badParam("label", l, "key=value")
		}
		if l != "" {
			f.Labels[k] = v
		}
	}
	sort := view.Sort(q.Get("sort"))
	if !slices.Contains(view.Sorts(), sort) {
		return f, "", badParam("sort", string(sort), "one of "+commas(slices.DeleteFunc(view.Sorts(), func(s view.Sort) bool { return s == view.ByQueued })))
	}
	return f, sort, nil
}

func (s *Server) recordings(ctx context.Context, q query) (any, error) {
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	offset, limit, err := q.page()
	if err != nil {
		return nil, err
	}
	f, sort, err := s.recordingFilter(q)
	if err != nil {
		return nil, err
	}
	rows, matching, err := st.Recordings(ctx, f, sort, view.Page{Offset: offset, Limit: limit})
	if err != nil {
		return nil, err
	}
	everything, total, err := st.Jobs(ctx, view.Filter{Pipeline: f.Pipeline, Jobs: f.Jobs}, view.Page{})
	if err != nil {
		return nil, err
	}
	beside, err := s.beside(ctx, f.Pipeline)
	if err != nil {
		return nil, err
	}
	l := RecordingList{Pipeline: f.Pipeline, Total: total, Matching: matching, Offset: offset, Limit: limit, Labels: labelsOf(everything), Recordings: []Recording{}}
	for _, r := range rows {
		l.Recordings = append(l.Recordings, recordingOf(r, beside[r.Item]))
	}
	return l, nil
}

func labelsOf(jobs []view.Job) map[string][]string {
	labels := map[string][]string{}
	for _, j := range jobs {
		for k, v := range j.Labels {
			if !slices.Contains(labels[k], v) {
				labels[k] = append(labels[k], v)
			}
		}
	}
	for _, values := range labels {
		slices.Sort(values)
	}
	return labels
}

// beside is what the pipelines that read this one's events know of each recording, by its name.
func (s *Server) beside(ctx context.Context, pipelineName string) (map[string][]view.Recording, error) {
	out := map[string][]view.Recording{}
	for _, name := range s.c.Engine.Pipelines() {
		if name == pipelineName || s.lineage.Home(name) != pipelineName {
			continue
		}
		list, _, err := s.c.Store.Recordings(ctx, view.Filter{Pipeline: name, Jobs: ids(s.current(name))}, view.ByQueued, view.Page{})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.Item] = append(out[r.Item], r)
		}
	}
	return out, nil
}

// recordingOf joins what the pipelines know: findings and activations are added up, the first result holds.
func recordingOf(r view.Recording, beside []view.Recording) Recording {
	d := Recording{Name: r.Item, Pipeline: r.Pipeline, Job: r.Job.Job, Run: r.Run, State: r.State, Stage: r.Stage, Error: r.Error, Labels: r.Labels,
		Bytes: r.Bytes, Queued: r.Queued.UTC(), Started: r.Started, Ended: r.Ended, Start: r.Start, ReadS: r.DurationS, Events: r.Activations, Findings: r.Findings}
	kpis := r.KPIs
	for _, b := range beside {
		d.Findings += b.Findings
		d.Events += b.Activations
		if !present(kpis) {
			kpis = b.KPIs
		}
	}
	switch {
	case r.State == schemas.JobFinished:
		d.DurationS, d.Progress = &r.DurationS, new(1.0)
	case r.Progress > 0:
		d.Progress = &r.Progress
	}
	var k struct {
		Events  *int     `json:"events"`
		Partial *int     `json:"events_partial"`
		MinTTC  *float64 `json:"min_ttc"`
		MinETTC *float64 `json:"min_ettc"`
	}
	if present(kpis) && json.Unmarshal(kpis, &k) == nil {
		d.Brakings, d.MinTTC, d.MinETTC = k.Partial, k.MinTTC, k.MinETTC
		if k.Events != nil {
			d.Events = *k.Events
		}
	}
	return d
}

func present(doc json.RawMessage) bool { return len(doc) > 0 && string(doc) != "null" }

// A RecordingDetail is all that is known of one recording but the course of its signals.
type RecordingDetail struct {
	Recording
	Jobs        []Job           `json:"jobs"`        // of all pipelines, this one's first
	KPIs        json.RawMessage `json:"kpis"`        // of AEB.md section 7; null: none yet
	AEBEvents   json.RawMessage `json:"aeb_events"`  // of AEB.md section 5; null: none yet
	Activations []view.Document `json:"activations"` // changes of the AEB stage, in order of time
	Faults      []view.Document `json:"faults"`      // findings of signal health, the first 500 in order of time
	Health      json.RawMessage `json:"health"`      // their summary; null: none yet
	Signals     []view.Signal   `json:"signals"`
	Letters     []Letter        `json:"letters"` // dead letters of these jobs
}

const maxDocuments = 500

func (s *Server) recording(ctx context.Context, q query) (any, error) {
	jobs, err := s.jobsOf(q)
	if err != nil {
		return nil, err
	}
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	d := RecordingDetail{Jobs: jobs, Activations: []view.Document{}, Faults: []view.Document{}, Signals: []view.Signal{}, Letters: []Letter{}}
	var rows []view.Recording
	for _, j := range jobs {
		r, err := st.Recording(ctx, j.ID)
		if errors.Is(err, view.ErrNotFound) {
			r = view.Recording{Job: view.Job{Job: j.ID, Pipeline: j.Pipeline, Item: j.Recording, State: j.State, Queued: j.Queued, Stage: j.Stage, Error: j.Error}}
		} else if err != nil {
			return nil, err
		}
		rows = append(rows, r)
		if err := d.add(ctx, st, j.ID); err != nil {
			return nil, err
		}
	}
	d.Recording = recordingOf(rows[0], rows[1:])
	for _, r := range rows {
		d.KPIs, d.Health = firstOf(d.KPIs, r.KPIs), firstOf(d.Health, r.Health)
	}
	return d, s.lettersInto(ctx, q, &d)
}

func firstOf(a, b json.RawMessage) json.RawMessage {
	if present(a) {
		return a
	}
	return b
}

func (d *RecordingDetail) add(ctx context.Context, st *view.Store, job schemas.JobID) error {
	signals, err := st.Signals(ctx, job)
	if err != nil {
		return err
	}
	d.Signals = append(d.Signals, signals...)
	for _, kind := range []struct {
		eventType string
		into      *[]view.Document
	}{{schemas.AEBActivation, &d.Activations}, {schemas.HealthFinding, &d.Faults}} {
		docs, err := st.Documents(ctx, view.DocumentFilter{Job: job, Types: []string{kind.eventType}}, view.Page{Limit: maxDocuments})
		if err != nil {
			return err
		}
		*kind.into = append(*kind.into, docs...)
	}
	result, err := st.Last(ctx, job, schemas.AEBKPI)
	if errors.Is(err, view.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var kpi struct{ Events json.RawMessage }
	if err := json.Unmarshal(result, &kpi); err != nil {
		return fmt.Errorf("result of job %s: %w", job, err)
	}
	d.AEBEvents = firstOf(d.AEBEvents, kpi.Events)
	return nil
}

func (s *Server) lettersInto(ctx context.Context, q query, d *RecordingDetail) error {
	all, err := s.letters.all(ctx, q.streamed())
	for _, l := range all {
		if slices.ContainsFunc(d.Jobs, func(j Job) bool { return j.ID == l.Job && j.Pipeline == l.Pipeline }) {
			d.Letters = append(d.Letters, s.atHome(l))
		}
	}
	return err
}

// jobsOf lists, for each pipeline of the same head, the current job of the recording that the query names, or else its last; the query's own
// pipeline comes first.
func (s *Server) jobsOf(q query) ([]Job, error) {
	name, pipelineName := q.Get("recording"), q.Get("pipeline")
	if s.c.Managers[pipelineName] == nil {
		return nil, s.noPipeline(pipelineName)
	}
	newest := map[string]Job{}
	for _, j := range s.allJobs() { // newest first: what an older configuration made counts where the last run has nothing
		if _, seen := newest[j.Pipeline]; !seen && j.Recording == name {
			newest[j.Pipeline] = j
		}
	}
	for _, p := range s.c.Engine.Pipelines() {
		for _, j := range s.current(p) {
			if j.Item == name {
				newest[p] = s.describe(p, j)
			}
		}
	}
	first, ok := newest[pipelineName]
	if !ok {
		return nil, notFound("no recording %q in pipeline %s", name, pipelineName)
	}
	jobs := []Job{first}
	for _, p := range s.c.Engine.Pipelines() {
		if j, ok := newest[p]; ok && p != pipelineName && s.lineage.Home(p) == s.lineage.Home(pipelineName) {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}
