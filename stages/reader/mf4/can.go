package mf4

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// frames reads the CAN frames of one group of bus logging: an output gets a row for each frame of its bus and id.
type frames struct {
	r      *mdf.FrameReader
	sorted bool
	kinds  bool                    // its frames tell 29-bit identifiers from 11-bit ones
	bus    uint8                   // of the group, where its frames do not say; 0: unknown
	table  [1 << 11][]*frameOutput // by slot of the id
	groups [1 << 11][]*frameOutput // J1939, by slot of the parameter group; looked through if j1939 is set
	j1939  bool
	others *others // ids that are in the recording
}

// slot is the place of an id in the table; several extended ids share one. Most frames of a recording are such that nobody
// asked for, which a table tells sooner than a map.
func slot(id uint32) uint32 { return (id ^ id>>11 ^ id>>22) & (1<<11 - 1) }

// A frameOutput is an output fed by one message.
type frameOutput struct {
	*output
	id      uint32
	bus     uint8 // 0: any
	row     frameRow
	message *message
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

// A frameRow makes a row of a payload. there is false for a frame that does not hold the signals; ok for one whose sample is
// invalid.
type frameRow interface {
	fill(payload []byte, row []float64) (there, ok bool)
}

func (f *frames) add(o *frameOutput) {
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
	return slices.SortedFunc(maps.Keys(s.seen), func(a, b dbc.FrameID) int {
		return cmp.Or(cmp.Compare(a.Bus, b.Bus), cmp.Compare(a.ID, b.ID))
	})
}

func (f *frames) next(ctx context.Context, to *source) error {
	b, err := f.r.Next(ctx)
	to.lacks(f.r.Losses())
	if err != nil {
		return err
	}
	for i, seconds := range b.Times {
		to.mark(b.First+uint64(i), func() mdf.Position { return b.Position(i) })
		t, ok := to.tick(seconds)
		id, extended, known := b.ID[i], b.Extended[i], f.kinds || b.ID[i] > maxStandardID
		any := false
		for _, o := range f.table[slot(id)] {
			if o.id == id && o.wants(id, extended, known) {
				any = true
				f.frame(to, o, b, i, t, ok)
			}
		}
		if f.j1939 && extended {
			for _, o := range f.groups[slot(dbc.PGN(id))] {
				if o.id != id && o.wants(id, extended, known) {
					any = true
					f.frame(to, o, b, i, t, ok)
				}
			}
		}
		if !any {
			f.others.note(dbc.FrameID{Bus: cmp.Or(b.Bus[i], f.bus), ID: id, Extended: extended})
		}
	}
	return nil
}

// maxStandardID is the largest 11-bit identifier.
const maxStandardID = 0x7ff

// frame hands frame i to an output that wants its id; timed says that t is its time.
func (f *frames) frame(to *source, o *frameOutput, b *mdf.Frames, i int, t int64, timed bool) {
	bus := b.Bus[i]
	if bus == 0 {
		bus = f.bus
	}
	if o.bus != 0 && bus != 0 && o.bus != bus {
		o.message.elsewhere(bus)
		return
	}
	if !timed {
		to.lost(o.output)
		return
	}
	if there, ok := o.row.fill(b.Payload(i), o.output.row); there {
		to.put(o.output, t, ok)
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
	bus      uint8
	id       uint32
	name     string // in the DBC
	signals  []string
	optional bool
	track    bool

	dbc    *dbc.Message
	db     *dbc.Database
	others *others // ids of the recording that nobody asked for

	streams []*stream // that it feeds

	other [4]uint64 // buses on which the id was seen instead
}

// seen says whether the recording has it. What counts is delivered rows: frames that were only read ahead must not make a
// difference between a replay and one that was interrupted.
func (m *message) seen() bool {
	return slices.ContainsFunc(m.streams, func(s *stream) bool { return s.any || s.faults.any })
}

func (m *message) elsewhere(bus uint8) { m.other[bus/64] |= 1 << (bus % 64) }

// otherBuses lists the buses on which the id was seen instead of the one that was asked for.
func (m *message) otherBuses() []int {
	var all []int
	for b := range 256 {
		if m.other[b/64]&(1<<(b%64)) != 0 {
			all = append(all, b)
		}
	}
	return all
}

// meanFrame is one signal: (mean of parts + offset) × factor, where valid is not 0.
type meanFrame struct {
	parts          []*dbc.Signal
	valid          *dbc.Signal // nil: always
	offset, factor float64
	flag           bool // the value is 1 where it is not 0
}

func (m *meanFrame) fill(payload []byte, row []float64) (there, ok bool) {
	if m.valid != nil {
		if v, ok := m.valid.Decode(payload); !ok || v == 0 {
			return true, false
		}
	}
	sum := 0.0
	for _, p := range m.parts {
		v, ok := p.Decode(payload)
		if !ok || v != v {
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

// trackFrame is a slot of an object list; signals are nil where the message has none.
type trackFrame struct {
	x, y, r, valid, isNew *dbc.Signal
	lat                   float64
}

func (t *trackFrame) fill(payload []byte, row []float64) (there, ok bool) {
	x, okX := t.x.Decode(payload)
	r, okR := t.r.Decode(payload)
	y := 0.0
	if t.y != nil {
		y, _ = t.y.Decode(payload)
	}
	valid, isNew := okX && okR && x == x && r == r, false
	if t.valid != nil {
		v, ok := t.valid.Decode(payload)
		valid = valid && ok && v != 0
	}
	if t.isNew != nil {
		v, ok := t.isNew.Decode(payload)
		isNew = ok && v != 0
	}
	trackRow(row, held(x, okX), t.lat*y, held(r, okR), valid, isNew)
	return true, true
}

// signalsFrame is several signals of one message; NaN where one is invalid or not in the frame.
type signalsFrame []*meanFrame

func (s signalsFrame) fill(payload []byte, row []float64) (there, ok bool) {
	for k, m := range s {
		has, ok := m.fill(payload, row[k:k+1])
		if !ok {
			row[k] = math.NaN()
		}
		there = there || has
	}
	return there, true
}
