package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
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

// readings is a broker that counts the dead letters that are read with all they hold.
type readings struct {
	transport.Broker
	letters *atomic.Int64
}

func (b readings) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := b.Broker.Log(ctx, c)
	return readingsLog{l, b.letters}, err
}

type readingsLog struct {
	transport.Log
	letters *atomic.Int64
}

func (l readingsLog) Watch(ctx context.Context, c transport.WatchConfig) (transport.Watcher, error) {
	w, err := l.Log.Watch(ctx, c)
	return readingsWatcher{w, l.letters}, err
}

type readingsWatcher struct {
	transport.Watcher
	letters *atomic.Int64
}

func (w readingsWatcher) Next(ctx context.Context) (transport.Stored, error) {
	s, err := w.Watcher.Next(ctx)
	if err == nil && s.Kind == transport.DeadLetter && len(s.Event.Data) > 0 {
		w.letters.Add(1)
	}
	return s, err
}

// Thousands of dead letters, each with an input, are looked through every hour.
func TestOldDeadLettersGoWithoutTheirInputsBeingRead(t *testing.T) {
	read := new(atomic.Int64)
	p := start(t, fmt.Sprintf(bad, "skip"), readings{memory.New(), read}, newMemorySink())
	p.finish()
	p.stop()
	before := read.Load()
	if n, err := p.engine.Expire(t.Context(), time.Now().Add(31*day)); n != 3 || err != nil {
		t.Errorf("%d dead letters went (%v), want 3", n, err)
	}
	if n := read.Load() - before; n > 0 {
		t.Errorf("%d dead letters were read whole", n)
	}
}

// A dead letter is larger than its event: one that the broker takes only just comes to lie without its data, says where that is,
// and can be redriven like any other.
func TestAnEventTooLargeForItsDeadLetterIsGivenUpAllTheSame(t *testing.T) {
	const yaml = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { rows: 3, bytes: %d } }
      - { name: pass, uses: process/script, on_error: %s, with: { part: pass } }
`
	for _, c := range []struct {
		onError, at string
		decision    schemas.Decision
		state       schemas.JobState
	}{
		{"fail", "pass", schemas.Halt, schemas.JobFailed},
		{"skip", "pass", schemas.Skip, schemas.JobFinished},
		{"fail", "dashboard@read", schemas.Halt, schemas.JobFailed},
	} {
		t.Run(c.onError+" at "+c.at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bad atomic.Bool
				bad.Store(true)
				fails := func(stage string, n int) error {
					if bad.Load() && stage == c.at && n == 2 {
						return pipeline.Permanent(errBad)
					}
					return nil
				}
				sink, writes := newMemorySink(), 0
				sink.fault = func(call string, id schemas.ChainID) error {
					if id.Stage != "read" || call != "write" {
						return nil
					}
					writes++
					return fails("dashboard@read", writes)
				}
				p := boot(t, setup{yaml: fmt.Sprintf(yaml, memory.MaxEventBytes-64, c.onError), broker: memory.New(), store: sink, retain: true,
					parts: parts{"pass": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
						if err := fails("pass", number(in)); err != nil {
							return err
						}
						return s.echo(ctx, in, out)
					}}}})
				j := p.finish()[0]
				letters, err := p.engine.Letters(t.Context(), "p")
				if err != nil || len(letters) != 1 || j.State != c.state {
					t.Fatalf("the job is %s, %d dead letters, %v", j.State, len(letters), err)
				}
				l := letters[0]
				if l.Stage != c.at || l.Letter.Decision != c.decision || l.Letter.Error != errBad.Error() || l.Letter.Input.Sequence != 2 ||
					l.Letter.Left == nil || l.Letter.Left.ID != string(j.ID)+"/read/2" || l.Letter.Left.Position == 0 || l.Letter.Left.Bytes < memory.MaxEventBytes-64 ||
					!strings.Contains(string(l.Letter.Event), `"id":"`+l.Letter.Left.ID+`"`) || len(l.Letter.Event) > 1<<10 {
					t.Errorf("dead letter in %s: %+v, left %v", l.Stage, l.Letter, l.Letter.Left)
				}
				if c.decision == schemas.Skip {
					return
				}
				bad.Store(false)
				if err := p.manager.Resume(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
				p.mustFinish()
				if n := len(sink.sorted()); n != 3+4 {
					t.Errorf("%d documents, want all 7", n)
				}
			})
		})
	}
}

// An error may quote whatever it cannot read.
func TestAnErrorOfAnyLengthIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := boot(t, setup{broker: memory.New(), store: newMemorySink(), retain: true, yaml: `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { part: read } }
`, parts: parts{"read": {read: func(context.Context, pipeline.Item, int) error {
			return pipeline.Permanent(errors.New("no line: " + pad()))
		}}}})
		if j := p.finish()[0]; j.State != schemas.JobFailed || !strings.HasPrefix(j.Error, "no line: xxx") || len(j.Error) > 1<<20 || !strings.HasSuffix(j.Error, " bytes in all)") {
			t.Errorf("the job is %s, its error has %d bytes", j.State, len(j.Error))
		}
	})
}
