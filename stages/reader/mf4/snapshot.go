package mf4

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/milepost-dev/milepost/pipeline"
)

// A state is what a snapshot holds, as JSON: no rows, but up to where they were delivered and where to read on. Nothing in
// it depends on how far was read ahead.
type state struct {
	Delivered int64     `json:"delivered"`
	Reported  int64     `json:"reported"`
	Origin    *int64    `json:"origin,omitempty"`
	Sources   []*place  `json:"sources"` // null: from the start
	Seen      [][2]bool `json:"seen"`    // whether each stream, and that of its faults, had rows
	Raster    *gridRow  `json:"raster,omitempty"`
}

// A gridRow is the last row of a resampler.
type gridRow struct {
	Next    int64      `json:"next"`
	Started bool       `json:"started"`
	Rows    [][]uint64 `json:"rows"` // bits of the values of each stream, as NaN is no JSON; null before the first sample
}

// Snapshot says where the next slice starts.
func (r *recordingReader) Snapshot(context.Context) ([]byte, error) {
	st := state{Delivered: r.delivered, Reported: r.reported, Origin: r.origin}
	for _, s := range r.plan.sources {
		st.Sources = append(st.Sources, s.place(r.delivered))
	}
	for _, s := range r.plan.streams {
		st.Seen = append(st.Seen, [2]bool{s.any, s.faults.any})
	}
	if r.resample != nil {
		st.Raster = r.resample.snapshot()
	}
	return json.Marshal(st)
}

// Restore goes on where a snapshot was taken.
func (r *recordingReader) Restore(_ context.Context, snapshot []byte) error {
	if snapshot == nil {
		return nil
	}
	var st state
	if err := json.Unmarshal(snapshot, &st); err != nil {
		return fmt.Errorf("%s: snapshot: %w", r.name, err)
	}
	if len(st.Sources) != len(r.plan.sources) || len(st.Seen) != len(r.plan.streams) || (st.Raster != nil) != (r.resample != nil) {
		return pipeline.Permanent(fmt.Errorf("%s: the snapshot is of another binding: it has %d tables, this one %d", r.name, len(st.Seen), len(r.plan.streams)))
	}
	r.delivered, r.reported, r.origin = st.Delivered, st.Reported, st.Origin
	for i, s := range r.plan.streams {
		s.any, s.faults.any = st.Seen[i][0], st.Seen[i][1]
	}
	for i, s := range r.plan.sources {
		s.delivered, s.reported = st.Delivered, st.Reported
		if p := st.Sources[i]; p != nil {
			if err := s.goTo(*p); err != nil {
				return fmt.Errorf("%s: go on in group %s: %w", r.name, groupName(s.group), err)
			}
		}
	}
	if st.Raster != nil {
		return r.resample.restore(*st.Raster)
	}
	return nil
}

func (g *resampler) held(yield func(*heldStream) bool) {
	for _, t := range g.tables {
		for _, s := range t.streams {
			if !yield(s) {
				return
			}
		}
	}
}

func (g *resampler) snapshot() *gridRow {
	st := &gridRow{Next: g.next, Started: g.started}
	for s := range g.held {
		var bits []uint64
		if s.any {
			for _, v := range s.row {
				bits = append(bits, math.Float64bits(v))
			}
		}
		st.Rows = append(st.Rows, bits)
	}
	return st
}

func (g *resampler) restore(st gridRow) error {
	g.next, g.started = st.Next, st.Started
	i := 0
	for s := range g.held {
		if i >= len(st.Rows) {
			return fmt.Errorf("snapshot holds values of %d streams, the binding has more", len(st.Rows))
		}
		if bits := st.Rows[i]; len(bits) == len(s.row) && len(bits) > 0 {
			for k, b := range bits {
				s.row[k] = math.Float64frombits(b)
			}
			s.any = true
		}
		i++
	}
	return nil
}
