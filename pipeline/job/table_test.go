package job

import (
	"bytes"
	"encoding/json"
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
