package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// The peers' side: each script reads a file with the means that its library recommends for reading everything, turns every numeric
// channel into float64, and prints the same line as `milepost inspect --decode-all`.
var (
	//go:embed peers/read_asammdf.py
	readASAMMDF string
	//go:embed peers/read_mdfr.py
	readMDFR string
	//go:embed peers/bus_asammdf.py
	busASAMMDF string
)

// A reader is a program that decodes files.
type reader struct {
	name    string
	files   string // that it can read
	command func(path string) []string
	ours    bool
}

func readers(o options) ([]reader, error) {
	dbc := func(path string) string { return filepath.Join(filepath.Dir(path), "bench.dbc") }
	all := []reader{
		{name: "milepost", files: "ABCEG", ours: true, command: func(path string) []string {
			return []string{o.milepost, "inspect", "--decode-all", path}
		}},
		{name: "milepost", files: "D", ours: true, command: func(path string) []string {
			return []string{o.milepost, "inspect", "--decode-all", path, "--dbc", dbc(path)}
		}},
	}
	if o.python == "" {
		return all, nil
	}
	var names []string
	for _, lib := range []string{"mdfr", "asammdf"} {
		out, err := exec.Command(o.python, "-c", "import importlib.metadata as m; print(m.version('"+lib+"'))").Output()
		if err != nil {
			return nil, fmt.Errorf("%s has no %s: %s -m pip install %s: %w", o.python, lib, o.python, lib, err)
		}
		names = append(names, lib+" "+strings.TrimSpace(string(out)))
	}
	script := func(text string) func(string) []string {
		return func(path string) []string { return []string{o.python, "-c", text, path, dbc(path)} }
	}
	return append(all, reader{name: names[0], files: "ABCE", command: script(readMDFR)},
		reader{name: names[1], files: "ABCE", command: script(readASAMMDF)},
		reader{name: names[1], files: "D", command: script(busASAMMDF)}), nil
}

// A result is the line that a reader prints.
type result struct {
	Channels int     `json:"channels"`
	Samples  uint64  `json:"samples"`
	Check    float64 `json:"check"`
	InnerS   float64 `json:"inner_s"`
}

// A measurement is what a reader took for a file, in every round.
type measurement struct {
	file    string
	bytes   int64
	reader  string
	ours    bool
	result  result
	wall    []time.Duration
	cpu     []time.Duration
	peakRSS int64 // bytes, the most of all rounds
}

// measure lets the readers read a file in turn, so that what else the machine does meets all of them; the file has been read once
// before, so that no reader pays for the disk.
func measure(ctx context.Context, path, file string, all []reader, rounds int) ([]measurement, error) {
	size, err := warm(path)
	if err != nil {
		return nil, err
	}
	var readers []reader
	var out []measurement
	for _, r := range all {
		if strings.Contains(r.files, file) {
			readers = append(readers, r)
			out = append(out, measurement{file: file, bytes: size, reader: r.name, ours: r.ours})
		}
	}
	for range rounds {
		for i, r := range readers {
			if err := out[i].read(ctx, r.command(path)); err != nil {
				return nil, fmt.Errorf("%s reads %s: %w", r.name, path, err)
			}
		}
	}
	for _, m := range out[1:] {
		if err := m.agrees(out[0]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func warm(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(io.Discard, f)
}

// forgetPeak makes this process small: Linux counts what a program has had in memory as a part of the peak of the one that it starts.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere there is no such file, nor such a peak
}

func (m *measurement) read(ctx context.Context, command []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	forgetPeak()
	from := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s", err, log.String())
	}
	m.wall = append(m.wall, time.Since(from))
	m.cpu = append(m.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.peakRSS = max(m.peakRSS, u.Maxrss<<10)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m.result); err != nil {
		return fmt.Errorf("prints %q: %w", lines[len(lines)-1], err)
	}
	return nil
}

// agrees says whether both have decoded the same.
func (m *measurement) agrees(other measurement) error {
	a, b := m.result, other.result
	if a.Channels != b.Channels || a.Samples != b.Samples || math.Abs(a.Check-b.Check) > 1e-9*math.Abs(b.Check) {
		return fmt.Errorf("file %s: %s decodes %+v, %s %+v", m.file, m.reader, a, other.reader, b)
	}
	return nil
}
