package engine_test

import (
	"errors"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

func TestAStoreThatRefusesForGoodFailsItsJobs(t *testing.T) {
	inTheWay := errors.New("a folder is in the way")
	for name, err := range map[string]error{"at once": pipeline.Permanent(inTheWay), "after the attempts": inTheWay} {
		t.Run(name, func(t *testing.T) {
			sink := newMemorySink()
			sink.refuse = err
			p := start(t, `
version: 1
transport: { memory: {} }
defaults: { retry: { attempts: 2, backoff: 1ms } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, with: { items: 2, rows: 5 } }
`, memory.New(), sink)
			for _, j := range p.finish() {
				if j.State != schemas.JobFailed || j.Error != inTheWay.Error() {
					t.Errorf("job of %s is %s: %q", j.Item, j.State, j.Error)
				}
			}
		})
	}
}
