package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

func TestCommandsNeedTokenOrPage(t *testing.T) {
	b := setup(t)
	own := map[string]string{"Sec-Fetch-Site": "same-origin"}
	for _, path := range []string{"/api/v1/jobs/cancel", "/api/v1/jobs/resume", "/api/v1/jobs/j-none/cancel", "/api/v1/jobs/j-none/resume", "/api/v1/dlq/redrive", "/api/v1/dlq/purge", "/api/v1/operations/op-1/cancel"} {
		if status, no := b.request("POST", path, `{"dry_run":true}`, nil, nil); status != 401 || no.Code != "E-token" {
			t.Errorf("%s without a token: %d %+v", path, status, no)
		}
		if status, no := b.request("POST", path, `{"dry_run":true}`, map[string]string{"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer " + token}, nil); status != 403 || no.Code != "E-origin" {
			t.Errorf("%s from another page: %d %+v", path, status, no)
		}
		for _, header := range []map[string]string{own, bearer} {
			if status, _ := b.request("POST", path, `{"dry_run":true}`, header, nil); status == 401 || status == 403 {
				t.Errorf("%s with %v: %d", path, header, status)
			}
		}
	}
	if _, err := NewClient(Endpoint{Address: b.url[len("http://"):], Token: "another"}).Redrive(t.Context(), LetterOrder{}); !errors.As(err, new(guard.Refusal)) {
		t.Errorf("another token: %v", err)
	}
	for _, body := range []string{`{"filtr":{}}`, `{"filter":{"stag":"aeb"}}`, `{`, `[]`, `"x"`} {
		if status, no := b.request("POST", "/api/v1/dlq/redrive", body, bearer, nil); status != 400 || no.Code != "E-body" {
			t.Errorf("body %s: %d %+v", body, status, no)
		}
	}
}

func TestRedriveAHaltedJob(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	plan, err := b.client.Redrive(ctx, LetterOrder{Filter: LetterFilter{State: "open"}, DryRun: true})
	if err != nil || plan.Total != 1 || plan.Matching != 1 || plan.State != "planned" || plan.Stages[0] != "drives/read" || plan.ID != "" {
		t.Fatalf("%v: %+v", err, plan)
	}
	if l, _ := b.client.Letters(ctx, LetterFilter{State: "open"}); l.Matching != 1 {
		t.Fatalf("a dry run touched something: %+v", l)
	}
	op, err := b.client.Redrive(ctx, LetterOrder{Filter: LetterFilter{State: "open"}})
	if err == nil {
		op, err = b.client.Wait(ctx, op)
	}
	if err != nil || op.State != "done" || op.Done != 1 || op.Failed != 0 || op.Ended == nil {
		t.Fatalf("%v: %+v", err, op)
	}
	b.settle() // the recording is as damaged as it was
	b.until("another dead letter", b.managers["drives"].Changed, func() bool {
		l, err := b.client.Letters(ctx, LetterFilter{State: "all", Stage: "read"})
		return err == nil && l.Matching == 2 && l.Letters[0].State == LetterOpen && l.Letters[1].State == LetterResumed
	})
	j, err := b.client.Jobs(ctx, JobFilter{Pipeline: "drives", Status: "failed"})
	if err != nil || j.Matching != 1 || j.Jobs[0].Resumed != 1 {
		t.Errorf("%v: %+v", err, j)
	}
}

func TestRedriveASkippedInput(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	b.refuse.Store(false)
	before, err := b.client.Jobs(ctx, JobFilter{Search: refused})
	if err != nil || before.Matching != 2 {
		t.Fatalf("%v: %+v", err, before)
	}
	for range 2 { // the second time there is nothing left to do
		op, err := b.client.Redrive(ctx, LetterOrder{Filter: LetterFilter{Stage: "picky"}})
		if err == nil {
			op, err = b.client.Wait(ctx, op)
		}
		if err != nil || op.Failed != 0 {
			t.Fatalf("%v: %+v", err, op)
		}
		b.settle()
		b.until("the letter to be redriven", b.managers["drives"].Changed, func() bool {
			l, err := b.client.Letters(ctx, LetterFilter{State: "redriven"})
			return err == nil && l.Matching == 1
		})
	}
	after, err := b.client.Jobs(ctx, JobFilter{Search: refused})
	if err != nil || after.Matching != 4 {
		t.Fatalf("%v: %d jobs, want another generation in both pipelines: %+v", err, after.Matching, after.Jobs)
	}
	for _, j := range after.Jobs {
		if j.Pipeline == "drives" && j.State != schemas.JobFinished {
			t.Errorf("%+v", j)
		}
	}
	if l, err := b.client.Letters(ctx, LetterFilter{State: "all", Stage: "picky"}); err != nil || l.Matching != 1 {
		t.Errorf("%v: %+v", err, l)
	}
}

// TestPurge: dead letters of jobs that are over go, those of open jobs stay.
func TestPurge(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	before, err := b.client.Letters(ctx, LetterFilter{State: "all"})
	if err != nil || before.Matching != 2 || before.Purgeable != 1 {
		t.Fatalf("%v: %+v", err, before)
	}
	for k, want := range []struct{ total, left int }{{1, 2}, {1, 1}, {0, 1}} { // a dry run, then for good, then nothing is left to do
		op, err := b.client.Purge(ctx, LetterOrder{DryRun: k == 0})
		if err == nil {
			op, err = b.client.Wait(ctx, op)
		}
		if err != nil || op.Total != want.total || op.Failed != 0 {
			t.Fatalf("%v: %+v", err, op)
		}
		l, err := b.client.Letters(ctx, LetterFilter{State: "all"})
		if err != nil || l.Matching != want.left || k > 0 && l.Letters[0].State != LetterOpen {
			t.Fatalf("%v: %+v", err, l)
		}
	}
	for _, l := range before.Letters { // whatever the list says, the engine looks itself
		if l.State == LetterOpen {
			e := engine.Letter{ID: l.ID, Pipeline: l.Pipeline, Stage: l.Stage, Job: l.Job, Position: l.position}
			if _, err := b.engine.Purge(ctx, e); !errors.Is(err, engine.ErrOpen) {
				t.Errorf("a letter of an open job: %v", err)
			}
		}
	}
}

func TestCancelAndRetry(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	done, err := b.client.Jobs(ctx, JobFilter{Pipeline: "drives", Status: "finished"})
	if err != nil {
		t.Fatal(err)
	}
	id := string(done.Jobs[0].ID)
	for _, verb := range []string{"cancel", "resume"} {
		if status, no := b.request("POST", "/api/v1/jobs/"+id+"/"+verb, "", bearer, nil); status != 409 || no.Code != "E-state" || no.Next == "" {
			t.Errorf("%s a finished job: %d %+v", verb, status, no)
		}
	}
	failed, err := b.client.Jobs(ctx, JobFilter{Pipeline: "drives", Status: "failed"})
	if err != nil {
		t.Fatal(err)
	}
	op, err := b.client.CancelJobs(ctx, JobOrder{Filter: JobFilter{Pipeline: "drives", Status: "failed"}})
	if err == nil {
		op, err = b.client.Wait(ctx, op)
	}
	if err != nil || op.Done != 1 {
		t.Fatalf("%v: %+v", err, op)
	}
	j, err := b.client.Job(ctx, string(failed.Jobs[0].ID))
	if err != nil || j.State != schemas.JobCancelled || !j.Resumable {
		t.Errorf("%v: %+v", err, j)
	}
	b.until("the letter to be cancelled", b.managers["drives"].Changed, func() bool {
		l, err := b.client.Letters(ctx, LetterFilter{State: "cancelled"})
		return err == nil && l.Matching == 1
	})
	if op, err := b.client.ResumeJobs(ctx, JobOrder{Filter: JobFilter{Pipeline: "drives"}, DryRun: true}); err != nil || op.Total != 0 || op.Matching != 3 {
		t.Errorf("%v: %+v", err, op)
	}
	if j, err = b.client.ResumeJob(ctx, string(j.ID)); err != nil || j.State != schemas.JobCancelled || j.Resumable {
		t.Errorf("%v: %+v", err, j)
	}
	b.settle()
	again, err := b.client.Jobs(ctx, JobFilter{Pipeline: "drives", Search: j.Recording})
	if err != nil || again.Matching != 2 || again.Jobs[0].State != schemas.JobFailed || again.Jobs[0].Run != j.Run {
		t.Errorf("%v: the recording is as damaged as it was, want another generation failed: %+v", err, again.Jobs)
	}
	if status, no := b.request("POST", "/api/v1/jobs/"+string(j.ID)+"/resume", "", bearer, nil); status != 409 || no.Code != "E-state" {
		t.Errorf("a second time: %d %+v", status, no)
	}
}

func TestCancelOfEverythingWantsToBeMeant(t *testing.T) {
	b := setup(t)
	for _, body := range []string{"", `{}`, `{"filter":{}}`} {
		if status, no := b.request("POST", "/api/v1/jobs/cancel", body, bearer, nil); status != 400 || no.Code != "E-body" || !strings.Contains(no.Message, `"all": true`) {
			t.Errorf("%s: %d %+v", body, status, no)
		}
	}
	for _, body := range []string{`{"all":true}`, `{"dry_run":true}`, `{"filter":{"pipeline":"drives"}}`} {
		if status, no := b.request("POST", "/api/v1/jobs/cancel", body, bearer, nil); status != 200 {
			t.Errorf("%s: %d %+v", body, status, no)
		}
	}
}

func TestAJobWhoseUpstreamJobFailedIsNotRetriedByItself(t *testing.T) {
	b := setup(t)
	b.managers["checks"].Follow(b.managers["drives"], "read")
	up, err := b.client.Jobs(t.Context(), JobFilter{Pipeline: "drives", Status: "failed"})
	if err != nil || up.Matching != 1 {
		t.Fatalf("%v: %+v", err, up)
	}
	s := job.Submission{ID: schemas.NewJobID("derived"), Item: "derived", Source: []byte(`{}`), Upstream: up.Jobs[0].ID} // wakes the manager too
	if _, err := b.managers["checks"].Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b.until("the derived job to fail", b.managers["checks"].Changed, func() bool {
		j, _ := b.managers["checks"].Job(s.ID)
		return j.State == schemas.JobFailed
	})
	j, err := b.client.Job(t.Context(), string(s.ID))
	if err != nil || j.Resumable {
		t.Errorf("%v: %+v", err, j)
	}
	if status, no := b.request("POST", "/api/v1/jobs/"+string(s.ID)+"/resume", "", bearer, nil); status != 409 {
		t.Errorf("%d %+v", status, no)
	}
}

func TestStreamOfAPage(t *testing.T) {
	b := setup(t)
	first, id := b.message("/api/v1/events?page=jobs&status=failed&pipeline=drives", "")
	if !strings.Contains(first, `"jobs":{`) || !strings.Contains(first, `"shell":{`) || !strings.Contains(first, `"matching":1`) {
		t.Fatalf("%s", first)
	}
	if again, _ := b.message("/api/v1/events?page=jobs&status=failed&pipeline=drives", id); strings.Contains(again, `"jobs"`) {
		t.Errorf("resumed with what was known: %s", again)
	}
	if again, _ := b.message("/api/v1/events?page=jobs&status=failed&pipeline=drives&last_event_id="+id, ""); strings.Contains(again, `"jobs"`) {
		t.Errorf("resumed by the query with what was known: %s", again)
	}
	if other, _ := b.message("/api/v1/events?page=jobs", id); !strings.Contains(other, `"matching":6`) {
		t.Errorf("another page: %s", other)
	}
}

// message is the first update of a stream, and its id.
func (b *bundle) message(path, lastID string) (data, id string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	res := b.stream(ctx, path, lastID)
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		if v, ok := strings.CutPrefix(in.Text(), "id: "); ok {
			id = v
		}
		if v, ok := strings.CutPrefix(in.Text(), "data: "); ok && id != "" {
			return v, id
		}
	}
	b.t.Fatalf("%s: the stream ended: %v", path, in.Err())
	return "", ""
}

func (b *bundle) stream(ctx context.Context, path, lastID string) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		b.t.Fatalf("%s: %v %+v", path, err, res)
	}
	return res
}

// TestServeEndsStreams: a stream does not hold the end of the process up.
func TestServeEndsStreams(t *testing.T) {
	b := setup(t)
	res := b.stream(t.Context(), "/api/v1/events?page=pipelines", "")
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 4<<20)
	in.Scan()
	ended := make(chan struct{})
	go func() {
		for in.Scan() {
		}
		close(ended)
	}()
	b.stop()
	<-ended
}

func TestServeListensOnLoopbackOnly(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	if err := s.Serve(t.Context(), l); !errors.Is(err, ErrNotLoopback) {
		t.Errorf("%v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener was left open")
	}
}

func TestRates(t *testing.T) {
	m, at := newMeters(), time.Unix(1000, 0)
	for i := range 2 * samples {
		m.take(at.Add(time.Duration(i)*time.Second), []nodeSample{{NodeStatus: engine.NodeStatus{Pipeline: "p", Stage: "s", In: int64(4 * i), FarIn: int64(6 * i), Out: int64(20 * i), OutBytes: int64(1000 * i), Errors: int64(i / samples)}}},
			map[string]int64{"p": int64(500 * i)})
	}
	if r := m.rates("p/s"); r.In != 10 || r.Out != 20 || r.OutBytes != 1000 || r.Retried {
		t.Errorf("%+v", r)
	}
	if r := m.bytesRate("p"); r != 500 {
		t.Errorf("%g bytes a second", r)
	}
	h, ok := m.history("p", "s")
	if !ok || len(h.At) != samples-1 || h.OutRate[0] != 20 || len(h.Lag) != samples-1 {
		t.Errorf("%v, %d points", ok, len(h.At))
	}
	if r := m.rates("p/none"); r != (rates{}) {
		t.Errorf("%+v", r)
	}
	if _, ok := m.history("p", "none"); ok {
		t.Error("a history of no stage")
	}
	m.take(at.Add(2*samples*time.Second), []nodeSample{{NodeStatus: engine.NodeStatus{Pipeline: "p", Stage: "s", Retries: 1}}}, map[string]int64{"p": 0})
	if r := m.bytesRate("p"); r != 0 {
		t.Errorf("another run is read at %g bytes a second", r)
	}
	if !m.rates("p/s").Retried {
		t.Error("a retry was not seen")
	}
}

func TestNodeStates(t *testing.T) {
	for _, c := range []struct {
		want    string
		letters int
		at      engine.Standing
		r       rates
		idle    bool
	}{
		{"attention", 1, engine.Standing{Open: 1}, rates{In: 1}, false},
		{"retrying", 0, engine.Standing{Open: 1}, rates{Retried: true}, false},
		{"running", 0, engine.Standing{Open: 1, Ended: 3}, rates{}, false},
		{"interrupted", 0, engine.Standing{Open: 1, Ended: 3}, rates{}, true},
		{"waiting", 0, engine.Standing{Halted: 1, Ended: 3}, rates{}, false},
		{"done", 0, engine.Standing{Ended: 3}, rates{}, true},
		{"idle", 0, engine.Standing{}, rates{}, false},
	} {
		if got := nodeState(Node{DeadLetters: c.letters}, c.at, c.r, !c.idle); got != c.want {
			t.Errorf("%+v is %s", c, got)
		}
	}
}
