package engine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/transport/memory"
)

// ahead is drives whose stages are far beyond their budget behind 30 rows.
const ahead = `
version: 1
transport: { memory: {} }
defaults: { timeout: 0s }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 2, with: { part: read, items: %d, rows: %d, bytes: 16000 } }
      - { name: pass, uses: process/script, with: { part: pass, bytes: 16000 } }
`

// reading has a reader do something behind the 30th row, when what is behind it has had the time to store the others.
func reading(do func() error) parts {
	return parts{"read": {read: func(_ context.Context, _ pipeline.Item, n int) error {
		if n != 31 {
			return nil
		}
		time.Sleep(time.Second)
		return do()
	}}}
}

// A reader halts in the process whose sinks have told it alone how far they are; another process resumes it.
func TestAJobThatIsResumedElsewhereHearsHowFarTheSinksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, yaml := memory.New(), newFaults(1), fmt.Sprintf(ahead, 1, 60)
		p := boot(t, setup{yaml: yaml, broker: shaky{b.Client(), f}, store: newMemorySink(), parts: reading(func() error { return pipeline.Permanent(errBad) })})
		ids := p.submit()
		p.wait()
		f.hush("read")
		worker := boot(t, setup{yaml: yaml, broker: b.Client(), worker: true, stages: []string{"read"}})
		if err := p.manager.Resume(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		p.mustFinish()
		if n := worker.engine.Meter("p", "read").Out.Load(); n != 30 {
			t.Errorf("the worker read %d rows, want the last 30", n)
		}
	})
}

// A stage is taken over twice, and left for good by the process whose sinks have told it alone how far they are. Nothing comes
// that would make them tell others.
func TestAStageThatIsLostToAWorkerTellsItHowFarTheSinksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, hold, yaml := memory.New(), newFaults(1), make(chan struct{}), fmt.Sprintf(ahead, 1, 60)
		p := boot(t, setup{yaml: yaml, broker: shaky{b.Client(), f}, store: newMemorySink(), parts: parts{"pass": {
			step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				if s.seen == 30 {
					<-hold
				}
				return s.echo(ctx, in, out)
			}}}})
		p.submit()
		time.Sleep(10 * time.Second)
		f.hush("pass")
		p.redeliver(b, "p", "pass") // what the process is handed of it is lost
		worker := func() *process {
			defer time.Sleep(10 * time.Second)
			return boot(t, setup{yaml: yaml, broker: b.Client(), worker: true, stages: []string{"pass"}})
		}
		first := worker()
		hold <- struct{}{} // the process is refused once: it looks again, and goes on
		time.Sleep(time.Second)
		first.stop()
		second := worker()
		close(hold)
		p.mustFinish()
		if n := second.engine.Meter("p", "pass").Out.Load(); n != 31 { // the sum behind the last of 60 is one more
			t.Errorf("the second worker stored %d events, want the last 31", n)
		}
	})
}

// A worker takes over from a process that is cut off, and waits for room behind sinks that have told nobody how far they are; that
// process goes on, and ends the job.
func TestAWorkerLeavesAJobThatWasEndedElsewhereWhileItWaitedForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, hold, yaml := memory.New(), newFaults(1), make(chan struct{}), fmt.Sprintf(ahead, 1, 30)
		p := boot(t, setup{yaml: yaml, broker: shaky{b.Client(), f}, store: newMemorySink(), parts: reading(func() error { <-hold; return nil })})
		p.submit()
		time.Sleep(10 * time.Second)
		worker := boot(t, setup{yaml: yaml, broker: b.Client(), worker: true, stages: []string{"read"}})
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
