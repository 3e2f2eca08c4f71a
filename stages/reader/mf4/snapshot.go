package mf4

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/milepost-dev/milepost/pipeline"
)

// A state is what a snapshot holds, as JSON: no rows, but up to where they were delivered and where to read on.
type state struct {
	Delivered int64    `json:"delivered"`
	Reported  int64    `json:"reported"`
	Origin    *int64   `json:"origin,omitempty"`
	Sources   []place  `json:"sources"`
	Seen      []seen   `json:"seen,omitempty"` // messages, in the order of the binding
	Raster    *gridRow `json:"raster,omitempty"`
}

// seen is what is known of a bus message.
type seen struct {
	Seen  bool      `json:"seen,omitempty"`
	Other [4]uint64 `json:"other"`
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
	oldest := r.oldestBlocks()
	for i, s := range r.plan.sources {
		held, any := oldest[int32(i)]
		st.Sources = append(st.Sources, s.place(held, any))
	}
	for _, m := range r.plan.messages {
		st.Seen = append(st.Seen, seen{m.seen, m.other})
	}
	if r.resample != nil {
		st.Raster = r.resample.snapshot()
	}
	return json.Marshal(st)
}

// maxMarks bounds the marks of a source of which no snapshot is taken.
const maxMarks = 256

// forgetMarks drops the marks that no snapshot can need.
func (r *recordingReader) forgetMarks() {
	for _, s := range r.plan.sources {
		if len(s.marks) > maxMarks {
			held, any := r.oldestBlocks()[s.number]
			s.place(held, any)
		}
	}
}

// oldestBlocks is the number of the oldest block of each source of which rows are held.
func (r *recordingReader) oldestBlocks() map[int32]int64 {
	oldest := map[int32]int64{}
	for s := range r.all {
		for _, t := range s.tag[s.head:] {
			if have, ok := oldest[t.source]; !ok || t.block < have {
				oldest[t.source] = t.block
			}
		}
	}
	return oldest
}

// Restore goes on where a snapshot was taken: each source at the block of its oldest row that was not delivered.
func (r *recordingReader) Restore(_ context.Context, snapshot []byte) error {
	if snapshot == nil {
		return nil
	}
	var st state
	if err := json.Unmarshal(snapshot, &st); err != nil {
		return fmt.Errorf("%s: snapshot: %w", r.name, err)
	}
	if len(st.Sources) != len(r.plan.sources) || len(st.Seen) != len(r.plan.messages) || (st.Raster != nil) != (r.resample != nil) {
		return pipeline.Permanent(fmt.Errorf("%s: snapshot of %d channel groups, the binding now needs %d", r.name, len(st.Sources), len(r.plan.sources)))
	}
	r.delivered, r.reported, r.origin = st.Delivered, st.Reported, st.Origin
	for i, s := range r.plan.sources {
		s.delivered, s.reported = st.Delivered, st.Reported
		if err := s.goTo(st.Sources[i]); err != nil {
			return fmt.Errorf("%s: go on in group %s: %w", r.name, groupName(s.group), err)
		}
	}
	for i, m := range r.plan.messages {
		m.seen, m.other = st.Seen[i].Seen, st.Seen[i].Other
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
