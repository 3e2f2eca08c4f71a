// Command mf4 compares readers of MDF 4 files: it generates files of a kind each, lets this program and its peers from PyPI decode
// every sample of them in turn, and prints what each took. See docs/bench-mf4.md.
//
//	mf4 -milepost bin/milepost -dir DIR [-python PYTHON] [-rounds 5] [-files ABCDE] [-scale 1]
//
// Files that stand in DIR already are used as they are, whoever has written them: A.mf4 to E.mf4, and bench.dbc for D.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	var o options
	flag.StringVar(&o.milepost, "milepost", "bin/milepost", "the built binary")
	flag.StringVar(&o.dir, "dir", "", "where the files are, or are to be generated: 1.5 GB")
	flag.StringVar(&o.python, "python", "", "a Python with asammdf and mdfr; without it only this program is measured")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each reader reads each file")
	flag.StringVar(&o.files, "files", "ABCDE", "files to read; G is ten gigabytes, read by this program alone")
	flag.Float64Var(&o.scale, "scale", 1, "records of generated files, as a share of the usual")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type options struct {
	milepost, dir, python, files string
	rounds                       int
	scale                        float64
}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		return fmt.Errorf("-dir is missing: where the files are to be")
	}
	for _, name := range o.files {
		if err := generate(o.dir, string(name), o.scale); err != nil {
			return fmt.Errorf("generate %c: %w", name, err)
		}
	}
	readers, err := readers(o)
	if err != nil {
		return err
	}
	var all []measurement
	for _, name := range o.files {
		m, err := measure(ctx, filepath.Join(o.dir, string(name)+".mf4"), string(name), readers, o.rounds)
		if err != nil {
			return err
		}
		all = append(all, m...)
	}
	return report(os.Stdout, all)
}
