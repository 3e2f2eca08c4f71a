package cmd

import (
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// In a pipe a bulk command says at its begin, at each tenth and now and then how far it is; of a few steps nothing.
func TestProgressOfABulkCommandInLines(t *testing.T) {
	at := func(did, total int) api.Operation { return api.Operation{Total: total, Done: did} }
	var out strings.Builder
	p := bulkProgress{out: &out, what: "redrive: ", noun: "event"}
	for _, did := range []int{0, 3, 19, 20, 21, 150, 199} {
		p.tell(at(did, 200))
	}
	for range mostSilent {
		p.tell(at(199, 200))
	}
	ended := at(200, 200)
	now := time.Now()
	ended.Ended = &now
	p.tell(ended)
	p.end()
	if want := "redrive: 0 of 200 events\nredrive: 20 of 200 events\nredrive: 150 of 200 events\nredrive: 199 of 200 events\nredrive: 199 of 200 events\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	few := bulkProgress{out: &out, what: "redrive: ", noun: "event"}
	few.tell(at(1, 3))
	if few.end(); out.String() != "" {
		t.Errorf("of three steps: %s", out.String())
	}
	onTerminal := bulkProgress{out: &out, what: "redrive: ", noun: "event", redraw: true}
	onTerminal.tell(at(7, 200))
	if onTerminal.end(); out.String() != "\rredrive: 7 of 200 events\x1b[K\r\x1b[K" {
		t.Errorf("on a terminal: %q", out.String())
	}
}
