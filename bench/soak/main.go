// Command soak runs the built binary at full load for a long time and looks whether it grows: memory, goroutines, open files, and
// what the streams hold.
//
//	soak -milepost bin/milepost [-duration 30m]
//
// One `milepost run` replays the samples under ever new names (hard links) as fast as it can, on embedded JetStream, and is
// interrupted at the end. It prints a Markdown table of about thirty rows. Exit code 1: the median of the last third is more than a
// fifth above that of the first third behind the warm-up (a sixth of the time), in memory, goroutines, files, or what the streams hold beside
// 64 KB of each recording that is over (something of each has to stay, its last records, but not its events) and 4 KB of each job.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	milepost := flag.String("milepost", "bin/milepost", "the built binary")
	duration := flag.Duration("duration", 30*time.Minute, "how long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	flat, err := soak(ctx, *milepost, *duration)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	case !flat:
		os.Exit(1)
	}
}

// A sample is what one look at the process gave.
type sample struct {
	at         time.Duration
	rss, heap  float64 // MB
	goroutines float64
	files      float64
	streams    float64 // MB on the disk
	jobs, over int
}

// soak starts the run, looks at it again and again, and interrupts it.
func soak(ctx context.Context, milepost string, d time.Duration) (flat bool, err error) {
	if milepost, err = filepath.Abs(milepost); err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "milepost-soak-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := prepare(dir, int(d.Seconds()*perSecond)); err != nil {
		return false, err
	}
	c := exec.CommandContext(ctx, milepost, "run", "-f", "pipelines.yaml", "--state", "state", "--exit", "--progress", "none", "--listen", "127.0.0.1:0")
	c.Dir = dir
	said := &address{found: make(chan string, 1)}
	c.Stderr = said
	if err := c.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	list, err := watch(ctx, c.Process.Pid, said, filepath.Join(dir, "state", "jetstream"), d, ended)
	if err != nil {
		return false, fmt.Errorf("%w\n%s", err, said.all())
	}
	return report(os.Stdout, list), nil
}

// perSecond is how many recordings are there for each second: more than are replayed.
const perSecond = 4

// watch looks at the process until the time is over or it has no more to do.
func watch(ctx context.Context, pid int, said *address, store string, d time.Duration, ended <-chan error) (list []sample, err error) {
	var url string
	select {
	case url = <-said.found:
	case err := <-ended:
		return nil, fmt.Errorf("it ended at once: %w", err)
	}
	began, every := time.Now(), time.NewTicker(d/30)
	defer every.Stop()
	for time.Since(began) < d {
		select {
		case <-every.C:
			s, err := look(ctx, pid, url, store)
			if err != nil {
				return nil, err
			}
			s.at = time.Since(began)
			list = append(list, s)
		case err := <-ended:
			return list, err
		}
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Signal(os.Interrupt)
	}
	if err != nil {
		return nil, err
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != interrupted {
		return nil, fmt.Errorf("interrupted, it ended with %w", err)
	}
	return list, nil
}

const interrupted = 130 // exit code

// prepare makes the pipelines file and so many recordings.
func prepare(dir string, recordings int) error {
	found, err := filepath.Glob("samples/*.mf4")
	if err != nil || len(found) == 0 {
		return fmt.Errorf("run this in the repository's folder: no samples (%w)", err)
	}
	drives := filepath.Join(dir, "drives")
	if err := os.CopyFS(filepath.Join(drives, "of"), os.DirFS("samples")); err != nil {
		return err
	}
	for k := range recordings {
		name := filepath.Base(found[k%len(found)])
		link := fmt.Sprintf("sim_%06d_%s", k, strings.TrimPrefix(name, "sim_")) // so that long and short ones take turns
		if err := os.Link(filepath.Join(drives, "of", name), filepath.Join(drives, link)); err != nil {
			return err
		}
	}
	bindings, err := os.ReadFile("samples/signals.yaml")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(drives, "of", "links.yaml"), linked(bindings), 0o600),
		os.WriteFile(filepath.Join(dir, "pipelines.yaml"), pipelines(drives), 0o600))
}

// linked makes the samples' bindings those of their links.
func linked(bindings []byte) []byte {
	return bytes.ReplaceAll(bindings, []byte("sim_city"), []byte("sim_*_city"))
}

// pipelines replays the drives at the highest speed.
func pipelines(drives string) []byte {
	quoted := func(p string) string { text, _ := json.Marshal(p); return string(text) }
	return fmt.Appendf(nil, `version: 1
sinks:
  results: { json: { path: "./out/{item}.json", types: [aeb.kpi.v1], form: document } }
  rows: { sqlite: { path: ./rows.db } }
pipelines:
  soak:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 4, with: { paths: [%s], bindings: %s, slice_max: 1s } }
      - { name: aeb, uses: process/aeb, parallelism: 4 }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: 4, to: [results, rows] }
      - { name: health, uses: analysis/signal-health, from: read }
`, quoted(filepath.Join(drives, "*.mf4")), quoted(filepath.Join(drives, "of", "links.yaml")))
}

// look reads what the process holds.
func look(ctx context.Context, pid int, url, store string) (s sample, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			s.rss = kb / 1024
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return s, err
	}
	s.files = float64(len(files))
	err = filepath.WalkDir(store, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // a file of the moment
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			s.streams += float64(i.Size()) / 1e6
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	return s, s.metrics(ctx, url)
}

func (s *sample) metrics(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, " ")
		n, _ := strconv.ParseFloat(value, 64)
		if strings.HasPrefix(name, `milepost_jobs{pipeline="soak"`) {
			s.jobs += int(n)
		}
		switch name {
		case "go_goroutines":
			s.goroutines = n
		case "go_memstats_heap_inuse_bytes":
			s.heap = n / 1e6
		case `milepost_jobs{pipeline="soak",state="finished"}`:
			s.over = int(n)
		}
	}
	return nil
}

// address finds the dashboard's address in what the run says.
type address struct {
	mu    sync.Mutex
	text  string
	found chan string
	told  bool
}

func (a *address) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text += string(p)
	if _, rest, ok := strings.Cut(a.text, "http://"); ok && !a.told && strings.ContainsAny(rest, "/\n") {
		host, _, _ := strings.Cut(rest, "/")
		a.told = true
		a.found <- "http://" + strings.TrimSpace(host)
	}
	return len(p), nil
}

func (a *address) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text
}
