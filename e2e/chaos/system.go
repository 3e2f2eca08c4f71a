package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/transport"
)

// A system is a broker that can be attacked: what has to be written for another one. Its store lies on a small disk of its own.
type system interface {
	// start brings it up.
	start(ctx context.Context) error
	// transport is the block of the pipelines file by which workers find it, through whatever can be cut. It is asked once the
	// system was started.
	transport() string
	// shared says whether other processes than the owner of the jobs can reach it. Where they cannot, the owner is the only
	// worker, its death is the broker's, and its state lies where the broker's would.
	shared() bool
	// open connects to it past all that can be cut, to read what it holds. It is called when the owner has left.
	open(ctx context.Context) (transport.Broker, error)
	// tempo is how a round is attacked.
	tempo() tempo
	// blows are what can be done to it.
	blows() []blow
	// heal brings up what is down and joins what is cut.
	heal(ctx context.Context) error
	// clocked says whether its servers have a clock that can be set.
	clocked() bool
	// allows is what it may do that others may not.
	allows() linear.Allowance
	// kills is how often a server of it was killed.
	kills() int
	// stop ends it.
	stop()
}

// A tempo leaves what is struck the time to come up again, and to do some work before it is struck once more.
type tempo struct {
	attacked time.Duration // for so long
	deaths   time.Duration // at most between two deaths of processes
}

// A blow is one thing that can be done. It returns when it is over, healed but for what is to stay.
type blow struct {
	name   string
	weight int
	strike func(ctx context.Context, rng *rand.Rand) error
}

// systems by name.
var systems = map[string]func(tools tools, dir string) (system, error){
	"embedded": newEmbedded,
	"nats":     newServer,
	"r3":       newCluster,
	"kafka":    newKafka,
}

// tools are the binaries, and what sets their clock.
type tools struct {
	milepost, server string
	env              []string
}

// draw picks one of the blows by weight.
func draw(rng *rand.Rand, blows []blow) blow {
	sum := 0
	for _, b := range blows {
		sum += b.weight
	}
	n := rng.IntN(sum)
	for _, b := range blows {
		if n -= b.weight; n < 0 {
			return b
		}
	}
	return blows[0]
}

// pause waits; it is an error when the run is to end before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// between draws a duration.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)+1))
}

// until tries something that comes true by itself.
func until(ctx context.Context, what string, limit time.Duration, ok func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ok(limited)
		if err == nil {
			return nil
		}
		if pause(limited, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}
