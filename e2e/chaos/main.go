// Command chaos runs pipelines while it kills, freezes, cuts off and misleads everything they run on, and compares every byte
// that comes out with the same pipelines computed without any transport.
//
//	chaos [-broker embedded,nats,r3,kafka] [-seed N] [-duration 60s] [-naive] [-keep DIR]
//
// A run on each of the brokers is made of rounds, each on fresh state, until the duration is over and enough has died: 20 workers and 5 servers. What is
// done when follows from the seed; what it meets does not, since the machine has its own pace. The closing table says what
// happened. Exit code 1: something came out wrong, or, with -naive, nothing did: then the harness is blind. 2: it could not be
// tried.
//
// # How it is made
//
//   - system.go is what a broker has to have to be attacked: how it starts, where workers find it, what can be done to it. One
//     implementation for each -broker.
//   - crew.go has the worker processes and starts those that die, as whoever runs them would. attack.go draws what happens next.
//   - package oracle computes what should come out; package linear judges the history of all appends; packages ordeal and clock
//     are stages full of poison, and binaries whose clock can be set.
//   - round.go puts it together, report.go is the table.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/oracle"
	"github.com/milepost-dev/milepost/e2e/chaos/ordeal"
)

// Exit codes.
const (
	exitDone  = 0
	exitWrong = 1
	exitUsage = 2
)

// A run that is to say anything has at least so many deaths.
const (
	leastDeaths = 20
	leastKills  = 5
)

// options are the command line.
type options struct {
	broker   string
	seed     uint64
	duration time.Duration
	naive    bool
	keep     string
	milepost string
	server   string
	oracle   bool
}

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "nats", "embedded, nats (one server), r3 (three servers, three copies), kafka (one server), or several of them, one after another")
	flag.Uint64Var(&o.seed, "seed", 0, "what happens; 0 draws one")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long to go on at least")
	flag.BoolVar(&o.naive, "naive", false, "the negative control: at least once, as everybody does it, which has to come out wrong")
	flag.StringVar(&o.keep, "keep", "", "folder for what a round with wrong results left behind; none: it is removed")
	flag.StringVar(&o.milepost, "milepost", "", "milepost-chaos as this command would build it; none: it does")
	flag.StringVar(&o.server, "nats-server", "", "the same of nats-server")
	flag.BoolVar(&o.oracle, "oracle", false, "compute pipelines.yaml of this folder without a transport, and print the results")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := start(ctx, o)
	stop()
	os.Exit(code)
}

func start(ctx context.Context, o options) int {
	if o.oracle {
		if err := foretell(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "chaos: oracle:", err)
			return exitUsage
		}
		return exitDone
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	for name := range strings.SplitSeq(o.broker, ",") {
		if systems[name] == nil {
			fmt.Fprintf(os.Stderr, "chaos: there is no broker %q\n", name)
			return exitUsage
		}
	}
	fmt.Printf("chaos: broker %s, seed %d, %s%s\n", o.broker, o.seed, o.duration, map[bool]string{true: ", naive"}[o.naive])
	dir, err := os.MkdirTemp("", "milepost-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitUsage
	}
	defer os.RemoveAll(dir)
	t, want, err := prepare(ctx, o, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitUsage
	}
	code := exitDone
	for _, o.broker = range strings.Split(o.broker, ",") {
		h := &harness{o: o, dir: filepath.Join(dir, o.broker), rng: rand.New(rand.NewPCG(o.seed, 0)), tools: t, want: want}
		code = max(code, h.start(ctx))
	}
	return code
}

// start runs on one broker and prints the table.
func (h *harness) start(ctx context.Context) int {
	err := h.run(ctx)
	h.report.print(os.Stdout, h.o)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitUsage
	case h.report.wrong(h.o.naive) != h.o.naive:
		if h.o.naive {
			fmt.Println("the naive mode came out right: the harness is blind")
		}
		return exitWrong
	}
	return exitDone
}

// foretell is what the harness starts itself for, so that the paths in the file mean what they mean to the workers.
func foretell(ctx context.Context) error {
	ordeal.Harmless = true
	r, err := oracle.Compute(ctx, ordeal.Registry(), pipelinesFile, "state")
	if err != nil {
		return err
	}
	if err := collectFiles(ctx, r, "."); err != nil {
		return err
	}
	data, err := oracle.Encode(r)
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

// stateOf is the state directory of the owner in a round's folder.
func stateOf(dir string) string { return filepath.Join(dir, "state") }
