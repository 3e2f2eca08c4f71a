package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/cmd/internal/api/live"
	"github.com/milepost-dev/milepost/pipeline"
)

// query is what an address asks for: its query parameters, and the named parts of its path under their names.
type query struct{ url.Values }

// A resource answers reading requests. The same query gives the same bytes as long as nothing changed: no ages, no clock.
type resource func(ctx context.Context, q query) (any, error)

// A command changes something; body is JSON, empty for none.
type command func(ctx context.Context, q query, body json.RawMessage) (any, error)

// A read is a resource and the parameters that it knows.
type read struct {
	answer resource
	params []string
}

var (
	pageParams   = []string{"offset", "limit"}
	letterParams = []string{"pipeline", "stage", "state", "error", "recording", "older_than", "newer_than", "ids"}
)

func (s *Server) readRecordings() read {
	return read{s.recordings, append([]string{"search", "status", "label", "sort", "run"}, pageParams...)}
}
func (s *Server) readKPIs() read { return read{s.kpis, []string{"run"}} }
func (s *Server) readJobs() read {
	return read{s.jobs, append([]string{"pipeline", "status", "search"}, pageParams...)}
}
func (s *Server) readLetters() read { return read{s.dlq, append(pageParams, letterParams...)} }

// reads are the addresses of everything that can be read.
func (s *Server) reads() map[string]read {
	const p = "/api/v1/pipelines/{pipeline}"
	const recording = p + "/recordings/{recording}"
	return map[string]read{
		"/api/v1/status":                  {s.status, nil},
		"/api/v1/pipelines":               {s.pipelineList, nil},
		p:                                 {s.pipeline, nil},
		p + "/stages/{stage}/history":     {s.history, nil},
		p + "/recordings":                 s.readRecordings(),
		recording:                         {s.recording, nil},
		recording + "/documents":          {s.documents, append([]string{"type", "from", "to"}, pageParams...)},
		recording + "/timeline":           {s.timeline, []string{"signal", "from", "to", "px"}},
		p + "/kpis":                       s.readKPIs(),
		"/api/v1/jobs":                    s.readJobs(),
		"/api/v1/jobs/{job}":              {s.job, nil},
		"/api/v1/dlq":                     s.readLetters(),
		"/api/v1/dlq/{pipeline}/{letter}": {s.letter, nil},
		"/api/v1/operations":              {s.operationList, nil},
		"/api/v1/operations/{operation}":  {s.operation, []string{"wait"}},
	}
}

// writes are the commands.
func (s *Server) writes() map[string]command {
	return map[string]command{
		"/api/v1/jobs/cancel":                   s.cancelJobs,
		"/api/v1/jobs/resume":                   s.resumeJobs,
		"/api/v1/jobs/{job}/cancel":             s.cancelJob,
		"/api/v1/jobs/{job}/resume":             s.resumeJob,
		"/api/v1/dlq/redrive":                   s.redrive,
		"/api/v1/dlq/purge":                     s.purge,
		"/api/v1/operations/{operation}/cancel": s.cancelOperation,
	}
}

// pages says which answers a page's stream carries, by the section's name. What is part of an answer's address is a parameter
// there.
func (s *Server) pages() map[string]map[string]read {
	shell, of := read{s.status, nil}, func(r read, params ...string) read { return read{r.answer, append(params, r.params...)} }
	operations := read{s.operationList, nil}
	return map[string]map[string]read{
		"status":     {"shell": shell},
		"pipelines":  {"shell": shell, "pipelines": {s.pipelineList, nil}, "history": {s.pageHistory, []string{"stage"}}},
		"recordings": {"shell": shell, "recordings": of(s.readRecordings(), "pipeline")},
		"recording":  {"shell": shell, "recording": {s.recording, []string{"pipeline", "recording"}}},
		"kpis":       {"shell": shell, "kpis": of(s.readKPIs(), "pipeline")},
		"jobs":       {"shell": shell, "jobs": s.readJobs(), "operations": operations},
		"dlq":        {"shell": shell, "dlq": s.readLetters(), "operations": operations},
	}
}

func (s *Server) routes(mux *http.ServeMux) {
	for path, r := range s.reads() {
		mux.Handle("GET "+path, s.read(path, r))
	}
	for path, c := range s.writes() {
		mux.Handle("POST "+path, s.write(path, c))
	}
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, notFound("no %s %s", r.Method, r.URL.Path))
	})
}

// ready says whether the process can take work: its logs can be read. A worker, which has no managers, has opened them before.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	for _, name := range s.c.Engine.Pipelines() {
		if s.c.Managers != nil && s.c.Managers[name] == nil {
			refuse(w, &apiError{http.StatusServiceUnavailable, guard.Refusal{Message: "pipeline " + name + " is still being opened", Code: "E-not-ready"}})
			return
		}
	}
	answer(w, map[string]string{"status": "ready"})
}

func (s *Server) read(path string, res read) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := onlyKnows(r.URL.Query(), res.params); err != nil {
			refuse(w, err)
			return
		}
		v, err := res.answer(r.Context(), queryOf(path, r))
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, v)
	})
}

func (s *Server) write(path string, c command) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := onlyKnows(r.URL.Query(), nil); err != nil {
			refuse(w, err)
			return
		}
		var body json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil && r.ContentLength != 0 {
			refuse(w, badBody(err))
			return
		}
		v, err := c(r.Context(), queryOf(path, r), body)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, v)
	})
}

// onlyKnows refuses a parameter that is none of those known: a misspelled filter that is passed over would look like an answer.
func onlyKnows(q url.Values, known []string) error {
	for _, name := range sortedKeys(q) {
		if slices.Contains(known, name) {
			continue
		}
		there := "it takes none"
		if len(known) > 0 {
			there = "it takes " + commas(slices.Sorted(slices.Values(known)))
		}
		if near := pipeline.Nearest(name, known); near != "" {
			there += fmt.Sprintf("; did you mean %q?", near)
		}
		return &apiError{http.StatusBadRequest, guard.Refusal{Message: fmt.Sprintf("this address has no parameter %q: %s", name, there), Code: CodeParam}}
	}
	return nil
}

func commas[S ~string](list []S) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

var wildcard = regexp.MustCompile(`\{(\w+)\}`)

func queryOf(path string, r *http.Request) query {
	q := r.URL.Query()
	for _, m := range wildcard.FindAllStringSubmatch(path, -1) {
		q.Set(m[1], r.PathValue(m[1]))
	}
	return query{q}
}

func answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		refuse(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// fromResults are the sections that depend on nothing but jobs and the result store; the others hold rates and ages.
var fromResults = []string{"recordings", "recording", "kpis", "jobs"}

// whenChanged loads again only when a job or a result has changed, at the latest after five seconds. The page that it belongs
// to calls it from one goroutine at a time.
func (s *Server) whenChanged(load func(context.Context) (json.RawMessage, error)) func(context.Context) (json.RawMessage, error) {
	var body json.RawMessage
	var watched []<-chan struct{}
	var at time.Time
	return func(ctx context.Context) (json.RawMessage, error) {
		if body != nil && !anyClosed(watched) && time.Since(at) < live.Beat {
			return body, nil
		}
		watched = s.changes()
		next, err := load(ctx)
		if err != nil {
			body = nil
			return nil, err
		}
		body, at = next, time.Now()
		return body, nil
	}
}

// changes are closed at the next change of any job, or of the results.
func (s *Server) changes() (list []<-chan struct{}) {
	for _, m := range s.c.Managers {
		list = append(list, m.Changed())
	}
	if s.c.Store != nil {
		list = append(list, s.c.Store.Changed())
	}
	return list
}

func anyClosed(list []<-chan struct{}) bool {
	for _, ch := range list {
		select {
		case <-ch:
			return true
		default:
		}
	}
	return false
}

// events is the one stream of a page: ?page=NAME and the page's own filters. last_event_id stands for the header where a
// browser cannot set it. A parameter that the page does not know is a problem of its sections, which the page can show.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := query{r.URL.Query()}
	name, last := q.Get("page"), q.Get("last_event_id")
	page := s.pages()[name]
	if page == nil {
		refuse(w, badParam("page", name, "one of "+commas(sortedKeys(s.pages()))))
		return
	}
	q.Del("last_event_id")
	if last != "" && r.Header.Get("Last-Event-ID") == "" {
		r.Header.Set("Last-Event-ID", last)
	}
	known := []string{"page"}
	for _, res := range page {
		known = append(known, res.params...)
	}
	unknown := onlyKnows(q.Values, known)
	var sections []live.Section
	for _, section := range sortedKeys(page) {
		res := page[section]
		load := func(ctx context.Context) (json.RawMessage, error) {
			if unknown != nil {
				return nil, unknown
			}
			v, err := res.answer(ctx, q)
			if err != nil {
				return nil, err
			}
			return json.Marshal(v)
		}
		if slices.Contains(fromResults, section) {
			load = s.whenChanged(load)
		}
		sections = append(sections, live.Section{Name: section, Load: load})
	}
	s.hub.Serve(w, r, q.Encode(), sections)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// streamed says whether a page's stream asks, which does so again and again.
func (q query) streamed() bool { return q.Has("page") }

// Paging

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// page reads offset and limit.
func (q query) page() (offset, limit int, err error) {
	if offset, err = q.number("offset", 0, 0, 1<<31); err != nil {
		return 0, 0, err
	}
	limit, err = q.number("limit", defaultLimit, 1, maxLimit)
	return offset, limit, err
}

func (q query) number(name string, unset, low, high int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, badParam(name, v, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

func (q query) duration(name string) (time.Duration, error) {
	v := q.Get(name)
	if v == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(v, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, badParam(name, v, "a duration such as 5m, 12h or 30d")
	}
	return d, nil
}

// slice is the part of a list that offset and limit name.
func slice[T any](list []T, offset, limit int) []T {
	if offset >= len(list) {
		return []T{}
	}
	return list[offset:min(len(list), offset+limit)]
}

// Errors

// apiError is an answer that says no, with its status.
type apiError struct {
	status int
	guard.Refusal
}

func refuse(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{http.StatusInternalServerError, guard.Refusal{Message: err.Error(), Code: "E-internal"}}
	}
	e.Write(w, e.status)
}

func notFound(format string, args ...any) error {
	return &apiError{http.StatusNotFound, guard.Refusal{Message: fmt.Sprintf(format, args...), Code: "E-not-found"}}
}

func badParam(name, value, want string) error {
	return &apiError{http.StatusBadRequest, guard.Refusal{Message: fmt.Sprintf("%s=%q is not %s", name, value, want), Code: CodeParam}}
}

func badBody(err error) error {
	return &apiError{http.StatusBadRequest, guard.Refusal{Message: "the body is not the JSON this command takes: " + err.Error(), Code: "E-body"}}
}

func conflict(err error, next string) error {
	return &apiError{http.StatusConflict, guard.Refusal{Message: err.Error(), Code: "E-state", Next: next}}
}
