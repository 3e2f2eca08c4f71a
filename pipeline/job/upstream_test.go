package job_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// derive sets up a pipeline that reads b's first stage, with a job for each of b's of these names.
func (b *bench) derive(names ...string) *bench {
	b.t.Helper()
	d := setupWith(b.t, 2, func(m *job.Manager) { m.Follow(b.m, "read") })
	for _, n := range names {
		s := job.Submission{ID: id(n), Item: n, Source: json.RawMessage(`{}`), Run: "r", Upstream: id(n)}
		if _, err := d.m.Submit(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}
	return d
}

func TestADerivedJobFailsWithItsUpstreamJobAndGoesOnWithIt(t *testing.T) {
	b := setup(t, 2)
	b.submit("a")
	d := b.derive("a")
	d.await(map[string]schemas.JobState{"a": "started"})
	b.halt("a", schemas.Halt)
	d.await(map[string]schemas.JobState{"a": "failed"})
	j, _ := d.m.Job(id("a"))
	if j.Stage != "" || !j.Bereft() || j.Upstream != id("a") || !strings.Contains(j.Error, "of a in p failed: no good") {
		t.Errorf("job %+v", j)
	}
	if err := d.m.Wait(t.Context(), []schemas.JobID{id("a")}); err != nil {
		t.Error(err)
	}
	if err := b.m.Resume(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
	d.await(map[string]schemas.JobState{"a": "started"})
	b.end("a")
	d.end("a")
	d.await(map[string]schemas.JobState{"a": "finished"})
}

func TestADerivedJobFailsWithACancelledUpstreamJobThoughItsOwnTurnHasNotCome(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b", "c", "e")
	d := b.derive("a", "b", "c", "e") // two at once, beside the one whose upstream job is being read
	d.await(map[string]schemas.JobState{"a": "started", "b": "started", "c": "started", "e": "queued"})
	if err := b.m.Cancel(t.Context(), id("e")); err != nil {
		t.Fatal(err)
	}
	d.await(map[string]schemas.JobState{"a": "started", "b": "started", "c": "started", "e": "failed"})
}

// Jobs that wait for more of their upstream jobs hold up none whose upstream job is read: those might hold the room that the
// former wait for.
func TestADerivedJobIsNotHeldUpByThoseWhoseUpstreamJobIsBeingRead(t *testing.T) {
	b := setup(t, 4)
	b.submit("a", "b", "c", "e")
	b.decide("read", "e", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	d := b.derive("a", "b", "c", "e")
	d.await(map[string]schemas.JobState{"a": "started", "b": "started", "c": "started", "e": "started"})
}

func TestADerivedJobOutlivesItsUpstreamJobWhenWhatItReadsIsComplete(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b")
	d := b.derive("a", "b")
	b.decide("read", "a", transport.Control, schemas.Control{Kind: schemas.ControlEnd})
	b.halt("a", schemas.Halt)
	b.halt("b", schemas.Halt)
	d.await(map[string]schemas.JobState{"a": "started", "b": "failed"})
	d.end("a")
	d.await(map[string]schemas.JobState{"a": "finished", "b": "failed"})
}

func TestWhatHappenedUpstreamWhileNobodyLookedIsCaughtUpWith(t *testing.T) {
	b := setup(t, 2)
	b.submit("a", "b")
	d := b.derive("a", "b")
	b.halt("a", schemas.Halt)
	d.await(map[string]schemas.JobState{"a": "failed", "b": "started"})
	d.stop()
	if err := b.m.Resume(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
	b.halt("b", schemas.Halt)
	b.await(map[string]schemas.JobState{"a": "started", "b": "failed"})
	d.start()
	d.await(map[string]schemas.JobState{"a": "started", "b": "failed"})
}

func TestAStoppedRunIsToldFromARequest(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b", "c")
	if err := b.m.Cancel(t.Context(), id("c")); err != nil {
		t.Fatal(err)
	}
	b.await(map[string]schemas.JobState{"a": "started"})
	b.halt("a", schemas.Stop)
	b.await(map[string]schemas.JobState{"a": "failed", "b": "cancelled", "c": "cancelled"})
	stopped, _ := b.m.Job(id("b"))
	asked, _ := b.m.Job(id("c"))
	if !stopped.Stopped() || asked.Stopped() || !strings.Contains(stopped.Error, "aeb of a stopped the run: no good") {
		t.Errorf("%+v\n%+v", stopped, asked)
	}
	b.submit("d")
	b.await(map[string]schemas.JobState{"d": "cancelled"})
	b.m.Proceed("r")
	b.submit("e")
	b.await(map[string]schemas.JobState{"e": "started"})
}
