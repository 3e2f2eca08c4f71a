// Command mf4damage damages copies of MDF 4 files, seeded, and hands each to the binary. Whatever the damage, the binary has
// to end, without a panic, within -seconds of processor time and -megabytes of memory.
//
//	go run ./e2e/mf4damage -milepost bin/milepost -corpus FOLDER -files 2000 -seed 1
//
// A file that breaks a rule is kept in the folder that is printed, by the number that makes it again: -only NUMBER.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	binary, corpus     string
	files, only        int
	seed               uint64
	seconds, megabytes float64
}

func main() {
	var o options
	flag.StringVar(&o.binary, "milepost", "bin/milepost", "the binary under test")
	flag.StringVar(&o.corpus, "corpus", "../shared/mf4", "folder of MDF 4 files, searched with all below it")
	flag.IntVar(&o.files, "files", 2000, "how many damaged files to make")
	flag.IntVar(&o.only, "only", -1, "make this one alone")
	flag.Uint64Var(&o.seed, "seed", 1, "of the damage")
	flag.Float64Var(&o.seconds, "seconds", 5, "processor time a file may take")
	flag.Float64Var(&o.megabytes, "megabytes", 256, "memory a file may take")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "mf4damage:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	sources, err := recordings(o.corpus)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mf4damage")
	if err != nil {
		return err
	}
	r := &runner{options: o, sources: sources, dir: dir}
	r.all()
	fmt.Printf("%d damaged files of %d recordings: %d read to their end, %d refused; at most %.1f s and %.0f MB\n",
		r.done, len(sources), r.read, r.done-r.read-len(r.broken), r.worstSeconds, r.worstMegabytes)
	if len(r.broken) == 0 {
		return os.RemoveAll(dir)
	}
	sort.Strings(r.broken)
	return fmt.Errorf("%d broke a rule, kept in %s:\n%s", len(r.broken), dir, strings.Join(r.broken, "\n"))
}

// recordings lists the files of a folder by name, so that seeds give the same damage everywhere.
func recordings(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.EqualFold(filepath.Ext(path), ".mf4") {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no .mf4 in %s", dir)
	}
	sort.Strings(files)
	return files, err
}

type runner struct {
	options
	sources []string
	dir     string

	mu                           sync.Mutex
	done, read                   int
	worstSeconds, worstMegabytes float64
	broken                       []string
}

func (r *runner) all() {
	numbers := make(chan int)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for n := range numbers {
				r.one(n)
			}
		})
	}
	for n := range r.files {
		if r.only < 0 || r.only == n {
			numbers <- n
		}
	}
	close(numbers)
	wait.Wait()
}

// one makes damaged file number n and has it read: every value in order, every value on all cores, or header, rates and blocks.
func (r *runner) one(n int) {
	source := r.sources[n%len(r.sources)]
	data, err := os.ReadFile(source)
	if err != nil {
		r.note(n, source, outcome{fault: err.Error()})
		return
	}
	random := rand.New(rand.NewPCG(r.seed, uint64(n)))
	file := filepath.Join(r.dir, fmt.Sprintf("%04d.mf4", n))
	if err := os.WriteFile(file, damage(random, data), 0o600); err != nil {
		r.note(n, source, outcome{fault: err.Error()})
		return
	}
	args := []string{"inspect", "--digest", file}
	switch n % 3 {
	case 1:
		args = []string{"inspect", "--decode-all", file}
	case 2:
		args = []string{"inspect", "--blocks", "--channels", "*", file}
	}
	out := r.exec(args)
	if out.fault == "" {
		os.Remove(file)
	}
	r.note(n, source, out)
}

type outcome struct {
	fault              string
	read               bool
	seconds, megabytes float64
}

// hang is after how much longer than allowed a process that does nothing is ended: processor time alone would not end it.
const hang = 12

func (r *runner) exec(args []string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(hang*r.seconds*float64(time.Second)))
	defer cancel()
	c := exec.CommandContext(ctx, r.binary, args...)
	problems := &head{max: 4096}
	c.Stderr = problems
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return outcome{fault: err.Error()}
	}
	out := outcome{read: err == nil}
	used, _ := c.ProcessState.SysUsage().(*syscall.Rusage)
	out.seconds = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
	out.megabytes = float64(used.Maxrss) / 1024
	text := problems.String()
	switch {
	case ctx.Err() != nil:
		out.fault = "hangs"
	case strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") || c.ProcessState.ExitCode() < 0:
		out.fault = "panics: " + text
	case out.seconds > r.seconds:
		out.fault = fmt.Sprintf("takes %.1f s", out.seconds)
	case out.megabytes > r.megabytes:
		out.fault = fmt.Sprintf("takes %.0f MB", out.megabytes)
	case err != nil && strings.TrimSpace(text) == "":
		out.fault = "fails without a word"
	}
	return out
}

func (r *runner) note(n int, source string, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if o.read && o.fault == "" {
		r.read++
	}
	r.worstSeconds, r.worstMegabytes = max(r.worstSeconds, o.seconds), max(r.worstMegabytes, o.megabytes)
	if o.fault != "" {
		r.broken = append(r.broken, fmt.Sprintf("%04d (%s): %s", n, filepath.Base(source), o.fault))
	}
}

// head keeps the beginning of what is written.
type head struct {
	strings.Builder
	max int
}

func (t *head) Write(p []byte) (int, error) {
	if room := t.max - t.Len(); room > 0 {
		t.Builder.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
