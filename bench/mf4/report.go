package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report prints a table in Markdown: walls and CPU times are medians of the rounds, and so is the ratio of walls to ours.
func report(w io.Writer, all []measurement) error {
	ours := map[string]time.Duration{}
	for _, m := range all {
		if m.ours {
			ours[m.file] = median(m.wall)
		}
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s, %d cores, %s, %d rounds, readers in turn, files in the page cache\n\n", processor(), runtime.NumCPU(),
		time.Now().UTC().Format(time.DateOnly), len(all[0].wall))
	fmt.Fprintln(b, "| file | reader | wall s, median | min | CPU s, median | peak RSS MB | wall / milepost's |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|")
	for _, m := range all {
		fmt.Fprintf(b, "| %s | %s | %.2f | %.2f | %.2f | %d | %.1f |\n", m.file, m.reader, median(m.wall).Seconds(),
			slices.Min(m.wall).Seconds(), median(m.cpu).Seconds(), m.peakRSS/1e6, ratio(m, ours[m.file]))
	}
	fmt.Fprintln(b)
	for _, m := range all {
		if m.ours {
			fmt.Fprintf(b, "%s: %d channels, %d samples, check %v, %.0f MB\n", m.file, m.result.Channels, m.result.Samples, m.result.Check,
				float64(m.bytes)/1e6)
		}
	}
	return b.Flush()
}

func ratio(m measurement, ours time.Duration) float64 { return float64(median(m.wall)) / float64(ours) }

func median[T cmp.Ordered](x []T) T {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

// processor is the name of the processor, as Linux tells it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}
