package job_test

import (
	"errors"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

func TestWhatAnotherConfigurationLeftBehindIsSeenAndNotResumed(t *testing.T) {
	b := setup(t, 0)
	b.submit("a", "b", "c") // a is started, the others are queued
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	b.decide("read", "a", transport.DeadLetter, schemas.DeadLetter{Decision: schemas.Halt, Error: "broken", Input: schemas.InputRef{Sequence: 1}})
	b.await(map[string]schemas.JobState{"a": schemas.JobFailed, "b": schemas.JobStarted})
	b.stop()
	b.c.Version = "another"
	b.start()
	for name, left := range map[string]bool{"a": false, "b": true, "c": true} {
		if j, ok := b.m.Job(id(name)); !ok || !j.Foreign || j.LeftBehind() != left {
			t.Errorf("%s: %+v", name, j)
		}
	}
	if err := b.m.Resume(t.Context(), id("a")); !errors.Is(err, job.ErrForeign) {
		t.Errorf("resuming it says %v", err)
	}
	if j, _ := b.m.Job(id("a")); j.State != schemas.JobFailed {
		t.Errorf("it is %s", j.State)
	}
	if err := b.m.Cancel(t.Context(), id("b")); err != nil {
		t.Errorf("cancelling what was left behind: %v", err)
	}
}

func TestWhatAStageHasMadeOfAJobIsKnownWhenItHasEndedIt(t *testing.T) {
	b := setup(t, 0)
	b.submit("a")
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	before, _ := b.m.Job(id("a"))
	b.decide("read", "a", transport.Control, schemas.Control{Kind: schemas.ControlEnd, End: &schemas.End{Out: 7, Consumed: 0}})
	b.decide("aeb", "a", transport.Control, schemas.Control{Kind: schemas.ControlEnd, End: &schemas.End{Out: 3, Consumed: 6}})
	b.await(map[string]schemas.JobState{"a": schemas.JobFinished})
	j, _ := b.m.Job(id("a"))
	if e, ok := j.End("read"); !ok || e.Out != 7 {
		t.Errorf("%+v, %v", e, ok)
	}
	if _, ok := before.End("read"); ok {
		t.Error("a copy made before knows what came later")
	}
}
