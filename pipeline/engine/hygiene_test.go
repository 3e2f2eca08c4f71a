package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// A bubble of synctest ends only when every goroutine in it has: so in all tests of this package that use one, nothing is left
// after Run has returned. Here it is what is left while it runs.
func TestThousandsOfJobsLeaveNothingInTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{quiet: true, yaml: `
version: 1
transport: { memory: {} }
defaults: { parallelism: 8 }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 1100, rows: 2 } }
      - { name: pass, uses: process/script }
`, broker: b, store: newMemorySink()})
		p.submit()
		p.mustFinish()
		time.Sleep(time.Minute)
		if left := p.engine.Left(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
		b.Redeliver("p", transport.JobStage, "read") // all of it again
		time.Sleep(time.Minute)
		if left := p.engine.Left(); len(left) != 0 {
			t.Errorf("left when everything was delivered again: %q", left)
		}
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "read"})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := log.Stats(t.Context()); err != nil || s.Records > 2*1100 {
			t.Errorf("%v: %d records are left of 1100 jobs", err, s.Records)
		}
	})
}

func TestAConsumerThatBreaksIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults(3)
		f.set("consume", 0.3)
		p := boot(t, setup{quiet: true, yaml: commanded, broker: shaky{memory.New(), f}, store: newMemorySink()})
		p.submit()
		p.mustFinish()
	})
}

func TestAClosedBrokerEndsTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hold := memory.New(), make(chan struct{})
		mine := b.Client()
		p := boot(t, setup{quiet: true, yaml: commanded, broker: b, store: newMemorySink(), stages: []string{"join"}})
		p.submit()
		worker := setup{yaml: commanded, broker: mine, store: p.sink.client(), quiet: true, parts: parts{"mid": on(20,
			func(context.Context, *scripted, pipeline.Emitter) error { <-hold; return nil })}}.engine(t)
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(context.Background()) }()
		time.Sleep(time.Second)
		mine.Close()
		close(hold)
		select {
		case err := <-ended:
			if err == nil {
				t.Error("the engine ended as if it had been stopped")
			}
		case <-time.After(time.Hour):
			t.Error("the engine goes on without a broker")
		}
	})
}

func TestPaceIsKeptWhateverWakesTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{yaml: paced, broker: b, store: newMemorySink()})
		p.submit()
		for range 20 {
			time.Sleep(400 * time.Millisecond)
			b.Redeliver("p", transport.JobStage, "read")
		}
		if n := p.engine.Meter("p", "read").Out.Load(); n > 9 { // one of the two drives is under way
			t.Errorf("%d rows have left in 8 s, which are a second apart", n)
		}
		p.mustFinish()
	})
}

func TestACancelOfWhatWaitsBehindAPacedDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		p := boot(t, setup{yaml: paced, broker: b, store: newMemorySink()})
		ids := p.submit()
		time.Sleep(3 * time.Second)
		waits := ids[1]
		if p.engine.Progress(waits) > 0 {
			waits = ids[0]
		}
		if err := p.manager.Cancel(t.Context(), waits); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := controls(t, b, waits, "read"); n[schemas.ControlCancel] != 1 {
			t.Errorf("the reader's last control: %v", n)
		}
		p.wait()
	})
}

const paced = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 2, rows: 30, paced: true } }
`
