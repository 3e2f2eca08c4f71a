package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

const day = 24 * time.Hour

// Dead letters go with their age, once their jobs are over: skipped ones of finished jobs, and those that halted jobs which were
// cancelled. A halted job's stays whatever its age.
func TestOldDeadLettersOfJobsThatAreOverGo(t *testing.T) {
	for decision, over := range map[string]int{"skip": 3, "fail": 0} {
		t.Run(decision, func(t *testing.T) {
			p := start(t, fmt.Sprintf(bad, decision), memory.New(), newMemorySink())
			jobs := p.finish()
			expire := func(later time.Duration, want int) {
				t.Helper()
				if n, err := p.engine.Expire(t.Context(), time.Now().Add(later)); n != want || err != nil {
					t.Errorf("%d dead letters went (%v), want %d", n, err, want)
				}
			}
			expire(29*day, 0) // dlq.max_age is 30d where the file says nothing
			expire(31*day, over)
			expire(31*day, 0)
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
				n, err := p.engine.Expire(t.Context(), time.Now().Add(31*day))
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

// A stage's own dlq.max_age wins over that of `defaults:`.
func TestDeadLettersAreKeptAsLongAsTheirStageSays(t *testing.T) {
	p := start(t, `
version: 1
transport: { memory: {} }
defaults: { on_error: skip, dlq: { max_age: 2d } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, with: { items: 3, rows: 20 } }
      - { name: sum, uses: process/sum, dlq: { max_age: 1h }, with: { fail_at: 7 } }
      - { name: other, uses: process/sum, from: read, with: { fail_at: 7 } }
`, memory.New(), newMemorySink())
	p.finish()
	for _, step := range []struct {
		later time.Duration
		left  string
	}{{0, "other other other sum sum sum"}, {2 * time.Hour, "other other other"}, {3 * day, ""}} {
		if _, err := p.engine.Expire(t.Context(), time.Now().Add(step.later)); err != nil {
			t.Fatal(err)
		}
		letters, err := p.engine.Letters(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		var stages []string
		for _, l := range letters {
			stages = append(stages, l.Stage)
		}
		slices.Sort(stages)
		if left := strings.Join(stages, " "); left != step.left {
			t.Errorf("after %s there are dead letters of %q, want %q", step.later, left, step.left)
		}
	}
}
