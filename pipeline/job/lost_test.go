package job_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/jetstream/jetstreamtest"
)

// A natsServer is one whose client can be waited for.
type natsServer struct {
	*jetstreamtest.Server
	back chan struct{} // the client has found the server again
}

func (n *natsServer) keep() (kept string) {
	kept = n.Keep()
	<-n.back
	return kept
}

func (n *natsServer) forget(kept, stream string) {
	n.Stop()
	n.Forget(kept, stream)
	n.Start()
	<-n.back
}

// setupOnServer is setup on a server with a socket.
func setupOnServer(t *testing.T, active int) (*bench, *natsServer) {
	t.Helper()
	n := &natsServer{Server: jetstreamtest.Start(t), back: make(chan struct{}, 8)}
	broker, err := jetstream.Connect(t.Context(), jetstream.Config{URL: n.URL(), Log: slog.New(slog.DiscardHandler),
		Options: []nats.Option{nats.ReconnectHandler(func(*nats.Conn) { n.back <- struct{}{} })}})
	if err != nil {
		t.Fatal(err)
	}
	b := benchOn(t, broker, active)
	b.start()
	t.Cleanup(func() { b.stop(); broker.Close() })
	return b, n
}

// hears is a stage that takes the pipeline's jobs: it returns the items of the next events that say that a job is started again.
func (b *bench) hears(again int) (items []string) {
	b.t.Helper()
	b.listens(func(item string, e schemas.JobEvent) (over bool) {
		if e.Again {
			items = append(items, item)
		}
		return len(items) == again
	})
	slices.Sort(items)
	return items
}

// listens hands a stage's events of jobs, from the first that the log has, to take until that says that it is over.
func (b *bench) listens(take func(item string, e schemas.JobEvent) (over bool)) {
	b.t.Helper()
	stage, err := b.c.Jobs.Subscribe(b.t.Context(), transport.Subscription{Durable: "aeb", AckWait: 2 * time.Second})
	if err != nil {
		b.t.Fatal(err)
	}
	defer stage.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for over := false; !over; {
		d, err := stage.Next(ctx)
		if err != nil {
			b.t.Fatalf("not all was heard: %v", err)
		}
		var e schemas.JobEvent
		if err := json.Unmarshal(d.Event().Event.Data, &e); err != nil {
			b.t.Fatal(err)
		}
		over = take(d.Event().Event.Item, e)
		if err := d.Ack(ctx); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestAServerForgetsWhatAStageSaid: a power cut of the broker while the owner lives. The stage's end and dead letter are gone, its acks are
// not; it has to be told again, and to be heard where the owner has heard something else before.
func TestAServerForgetsWhatAStageSaid(t *testing.T) {
	b, n := setupOnServer(t, 4)
	b.submit("ended", "halted", "other")
	b.await(map[string]schemas.JobState{"ended": "started", "halted": "started", "other": "started"})
	b.decide("aeb", "other", transport.Control, schemas.Control{Kind: schemas.ControlAttempt})
	kept := n.keep()
	b.decide("aeb", "ended", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.halt("halted", schemas.Halt)
	b.await(map[string]schemas.JobState{"halted": "failed"})
	n.forget(kept, "aeb")
	if items := b.hears(3); !slices.Equal(items, []string{"ended", "halted", "other"}) {
		t.Errorf("said again: %q", items)
	}
	b.await(map[string]schemas.JobState{"ended": "started", "halted": "started"})
	b.decide("read", "ended", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.halt("halted", schemas.Halt)
	b.decide("aeb", "ended", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.await(map[string]schemas.JobState{"ended": "finished", "halted": "failed", "other": "started"})
	if err := b.m.Resume(t.Context(), id("halted")); err != nil {
		t.Error(err)
	}
}

// TestAServerForgetsJobs: what users were told is done holds, and whoever waits for a job that is gone need not wait for ever.
func TestAServerForgetsJobs(t *testing.T) {
	b, n := setupOnServer(t, 1)
	b.submit("first", "cancelled")
	b.await(map[string]schemas.JobState{"first": "started", "cancelled": "queued"})
	kept := n.keep()
	if err := b.m.Cancel(t.Context(), id("cancelled")); err != nil {
		t.Fatal(err)
	}
	b.submit("late")
	b.end("first")
	b.await(map[string]schemas.JobState{"first": "finished", "late": "started", "cancelled": "cancelled"})
	n.forget(kept, "job")
	b.listens(func(item string, e schemas.JobEvent) bool { return item == "late" && e.State == schemas.JobStarted }) // once more
	b.end("late")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.m.Wait(ctx, []schemas.JobID{id("first"), id("late"), id("cancelled")}); err != nil {
		t.Fatal(err)
	}
	b.await(map[string]schemas.JobState{"first": "finished", "late": "finished", "cancelled": "cancelled"})
	again, err := job.Open(t.Context(), b.c)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range again.Jobs() {
		if now, _ := b.m.Job(j.ID); now.State != j.State || now.Item != j.Item {
			t.Errorf("%s is %s for its owner and %s in the log", j.Item, now.State, j.State)
		}
	}
	if len(again.Jobs()) != 3 {
		t.Errorf("%d jobs in the log, want 3", len(again.Jobs()))
	}
}

// TestAServerForgetsAResume: the user was told that the job goes on. The stage, whose dead letter is kept, was not told yet.
func TestAServerForgetsAResume(t *testing.T) {
	b, n := setupOnServer(t, 1)
	b.submit("halted", "other")
	b.await(map[string]schemas.JobState{"halted": "started"})
	b.halt("halted", schemas.Halt)
	b.await(map[string]schemas.JobState{"halted": "failed", "other": "started"})
	kept := n.keep()
	if err := b.m.Resume(t.Context(), id("halted")); err != nil {
		t.Fatal(err)
	}
	n.forget(kept, "job")
	var letter schemas.Position
	b.listens(func(_ string, e schemas.JobEvent) bool {
		if e.Resume != nil {
			letter = e.Resume.Letter
		}
		return e.Resume != nil
	})
	if letter == 0 {
		t.Error("the resume names no dead letter")
	}
	b.await(map[string]schemas.JobState{"halted": "started", "other": "started"})
	b.halt("halted", schemas.Halt) // the same input again, behind the resume: that is new
	b.await(map[string]schemas.JobState{"halted": "failed"})
}

// TestAServerForgetsADeadLetterThatWasResumed: the stage makes another one of another input, which comes to lie before where that one was.
func TestAServerForgetsADeadLetterThatWasResumed(t *testing.T) {
	b, n := setupOnServer(t, 1)
	b.submit("halted")
	b.await(map[string]schemas.JobState{"halted": "started"})
	kept := n.keep()
	for range 3 {
		b.decide("aeb", "halted", transport.Control, schemas.Control{Kind: schemas.ControlAttempt})
	}
	b.halt("halted", schemas.Halt)
	b.await(map[string]schemas.JobState{"halted": "failed"})
	if err := b.m.Resume(t.Context(), id("halted")); err != nil {
		t.Fatal(err)
	}
	n.forget(kept, "aeb")
	if items := b.hears(1); len(items) != 1 {
		t.Errorf("said again: %q", items)
	}
	b.decide("aeb", "halted", transport.DeadLetter, schemas.DeadLetter{Decision: schemas.Halt, Error: "no good", Input: schemas.InputRef{Edge: "read", Sequence: 2}})
	b.await(map[string]schemas.JobState{"halted": "failed"})
}
