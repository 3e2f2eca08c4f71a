package engine_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
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
		p.redeliver(b, "p", "read") // all of it again
		time.Sleep(time.Minute)
		if left := p.engine.Left(); len(left) != 0 {
			t.Errorf("left when everything was delivered again: %q", left)
		}
		if n := p.engine.Remembered(); n > 4*64 {
			t.Errorf("figures of %d jobs are left at four nodes", n)
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

// slowTrims is a broker whose trims take a while, and are counted by stage.
type slowTrims struct {
	transport.Broker
	mu    sync.Mutex
	take  time.Duration
	count map[string]int
}

// slow has trims take so long from now on, and counts them anew.
func (b *slowTrims) slow(take time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take, b.count = take, map[string]int{}
}

func (b *slowTrims) counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.count)
}

func (b *slowTrims) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := b.Broker.Log(ctx, c)
	return &slowTrimsLog{l, b}, err
}

type slowTrimsLog struct {
	transport.Log
	b *slowTrims
}

func (l *slowTrimsLog) Trim(ctx context.Context, id schemas.ChainID, below schemas.Position) error {
	l.b.mu.Lock()
	if l.b.count != nil {
		l.b.count[id.Stage]++
	}
	take := l.b.take
	l.b.mu.Unlock()
	time.Sleep(take)
	return l.Log.Trim(ctx, id, below)
}

// A stage that waits while its log is full looks for room again and again, for days where nobody does anything about it.
func TestWaitingWhileALogIsFullTakesNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, hold := newFaults(1), make(chan struct{})
		p := boot(t, setup{quiet: true, yaml: fmt.Sprintf(ahead, 2, 3), broker: shaky{memory.New(), f}, store: newMemorySink(), parts: parts{"read": {
			read: func(_ context.Context, it pipeline.Item, n int) error {
				if it.Name == "item0001" {
					<-hold
				}
				return nil
			}}}})
		f.fill("pass", true)
		p.submit()
		time.Sleep(time.Minute)
		before := heap()
		time.Sleep(time.Hour)
		if grown := heap() - before; grown > 2<<20 {
			t.Errorf("%d bytes more after an hour", grown)
		}
		close(hold)
		f.fill("pass", false)
		p.mustFinish()
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const manyJobs = `
version: 1
transport: { memory: {} }
defaults: { parallelism: 8 }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 1100, rows: 2 } }
`

// finished has 1100 jobs of a reader finished and nothing trimmed: more than a consumer may have out.
func finished(t *testing.T, b *memory.Broker) *memorySink {
	t.Helper()
	p := boot(t, setup{quiet: true, yaml: manyJobs, broker: b.Client(), store: newMemorySink(), retain: true})
	p.submit()
	p.mustFinish()
	time.Sleep(time.Minute)
	p.stop()
	return p.sink
}

// All that ever finished may come again at once. Trims take longer in all than a delivery is waited for; and what is trimmed
// already is not trimmed again.
func TestFinishedJobsThatComeInBulkAreTrimmedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		sink, trims := finished(t, b), &slowTrims{Broker: b.Client()}
		trims.slow(20 * time.Millisecond)
		p := boot(t, setup{quiet: true, yaml: manyJobs, broker: trims, store: sink.client()})
		for _, want := range []int{1100, 0} {
			p.redeliver(b, "p", "read")
			time.Sleep(time.Minute)
			if n := trims.counts()["read"]; n != want {
				t.Errorf("finished jobs were trimmed %d times, want %d", n, want)
			}
			if left := p.engine.Left(); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
			trims.slow(20 * time.Millisecond)
		}
	})
}

func TestAProcessThatStopsGivesBackWhatIsNotTrimmedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		sink, trims := finished(t, b), &slowTrims{Broker: b.Client()}
		trims.slow(time.Minute)
		p := boot(t, setup{quiet: true, yaml: manyJobs, broker: trims, store: sink.client()})
		p.redeliver(b, "p", "read")
		time.Sleep(time.Second)
		p.stop()
		if n := trims.counts()["read"]; n != 1 {
			t.Errorf("%d jobs were trimmed before the process had stopped, want the one that was begun", n)
		}
		next := &slowTrims{Broker: b.Client()}
		next.slow(0)
		boot(t, setup{quiet: true, yaml: manyJobs, broker: next, store: sink.client()})
		time.Sleep(time.Second)
		if n := next.counts()["read"]; n != 1099 {
			t.Errorf("the next process has trimmed %d jobs, want the other 1099", n)
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
			p.redeliver(b, "p", "read")
		}
		if n := p.engine.Meter("p", "read").Out.Load(); n > 9 { // one of the two drives is under way
			t.Errorf("%d rows have left in 8 s, which are a second apart", n)
		}
		if n := p.engine.Kept(); n != 4 {
			t.Errorf("%d deliveries are kept, want one for each of two jobs at two nodes", n)
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
