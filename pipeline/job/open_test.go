package job_test

import (
	"context"
	"errors"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

// Settle waits for whatever is open, not only for what is named; and not for what nobody here works on.
func TestSettle(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	named := []schemas.JobID{id("a")}
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	b.end("a")
	b.await(map[string]schemas.JobState{"a": schemas.JobFinished, "b": schemas.JobStarted})
	if b.m.Settled(named) {
		t.Error("b is started")
	}
	b.halt("b", schemas.Halt)
	if err := b.m.Settle(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	if err := b.m.Resume(t.Context(), id("b")); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.m.Settle(gone, named); !errors.Is(err, context.Canceled) {
		t.Errorf("b goes on: %v", err)
	}
	if err := b.m.Settle(gone, []schemas.JobID{id("b")}); !errors.Is(err, context.Canceled) {
		t.Errorf("b goes on, and is named: %v", err)
	}
	b.end("b")
	if err := b.m.Settle(t.Context(), named); err != nil {
		t.Fatal(err)
	}
}

// The pipeline that is read was edited while its job was at work: nobody finishes that one, so what derives from it is open for ever.
func TestSettleDoesNotWaitForWhatDerivesFromAnotherConfiguration(t *testing.T) {
	up := setup(t, 1)
	up.submit("a")
	up.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	up.stop()
	for _, c := range []struct {
		version string
		settled bool
	}{{"", false}, {"edited", true}} {
		up.c.Version = c.version
		up.start()
		d := benchOn(t, memory.New(), 1)
		d.with = func(m *job.Manager) { m.Follow(up.m, "read") }
		d.start()
		s := job.Submission{ID: id("derived"), Item: "a", Source: []byte(`{}`), Upstream: id("a")}
		if _, err := d.m.Submit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := d.m.Settled(nil); got != c.settled {
			t.Errorf("version %q: settled %v, want %v", c.version, got, c.settled)
		}
		if d.m.Settled([]schemas.JobID{s.ID}) {
			t.Errorf("version %q: what is named is waited for", c.version)
		}
		j, _ := d.m.Job(s.ID)
		if d.m.Ours(j) == c.settled {
			t.Errorf("version %q: ours %v", c.version, !c.settled)
		}
		d.stop()
		up.stop()
	}
}

func TestSupersede(t *testing.T) {
	b := setup(t, 3)
	b.submit("failed", "finished", "started")
	b.await(map[string]schemas.JobState{"failed": schemas.JobStarted, "finished": schemas.JobStarted, "started": schemas.JobStarted})
	b.halt("failed", schemas.Halt)
	b.end("finished")
	b.await(map[string]schemas.JobState{"failed": schemas.JobFailed, "finished": schemas.JobFinished})
	for range 2 {
		for _, name := range []string{"failed", "finished", "started", "unknown"} {
			if err := b.m.Supersede(t.Context(), id(name), "j-next"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	b.await(map[string]schemas.JobState{"failed": schemas.JobCancelled, "finished": schemas.JobFinished, "started": schemas.JobCancelled})
	if j, _ := b.m.Job(id("failed")); j.Error != "superseded: j-next does it anew" {
		t.Errorf("%+v", j)
	}
	if _, ok := b.m.Job(id("unknown")); ok {
		t.Error("a job was made")
	}
}
