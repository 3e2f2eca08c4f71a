package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/clock"
	"github.com/milepost-dev/milepost/transport/history"
)

// ackWait is how long a worker may be silent before others take its jobs (package engine); a freeze is longer.
const ackWait = 4 * time.Second

// An attack is what is done to one round: one hand kills and freezes processes, another one strikes at what they run on.
type attack struct {
	crew   *crew
	system system
	clocks []*clock.Clock
	seed   uint64
	ahead  time.Duration // of the server's clock
	calm   time.Duration // for so long the system is left alone: takeovers are measured

	mu     sync.Mutex
	struck []stroke
	errs   []error
}

// A stroke is one blow that was struck.
type stroke struct {
	name     string
	from, to time.Duration
}

// run attacks until ctx ends.
func (a *attack) run(ctx context.Context) {
	var hands sync.WaitGroup
	hands.Go(func() { a.processes(ctx, rand.New(rand.NewPCG(a.seed, 1))) })
	hands.Go(func() {
		if pause(ctx, a.calm) == nil {
			a.grounds(ctx, rand.New(rand.NewPCG(a.seed, 2)))
		}
	})
	hands.Wait()
}

// processes kills and freezes workers.
func (a *attack) processes(ctx context.Context, rng *rand.Rand) {
	var frozen sync.WaitGroup
	defer frozen.Wait()
	freezing := make(chan struct{}, 1)
	for n := 0; pause(ctx, between(rng, 300*time.Millisecond, a.system.tempo().deaths)) == nil; n++ {
		m := a.crew.members[rng.IntN(len(a.crew.members))]
		switch k := rng.IntN(10); {
		case n == 0 && a.calm > 0: // a first one while nothing else happens
			a.crew.members[1].kill()
			if pause(ctx, a.calm-2*time.Second) != nil {
				return
			}
		case k == 0:
			for _, other := range a.crew.members {
				other.kill()
			}
		case k <= 2:
			d := between(rng, ackWait+500*time.Millisecond, 2*ackWait)
			select {
			case freezing <- struct{}{}:
				frozen.Go(func() { m.freeze(ctx, d); <-freezing })
			default:
				m.kill()
			}
		default:
			m.kill()
		}
	}
}

// grounds strikes at the system and at clocks.
func (a *attack) grounds(ctx context.Context, rng *rand.Rand) {
	blows := append(a.system.blows(), blow{"a clock jumps", 2, a.jump})
	for pause(ctx, between(rng, 100*time.Millisecond, 800*time.Millisecond)) == nil {
		b := draw(rng, blows)
		from := history.Now()
		err := b.strike(ctx, rng)
		a.mu.Lock()
		a.struck = append(a.struck, stroke{b.name, from, history.Now()})
		if err != nil && ctx.Err() == nil {
			a.errs = append(a.errs, fmt.Errorf("%s: %w", b.name, err))
		}
		a.mu.Unlock()
	}
}

// jump sets one of the clocks: a worker's by up to a day forth or back. A server's only ever forth: by it JetStream measures how
// long a delivery has been out, so one that is set back hands a dead worker's jobs to others that much later (README).
func (a *attack) jump(_ context.Context, rng *rand.Rand) error {
	by := between(rng, -24*time.Hour, 24*time.Hour)
	if k := rng.IntN(len(a.clocks)); a.system.shared() && (k < len(a.clocks)-1 || !a.system.clocked()) {
		k = min(k, len(a.clocks)-2)
		return a.clocks[k].Set(by)
	}
	a.ahead += by.Abs() / 8
	var errs []error
	for _, c := range a.clocks[len(a.clocks)-1:] {
		errs = append(errs, c.Set(a.ahead))
	}
	if !a.system.shared() { // its worker's clock is its own
		errs = append(errs, a.clocks[0].Set(a.ahead))
	}
	return errors.Join(errs...)
}
