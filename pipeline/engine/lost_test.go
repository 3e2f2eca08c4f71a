package engine_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/jetstream/jetstreamtest"
	"github.com/milepost-dev/milepost/transport/memory"
)

// TestAServerThatForgetsWhileTheRunLives: a power cut of a server elsewhere takes of one log, or of all, what came since some moment. The
// process that owns the jobs and runs the stages has seen it, and goes on all the same: to the end, and to the same results.
func TestAServerThatForgetsWhileTheRunLives(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(joined, "items: 5", "items: 12", 1)
	undisturbed := start(t, yaml, memory.New(), newMemorySink())
	undisturbed.finish()
	want := undisturbed.sink.sorted()
	cases := map[string][]string{"all": nil, "jobs": {"_job"}, "read": {"_read"}, "sum": {"_sum"}, "count": {"_count"}}
	if testing.Short() { // under the race detector
		cases = map[string][]string{"all": nil}
	}
	for name, streams := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := jetstreamtest.Start(t)
			b, err := jetstream.Connect(t.Context(), jetstream.Config{URL: s.URL(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			p := boot(t, setup{yaml: yaml, broker: b, store: newMemorySink(), retain: true, quiet: true})
			defer p.stop()
			ids := p.submit()
			finished := func(n int) func() bool {
				return func() bool {
					over := 0
					for _, j := range p.manager.Jobs() {
						if j.State == schemas.JobFinished {
							over++
						}
					}
					return over >= n
				}
			}
			p.until(finished(3))
			kept := s.Keep()
			p.until(finished(6))
			s.Stop()
			s.Forget(kept, streams...)
			s.Start()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if err := p.manager.Wait(ctx, ids); err != nil {
				for _, j := range p.manager.Jobs() {
					t.Logf("%s of %s is %s", j.ID, j.Item, j.State)
				}
				t.Fatal(err)
			}
			for _, j := range p.manager.Jobs() {
				if j.State != schemas.JobFinished {
					t.Errorf("job %s of %s is %s: %s", j.ID, j.Item, j.State, j.Error)
				}
			}
			if got := p.sink.sorted(); !slices.Equal(got, want) {
				t.Errorf("%d documents, want the same %d", len(got), len(want))
			}
		})
	}
}
