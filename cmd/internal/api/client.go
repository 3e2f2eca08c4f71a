package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline/view"
)

// A Client asks a running server. Its methods may be called concurrently. An answer that says no is an error that wraps
// guard.Refusal; anything else means that the server cannot be reached.
type Client struct {
	base, token string
	http        *http.Client
	ordered     atomic.Bool
}

// Ordered says whether something was sent that may change anything, and may have arrived: it must not be sent again unseen.
func (c *Client) Ordered() bool { return c.ordered.Load() }

// answerWithin is how long an answer may take to begin: a process that was stopped in its tracks takes connections, and never answers.
const answerWithin = 30 * time.Second

// NewClient makes a client of an endpoint. It connects at the first call.
func NewClient(e Endpoint) *Client {
	return &Client{base: e.URL(), token: e.Token, http: &http.Client{Transport: &http.Transport{Proxy: nil, ResponseHeaderTimeout: answerWithin}}}
}

// Status is how everything stands.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, nil, "status")
}

// Pipelines lists the pipelines with their stages.
func (c *Client) Pipelines(ctx context.Context) ([]Pipeline, error) {
	l, err := get[struct{ Pipelines []Pipeline }](ctx, c, nil, "pipelines")
	return l.Pipelines, err
}

// History is what a stage did in the last minutes.
func (c *Client) History(ctx context.Context, pipeline, stage string) (History, error) {
	return get[History](ctx, c, nil, "pipelines", pipeline, "stages", stage, "history")
}

// Recordings lists all recordings of a pipeline that match; q holds search, status, label, sort and run as the dashboard's
// address does.
func (c *Client) Recordings(ctx context.Context, pipeline string, q url.Values) (RecordingList, error) {
	q = maps.Clone(q)
	if q == nil {
		q = url.Values{}
	}
	q.Set("limit", strconv.Itoa(maxLimit))
	return all(func(offset int) (RecordingList, int, int, error) {
		q.Set("offset", strconv.Itoa(offset))
		l, err := get[RecordingList](ctx, c, q, "pipelines", pipeline, "recordings")
		return l, len(l.Recordings), l.Matching, err
	}, func(into *RecordingList, next RecordingList) {
		into.Recordings = append(into.Recordings, next.Recordings...)
	})
}

// Recording is all that is known of one recording.
func (c *Client) Recording(ctx context.Context, pipeline, name string) (RecordingDetail, error) {
	return get[RecordingDetail](ctx, c, nil, "pipelines", pipeline, "recordings", name)
}

// Timeline is signals of a recording over a window [s] in at most px columns; to 0 is the end. A gap reads as 0.
func (c *Client) Timeline(ctx context.Context, pipeline, name string, signals []string, from, to float64, px int) (view.Timeline, error) {
	q := url.Values{"signal": signals, "from": {strconv.FormatFloat(from, 'f', -1, 64)}, "px": {strconv.Itoa(px)}}
	if to > 0 {
		q.Set("to", strconv.FormatFloat(to, 'f', -1, 64))
	}
	return get[view.Timeline](ctx, c, q, "pipelines", pipeline, "recordings", name, "timeline")
}

// KPIs are the results of a run together; run may be empty for the last one.
func (c *Client) KPIs(ctx context.Context, pipeline, run string) (KPIs, error) {
	return get[KPIs](ctx, c, url.Values{"run": {run}}, "pipelines", pipeline, "kpis")
}

// Jobs lists all jobs that match, those submitted last first.
func (c *Client) Jobs(ctx context.Context, f JobFilter) (JobList, error) {
	q := url.Values{"pipeline": {f.Pipeline}, "status": {f.Status}, "search": {f.Search}, "limit": {strconv.Itoa(maxLimit)}}
	return all(func(offset int) (JobList, int, int, error) {
		q.Set("offset", strconv.Itoa(offset))
		l, err := get[JobList](ctx, c, q, "jobs")
		return l, len(l.Jobs), l.Matching, err
	}, func(into *JobList, next JobList) { into.Jobs = append(into.Jobs, next.Jobs...) })
}

// Job finds a job by id, or by the beginning of one.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return get[Job](ctx, c, nil, "jobs", id)
}

// CancelJob cancels one job.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	return post[Job](ctx, c, nil, "jobs", id, "cancel")
}

// ResumeJob lets one failed job go on.
func (c *Client) ResumeJob(ctx context.Context, id string) (Job, error) {
	return post[Job](ctx, c, nil, "jobs", id, "resume")
}

// CancelJobs cancels every job that matches; Wait waits for it.
func (c *Client) CancelJobs(ctx context.Context, o JobOrder) (Operation, error) {
	return post[Operation](ctx, c, o, "jobs", "cancel")
}

// ResumeJobs lets every failed job that matches go on; Wait waits for it.
func (c *Client) ResumeJobs(ctx context.Context, o JobOrder) (Operation, error) {
	return post[Operation](ctx, c, o, "jobs", "resume")
}

// Letters lists all dead letters that match, newest first.
func (c *Client) Letters(ctx context.Context, f LetterFilter) (LetterList, error) {
	q := f.Query()
	q.Set("limit", strconv.Itoa(maxLimit))
	return all(func(offset int) (LetterList, int, int, error) {
		q.Set("offset", strconv.Itoa(offset))
		l, err := get[LetterList](ctx, c, q, "dlq")
		return l, len(l.Letters), l.Matching, err
	}, func(into *LetterList, next LetterList) { into.Letters = append(into.Letters, next.Letters...) })
}

// Letter is one dead letter with the input it holds.
func (c *Client) Letter(ctx context.Context, pipeline, id string) (LetterDetail, error) {
	return get[LetterDetail](ctx, c, nil, "dlq", pipeline, id)
}

// Redrive sends everything that matches back to its stage; Wait waits for it.
func (c *Client) Redrive(ctx context.Context, o LetterOrder) (Operation, error) {
	return post[Operation](ctx, c, o, "dlq", "redrive")
}

// Purge removes every dead letter that matches and whose job is over; Wait waits for it.
func (c *Client) Purge(ctx context.Context, o LetterOrder) (Operation, error) {
	return post[Operation](ctx, c, o, "dlq", "purge")
}

// CancelOperation stops an operation between two of its steps.
func (c *Client) CancelOperation(ctx context.Context, id string) (Operation, error) {
	return post[Operation](ctx, c, nil, "operations", id, "cancel")
}

// Wait returns when the operation has ended, or with ctx's error. It returns a dry run as it is.
func (c *Client) Wait(ctx context.Context, op Operation) (Operation, error) {
	return c.Watch(ctx, op, maxWait, func(Operation) {})
}

// Watch is Wait, and tells once in every, and at last, how far the operation is. With an error it returns what
// was last told.
func (c *Client) Watch(ctx context.Context, op Operation, every time.Duration, tell func(Operation)) (Operation, error) {
	for ; op.Ended == nil && !op.DryRun; tell(op) {
		next, err := get[Operation](ctx, c, url.Values{"wait": {every.String()}}, "operations", op.ID)
		if err != nil {
			return op, err
		}
		op = next
	}
	return op, nil
}

// all pages through a list.
func all[L any](page func(offset int) (list L, n, matching int, err error), add func(*L, L)) (L, error) {
	list, n, matching, err := page(0)
	for have := n; err == nil && have < matching && n > 0; have += n {
		var next L
		if next, n, matching, err = page(have); err == nil {
			add(&list, next)
		}
	}
	return list, err
}

func get[T any](ctx context.Context, c *Client, q url.Values, path ...string) (T, error) {
	return call[T](ctx, c, http.MethodGet, c.address(q, path), nil)
}

func post[T any](ctx context.Context, c *Client, body any, path ...string) (T, error) {
	data, err := json.Marshal(body)
	if body == nil {
		data = nil
	}
	if err != nil {
		var none T
		return none, err
	}
	return call[T](ctx, c, http.MethodPost, c.address(nil, path), data)
}

func (c *Client) address(q url.Values, path []string) string {
	a := c.base + "/api/v1"
	for _, p := range path {
		a += "/" + url.PathEscape(p)
	}
	if len(q) > 0 {
		a += "?" + q.Encode()
	}
	return a
}

func call[T any](ctx context.Context, c *Client, method, address string, body []byte) (v T, err error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return v, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(r)
	if method != http.MethodGet && !errors.Is(err, syscall.ECONNREFUSED) {
		c.ordered.Store(true)
	}
	if err != nil {
		return v, fmt.Errorf("ask the running milepost: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return v, fmt.Errorf("read the answer of the running milepost: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var no guard.Refusal
		if json.Unmarshal(data, &no) != nil || no.Message == "" {
			no = guard.Refusal{Message: "the server answered " + res.Status, Code: "E-internal"}
		}
		return v, no
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("the running milepost's answer to %s: %w", address, err)
	}
	return v, nil
}
