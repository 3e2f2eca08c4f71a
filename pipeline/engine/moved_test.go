package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/transport/memory"
)

// ahead is one drive that is far beyond its budget when half of it is read.
const ahead = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { part: read, items: 1, rows: 60, bytes: 16000 } }
`

// at31 does something before the 31st row, when what is behind the reader has had the time to store the others.
func at31(do func() error) parts {
	return parts{"read": {read: func(_ context.Context, _ pipeline.Item, n int) error {
		if n != 31 {
			return nil
		}
		time.Sleep(time.Second)
		return do()
	}}}
}

// The job of a sink that has told how far it is to a reader in its own process goes on in another one: its reader halts there,
// and who resumes it is handed it.
func TestAReaderThatMovesToAnotherProcessHearsHowFarTheSinksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := memory.New(), newFaults(1)
		p := boot(t, setup{yaml: ahead, broker: shaky{b.Client(), f}, store: newMemorySink(), parts: at31(func() error { return pipeline.Permanent(errBad) })})
		ids := p.submit()
		p.wait()
		f.hush("read")
		boot(t, setup{yaml: ahead, broker: b.Client(), worker: true, stages: []string{"read"}})
		if err := p.manager.Resume(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		p.mustFinish()
		if n := len(p.sink.sorted()); n != 60 {
			t.Errorf("%d documents, want 60", n)
		}
	})
}

// A worker takes over from a process that is cut off, and waits for room behind sinks that have told nobody how far they are; that
// process goes on, and ends the job.
func TestAWorkerLeavesAJobThatWasEndedElsewhereWhileItWaitedForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, hold := memory.New(), newFaults(1), make(chan struct{})
		p := boot(t, setup{yaml: ahead, broker: shaky{b.Client(), f}, store: newMemorySink(), parts: at31(func() error { <-hold; return nil })})
		p.submit()
		time.Sleep(10 * time.Second)
		worker := boot(t, setup{yaml: ahead, broker: b.Client(), worker: true, stages: []string{"read"}})
		f.freeze()
		time.Sleep(10 * time.Second)
		if len(worker.engine.Left()) == 0 {
			t.Error("the worker has not taken over")
		}
		f.thaw()
		close(hold)
		p.mustFinish()
		time.Sleep(time.Minute)
		if left := worker.engine.Left(); len(left) != 0 {
			t.Errorf("the worker still has %q", left)
		}
	})
}
