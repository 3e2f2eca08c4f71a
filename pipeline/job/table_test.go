package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// The table stays as small as it is with thousands of failed jobs, whose dead letters hold an input each.
func TestTheTableKeepsNoDeadLettersInput(t *testing.T) {
	letter := schemas.DeadLetter{Decision: schemas.Halt, Error: "no good", Input: schemas.InputRef{Edge: "read", Sequence: 3}, Attempts: 5,
		Event: json.RawMessage(`"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `"`)}
	data, err := json.Marshal(letter)
	if err != nil {
		t.Fatal(err)
	}
	table := newTable("v")
	j, err := table.decided("aeb", transport.Stored{Chain: schemas.ChainID{Job: "j", Stage: "aeb"}, Kind: transport.DeadLetter, Position: 7,
		Event: schemas.Event{Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	_, o, halted := j.halted([]string{"aeb"})
	if !halted || o.halt.Input != letter.Input || o.halt.Attempts != 5 || o.reason != "no good" || o.at != 7 {
		t.Errorf("halted %v: %+v", halted, o.halt)
	}
	if n := len(o.halt.Event); n > 0 {
		t.Errorf("%d bytes of its input are kept", n)
	}
}

// Who asks for the changes alone knows the same as who asks for all jobs, however seldom he asks.
func TestSinceTellsWhatHasChanged(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, known, seen := newTable("v"), map[schemas.JobID]schemas.JobState{}, uint64(0)
	events := map[schemas.JobID]uint64{}
	const jobs = 300
	for n := range 3 * foldsKept {
		id := schemas.JobID(fmt.Sprintf("j-%03d", rng.IntN(jobs)))
		e := schemas.JobEvent{State: []schemas.JobState{schemas.JobStarted, schemas.JobFailed, schemas.JobFinished}[rng.IntN(3)]}
		if events[id]++; events[id] == 1 {
			e = schemas.JobEvent{State: schemas.JobQueued, Item: json.RawMessage(`{}`), Version: "v"}
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		_, err = table.changed(transport.Stored{Chain: schemas.ChainID{Job: id, Stage: transport.JobStage}, Event: schemas.Event{Sequence: events[id], Data: data}})
		if err != nil {
			t.Fatal(err)
		}
		if often := n < foldsKept && rng.IntN(50) == 0; !often && n != 3*foldsKept-1 { // and then once, when what was seen is not kept any more
			continue
		}
		for _, j := range table.since(seen) {
			known[j.ID] = j.State
		}
		seen = table.now()
		all := table.list()
		if len(all) != len(known) {
			t.Fatalf("%d jobs are known of %d", len(known), len(all))
		}
		for k, j := range all {
			if known[j.ID] != j.State || k > 0 && all[k-1].Order >= j.Order {
				t.Fatalf("job %s is %s, known as %s, in place %d", j.ID, j.State, known[j.ID], k)
			}
		}
	}
	if left := table.since(seen); len(left) > 0 {
		t.Errorf("%d jobs changed since nothing did", len(left))
	}
}

// What a job took is the time that was worked on it: not the night between its failure and its resume, nor the days before the run
// was started again.
func TestTheTimeOfAJobHasNoPauses(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	fold := func(events ...schemas.JobEvent) *Job {
		t.Helper()
		table := newTable("v")
		var j *Job
		for k, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if j, err = table.changed(transport.Stored{Chain: schemas.ChainID{Job: "j", Stage: "job"}, Event: schemas.Event{Sequence: uint64(k + 1), Data: data}}); err != nil {
				t.Fatal(err)
			}
		}
		return j
	}
	after := func(d time.Duration, state schemas.JobState) schemas.JobEvent {
		return schemas.JobEvent{State: state, At: at.Add(d)}
	}
	again, resumed := after(24*time.Hour, schemas.JobStarted), after(24*time.Hour, schemas.JobStarted)
	again.Again, resumed.Resume = true, &schemas.ResumeOrder{Stage: "aeb", Letter: 7}
	for _, c := range []struct {
		name     string
		last     []schemas.JobEvent
		worked   time.Duration
		restarts int
	}{
		{"at once", []schemas.JobEvent{after(3*time.Second, schemas.JobFinished)}, 3 * time.Second, 0},
		{"resumed the next day", []schemas.JobEvent{after(3*time.Second, schemas.JobFailed), resumed, after(24*time.Hour+2*time.Second, schemas.JobFinished)}, 5 * time.Second, 0},
		{"taken up again the next day", []schemas.JobEvent{again, after(24*time.Hour+2*time.Second, schemas.JobFinished)}, 2 * time.Second, 1},
		{"cancelled the day after it failed", []schemas.JobEvent{after(3*time.Second, schemas.JobFailed), after(24*time.Hour, schemas.JobCancelled)}, 3 * time.Second, 0},
		{"a clock that was set back", []schemas.JobEvent{after(-time.Hour, schemas.JobFinished)}, 0, 0},
	} {
		j := fold(append([]schemas.JobEvent{after(-time.Minute, schemas.JobQueued), after(0, schemas.JobStarted)}, c.last...)...)
		if j.Worked != c.worked || j.Restarts != c.restarts {
			t.Errorf("%s: %v in %d restarts, want %v in %d", c.name, j.Worked, j.Restarts, c.worked, c.restarts)
		}
	}
}
