package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

// Dead letters go with their age, once their jobs are over: skipped ones of finished jobs, and those that halted jobs which were
// cancelled. A halted job's stays whatever its age.
func TestOldDeadLettersOfJobsThatAreOverGo(t *testing.T) {
	for decision, over := range map[string]int{"skip": 3, "fail": 0} {
		t.Run(decision, func(t *testing.T) {
			p := start(t, fmt.Sprintf(bad, decision), memory.New(), newMemorySink())
			jobs := p.finish()
			expire := func(age time.Duration, want int) {
				t.Helper()
				if n, err := p.engine.Expire(t.Context(), age, time.Now()); n != want || err != nil {
					t.Errorf("%d dead letters went (%v), want %d", n, err, want)
				}
			}
			expire(time.Hour, 0)
			expire(0, over)
			expire(0, 0)
			letters, err := p.engine.Letters(t.Context(), "p")
			if len(letters) != 3-over || err != nil {
				t.Fatalf("%d dead letters are left, %v", len(letters), err)
			}
			for _, l := range letters {
				if _, err := p.engine.Purge(t.Context(), l); !errors.Is(err, engine.ErrOpen) {
					t.Errorf("a halted job's dead letter: %v", err)
				}
			}
			for _, j := range jobs {
				if err := p.manager.Cancel(t.Context(), j.ID); over == 0 && err != nil {
					t.Fatal(err)
				}
			}
			if over > 0 {
				return
			}
			for left := len(jobs); left > 0; { // each stage stores the cancel by itself
				n, err := p.engine.Expire(t.Context(), 0, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				left -= n
			}
			for _, j := range p.manager.Jobs() {
				if j.State != schemas.JobCancelled {
					t.Errorf("job of %s is %s", j.Item, j.State)
				}
			}
		})
	}
}
