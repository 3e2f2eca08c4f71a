package engine_test

import (
	"fmt"
	"slices"
	"testing"

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
