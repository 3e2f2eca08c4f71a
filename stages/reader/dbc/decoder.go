package dbc

import "cmp"

// Frames are CAN frames in columns, as a reader of recordings has them: frame i has Data[Offsets[i]:Offsets[i+1]].
type Frames struct {
	Times    []float64 // seconds
	Bus      []uint8   // nil: the recording does not say; 0 is a bus as any other
	ID       []uint32  // 11 or 29 bits
	Extended []bool    // 29 bits
	Offsets  []uint32
	Data     []byte
}

// A FrameID is what frames of one kind have in common.
type FrameID struct {
	Bus      uint8
	BusKnown bool // false: the recording does not say the bus; Bus is 0 then
	ID       uint32
	Extended bool
}

// Compare orders by bus, those of an unknown one first, then by identifier, 11-bit ones first.
func (k FrameID) Compare(other FrameID) int {
	return cmp.Or(cmp.Compare(number(k.BusKnown), number(other.BusKnown)), cmp.Compare(k.Bus, other.Bus), cmp.Compare(k.ID, other.ID),
		cmp.Compare(number(k.Extended), number(other.Extended)))
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A BusDatabase says which database describes the frames of which bus.
type BusDatabase struct {
	Bus      *uint8 // nil: of all buses, also unknown ones
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
	Message *Message // nil: no database describes it
	Rows             // of the batch; its signals are all of the message, unless Select has chosen

	Frames uint64    // in all batches so far
	Times  []float64 // of the batch's frames
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
		g.Reset()
	}
	d.active = d.active[:0]
	var last *Group
	for i, id := range f.ID {
		key := FrameID{ID: id, Extended: f.Extended[i]}
		if f.Bus != nil {
			key.Bus, key.BusKnown = f.Bus[i], true
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
		if g.Len() == 0 {
			d.active = append(d.active, g)
		}
		g.Pick(i)
	}
	for _, g := range d.active {
		g.takeTimes(f)
		g.Rows.Decode(f)
	}
	return d.active
}

func (k FrameID) hash() uint64 {
	v := uint64(k.ID) | uint64(k.Bus)<<32
	if k.Extended {
		v |= 1 << 40
	}
	if k.BusKnown {
		v |= 1 << 41
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
		if b.Bus != nil && k.BusKnown && *b.Bus != k.Bus {
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

func (g *Group) takeTimes(f *Frames) {
	g.Times = resized(g.Times, g.Len())
	if f.Times != nil {
		for k, i := range g.index {
			g.Times[k] = f.Times[i]
		}
	}
}

// Select lets the group decode these signals of its message instead of all of them.
func (g *Group) Select(signals ...*Signal) { g.Signals = signals }
