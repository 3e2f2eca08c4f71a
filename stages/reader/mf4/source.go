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

	message *message // whose frames it is made of; nil for channels
	bus     int16    // that of the last frame, where the binding names none; noBus: not known
}

const noBus = -1

func newOutput(to *stream) *output {
	return &output{to: to, row: make([]float64, len(to.cols)), bus: noBus}
}

// cameFrom takes note of the bus of a frame that gave a row.
func (o *output) cameFrom(bus uint8) {
	if int16(bus) != o.bus && !o.message.bus.given {
		o.bus = int16(bus)
		o.message.on.add(bus)
	}
}

// blocks reads one channel group block by block and hands the samples of each block to its source.
type blocks interface {
	next(ctx context.Context, to *source) error
	seek(ctx context.Context, seconds float64) error // nothing, where that would be no faster than reading
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

	placed  bool  // where to begin is known
	newest  int64 // time of all records so far
	started bool  // there was one
	ended   bool
	damaged bool    // some of it cannot be read
	told    int     // losses that were reported
	distant float64 // time of the first record [s], where it is not one of a recording

	delivered int64 // rows of signals below it were delivered before a restart
	reported  int64 // rows of faults likewise

	marks []place // every markRecords records; the first is the last that lies below what was delivered
}

// markRecords is the distance of marks. It does not depend on how a file is read, so snapshots do not either.
const markRecords = 1024

// A place is a record and what was known before it: where a source goes on after a restart. It stands in snapshots.
type place struct {
	Position mdf.Position `json:"position"`
	Started  bool         `json:"started"`
	Newest   int64        `json:"newest"`
	Outputs  []*int64     `json:"outputs"`         // newest time of each; null before its first sample
	Buses    []int16      `json:"buses,omitempty"` // of each, noBus where it is not known; none where none is
}

// here is what is known now, at the place of a record.
func (s *source) here(at mdf.Position) place {
	p, known := place{Position: at, Started: s.started, Newest: s.newest}, false
	for _, o := range s.outputs {
		var newest *int64
		if o.any {
			t := o.newest
			newest = &t
		}
		p.Outputs = append(p.Outputs, newest)
		known = known || o.bus != noBus
	}
	for _, o := range s.outputs {
		if known {
			p.Buses = append(p.Buses, o.bus)
		}
	}
	return p
}

// mark takes note of the place of record number n before the record is handed over.
func (s *source) mark(n uint64, at func() mdf.Position) {
	if n%markRecords != 0 || !s.started {
		return
	}
	if len(s.marks) == 0 || s.marks[len(s.marks)-1].Position.Record != n {
		s.marks = append(s.marks, s.here(at()))
	}
}

// place is the last mark before which all rows lie below to, and so were delivered; nil for the start of the recording.
// That rows below to were delivered means that the source has been read beyond to: no later mark can qualify.
func (s *source) place(to int64) *place {
	if m, ok := s.in.(*member); ok {
		return m.place(to)
	}
	for len(s.marks) > 1 && s.marks[1].Newest < to {
		s.marks = s.marks[1:]
	}
	if len(s.marks) == 0 || s.marks[0].Newest >= to {
		return nil
	}
	return &s.marks[0]
}

// goTo resumes at a place.
func (s *source) goTo(p place) error {
	s.placed = true
	s.started, s.newest, s.marks = p.Started, p.Newest, []place{p}
	for i, newest := range p.Outputs {
		if newest != nil && i < len(s.outputs) {
			s.outputs[i].newest, s.outputs[i].any = *newest, true
		}
	}
	for i, bus := range p.Buses {
		if bus != noBus && i < len(s.outputs) && s.outputs[i].message != nil {
			s.outputs[i].cameFrom(uint8(bus))
		}
	}
	return s.in.resume(p.Position)
}

// skip goes to what lies in front of from by more than rows may step back in time. A recording whose times do not ascend,
// or that is damaged on the way, is read from its start.
func (s *source) skip(ctx context.Context) error {
	s.placed = true
	to := float64(s.from)/1e9 - float64(2*s.window)/1e9 - 1
	if to <= 0 {
		return nil
	}
	if err := s.in.seek(ctx, to); err != nil {
		if ctx.Err() != nil {
			s.placed = false
			return ctx.Err()
		}
		return s.in.resume(mdf.Position{})
	}
	return nil
}

// advance reads one block. Its error is io.EOF at the end, or what the decoder says.
func (s *source) advance(ctx context.Context) error {
	if !s.placed {
		if err := s.skip(ctx); err != nil {
			return err
		}
	}
	if err := s.in.next(ctx, s); err != nil {
		return err
	}
	s.ended = s.started && s.newest-s.window >= s.to
	return nil
}

// reach is the time up to which the source is known to have been recorded, of what is wanted.
func (s *source) reach() int64 {
	if !s.started {
		return math.MinInt64
	}
	return min(s.newest, s.to-1)
}

// settled is the time below which the source itself left nothing open; unlike its watermark the end changes nothing in it.
func (s *source) settled() int64 {
	if !s.started {
		return math.MinInt64
	}
	return min(s.newest-s.window, s.to)
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
	if !s.started && seconds >= distant {
		s.distant = seconds
	}
	if !s.started || t > s.newest {
		s.started, s.newest = true, t
	}
	return t, true
}

// distant is a time at which no recording begins, in seconds since it was started: ten years.
const distant = 10 * 365 * 86400

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
		s.fault(o, s.newest, max(behind, s.newest-t), !ok, true)
		return
	}
	if behind > 0 {
		s.fault(o, o.newest, behind, !ok, !ok)
	} else if !ok {
		s.fault(o, t, 0, true, true)
	}
	if ok && s.wants(t) && t >= s.delivered {
		o.to.insert(t, s.number, o.row...)
	}
}

// lost reports a sample without a usable time.
func (s *source) lost(o *output) {
	if s.wants(s.newest) && s.newest >= s.reported {
		o.to.faults.insert(s.newest, s.number, math.NaN(), 1, 1, 0, 0, 0, 0)
	}
}

// lacks reports the losses of its group that were found since it was last told.
func (s *source) lacks(losses []mdf.Loss) {
	for ; s.told < len(losses); s.told++ {
		l := losses[s.told]
		if l.Channel != nil {
			continue // texts, which no signal is made of
		}
		records := -1.0
		if l.To > 0 {
			records = float64(l.To - l.From)
		}
		s.cut(records, l.After)
	}
}

// cut reports that the recording is damaged behind the last record: how many are lost, −1 if that is unknown, and the time of the
// first one behind them, NaN if there is none.
func (s *source) cut(records, until float64) {
	s.damaged = true
	for _, o := range s.outputs {
		if s.wants(s.newest) && s.newest >= s.reported {
			o.to.faults.insert(s.newest, s.number, 0, 0, 0, 1, records, until, float64(s.group.Index))
		}
	}
}

// end ends a source whose data cannot be read any further, or whose file lacks others.
func (s *source) end() {
	s.ended = true
	p, records := s.in.progress(), -1.0
	if p.Expected >= p.Records && p.Expected > 0 {
		records = float64(p.Expected - p.Records)
	}
	s.cut(records, math.NaN())
}

func (s *source) fault(o *output, t, behind int64, invalid, dropped bool) {
	if s.wants(t) && t >= s.reported {
		o.to.faults.insert(t, s.number, float64(behind)/1e9, number(invalid), number(dropped), 0, 0, 0, 0)
	}
}

func (s *source) wants(t int64) bool { return t >= s.from && t < s.to }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
