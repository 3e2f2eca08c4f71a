// Command price measures what the guarantee costs: one stage over one JetStream server inside the process, against a plain loop
// on the same server that pulls an event, publishes one, and acks, which is at least once. Both take the same events of 256 KiB
// out of streams that hold them already, four jobs at a time; both wait for the server to have stored what they publish. Rounds
// of both alternate, so that what else the machine does meets both.
//
//	price [-dir DIR] [-rounds 7] [-jobs 16] [-least 0.7]
//
// It prints a Markdown table; exit code 1 when the stage's share of the plain loop's rate is below -least.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

const (
	eventBytes = 256 << 10
	perJob     = 60 // events: below what a stage may be ahead of consumers that are not there
	inFlight   = 4
)

func main() {
	dir := flag.String("dir", "", "folder on the disk to be measured; a temporary one without")
	rounds := flag.Int("rounds", 7, "rounds of both")
	jobs := flag.Int("jobs", 16, "jobs of a round")
	least := flag.Float64("least", 0.7, "the least share of the plain loop's rate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	worst, err := bench(ctx, *dir, *rounds, *jobs)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "price:", err)
		os.Exit(2)
	case worst < *least:
		fmt.Printf("\nthe stage's share is %.2f, below %.2f\n", worst, *least)
		os.Exit(1)
	}
}

// bench measures under both settings of sync and returns the lower share.
func bench(ctx context.Context, dir string, rounds, jobs int) (worst float64, err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "milepost-price-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
	}
	fmt.Printf("%d events of %d KiB a round, %d jobs of them at a time, %d rounds of both; %s, %d cores\n\n",
		jobs*perJob, eventBytes>>10, inFlight, rounds, runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Println("| sync | plain pull, publish, ack | a stage, exactly once | share |")
	fmt.Println("|---|---:|---:|---:|")
	worst = 1e9
	for _, always := range []bool{true, false} {
		name := map[bool]string{true: "always", false: "later"}[always]
		plain, stage, err := compare(ctx, filepath.Join(dir, name), always, rounds, jobs)
		if err != nil {
			return 0, err
		}
		share := median(plain).Seconds() / median(stage).Seconds()
		fmt.Printf("| %s | %s | %s | %.2f |\n", name, rate(median(plain), jobs), rate(median(stage), jobs), share)
		worst = min(worst, share)
	}
	return worst, nil
}

func compare(ctx context.Context, dir string, always bool, rounds, jobs int) (plain, stage []time.Duration, err error) {
	s, err := newServer(ctx, dir, always)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	for k := range rounds + 1 { // the first warms up
		r, err := s.newRound(ctx, k, jobs)
		if err != nil {
			return nil, nil, err
		}
		p, err := r.plain(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("plain loop: %w", err)
		}
		e, err := r.stage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("stage: %w", err)
		}
		if k > 0 {
			plain, stage = append(plain, p), append(stage, e)
		}
		if err := r.remove(ctx); err != nil {
			return nil, nil, err
		}
	}
	return plain, stage, nil
}

func median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func rate(d time.Duration, jobs int) string {
	n := float64(jobs * perJob)
	return fmt.Sprintf("%.0f/s, %.0f MB/s", n/d.Seconds(), n*eventBytes/1e6/d.Seconds())
}
