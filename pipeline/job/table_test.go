package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

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
