package mf4

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// frames reads the CAN frames of one group of bus logging: an output gets a row for each frame of its bus and id. Of each block the
// frames are handed to the outputs that want them, then each signal is taken out of all frames of its output at once, then the
// samples are delivered in the order in which they were recorded.
type frames struct {
	r      *mdf.FrameReader
	sorted bool
	kinds  bool                    // its frames tell 29-bit identifiers from 11-bit ones
	table  [1 << 11][]*frameOutput // by slot of the id
	groups [1 << 11][]*frameOutput // J1939, by slot of the parameter group; looked through if j1939 is set
	j1939  bool
	all    []*frameOutput
	others *others // ids that are in the recording

	picked []pick // of the block, in the order of its frames
}

// A pick says that frame i of a block is row k of an output.
type pick struct {
	o    *frameOutput
	i, k int32
}

// slot is the place of an id in the table; several extended ids share one. Most frames of a recording are such that nobody
// asked for, which a table tells sooner than a map.
func slot(id uint32) uint32 { return (id ^ id>>11 ^ id>>22) & (1<<11 - 1) }

// A frameOutput is an output fed by one message.
type frameOutput struct {
	*output
	id   uint32
	row  frameRow
	rows dbc.Rows // of the block
}

// wants says whether the message describes frames of an id: its own or, of J1939, those of the parameter group that no other
// message of the database fits better. The bit for extended frames counts only where the database has a message of either
// kind (AEB.md, section 1: ids are compared without it).
func (o *frameOutput) wants(id uint32, extended, known bool) bool {
	switch {
	case id == o.id:
		if known && extended != o.message.dbc.Extended {
			_, both := o.message.db.Message(id, extended)
			return !both
		}
		return true
	case !extended || !o.message.dbc.J1939 || dbc.PGN(id) != dbc.PGN(o.id):
		return false
	}
	m, ok := o.message.db.Match(id, true)
	return ok && m == o.message.dbc
}

// A frameRow makes a row of row k of decoded signals. there is false for a frame that does not hold the signals; ok for one whose
// sample is invalid.
type frameRow interface {
	// place appends the signals that fill needs to all and takes note of their numbers. It is called once.
	place(all []*dbc.Signal) []*dbc.Signal
	fill(c *dbc.Columns, k int, row []float64) (there, ok bool)
}

func (f *frames) add(o *frameOutput) {
	f.all = append(f.all, o)
	f.table[slot(o.id)] = append(f.table[slot(o.id)], o)
	if o.message.dbc.J1939 {
		at := slot(dbc.PGN(o.id))
		f.groups[at], f.j1939 = append(f.groups[at], o), true
	}
}

// others are the ids of a recording, for saying which come close to one that is missing.
type others struct {
	recent [1 << 11]dbc.FrameID // by slot: those noted last, so that few frames need the map
	seen   map[dbc.FrameID]bool
	buses  buses // of all frames
}

// maxOthers bounds them: damaged recordings have any number.
const maxOthers = 1 << 12

func (s *others) note(k dbc.FrameID) {
	r := &s.recent[slot(k.ID)]
	if *r == k || len(s.seen) >= maxOthers {
		return
	}
	*r = k
	s.seen[k] = true
}

// list is in the order of bus and id.
func (s *others) list() []dbc.FrameID {
	return slices.SortedFunc(maps.Keys(s.seen), dbc.FrameID.Compare)
}

func (f *frames) next(ctx context.Context, to *source) error {
	b, err := f.r.Next(ctx)
	to.lacks(f.r.Losses())
	if err != nil {
		return err
	}
	f.pick(b)
	data := &dbc.Frames{Offsets: b.Offsets, Data: b.Data}
	for _, o := range f.all {
		if o.rows.Len() > 0 {
			o.rows.Decode(data)
		}
	}
	f.deliver(b, to)
	return nil
}

// pick hands the frames of a block to the outputs that want them.
func (f *frames) pick(b *mdf.Frames) {
	f.picked = f.picked[:0]
	for _, o := range f.all {
		o.rows.Reset()
	}
	for i, id := range b.ID {
		extended, known := b.Extended[i], f.kinds || id > maxStandardID
		any := false
		for _, o := range f.table[slot(id)] {
			if o.id == id && o.wants(id, extended, known) {
				any = true
				f.take(o, b, i)
			}
		}
		if f.j1939 && extended {
			for _, o := range f.groups[slot(dbc.PGN(id))] {
				if o.id != id && o.wants(id, extended, known) {
					any = true
					f.take(o, b, i)
				}
			}
		}
		if !any {
			f.others.note(dbc.FrameID{Bus: b.Bus[i], BusKnown: b.BusKnown, ID: id, Extended: extended})
		}
	}
	if b.BusKnown {
		for _, bus := range b.Bus {
			f.others.buses.add(bus)
		}
	}
}

// maxStandardID is the largest 11-bit identifier.
const maxStandardID = 0x7ff

// take hands frame i to an output that wants its id, if it is on its bus.
func (f *frames) take(o *frameOutput, b *mdf.Frames, i int) {
	if bus := b.Bus[i]; b.BusKnown && !o.message.bus.has(bus) {
		o.message.elsewhere.add(bus)
		return
	}
	f.picked = append(f.picked, pick{o, int32(i), int32(o.rows.Len())})
	o.rows.Pick(i)
}

// deliver gives the samples of a block to its source.
func (f *frames) deliver(b *mdf.Frames, to *source) {
	picked := f.picked
	for i, seconds := range b.Times {
		to.mark(b.First+uint64(i), func() mdf.Position { return b.Position(i) })
		t, timed := to.tick(seconds)
		for ; len(picked) > 0 && int(picked[0].i) == i; picked = picked[1:] {
			o := picked[0].o
			if !timed {
				to.lost(o.output)
			} else if there, ok := o.row.fill(&o.rows.Columns, int(picked[0].k), o.output.row); there {
				if b.BusKnown && to.wants(t) {
					o.cameFrom(b.Bus[i])
				}
				to.put(o.output, t, ok)
			} else {
				o.message.empty = true
			}
		}
	}
}

func (f *frames) seek(ctx context.Context, seconds float64) error {
	if f.sorted {
		return f.r.SeekTime(ctx, seconds)
	}
	return nil
}

func (f *frames) resume(at mdf.Position) error { return f.r.Resume(at) }
func (f *frames) progress() mdf.Progress       { return f.r.Progress() }
func (f *frames) close() error                 { return f.r.Close() }

// A message is one (bus, id) that a binding names.
type message struct {
	bus      busChoice
	id       uint32
	name     string // in the DBC
	signals  []string
	optional bool
	track    bool

	dbc    *dbc.Message
	db     *dbc.Database
	others *others // ids of the recording that nobody asked for

	streams []*stream // that it feeds

	on        buses // from which its rows came
	elsewhere buses // on which the id was seen instead
	empty     bool  // there were frames without its signals
}

// seen says whether the recording has it. What counts is delivered rows: frames that were only read ahead must not make a
// difference between a replay and one that was interrupted.
func (m *message) seen() bool {
	return slices.ContainsFunc(m.streams, func(s *stream) bool { return s.any || s.faults.any })
}

// meanFrame is one signal: (mean of parts + offset) × factor, where valid is not 0.
type meanFrame struct {
	parts          []*dbc.Signal
	valid          *dbc.Signal // nil: always
	offset, factor float64
	flag           bool // the value is 1 where it is not 0
	at             int  // column of the first part; that of valid is behind the last
}

func (m *meanFrame) place(all []*dbc.Signal) []*dbc.Signal {
	m.at = len(all)
	all = append(all, m.parts...)
	if m.valid != nil {
		all = append(all, m.valid)
	}
	return all
}

func (m *meanFrame) fill(c *dbc.Columns, k int, row []float64) (there, ok bool) {
	if m.valid != nil && !isSet(c, m.at+len(m.parts), k) {
		return true, false
	}
	sum := 0.0
	for i, p := range m.parts {
		v, ok := c.Values[m.at+i][k], c.Valid[m.at+i][k]
		if v != v {
			return p.Switch == nil || ok, false // selected by a switch: another frame of the message has it
		}
		sum += v
	}
	row[0] = scale(sum, len(m.parts), m.offset, m.factor)
	if m.flag {
		row[0] = number(row[0] != 0)
	}
	return true, true
}

// isSet says that a signal is there and not 0; one that is not there at all is −1.
func isSet(c *dbc.Columns, column, k int) bool {
	return column >= 0 && c.Valid[column][k] && c.Values[column][k] != 0
}

// trackFrame is a slot of an object list; signals are nil where the message has none.
type trackFrame struct {
	signals [trackSignalCount]*dbc.Signal
	columns [trackSignalCount]int // −1 where there is no signal
	scale   [trackSignalCount]scaling
}

func newTrackFrame() *trackFrame { return &trackFrame{scale: unscaled()} }

// The signals of a track.
const (
	trackX = iota
	trackY
	trackRate
	trackValid
	trackNew
	trackSignalCount
)

func (t *trackFrame) place(all []*dbc.Signal) []*dbc.Signal {
	for i, s := range t.signals {
		t.columns[i] = -1
		if s != nil {
			t.columns[i] = len(all)
			all = append(all, s)
		}
	}
	return all
}

func (t *trackFrame) fill(c *dbc.Columns, k int, row []float64) (there, ok bool) {
	x, r, y := t.scale[trackX].of(c.Values[t.columns[trackX]][k]), t.scale[trackRate].of(c.Values[t.columns[trackRate]][k]), 0.0
	if at := t.columns[trackY]; at >= 0 && c.Valid[at][k] {
		y = t.scale[trackY].of(c.Values[at][k])
	}
	valid := x == x && r == r && (t.columns[trackValid] < 0 || isSet(c, t.columns[trackValid], k))
	trackRow(row, x, y, r, valid, isSet(c, t.columns[trackNew], k))
	return true, true
}

// signalsFrame is several signals of one message; NaN where one is invalid or not in the frame.
type signalsFrame []*meanFrame

func (s signalsFrame) place(all []*dbc.Signal) []*dbc.Signal {
	for _, m := range s {
		all = m.place(all)
	}
	return all
}

func (s signalsFrame) fill(c *dbc.Columns, k int, row []float64) (there, ok bool) {
	for i, m := range s {
		has, ok := m.fill(c, k, row[i:i+1])
		if !ok {
			row[i] = math.NaN()
		}
		there = there || has
	}
	return there, true
}
