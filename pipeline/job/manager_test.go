package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// bench is one pipeline of two stages whose decisions the test makes itself.
type bench struct {
	t    *testing.T
	c    job.Config
	m    *job.Manager
	stop func()
	with func(*job.Manager) // before it runs
}

func setup(t *testing.T, active int) *bench {
	t.Helper()
	return setupWith(t, active, func(*job.Manager) {})
}

func setupWith(t *testing.T, active int, with func(*job.Manager)) *bench {
	t.Helper()
	b := benchOn(t, memory.New(), active)
	b.with = with
	b.start()
	return b
}

// benchOn is a bench on a broker whose manager does not run yet.
func benchOn(t *testing.T, broker transport.Broker, active int) *bench {
	t.Helper()
	b := &bench{t: t, with: func(*job.Manager) {}, c: job.Config{Pipeline: "p", Stages: []string{"read", "aeb"}, Active: active,
		Logs: map[string]transport.Log{}, Log: slog.New(slog.DiscardHandler)}}
	open := func(stage string) transport.Log {
		l, err := broker.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: stage})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	b.c.Jobs = open(transport.JobStage)
	for _, s := range b.c.Stages {
		b.c.Logs[s] = open(s)
	}
	return b
}

// start opens a manager over what is stored and runs it until stop.
func (b *bench) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	m, err := job.Open(ctx, b.c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.with(m)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	b.m = m
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
	b.t.Cleanup(cancel)
}

func (b *bench) submit(names ...string) {
	b.t.Helper()
	for _, n := range names {
		s := job.Submission{ID: id(n), Item: n, Source: json.RawMessage(`{"name":"` + n + `"}`), Run: "r"}
		if _, err := b.m.Submit(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}
}

func id(name string) schemas.JobID { return schemas.NewJobID(name) }

// decide appends what a stage says of a job to the stage's chain.
func (b *bench) decide(stage, name string, kind transport.Kind, doc any) {
	b.t.Helper()
	chain, state, err := b.c.Logs[stage].Open(b.t.Context(), schemas.ChainID{Job: id(name), Stage: stage})
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		b.t.Fatal(err)
	}
	e := schemas.Event{Chain: chain.ID(), Sequence: state.Out, Pipeline: "p", Item: name, Type: schemas.TypeControl, ContentType: schemas.ContentJSON, Data: data}
	if _, err := chain.Append(b.t.Context(), transport.Record{Kind: kind, Cursor: &schemas.Cursor{}, Event: e}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) end(name string) {
	for _, s := range b.c.Stages {
		b.decide(s, name, transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	}
}

func (b *bench) halt(name string, d schemas.Decision) {
	b.decide("aeb", name, transport.DeadLetter, schemas.DeadLetter{Decision: d, Error: "no good", Input: schemas.InputRef{Edge: "read", Sequence: 3}})
}

// await waits until the jobs have these states.
func (b *bench) await(want map[string]schemas.JobState) {
	b.t.Helper()
	for {
		changed := b.m.Changed()
		wrong := ""
		for n, s := range want {
			if j, _ := b.m.Job(id(n)); j.State != s {
				wrong += fmt.Sprintf("%s is %s, want %s; ", n, j.State, s)
			}
		}
		if wrong == "" {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			b.t.Fatal(wrong)
		}
	}
}

func TestJobsAreStartedInOrderAndFinishWhenEveryStageHasEnded(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b", "c")
	b.await(map[string]schemas.JobState{"a": "started", "b": "started", "c": "queued"})
	b.decide("read", "a", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.end("b")
	b.await(map[string]schemas.JobState{"a": "started", "b": "finished", "c": "started"})
}

func TestASmallerPriorityGoesFirst(t *testing.T) {
	b := setup(t, 1)
	b.submit("running", "late")
	b.await(map[string]schemas.JobState{"running": "started"})
	if _, err := b.m.Submit(t.Context(), job.Submission{ID: id("urgent"), Item: "urgent", Source: json.RawMessage(`{}`), Priority: -1}); err != nil {
		t.Fatal(err)
	}
	b.end("running")
	b.await(map[string]schemas.JobState{"urgent": "started", "late": "queued"})
}

func TestAHaltFailsTheJobUntilItIsResumed(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	b.await(map[string]schemas.JobState{"a": "started"})
	b.halt("a", schemas.Halt)
	b.await(map[string]schemas.JobState{"a": "failed", "b": "started"})
	if j, _ := b.m.Job(id("a")); j.Stage != "aeb" || j.Error != "no good" {
		t.Errorf("job %+v", j)
	}
	if err := b.m.Resume(t.Context(), id("b")); !errors.Is(err, job.ErrNotFailed) {
		t.Errorf("resume of a started job: %v", err)
	}
	if err := b.m.Resume(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
	b.await(map[string]schemas.JobState{"a": "started"})
	b.decide("aeb", "a", transport.Control, schemas.Control{Kind: schemas.ControlResume})
	b.end("a")
	b.await(map[string]schemas.JobState{"a": "finished"})
}

func TestASkippedInputFailsNothing(t *testing.T) {
	b := setup(t, 1)
	b.submit("a")
	b.await(map[string]schemas.JobState{"a": "started"})
	b.halt("a", schemas.Skip)
	b.end("a")
	b.await(map[string]schemas.JobState{"a": "finished"})
}

func TestStopCancelsTheRest(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b", "c")
	b.await(map[string]schemas.JobState{"a": "started"})
	b.halt("a", schemas.Stop)
	b.await(map[string]schemas.JobState{"a": "failed", "b": "cancelled", "c": "cancelled"})
}

func TestTheTableIsAFoldOfTheLogs(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b", "c", "d")
	b.await(map[string]schemas.JobState{"a": "started", "b": "started"})
	b.end("a")
	b.halt("b", schemas.Halt)
	b.await(map[string]schemas.JobState{"a": "finished", "b": "failed", "c": "started", "d": "started"})
	want := b.m.Jobs()
	b.stop()
	b.halt("c", schemas.Halt) // while nobody watches
	b.start()
	b.await(map[string]schemas.JobState{"a": "finished", "b": "failed", "c": "failed", "d": "started"})
	same := func(x, y job.Job) bool { return x.ID == y.ID && x.Item == y.Item && x.Run == y.Run }
	if got := b.m.Jobs(); !slices.EqualFunc(got, want, same) {
		t.Errorf("after a restart: %v, want %v", got, want)
	}
	if err := b.m.Resume(t.Context(), id("b")); err != nil {
		t.Errorf("resume after a restart: %v", err)
	}
}

func TestASecondManagerSeesWhatTheFirstWrote(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	b.await(map[string]schemas.JobState{"a": "started"})
	first := b.m
	b.start()
	b.end("a")
	b.await(map[string]schemas.JobState{"a": "finished", "b": "started"})
	b.end("b")
	b.await(map[string]schemas.JobState{"b": "finished"})
	if err := first.Wait(t.Context(), []schemas.JobID{id("a"), id("b")}); err != nil {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	b.await(map[string]schemas.JobState{"a": "started"})
	if err := b.m.Cancel(t.Context(), id("b"), id("a")); err != nil {
		t.Fatal(err)
	}
	b.await(map[string]schemas.JobState{"a": "cancelled", "b": "cancelled"})
	if err := b.m.Cancel(t.Context(), id("a")); !errors.Is(err, job.ErrOver) {
		t.Errorf("second cancel: %v", err)
	}
	if err := b.m.Cancel(t.Context(), id("nobody")); !errors.Is(err, job.ErrNoJob) {
		t.Errorf("cancel of no job: %v", err)
	}
}

func TestSubmittingAgainChangesNothing(t *testing.T) {
	b := setup(t, 1)
	b.submit("a")
	b.await(map[string]schemas.JobState{"a": "started"})
	b.end("a")
	b.await(map[string]schemas.JobState{"a": "finished"})
	b.submit("a")
	if j, _ := b.m.Job(id("a")); j.State != schemas.JobFinished {
		t.Errorf("job is %s", j.State)
	}
}

// A disk that forgets at a power cut may keep that a stage acked a job and lose the end that the ack was for.
func TestStagesHearAgainOfJobsThatWereStartedBefore(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b", "c")
	b.await(map[string]schemas.JobState{"a": "started", "b": "started", "c": "queued"})
	b.end("b")
	b.await(map[string]schemas.JobState{"b": "finished", "c": "started"})
	before, _ := b.m.Job(id("a"))
	b.stop()

	stage, err := b.c.Jobs.Subscribe(t.Context(), transport.Subscription{Durable: "aeb", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	heard := func(most int) (n map[string]int) {
		n = map[string]int{}
		for range most {
			d, err := stage.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var e schemas.JobEvent
			if err := json.Unmarshal(d.Event().Event.Data, &e); err != nil {
				t.Fatal(err)
			}
			if e.State == schemas.JobStarted {
				n[d.Event().Event.Item]++
			}
			if err := d.Ack(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := heard(7); n["a"] != 1 || n["b"] != 1 || n["c"] != 1 { // queued and started, and one finished
		t.Fatalf("%v", n)
	}
	b.start()
	if n := heard(2); n["a"] != 1 || n["c"] != 1 {
		t.Errorf("%v", n)
	}
	if j, _ := b.m.Job(id("a")); j.State != schemas.JobStarted || !j.Started.Equal(before.Started) || j.Resumed != 0 {
		t.Errorf("%+v", j)
	}
}

func TestAFinishedJobWhoseEndIsGoneCanBeStartedAgain(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b")
	b.await(map[string]schemas.JobState{"a": "started", "b": "started"})
	b.end("a")
	b.await(map[string]schemas.JobState{"a": "finished"})
	b.stop()
	forgetful, err := memory.New().Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "aeb"})
	if err != nil {
		t.Fatal(err)
	}
	b.c.Logs["aeb"] = forgetful
	b.start()
	if lacking := b.m.Lacking(id("a")); !slices.Equal(lacking, []string{"aeb"}) || b.m.Lacking(id("b")) != nil {
		t.Errorf("%v", lacking)
	}
	for _, n := range []string{"a", "b"} {
		if err := b.m.Restart(t.Context(), id(n)); err != nil {
			t.Fatal(err)
		}
	}
	b.await(map[string]schemas.JobState{"a": "started", "b": "started"})
	b.decide("aeb", "a", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.await(map[string]schemas.JobState{"a": "finished"})
	if err := b.m.Restart(t.Context(), id("a")); err != nil || b.m.Lacking(id("a")) != nil {
		t.Errorf("%v %v", b.m.Lacking(id("a")), err)
	}
	if j, _ := b.m.Job(id("a")); j.State != schemas.JobFinished {
		t.Errorf("%+v", j)
	}
}

// A job names those of its item that were submitted before, whoever submitted them, so that stores know which is the newer one.
func TestAJobNamesThoseThatItComesAfter(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	b.stop()
	b.c.Version = "another"
	b.start()
	var want []schemas.JobID
	for n := range schemas.MaxAfter + 2 {
		s := job.Submission{ID: id(fmt.Sprint("a again ", n)), Item: "a", Source: json.RawMessage(`{"name":"a"}`), Run: "r"}
		if want = append(want, id("a")); n > 0 {
			want[n] = id(fmt.Sprint("a again ", n-1))
		}
		if _, err := b.m.Submit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		var e schemas.JobEvent
		err := transport.Each(t.Context(), b.c.Jobs, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &schemas.ChainID{Job: s.ID, Stage: transport.JobStage}, Drain: true},
			func(r *transport.Stored) error {
				if r.Event.Sequence > 1 {
					return nil
				}
				return json.Unmarshal(r.Event.Data, &e)
			})
		if err != nil || !slices.Equal(e.After, want[max(0, len(want)-schemas.MaxAfter):]) {
			t.Fatalf("job %d comes after %v (%v), want %v", n, e.After, err, want)
		}
	}
}
