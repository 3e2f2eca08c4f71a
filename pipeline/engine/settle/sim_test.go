package settle

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "run only this schedule of the simulation")
	schedules = flag.Int("schedules", 200_000, "number of schedules of the simulation")
)

// TestSimulation: whatever is disturbed, every schedule comes to rest, and what is stored is what the same pipeline gives
// undisturbed.
func TestSimulation(t *testing.T) {
	n := *schedules
	if testing.Short() {
		n = 5_000
	}
	if *oneSeed != 0 {
		w := &world{}
		w.reset(*oneSeed, false)
		w.tracing = testing.Verbose()
		if s := w.run(); s != "" {
			t.Fatalf("seed %d: %s", *oneSeed, s)
		}
		return
	}
	sum, wrong := simulate(n, false, 3)
	for _, s := range wrong {
		t.Error(s)
	}
	t.Logf("%d schedules: %+v", n, sum)
	if s := sum; s.letters == 0 || s.resumes == 0 || s.crashes == 0 || s.zombies == 0 || s.unknown == 0 || s.stale == 0 || s.trims == 0 || s.cancels == 0 || s.attempts == 0 {
		t.Errorf("something never happened: %+v", s)
	}
}

// TestNaiveIsWrong is the negative control: without chain, comparison and stored attempts the same schedules give wrong
// results, and the simulation says so.
func TestNaiveIsWrong(t *testing.T) {
	const n = 2_000
	_, wrong := simulate(n, true, n)
	if len(wrong) < n/10 {
		t.Fatalf("%d of %d naive schedules are wrong; the simulation should see far more", len(wrong), n)
	}
	t.Logf("%d of %d naive schedules are wrong, such as: %s", len(wrong), n, wrong[0])
}

// TestUndisturbed: with nothing that fails and nobody killed, both modes are right, and each stage stores one attempt at most.
func TestUndisturbed(t *testing.T) {
	for _, naive := range []bool{false, true} {
		w := &world{}
		for seed := range uint64(500) {
			w.reset(seed+1, naive)
			w.faults = 0
			for _, n := range w.stages {
				n.failing, n.flaky, n.cursed, n.grim = false, false, false, 0
			}
			if s := w.run(); s != "" {
				t.Fatalf("naive %v, seed %d: %s", naive, seed+1, s)
			}
			if s := w.stats; s.stale > 0 || s.letters > 0 || s.attempts > len(w.stages) {
				t.Fatalf("seed %d: %+v in %d stages", seed+1, s, len(w.stages))
			}
		}
	}
}

// simulate runs schedules 1 to n on all cores, until so many were wrong.
func simulate(n int, naive bool, enough int) (sum stats, wrong []string) {
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var next, bad atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			w := &world{}
			var mine stats
			for seed := next.Add(1); seed <= int64(n) && bad.Load() < int64(enough); seed = next.Add(1) {
				w.reset(uint64(seed), naive)
				if s := w.run(); s != "" {
					bad.Add(1)
					mu.Lock()
					wrong = append(wrong, fmt.Sprintf("seed %d: %s", seed, s))
					mu.Unlock()
				}
				mine.add(&w.stats)
			}
			mu.Lock()
			sum.add(&mine)
			mu.Unlock()
		})
	}
	wg.Wait()
	return sum, wrong
}

func (s *stats) add(t *stats) {
	s.steps += t.steps
	s.letters += t.letters
	s.resumes += t.resumes
	s.crashes += t.crashes
	s.zombies += t.zombies
	s.unknown += t.unknown
	s.attempts += t.attempts
	s.stale += t.stale
	s.trims += t.trims
	s.cancels += t.cancels
}
