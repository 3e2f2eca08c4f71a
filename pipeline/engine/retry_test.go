package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/transport/memory"
)

const twice = `
version: 1
transport: { memory: {} }
defaults: { checkpoint: { inputs: 8 } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/rows, with: { items: 2, rows: 200 } }
      - { name: sum, uses: process/sum, retry: { attempts: 3, backoff: 1ms }, with: { flaky: %t } }
`

func TestARetryBehindACheckpointGoesOnFromIt(t *testing.T) {
	calm := start(t, fmt.Sprintf(twice, false), memory.New(), newMemorySink())
	calm.finish()
	p := start(t, fmt.Sprintf(twice, true), memory.New(), newMemorySink())
	p.finish()
	if got, want := p.sink.plain(), calm.sink.plain(); !slices.Equal(got, want) {
		t.Errorf("%d documents, want %d; the last is %q, want %q", len(got), len(want), got[len(got)-1], want[len(want)-1])
	}
}

// A process that is to leave while a step is at work does not wait out the pause behind its failure.
func TestADrainIsNotHeldUpByTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{}, 1)
		p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, quiet: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { rows: 3 } }
      - { name: fail, uses: process/script, retry: { attempts: 9, backoff: 10m, max_backoff: 10m }, with: { part: fail } }
`, parts: parts{"fail": {step: func(context.Context, *scripted, pipeline.Batch, pipeline.Emitter) error {
			begun <- struct{}{}
			time.Sleep(5 * time.Second)
			return errors.New("not now")
		}}}})
		p.submit()
		<-begun
		from := time.Now() // of the bubble's clock, which goes on only when nothing is left to do
		p.stop()
		if took := time.Since(from); took > time.Minute {
			t.Errorf("the drain took %v", took)
		}
	})
}
