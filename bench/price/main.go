// Command price measures what the guarantee costs: one stage against a loop that somebody wrote by hand with the client of the
// same broker. Both take the same events out of logs that hold them already, four jobs at a time; both wait for the broker to
// have stored what they write. Rounds of both alternate, so that what else the machine does meets both. A round's time is from
// the first event that the stage, or the loop, has in hand to the last thing stored.
//
//	price [-on embedded,nats,kafka] [-sizes 256,1] [-dir DIR] [-rounds 7] [-jobs 16] [-least 0.7]
//
// The loops, and what they promise:
//
//   - embedded: a JetStream server inside the process; pull an event, publish it, ack. At least once.
//   - nats: a nats-server in a process of its own. Each job's events are published behind the one before, which the server checks
//     (Nats-Expected-Last-Subject-Sequence): exactly once, and a zombie is shut out, as for a stage.
//   - kafka: a real broker; transactions that read, process and write, kgo.GroupTransactSession, of the length that a stage's have.
//
// It prints a Markdown table; exit code 1 when a stage's share of the loop's rate is below -least. Beside the rates, which on a busy
// machine say how long threads waited for each other, stands what an event costs in CPU time, the broker's included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const inFlight = 4

// A system is a broker that both work on.
type system interface {
	name() string
	// loop moves the round's events by hand.
	loop(ctx context.Context, r *round) (time.Duration, error)
	// remove takes away what a round made.
	remove(ctx context.Context, r *round) error
	opener
	pid() int // of the broker's process; 0: this one
	close() error
}

// spent is the time and the CPU time that a round took.
type spent struct{ took, cpu time.Duration }

// size is what an event's data is about, and how many a job has: below what a stage may be ahead of consumers that are not there.
type size struct{ bytes, perJob int }

func sizeOf(kib int) size {
	const most = 4000
	return size{kib << 10, min(60*256/kib, most)}
}

type flags struct {
	dir          string
	rounds, jobs int
	sizes        []size
	stageOnly    bool
}

func main() {
	on := flag.String("on", "embedded", "brokers: embedded, nats, kafka; several with commas")
	sizes := flag.String("sizes", "256", "KiB of an event; several with commas")
	dir := flag.String("dir", "", "folder on the disk to be measured; a temporary one without")
	rounds := flag.Int("rounds", 7, "rounds of both")
	jobs := flag.Int("jobs", 16, "jobs of a round")
	least := flag.Float64("least", 0.7, "the least share of the loop's rate")
	profile := flag.String("cpuprofile", "", "write a profile of the stages alone to this file; their loops are left out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	worst, err := run(ctx, *on, *sizes, *profile, flags{dir: *dir, rounds: *rounds, jobs: *jobs, stageOnly: *profile != ""})
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

func run(ctx context.Context, on, sizes, profile string, f flags) (worst float64, err error) {
	for text := range strings.SplitSeq(sizes, ",") {
		kib, err := strconv.Atoi(text)
		if err != nil || kib < 1 || kib > 512 {
			return 0, fmt.Errorf("-sizes %q: want KiB, 1 to 512", sizes)
		}
		f.sizes = append(f.sizes, sizeOf(kib))
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "milepost-price-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(f.dir)
	}
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return 0, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return 0, err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Printf("%d jobs a round, %d of them at a time, %d rounds of both, medians; %s, %d cores\n\n",
		f.jobs, inFlight, f.rounds, runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Println("| broker | event | by hand | a stage, exactly once | share | CPU of an event by hand | in a stage | share |")
	fmt.Println("|---|---|---:|---:|---:|---:|---:|---:|")
	worst = 1e9
	for name := range strings.SplitSeq(on, ",") {
		makers := systems[name]
		if makers == nil {
			return 0, fmt.Errorf("-on %q: want embedded, nats, kafka", on)
		}
		for k, open := range makers {
			share, err := bench(ctx, open, filepath.Join(f.dir, name+strconv.Itoa(k)), f)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			worst = min(worst, share)
		}
	}
	return worst, nil
}

// systems are the brokers by name; the one in the process under both settings of sync.
var systems = map[string][]func(ctx context.Context, dir string) (system, error){
	"embedded": {
		func(ctx context.Context, dir string) (system, error) { return newEmbedded(dir, true) },
		func(ctx context.Context, dir string) (system, error) { return newEmbedded(dir, false) },
	},
	"nats":  {func(ctx context.Context, dir string) (system, error) { return newExternal(ctx, dir) }},
	"kafka": {func(ctx context.Context, dir string) (system, error) { return newKafka(ctx, dir) }},
}

// bench measures all sizes on one broker and returns the lowest share.
func bench(ctx context.Context, open func(context.Context, string) (system, error), dir string, f flags) (worst float64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	s, err := open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer s.close()
	worst = 1e9
	for n, size := range f.sizes {
		loop, stage, err := compare(ctx, s, dir, n, size, f)
		if err != nil {
			return 0, err
		}
		if f.stageOnly {
			fmt.Printf("| %s | %d KiB | | %s | | | %s | |\n", s.name(), size.bytes>>10, rate(median(stage).took, size, f.jobs), each(median(stage).cpu, size, f.jobs))
			continue
		}
		l, e := median(loop), median(stage)
		share := l.took.Seconds() / e.took.Seconds()
		fmt.Printf("| %s | %d KiB | %s | %s | %.2f | %s | %s | %.2f |\n", s.name(), size.bytes>>10, rate(l.took, size, f.jobs), rate(e.took, size, f.jobs), share,
			each(l.cpu, size, f.jobs), each(e.cpu, size, f.jobs), l.cpu.Seconds()/e.cpu.Seconds())
		worst = min(worst, share)
	}
	return worst, nil
}

func compare(ctx context.Context, s system, dir string, n int, size size, f flags) (loop, stage []spent, err error) {
	for k := range f.rounds + 1 { // the first warms up
		r, err := newRound(ctx, s, dir, fmt.Sprintf("p%d-%d", n, k), size, f.jobs)
		if err != nil {
			return nil, nil, err
		}
		var l spent
		if !f.stageOnly {
			if l, err = measured(s, func() (time.Duration, error) { return s.loop(ctx, r) }); err != nil {
				return nil, nil, fmt.Errorf("the loop: %w", err)
			}
		}
		e, err := measured(s, func() (time.Duration, error) { return r.stage(ctx) })
		if err != nil {
			return nil, nil, fmt.Errorf("the stage: %w", err)
		}
		if k > 0 {
			loop, stage = append(loop, l), append(stage, e)
		}
		if err := errors.Join(r.close(), s.remove(ctx, r)); err != nil {
			return nil, nil, err
		}
	}
	return loop, stage, nil
}

// measured adds the CPU time that this process and the broker's have used meanwhile.
func measured(s system, f func() (time.Duration, error)) (spent, error) {
	before, err := used(s.pid())
	if err != nil {
		return spent{}, err
	}
	took, err := f()
	if err != nil {
		return spent{}, err
	}
	after, err := used(s.pid())
	return spent{took, after - before}, err
}

// used is the CPU time of this process, and of another one.
func used(pid int) (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	own := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if pid == 0 {
		return own, nil
	}
	// proc(5): utime and stime are the 14th and 15th field, in hundredths of a second; the second one may hold anything in brackets.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is %q", pid, text)
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return own + time.Duration(ticks)*10*time.Millisecond, nil
}

// median takes the median of the times and that of the CPU times.
func median(list []spent) spent {
	of := func(f func(spent) time.Duration) time.Duration {
		var all []time.Duration
		for _, s := range list {
			all = append(all, f(s))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return spent{of(func(s spent) time.Duration { return s.took }), of(func(s spent) time.Duration { return s.cpu })}
}

func each(cpu time.Duration, s size, jobs int) string {
	return fmt.Sprintf("%.0f µs", float64(cpu.Microseconds())/float64(jobs*s.perJob))
}

func rate(d time.Duration, s size, jobs int) string {
	n := float64(jobs * s.perJob)
	return fmt.Sprintf("%.0f/s, %.0f MB/s", n/d.Seconds(), n*float64(s.bytes)/1e6/d.Seconds())
}
