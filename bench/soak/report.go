package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// limits of what may grow.
const (
	grown        = 1.2
	residueBytes = 64e3 // may stay in the streams of each recording that is over: its last records, but not its events
	jobBytes     = 4e3  // of each job, from its submission on
)

// report prints the table and says whether all is flat.
func report(w io.Writer, list []sample) (flat bool) {
	fmt.Fprintln(w, "| after | jobs | recordings over | RSS, MB | heap, MB | goroutines | files | streams, MB |")
	fmt.Fprintln(w, "|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, s := range list {
		fmt.Fprintf(w, "| %s | %d | %d | %.0f | %.0f | %.0f | %.0f | %.1f |\n", s.at.Round(time.Second), s.jobs, s.over, s.rss, s.heap, s.goroutines, s.files, s.streams)
	}
	warm := list[len(list)/6:]
	if len(warm) < 6 {
		fmt.Fprintln(w, "\nit was too short to say anything")
		return false
	}
	first, last := warm[:len(warm)/3], warm[2*len(warm)/3:]
	flat = true
	for _, c := range []struct {
		what string
		of   func(sample) float64
	}{
		{"RSS", func(s sample) float64 { return s.rss }},
		{"goroutines", func(s sample) float64 { return s.goroutines }},
		{"files", func(s sample) float64 { return s.files }},
		{"streams, without what jobs leave", sample.passing},
	} {
		a, b := middle(first, c.of), middle(last, c.of)
		fmt.Fprintf(w, "\n%s: %.0f in the first third, %.0f in the last\n", c.what, a, b)
		flat = flat && b <= a*grown
	}
	return flat
}

// passing is what the streams hold of jobs that are worked on, MB: it comes and goes.
func (s sample) passing() float64 {
	return s.streams - (jobBytes*float64(s.jobs)+residueBytes*float64(s.over))/1e6
}

func middle(list []sample, of func(sample) float64) float64 {
	var values []float64
	for _, s := range list {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
