package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

const neighbours = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, parallelism: 2, with: { items: 4, rows: 9 } }
      - { name: s, uses: process/script, parallelism: 4, with: { part: s } }
`

// Four jobs are in one process, and one of them kills it whenever it gets so far: while it is opened, or at an input. The others
// are at work at that moment, in every one of its lives, and must not be taken for what killed it.
func TestWhoKillsItsWorkerDoesNotTakeItsNeighboursAlong(t *testing.T) {
	const guilty = "item0002"
	for name, script := range map[string]func(kill func()) *part{
		"when it is opened": func(kill func()) *part {
			return &part{open: func(_ context.Context, it pipeline.Item) error {
				if it.Name == guilty {
					time.Sleep(time.Second)
					kill()
				}
				time.Sleep(10 * time.Second)
				return nil
			}}
		},
		"at an input": func(kill func()) *part {
			return &part{step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
				switch {
				case s.item.Name == guilty && number(in) == 4:
					time.Sleep(time.Second)
					kill()
				case number(in) > 3:
					time.Sleep(10 * time.Second)
				}
				return s.echo(ctx, in, out)
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, dead, end := memory.New(), make(chan struct{}), make(chan struct{})
				elsewhere := newFaults(1)
				elsewhere.deaf = "s"
				p := boot(t, setup{yaml: neighbours, broker: shaky{b, elsewhere}, store: newMemorySink()})
				p.submit()
				over := make(chan struct{})
				go func() {
					defer close(over)
					p.wait()
				}()
				lives := 0
				for alive := true; alive; lives++ {
					f := newFaults(1)
					defer f.thaw()
					boot(t, setup{yaml: neighbours, broker: shaky{b.Client(), f}, worker: true, stages: []string{"s"}, parts: parts{"s": script(func() {
						f.freeze() // nobody hears of the process any more
						select {
						case dead <- struct{}{}:
							<-end
						case <-end:
							f.thaw()
						}
					})}})
					select {
					case <-dead:
					case <-over:
						alive = false
					}
				}
				close(end)
				for _, j := range p.manager.Jobs() {
					switch {
					case j.Item != guilty && j.State != schemas.JobFinished:
						t.Errorf("%s: %+v", j.Item, j)
					case j.Item == guilty && (j.State != schemas.JobFailed || !strings.Contains(j.Error, "the worker died")):
						t.Errorf("%s: %+v", j.Item, j)
					}
				}
				if lives < 6 || lives > 16 {
					t.Errorf("%d lives", lives)
				}
			})
		})
	}
}
