// Command replay measures the built binary: one run over the corpus and one over a generated drive of many hours, whose memory
// must be the same. It prints a Markdown table for the README, with the machine.
//
//	replay -milepost bin/milepost -roadlogs DIR [-hours 10]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	milepost := flag.String("milepost", "bin/milepost", "the built binary")
	roadlogs := flag.String("roadlogs", "", "folder of recordings with signals.json")
	hours := flag.Float64("hours", 10, "length of the generated drive")
	sync := flag.String("sync", "always", "when the embedded broker writes through to the disk: always, or a duration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := bench(ctx, *milepost, *roadlogs, *sync, time.Duration(*hours*float64(time.Hour)))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

// bench runs both and prints.
func bench(ctx context.Context, milepost, roadlogs, sync string, length time.Duration) error {
	if roadlogs == "" {
		return fmt.Errorf("-roadlogs is not given; usage: make bench ROADLOGS=dir")
	}
	milepost, err := filepath.Abs(milepost)
	if err != nil {
		return err
	}
	if roadlogs, err = filepath.Abs(roadlogs); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "milepost-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	corpus, err := measure(ctx, run{milepost: milepost, dir: filepath.Join(tmp, "corpus"), recordings: roadlogs, sync: sync})
	if err != nil {
		return err
	}
	corpus.name = fmt.Sprintf("corpus, %d recordings", corpus.recordings)
	drive := filepath.Join(tmp, "drive")
	if err := writeDrive(drive, length); err != nil {
		return fmt.Errorf("write the long drive: %w", err)
	}
	long, err := measure(ctx, run{milepost: milepost, dir: filepath.Join(tmp, "long"), recordings: drive, sync: sync})
	if err != nil {
		return err
	}
	long.name = fmt.Sprintf("one drive of %g h", length.Hours())
	return report(os.Stdout, machine(), corpus, long)
}
