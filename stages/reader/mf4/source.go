package mf4

import (
	"context"
	"math"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// An output is the samples of one source that go to one stream.
type output struct {
	to     *stream
	row    []float64 // scratch, a value a column
	newest int64     // time of its samples so far
	any    bool      // there was one
}

func newOutput(to *stream) *output { return &output{to: to, row: make([]float64, len(to.cols))} }

// blocks reads one channel group block by block and hands the samples of each block to its source.
type blocks interface {
	// next reads one block. before is the place of its first record, after that of the one behind it.
	next(ctx context.Context, to *source) (before, after mdf.Position, err error)
	resume(p mdf.Position) error
	progress() mdf.Progress
	close() error
}

// A source is one channel group that is being read. Sources are advanced one block at a time, always the one that lies
// furthest behind, so that what has to be held for putting rows in order is a window and a block of each.
type source struct {
	number  int32
	group   *mdf.ChannelGroup
	in      blocks
	outputs []*output

	window   int64 // [ns]
	from, to int64 // rows outside [from, to) are not wanted

	newest  int64 // time of all records so far
	started bool  // there was one
	ended   bool
	damaged bool // ended by damage

	delivered int64 // rows of signals below it were delivered before a restart
	reported  int64 // rows of faults likewise

	block int64 // number of the block being read
	marks []mark
	next  *mdf.Position // behind the last block; nil before the first
}

// A mark is where a block starts, and what was known there.
type mark struct {
	block int64
	place place
}

// A place is where a source goes on after a restart. It stands in snapshots.
type place struct {
	Position *mdf.Position `json:"position,omitempty"` // nil: at the start
	Started  bool          `json:"started,omitempty"`
	Newest   int64         `json:"newest"`
	Outputs  []*int64      `json:"outputs,omitempty"` // newest time of each; null before its first sample
}

// here is the place behind the last block.
func (s *source) here() place {
	p := place{Position: s.next, Started: s.started, Newest: s.newest}
	for _, o := range s.outputs {
		var newest *int64
		if o.any {
			n := o.newest
			newest = &n
		}
		p.Outputs = append(p.Outputs, newest)
	}
	return p
}

// goTo resumes at a place.
func (s *source) goTo(p place) error {
	s.started, s.newest, s.next = p.Started, p.Newest, p.Position
	for i, newest := range p.Outputs {
		if newest != nil && i < len(s.outputs) {
			s.outputs[i].newest, s.outputs[i].any = *newest, true
		}
	}
	if p.Position == nil {
		return nil
	}
	return s.in.resume(*p.Position)
}

// advance reads one block. Its error is io.EOF at the end, or what the decoder says.
func (s *source) advance(ctx context.Context) error {
	start := s.here()
	s.block++
	before, after, err := s.in.next(ctx, s)
	if err != nil {
		return err
	}
	start.Position, s.next = &before, &after
	s.marks = append(s.marks, mark{s.block, start})
	s.ended = s.started && s.newest-s.window >= s.to
	return nil
}

// place is the place of the oldest block of which rows are held, or here. held is that block's number.
func (s *source) place(held int64, any bool) place {
	if !any {
		s.marks = s.marks[:0]
		return s.here()
	}
	for len(s.marks) > 0 && s.marks[0].block < held {
		s.marks = s.marks[1:]
	}
	return s.marks[0].place
}

// watermark is the time below which no row can come any more, but late ones.
func (s *source) watermark() int64 {
	switch {
	case s.ended:
		return math.MaxInt64
	case !s.started:
		return math.MinInt64
	}
	return s.newest - s.window
}

// tick takes note of the time of a record, in seconds. It is false for a time that is not finite.
func (s *source) tick(seconds float64) (int64, bool) {
	t, ok := nanoseconds(seconds)
	if !ok {
		return s.newest, false
	}
	if !s.started || t > s.newest {
		s.started, s.newest = true, t
	}
	return t, true
}

// nanoseconds is floor(s·1e9 + 0.5), AEB.md section 1; false for what is not finite or beyond 146 years.
func nanoseconds(s float64) (int64, bool) {
	x := math.Floor(float64(s*1e9) + 0.5)
	return int64(x), math.Abs(x) < 1<<62
}

// put delivers the row of an output, or the reason why not: ok is false for a sample that is invalid.
func (s *source) put(o *output, t int64, ok bool) {
	late := t < s.newest-s.window
	behind := int64(0)
	if o.any && t < o.newest {
		behind = o.newest - t
	}
	if !o.any || t > o.newest {
		o.newest, o.any = t, true
	}
	if late {
		s.fault(o, s.newest, max(behind, s.newest-t), !ok, true, false)
		return
	}
	if behind > 0 {
		s.fault(o, o.newest, behind, !ok, !ok, false)
	} else if !ok {
		s.fault(o, t, 0, true, true, false)
	}
	if ok && s.wants(t) && t >= s.delivered {
		o.to.insert(t, tag{s.number, s.block}, o.row...)
	}
}

// lost reports a sample without a usable time.
func (s *source) lost(o *output) { s.fault(o, s.newest, 0, true, true, false) }

// cut reports that the recording is damaged behind the last record.
func (s *source) cut() {
	s.ended, s.damaged = true, true
	for _, o := range s.outputs {
		s.fault(o, s.newest, 0, false, false, true)
	}
}

func (s *source) fault(o *output, t, behind int64, invalid, dropped, cut bool) {
	if s.wants(t) && t >= s.reported {
		o.to.faults.insert(t, tag{s.number, s.block}, float64(behind)/1e9, number(invalid), number(dropped), number(cut))
	}
}

func (s *source) wants(t int64) bool { return t >= s.from && t < s.to }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
