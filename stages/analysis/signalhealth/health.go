// Package signalhealth finds what is wrong with the signals of a recording: gaps, frozen signals, values that cannot be, samples
// marked invalid, steps back in time. Bad data is the largest cause of failed resimulations, so its findings stand beside the
// results.
//
// What a sample that no stage sees was like (invalid, too late) comes from the reader, in tables of faults.
package signalhealth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// health is the state machine of one recording.
type health struct {
	c     *Config
	found []Finding // of the current step

	state
}

// state is kept as JSON: all numbers in it are finite.
type state struct {
	Started     bool
	First, Last int64    // times of the recording's first and last row; with Started
	Tables      []*table // by name
	Counts      []count  // by signal and kind
}

// count is how often one kind was found of one signal.
type count struct {
	Signal, Kind string
	N            int64
}

// take looks at one batch and returns what is known now, in order.
func (h *health) take(in *pipeline.Batch) []Finding {
	h.found = nil
	for _, t := range in.Tables {
		if _, faults := schemas.FaultsOf(t.Name); !faults && t.Rows() > 0 {
			h.spanOf(t.Times())
		}
	}
	for _, t := range in.Tables {
		if t.Rows() == 0 || len(t.Times()) != t.Rows() {
			continue
		}
		if name, faults := schemas.FaultsOf(t.Name); faults {
			h.fault(h.table(name), t)
		} else {
			h.observe(h.table(t.Name), t)
		}
	}
	return h.reported()
}

func (h *health) spanOf(times []int64) {
	first, last := times[0], times[len(times)-1]
	if !h.Started {
		h.Started, h.First, h.Last = true, first, last
	}
	h.First, h.Last = min(h.First, first), max(h.Last, last)
}

func (h *health) table(name string) *table {
	i, ok := slices.BinarySearchFunc(h.Tables, name, func(t *table, n string) int { return strings.Compare(t.Name, n) })
	if !ok {
		h.Tables = slices.Insert(h.Tables, i, &table{Name: name})
	}
	return h.Tables[i]
}

func (h *health) report(f Finding) { h.found = append(h.found, f) }

// reported puts the findings of a step in order, counts them, and leaves out those of which there are too many.
func (h *health) reported() []Finding {
	inOrder(h.found)
	var out []Finding
	for _, f := range h.found {
		c := h.count(f.Signal, f.Kind)
		if c.N++; c.N <= int64(h.c.MaxFindings) {
			out = append(out, f)
		}
	}
	return out
}

func (h *health) count(signal, kind string) *count {
	i, ok := slices.BinarySearchFunc(h.Counts, count{Signal: signal, Kind: kind}, func(a, b count) int {
		return cmp.Or(strings.Compare(a.Signal, b.Signal), strings.Compare(a.Kind, b.Kind))
	})
	if !ok {
		h.Counts = slices.Insert(h.Counts, i, count{Signal: signal, Kind: kind})
	}
	return &h.Counts[i]
}

// end closes the recording.
func (h *health) end(recording string) ([]Finding, Summary) {
	h.found = nil
	for _, b := range h.Tables {
		h.finish(b)
	}
	return h.reported(), h.summary(recording)
}

func (h *health) summary(recording string) Summary {
	s := Summary{Recording: recording, ByKind: map[string]int64{}, DurationS: float64(h.Last-h.First) / 1e9, Tables: []TableSummary{}}
	for _, c := range h.Counts {
		s.Findings += c.N
		s.Reported += min(c.N, int64(h.c.MaxFindings))
		s.ByKind[c.Kind] += c.N
	}
	for _, b := range h.Tables {
		s.Tables = append(s.Tables, b.summary())
	}
	return s
}

func (b *table) summary() TableSummary {
	s := TableSummary{Table: b.Name, Rows: b.Rows, FirstNS: b.First, LastNS: b.Last, PeriodS: float64(b.Period) / 1e9, Gaps: b.Gaps,
		LongestGapS: float64(b.Longest) / 1e9, Invalid: b.Invalid, InvalidShare: b.invalidShare(), StepsBack: b.Back, Dropped: b.Dropped,
		Cut: b.Cut, Signals: []SignalSummary{}}
	for i := range b.Columns {
		c := &b.Columns[i]
		g := SignalSummary{Signal: b.Name + "." + c.Name, Values: c.Values, Frozen: c.Frozen, OutOfRange: c.Out}
		if c.Values > 0 {
			g.Min, g.Max = &c.Min, &c.Max
		}
		s.Signals = append(s.Signals, g)
	}
	return s
}

func (h *health) snapshot() ([]byte, error) { return json.Marshal(h.state) }

func (h *health) restore(data []byte) error {
	h.state = state{}
	if err := json.Unmarshal(data, &h.state); err != nil {
		return fmt.Errorf("state of signal-health: %w", err)
	}
	return nil
}

// words says what values can be.
func (l limits) words() string {
	switch {
	case math.IsInf(l.min, -1):
		return fmt.Sprintf("at most %g", l.max)
	case math.IsInf(l.max, 1):
		return fmt.Sprintf("at least %g", l.min)
	}
	return fmt.Sprintf("%g to %g", l.min, l.max)
}
