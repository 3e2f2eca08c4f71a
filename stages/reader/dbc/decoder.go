package dbc

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Frames are CAN frames in columns, as a reader of recordings has them: frame i has Data[Offsets[i]:Offsets[i+1]]. A nil
// Bus stands for bus 0.
type Frames struct {
	Times    []float64 // seconds
	Bus      []uint8
	ID       []uint32 // 11 or 29 bits
	Extended []bool   // 29 bits
	Offsets  []uint32
	Data     []byte
}

// A FrameID is what frames of one kind have in common.
type FrameID struct {
	Bus      uint8
	ID       uint32
	Extended bool
}

// A BusDatabase says which database describes the frames of which bus.
type BusDatabase struct {
	Bus      uint8 // 0: all buses
	Database *Database
}

// A Decoder turns frames into signals, many at a time: the frames of a batch are sorted by their identifier, then each
// signal is taken from all payloads of its message in one loop. It allocates only when an identifier is seen for the first
// time, or more frames of it than ever before. One goroutine uses it.
type Decoder struct {
	databases []BusDatabase
	slots     []slot // open addressing by hash of the FrameID; its length is a power of 2
	groups    []*Group
	active    []*Group // with frames of the current batch
	beyond    *Group   // frames of identifiers beyond maxGroups
}

// maxGroups bounds the identifiers a Decoder keeps apart: real buses have some hundred, damaged recordings millions.
const maxGroups = 1 << 16

type slot struct {
	key   uint64
	group *Group
}

// A Group is the frames of one identifier on one bus. What depends on the batch is valid until the next Decode.
type Group struct {
	FrameID
	Message *Message  // nil: no database describes it
	Signals []*Signal // those that are decoded: all of the message, unless Select has chosen

	Frames uint64    // in all batches so far
	Times  []float64 // of the batch's frames
	Columns

	index []uint32 // numbers of the frames in the batch
	words []uint64 // the first 8 bytes of each payload, little-endian, zeros behind a shorter one
	size  []uint8  // bytes of each payload, at most 255
	min   int      // the smallest of them
}

// NewDecoder makes a decoder; the first database that has a message for a frame of its bus describes it.
func NewDecoder(databases ...BusDatabase) *Decoder {
	return &Decoder{databases: databases, slots: make([]slot, 256)}
}

// Groups lists the identifiers that have been seen, the first 65536, in the order of their first frame.
func (d *Decoder) Groups() []*Group { return d.groups }

// Beyond is the number of frames of identifiers beyond the first 65536, which are not decoded.
func (d *Decoder) Beyond() uint64 {
	if d.beyond == nil {
		return 0
	}
	return d.beyond.Frames
}

// Decode takes a batch of frames and returns the groups that have frames in it, those without a message left out. Groups
// come in the order of their first frame in the batch. A value is NaN, and not Valid, where a payload is too short for the
// signal, or its switch selects others.
func (d *Decoder) Decode(f *Frames) []*Group {
	for _, g := range d.active {
		g.index = g.index[:0]
	}
	d.active = d.active[:0]
	var last *Group
	for i, id := range f.ID {
		key := FrameID{ID: id, Extended: f.Extended[i]}
		if f.Bus != nil {
			key.Bus = f.Bus[i]
		}
		g := last
		if g == nil || g.FrameID != key || g == d.beyond {
			g = d.group(key)
			last = g
		}
		g.Frames++
		if g.Message == nil {
			continue
		}
		if len(g.index) == 0 {
			d.active = append(d.active, g)
		}
		g.index = append(g.index, uint32(i))
	}
	for _, g := range d.active {
		g.decode(f)
	}
	return d.active
}

func (k FrameID) hash() uint64 {
	v := uint64(k.ID) | uint64(k.Bus)<<32
	if k.Extended {
		v |= 1 << 40
	}
	return v
}

// group finds or makes the group of an identifier.
func (d *Decoder) group(k FrameID) *Group {
	key := k.hash() + 1 // 0 is an empty slot
	mask := uint64(len(d.slots) - 1)
	i := key * 0x9e3779b97f4a7c15 >> 32 & mask
	for ; d.slots[i].key != 0; i = (i + 1) & mask {
		if d.slots[i].key == key {
			return d.slots[i].group
		}
	}
	if len(d.groups) >= maxGroups {
		if d.beyond == nil {
			d.beyond = &Group{}
		}
		return d.beyond
	}
	g := &Group{FrameID: k}
	for _, b := range d.databases {
		if b.Bus != 0 && k.Bus != 0 && b.Bus != k.Bus {
			continue
		}
		if m, ok := b.Database.Match(k.ID, k.Extended); ok {
			g.Message, g.Signals = m, m.Signals
			break
		}
	}
	d.groups = append(d.groups, g)
	if 2*len(d.groups) > len(d.slots) {
		d.growSlots()
		return d.place(g)
	}
	d.slots[i] = slot{key, g}
	return g
}

func (d *Decoder) growSlots() {
	old := d.slots
	d.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.key != 0 {
			d.place(s.group)
		}
	}
}

func (d *Decoder) place(g *Group) *Group {
	key := g.hash() + 1
	mask := uint64(len(d.slots) - 1)
	i := key * 0x9e3779b97f4a7c15 >> 32 & mask
	for d.slots[i].key != 0 {
		i = (i + 1) & mask
	}
	d.slots[i] = slot{key, g}
	return g
}

func (g *Group) decode(f *Frames) {
	n := len(g.index)
	g.Times, g.words, g.size = resized(g.Times, n), resized(g.words, n), resized(g.size, n)
	g.min = math.MaxInt
	for k, i := range g.index {
		if f.Times != nil {
			g.Times[k] = f.Times[i]
		}
		from, to := f.Offsets[i], f.Offsets[i+1]
		size := int(to - from)
		g.size[k] = uint8(min(size, 255))
		g.min = min(g.min, size)
		if int(from)+8 <= len(f.Data) {
			w := binary.LittleEndian.Uint64(f.Data[from:])
			if size < 8 {
				w &= 1<<(8*uint(size)) - 1
			}
			g.words[k] = w
		} else {
			g.words[k] = shortWord(f.Data[from:to])
		}
	}
	g.resize(len(g.Signals))
	for i, s := range g.Signals {
		g.Values[i], g.Valid[i] = resized(g.Values[i], n), resized(g.Valid[i], n)
		g.column(f, s, g.Values[i], g.Valid[i])
	}
}

func shortWord(b []byte) uint64 {
	var w uint64
	for i, x := range b[:min(len(b), 8)] {
		w |= uint64(x) << (8 * uint(i))
	}
	return w
}

// column decodes one signal of all frames of the group. Signals within the first 8 bytes are shifted out of a word, the
// others are read byte by byte.
func (g *Group) column(f *Frames, s *Signal, values []float64, valid []bool) {
	if s.Switch != nil || s.last >= 8 || s.undecodable {
		for k, i := range g.index {
			values[k], valid[k] = s.Decode(f.Data[f.Offsets[i]:f.Offsets[i+1]])
			if !valid[k] {
				values[k] = math.NaN()
			}
		}
		return
	}
	g.shift(s, values)
	if s.last < g.min {
		for k := range valid {
			valid[k] = true
		}
		return
	}
	for k, size := range g.size {
		if valid[k] = s.last < int(size); !valid[k] {
			values[k] = math.NaN()
		}
	}
}

// shift takes a signal within 8 bytes out of the words, one loop for each kind.
func (g *Group) shift(s *Signal, values []float64) {
	size := uint(s.Size)
	mask := ^uint64(0) >> (64 - size)
	down, up := uint(8*s.first)+s.offset, 64-size
	if s.Motorola {
		down = 64 - (uint(8*s.first) + s.offset) - size
	}
	factor, offset := s.Factor, s.Offset
	words := g.words[:len(values)]
	switch {
	case s.Kind != KindUnsigned && s.Kind != KindSigned:
		for k, w := range words {
			if s.Motorola {
				w = bits.ReverseBytes64(w)
			}
			values[k] = s.physical(w >> down & mask)
		}
	case s.Kind == KindUnsigned && !s.Motorola:
		for k, w := range words {
			values[k] = float64(float64(w>>down&mask)*factor) + offset
		}
	case s.Kind == KindUnsigned:
		for k, w := range words {
			values[k] = float64(float64(bits.ReverseBytes64(w)>>down&mask)*factor) + offset
		}
	case !s.Motorola:
		for k, w := range words {
			values[k] = float64(float64(int64(w>>down<<up)>>up)*factor) + offset
		}
	default:
		for k, w := range words {
			values[k] = float64(float64(int64(bits.ReverseBytes64(w)>>down<<up)>>up)*factor) + offset
		}
	}
}

// resized returns s with n elements; their values are those of before.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}

// Select lets the group decode these signals of its message instead of all of them.
func (g *Group) Select(signals ...*Signal) { g.Signals = signals }

// Payload returns the bytes of frame k of the group, in the batch that Decode was given.
func (g *Group) Payload(f *Frames, k int) []byte {
	i := g.index[k]
	return f.Data[f.Offsets[i]:f.Offsets[i+1]]
}
