package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// work is where the time of all workers went.
type work struct{ decode, events, encode, append, process, sink time.Duration }

// work adds up the nodes. A stage's own code includes the encoding of what it emits, which is told apart here.
func (m *measurement) work() (w work) {
	for _, n := range m.totals.Nodes {
		own := n.StepTotal - n.EncodeTotal
		switch n.Role {
		case pipeline.RoleReader:
			w.decode += own
		case pipeline.RoleSink:
			w.sink += own
		default:
			w.process += own
		}
		w.events += n.DecodeTotal
		w.encode += n.EncodeTotal
		w.append += n.AppendTotal
	}
	return w
}

// events is how many were stored, and their bytes.
func (m *measurement) events() (n, bytes int64) {
	for _, s := range m.totals.Nodes {
		n, bytes = n+s.Out, bytes+s.OutBytes
	}
	return n, bytes
}

func (m *measurement) seconds() float64 { return float64(m.totals.TookMS) / 1000 }

// report prints the table.
func report(w io.Writer, machine string, runs ...*measurement) error {
	fmt.Fprintf(w, "Measured on %s.\n\n| |", machine)
	for _, m := range runs {
		fmt.Fprintf(w, " %s |", m.name)
	}
	fmt.Fprint(w, "\n|---|"+strings.Repeat("---:|", len(runs))+"\n")
	for _, row := range rows {
		fmt.Fprintf(w, "| %s |", row.name)
		for _, m := range runs {
			fmt.Fprintf(w, " %s |", row.value(m))
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprint(w, "\nShares are of the time of all workers, waiting for the broker included.\n")
	return err
}

// rows of the table, in order.
var rows = []struct {
	name  string
	value func(m *measurement) string
}{
	{"road", func(m *measurement) string {
		return fmt.Sprintf("%.0f s in %.1f s", m.road.Seconds(), m.seconds())
	}},
	{"road seconds a second", func(m *measurement) string { return fmt.Sprintf("%.0f", m.road.Seconds()/m.seconds()) }},
	{"recordings read", func(m *measurement) string { return fmt.Sprintf("%.1f MB/s", float64(m.bytes)/1e6/m.seconds()) }},
	{"events stored", func(m *measurement) string {
		n, bytes := m.events()
		return fmt.Sprintf("%.0f/s, %.1f MB/s", float64(n)/m.seconds(), float64(bytes)/1e6/m.seconds())
	}},
	{"allocations an event", func(m *measurement) string {
		n, _ := m.events()
		return fmt.Sprintf("%.0f", float64(m.totals.Mallocs)/float64(max(1, n)))
	}},
	{"peak RSS", func(m *measurement) string { return fmt.Sprintf("%.0f MB", float64(m.peakRSS)/1e6) }},
	{"share of decoding MDF", share(func(w work) time.Duration { return w.decode })},
	{"share of decoding events", share(func(w work) time.Duration { return w.events })},
	{"share of encoding events", share(func(w work) time.Duration { return w.encode })},
	{"share of appending", share(func(w work) time.Duration { return w.append })},
	{"share of processing", share(func(w work) time.Duration { return w.process })},
	{"share of sinks", share(func(w work) time.Duration { return w.sink })},
}

func share(of func(work) time.Duration) func(*measurement) string {
	return func(m *measurement) string {
		w := m.work()
		all := w.decode + w.events + w.encode + w.append + w.process + w.sink
		return fmt.Sprintf("%.1f %%", 100*of(w).Seconds()/max(all.Seconds(), 1e-9))
	}
}

// machine describes where it was measured.
func machine() string {
	cpu := field("/proc/cpuinfo", "model name")
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	text := fmt.Sprintf("%s, %d cores", cpu, runtime.NumCPU())
	var kib float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kib); err == nil {
		text += fmt.Sprintf(", %.0f GB", kib*1024/1e9)
	}
	return fmt.Sprintf("%s, %s, %s", text, runtime.GOOS, runtime.Version())
}

// field is the value of the first line of a file of /proc with that name; "" without.
func field(file, name string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
