// Command corpus replays a folder of recordings through reader → AEB → KPI with the built binary and compares what comes out
// with expected files.
//
//	corpus -milepost bin/milepost -roadlogs DIR -out DIR [-expected DIR]
//
// Every recording that DIR/signals.json binds is replayed on embedded JetStream with a fresh state; OUT gets
// <file name without extension>.json for each and fleet.json. Nothing but OUT is written to. Exit code 1: a recording failed,
// or a file differs, is missing or superfluous; 2: it could not be tried.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
)

// Exit codes.
const (
	exitDone  = 0
	exitDiffs = 1
	exitUsage = 2
)

// options are the command line.
type options struct {
	milepost, roadlogs, out, expected string
}

func main() {
	var o options
	flag.StringVar(&o.milepost, "milepost", "bin/milepost", "the built binary")
	flag.StringVar(&o.roadlogs, "roadlogs", "", "folder of recordings with signals.json and dbc/")
	flag.StringVar(&o.out, "out", "", "folder for the results, made if missing")
	flag.StringVar(&o.expected, "expected", "", "folder of expected results; none: nothing is compared")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, o, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run replays, stores, compares and prints; it returns the exit code.
func run(ctx context.Context, o options, stdout, stderr io.Writer) int {
	found, err := o.check()
	if err != nil {
		fmt.Fprintln(stderr, "corpus:", err)
		return exitUsage
	}
	results, err := replay(ctx, o, found, stderr)
	if err == nil {
		err = results.store(o.out, found)
	}
	if err != nil {
		fmt.Fprintln(stderr, "corpus:", err)
		return exitUsage
	}
	t := tally{stdout: stdout, problems: map[string][]string{}}
	t.produced(found, results)
	if o.expected != "" {
		t.compare(o.expected, results)
	}
	return t.close()
}

// check makes the paths absolute, since the binary runs elsewhere, and finds the recordings.
func (o *options) check() (*recordings, error) {
	for _, p := range []struct {
		path *string
		flag string
	}{{&o.milepost, "milepost"}, {&o.roadlogs, "roadlogs"}, {&o.out, "out"}} {
		if *p.path == "" {
			return nil, fmt.Errorf("-%s is not given; usage: make corpus ROADLOGS=dir OUT=dir [EXPECTED=dir]", p.flag)
		}
		abs, err := filepath.Abs(*p.path)
		if err != nil {
			return nil, err
		}
		*p.path = abs
	}
	if o.expected != "" {
		if st, err := os.Stat(o.expected); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("EXPECTED=%s is not a folder", o.expected)
		}
	}
	return findRecordings(o.roadlogs)
}

// A tally collects what is wrong with each file, and counts.
type tally struct {
	stdout   io.Writer
	files    []string            // seen so far
	problems map[string][]string // by file
}

func (t *tally) see(file string) {
	if !slices.Contains(t.files, file) {
		t.files = append(t.files, file)
	}
}

func (t *tally) problem(file, format string, args ...any) {
	t.see(file)
	t.problems[file] = append(t.problems[file], fmt.Sprintf(format, args...))
}

// produced notes which of the recordings gave a result.
func (t *tally) produced(found *recordings, results results) {
	for _, name := range found.missing {
		t.problem(resultFile(name), "%s is bound by %s, but there is no such file", name, bindingsFile)
	}
	for _, name := range found.names {
		file := resultFile(name)
		t.see(file)
		if _, ok := results[file]; !ok {
			t.problem(file, "%s gave no result", name)
		}
	}
	t.see(fleetFile)
	if _, ok := results[fleetFile]; !ok {
		t.problem(fleetFile, "there is no fleet result")
	}
}

// compare notes every difference from the expected files.
func (t *tally) compare(dir string, results results) {
	expected, err := filepath.Glob(filepath.Join(escape(dir), "*.json"))
	if err != nil {
		t.problem(dir, "%v", err)
	}
	known := map[string]bool{}
	for _, path := range expected {
		file := filepath.Base(path)
		got, ok := results[file]
		if file == readerFile && !ok {
			continue
		}
		known[file] = true
		if !ok {
			t.problem(file, "is expected, and was not produced")
			continue
		}
		t.see(file)
		want, err := os.ReadFile(path)
		if err != nil {
			t.problem(file, "%v", err)
			continue
		}
		for _, d := range compareJSON(got, want) {
			t.problem(file, "%s", d)
		}
	}
	for file := range results {
		if !known[file] {
			t.problem(file, "was produced, and is not expected")
		}
	}
}

// shown is how many problems of one file are printed.
const shown = 50

// close prints everything, with the counts on the last line.
func (t *tally) close() int {
	slices.Sort(t.files)
	for _, file := range t.files {
		list := t.problems[file]
		for k, p := range list {
			if k == shown {
				fmt.Fprintf(t.stdout, "%s: and %d more\n", file, len(list)-shown)
				break
			}
			fmt.Fprintf(t.stdout, "%s: %s\n", file, p)
		}
	}
	fmt.Fprintf(t.stdout, "%d passed, %d failed\n", len(t.files)-len(t.problems), len(t.problems))
	if len(t.problems) > 0 {
		return exitDiffs
	}
	return exitDone
}
