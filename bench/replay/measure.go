package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
)

// A run is one call of the binary.
type run struct {
	milepost   string
	dir        string // of state and results, made
	recordings string // folder with signals.json
	sync       string
}

// A measurement is what came of a run.
type measurement struct {
	name       string
	recordings int
	road       time.Duration // of all recordings
	bytes      int64         // of their files
	peakRSS    int64         // bytes; 0 where the system does not tell
	totals     totals
}

// totals is the last line of --progress json.
type totals struct {
	Nodes   []engine.NodeStatus `json:"totals"`
	TookMS  int64               `json:"took_ms"`
	Mallocs uint64              `json:"mallocs"`
}

const pipelines = `version: 1
transport: { embedded: { dir: ./state, sync: %s } }
sinks:
  results: { json: { path: "./kpi/{item}.json", form: document, types: [aeb.kpi.v1, aeb.fleet.v1] } }
pipelines:
  bench:
    stages:
      - { name: read, uses: reader/mf4, parallelism: %d, with: { paths: [%s], bindings: %s } }
      - { name: aeb, uses: process/aeb, parallelism: %d }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: %d, to: results }
`

// measure runs the binary to its end.
func measure(ctx context.Context, r run) (*measurement, error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	n := runtime.GOMAXPROCS(0)
	text := fmt.Sprintf(pipelines, r.sync, n, strconv.Quote(filepath.Join(r.recordings, "*.mf4")), strconv.Quote(filepath.Join(r.recordings, "signals.json")), n, n)
	if err := os.WriteFile(filepath.Join(r.dir, "pipelines.yaml"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	m := &measurement{}
	c := exec.CommandContext(ctx, r.milepost, "run", "--exit", "--progress", "json", "--listen", "127.0.0.1:0")
	c.Dir = r.dir
	stderr, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	said := m.follow(bufio.NewReader(stderr), c.Process.Pid)
	if err := c.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, said)
	}
	if m.totals.Nodes == nil {
		return nil, fmt.Errorf("the run printed no totals:\n%s", said)
	}
	return m, m.count(r)
}

// follow reads what the run says, and how much memory it has had at most meanwhile.
func (m *measurement) follow(stderr *bufio.Reader, pid int) string {
	var said bytes.Buffer
	for lines := 0; ; lines++ {
		line, err := stderr.ReadBytes('\n')
		if err != nil {
			return said.String()
		}
		counting := bytes.HasPrefix(line, []byte(`{"appends"`))
		if !counting || lines%100 == 0 {
			m.peakRSS = max(m.peakRSS, peakRSS(pid))
		}
		switch {
		case bytes.HasPrefix(line, []byte(`{"totals"`)):
			if err := json.Unmarshal(line, &m.totals); err != nil {
				fmt.Fprintln(&said, err)
			}
		case !counting:
			said.Write(line)
		}
	}
}

// peakRSS is the most memory that a process has had, from /proc; 0 where there is none. What wait4 tells is of no use: a
// child inherits the peak of the process that starts it.
func peakRSS(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}

// count adds up the recordings that have a result.
func (m *measurement) count(r run) error {
	results, err := filepath.Glob(filepath.Join(r.dir, "kpi", "*.json"))
	if err != nil {
		return err
	}
	for _, file := range results {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var result struct {
			Log  string
			KPIs struct {
				Duration float64 `json:"duration_s"`
			}
		}
		if err := json.Unmarshal(data, &result); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if result.Log == "" {
			continue // the fleet
		}
		st, err := os.Stat(filepath.Join(r.recordings, result.Log))
		if err != nil {
			return err
		}
		m.recordings, m.bytes = m.recordings+1, m.bytes+st.Size()
		m.road += time.Duration(result.KPIs.Duration * float64(time.Second))
	}
	if m.recordings == 0 {
		return fmt.Errorf("no result in %s", filepath.Join(r.dir, "kpi"))
	}
	return nil
}
