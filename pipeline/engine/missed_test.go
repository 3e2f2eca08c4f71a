package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// farBroker is a broker whose watches take a while to answer.
type farBroker struct {
	transport.Broker
	take time.Duration
}

func (b farBroker) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := b.Broker.Log(ctx, c)
	return farLog{l, b.take}, err
}

type farLog struct {
	transport.Log
	take time.Duration
}

func (l farLog) Watch(ctx context.Context, c transport.WatchConfig) (transport.Watcher, error) {
	time.Sleep(l.take)
	return l.Log.Watch(ctx, c)
}

// An edit of the file makes new consumers. What finished before it is none of their business, but for what is left of it; and a job of
// the new file does not stand behind that.
func TestANewJobDoesNotWaitForAllThatEverFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		old := boot(t, setup{quiet: true, yaml: manyJobs, broker: b.Client(), store: newMemorySink()})
		old.submit()
		old.mustFinish()
		time.Sleep(time.Minute)
		old.stop()
		far, deliveries := recorded(t, farBroker{b.Client(), 5 * time.Millisecond})
		edited := strings.Replace(manyJobs, "items: 1100, rows: 2", "items: 1, rows: 3", 1)
		p := boot(t, setup{quiet: true, yaml: edited, broker: far, store: old.sink.client()})
		from := time.Now() // of the bubble's clock
		if err := p.manager.Wait(t.Context(), p.submit()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(from); took > 100*time.Millisecond {
			t.Errorf("a job of two stages took %v", took)
		}
		p.stop()
		if n := len(deliveries()); n > 2*1110 {
			t.Errorf("%d events of jobs were delivered to two stages, want one of each of 1100 that are finished, and three of the new one", n)
		}
	})
}

const lateStage = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { part: read, items: 1, rows: 60 } }
      - { name: pass, uses: process/script, with: { part: pass } }
`

// A server forgets a stage's consumer, or the logs are mirrored to another one, between the resume of a job and the stage's hearing of
// it. The new consumer is handed the newest event of the job, which is that the owner has begun again.
func TestAResumeIsCarriedOutThoughItsEventIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, fails := memory.New(), true
		all := parts{"pass": on(20, func(context.Context, *scripted, pipeline.Emitter) error {
			if fails {
				return pipeline.Permanent(errBad)
			}
			return nil
		})}
		run := func(stages ...string) *process {
			return boot(t, setup{yaml: lateStage, broker: b.Client(), store: newMemorySink(), stages: stages, parts: all})
		}
		p := run()
		ids := p.submit()
		p.wait()
		durable := p.engine.Durable("p", "pass")
		p.stop()
		fails = false
		p = run("read")
		if err := p.manager.Resume(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		p.stop()
		if !b.Forget("p", transport.JobStage, durable) {
			t.Fatal("there was no such consumer")
		}
		p = run()
		p.mustFinish()
	})
}

// A worker that comes when a job is failed already takes what there is, as it would have before.
func TestAWorkerThatComesAfterAFailureTakesWhatWasReadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		owner := boot(t, setup{yaml: lateStage, broker: b.Client(), store: newMemorySink(), stages: []string{"read"}, parts: parts{"read": {
			read: func(_ context.Context, _ pipeline.Item, n int) error {
				if n > 40 {
					return pipeline.Permanent(errBad)
				}
				return nil
			}}}})
		ids := owner.submit()
		owner.wait()
		worker := boot(t, setup{yaml: lateStage, broker: b.Client(), worker: true, stages: []string{"pass"}})
		time.Sleep(time.Minute)
		if n := worker.engine.Meter("p", "pass").In.Load(); n != 40 {
			t.Errorf("the worker has taken %d rows, want the 40 that were read", n)
		}
		if left := worker.engine.Left(); len(left) != 1 { // that the job is failed
			t.Errorf("left: %q", left)
		}
		if j, _ := owner.manager.Job(ids[0]); j.State != schemas.JobFailed {
			t.Errorf("the job is %s", j.State)
		}
	})
}
