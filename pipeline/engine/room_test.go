package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

// mustFinish waits for all jobs, each of which must be finished.
func (p *process) mustFinish() {
	p.t.Helper()
	p.wait()
	for name, m := range p.managers {
		for _, j := range m.Jobs() {
			if j.State != schemas.JobFinished {
				p.t.Errorf("job of %s in %s is %s: %s", j.Item, name, j.State, j.Error)
			}
		}
	}
}

const straight = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 44, bytes: 1000000 } }
      - { name: pass, uses: process/script }
`

func TestAReaderInAnotherProcessHearsHowFarTheSinksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := memory.New(), newFaults(1)
		f.deaf = "read"
		boot(t, setup{yaml: straight, broker: b.Client(), worker: true, stages: []string{"read"}})
		p := boot(t, setup{yaml: straight, broker: shaky{b, f}, store: newMemorySink()})
		p.submit()
		p.mustFinish()
		if n, want := len(p.sink.sorted()), 2*(44+45); n != want {
			t.Errorf("%d documents, want %d", n, want)
		}
	})
}
