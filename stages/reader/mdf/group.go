package mdf

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Flags of a channel group (MDF 4.2, 5.10, cg_flags).
const (
	cgVLSD         = 1 << 0
	cgBusEvent     = 1 << 1
	cgPlainBus     = 1 << 2
	cgRemoteMaster = 1 << 3
)

// BusType is the bus of a source (si_bus_type).
type BusType uint8

// Bus types of MDF 4.2, 5.12.
const (
	BusNone BusType = iota
	BusOther
	BusCAN
	BusLIN
	BusMOST
	BusFlexRay
	BusKLine
	BusEthernet
	BusUSB
)

var busNames = [...]string{"none", "other", "CAN", "LIN", "MOST", "FlexRay", "K-Line", "Ethernet", "USB"}

// String returns the name of the bus.
func (b BusType) String() string {
	if int(b) < len(busNames) {
		return busNames[b]
	}
	return fmt.Sprintf("bus %d", uint8(b))
}

// A Source says where a group or channel comes from (SIBLOCK).
type Source struct {
	Name, Path, Comment string
	Type                uint8 // 1 ECU, 2 bus, 3 I/O, 4 tool, 5 user
	Bus                 BusType
	Simulated           bool
}

// A ChannelGroup is a set of channels sampled together: the columns of one table (CGBLOCK).
type ChannelGroup struct {
	File    *File
	Index   int    // position in File.Groups
	AcqName string // acquisition name
	Comment string
	Source  *Source // acquisition source, nil if none

	// Cycles is the number of records. In an unfinalized file the writer has not filled it in: CyclesKnown is
	// false then until File.Recount.
	Cycles      uint64
	CyclesKnown bool

	// Channels in link order; a channel with a composition is followed by its members, depth first.
	Channels []*Channel
	Master   *Channel // first master channel, nil if none

	RecordID     uint64
	DataBytes    uint32 // of a record, without record id and invalidation bytes
	InvalBytes   uint32 // that follow the data bytes
	VLSD         bool   // holds the values of a variable-length channel of another group, has no channels
	BusEvent     bool   // holds bus events such as CAN frames
	PlainBus     bool   // its frames are in the standard structure
	RemoteMaster *ChannelGroup

	data       *dataGroup
	elements   int // whose records have the ids from RecordID on, each that of an element of an array (CG template); 0 for none
	masterLink int64
	off        int64 // of the block
	comment    int64 // link
}

// Bus returns the bus type of the acquisition source.
func (g *ChannelGroup) Bus() BusType {
	if g.Source == nil {
		return BusNone
	}
	return g.Source.Bus
}

// Sorted says that the records of the group stand alone in their data, so that record n can be reached directly.
func (g *ChannelGroup) Sorted() bool { return g.data.idSize == 0 }

// Channel returns the k-th channel of that name (k = 0 is the first), or nil.
func (g *ChannelGroup) Channel(name string, k int) *Channel {
	if g == nil {
		return nil
	}
	for _, c := range g.Channels {
		if c.Name == name && c.Occurrence == k {
			return c
		}
	}
	return nil
}

func (g *ChannelGroup) recordSize() int64 { return int64(g.DataBytes) + int64(g.InvalBytes) }

// dataGroup is a DGBLOCK: the data that one or more channel groups share.
type dataGroup struct {
	off    int64
	link   int64 // dg_data
	idSize int   // 0, 1, 2, 4 or 8 bytes of record id before each record
	groups []*ChannelGroup
}

func (f *File) readDataGroups(link int64) error {
	dataLinks := map[int64]int64{}
	for link != 0 {
		if err := f.once(link, "##DG"); err != nil {
			return err
		}
		b, err := f.src.block(link, "##DG")
		if err != nil {
			return fmt.Errorf("read data group: %w", err)
		}
		d, err := b.data(1)
		if err != nil {
			return err
		}
		dg := &dataGroup{off: link, link: b.link(2), idSize: int(d[0])}
		if !slices.Contains([]int{0, 1, 2, 4, 8}, dg.idSize) {
			return corrupt(link, "##DG", "says %d bytes of record id, 0, 1, 2, 4 or 8 are possible", dg.idSize)
		}
		if other, ok := dataLinks[dg.link]; ok && dg.link != 0 {
			return corrupt(link, "##DG", "has the same data as the one at %#x", other)
		}
		dataLinks[dg.link] = link
		if dg.link != 0 {
			f.dataGroups++
		}
		f.noteData(dg.link)
		f.note(b.link(3))
		if err := f.readGroups(dg, b.link(1)); err != nil {
			return err
		}
		link = b.link(0)
	}
	return f.bindGroups()
}

func (f *File) readGroups(dg *dataGroup, link int64) error {
	for link != 0 {
		if err := f.once(link, "##CG"); err != nil {
			return err
		}
		b, err := f.src.block(link, "##CG")
		if err != nil {
			return fmt.Errorf("read channel group %d: %w", len(f.Groups), err)
		}
		g, err := f.newGroup(dg, b)
		if err != nil {
			return fmt.Errorf("read channel group %d: %w", len(f.Groups), err)
		}
		dg.groups = append(dg.groups, g)
		f.Groups = append(f.Groups, g)
		f.groupAt[link] = g
		link = b.link(0)
	}
	return dg.separate()
}

// separate deals with several groups without a record id: some writers leave groups that never got a record beside the one
// that has them. These get no data.
func (dg *dataGroup) separate() error {
	if dg.idSize != 0 || len(dg.groups) < 2 {
		return nil
	}
	all := dg.groups
	owner := -1
	for i, g := range all {
		if g.CyclesKnown && g.Cycles == 0 {
			continue
		}
		if owner >= 0 || !g.CyclesKnown {
			return corrupt(dg.off, "##DG", "has %d channel groups but no record id", len(all))
		}
		owner = i
	}
	owner = max(owner, 0)
	dg.groups = []*ChannelGroup{all[owner]}
	for i, g := range all {
		if i != owner {
			g.data = &dataGroup{off: dg.off, groups: []*ChannelGroup{g}}
		}
	}
	return nil
}

func (f *File) newGroup(dg *dataGroup, b block) (*ChannelGroup, error) {
	d, err := b.data(32)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	flags := le.Uint16(d[16:])
	g := &ChannelGroup{
		File: f, Index: len(f.Groups), data: dg, off: b.off, comment: b.link(5),
		RecordID: le.Uint64(d), Cycles: le.Uint64(d[8:]),
		DataBytes: le.Uint32(d[24:]), InvalBytes: le.Uint32(d[28:]),
		VLSD: flags&cgVLSD != 0, BusEvent: flags&cgBusEvent != 0, PlainBus: flags&cgPlainBus != 0,
		CyclesKnown: f.Finalized || f.UnfinFlags&unfinCycles == 0,
	}
	if flags&cgRemoteMaster != 0 {
		g.masterLink = b.link(6)
	}
	if !g.CyclesKnown {
		g.Cycles = 0
	}
	if err := f.noteLinks(b.link(4)); err != nil {
		return nil, err
	}
	if g.AcqName, err = f.text(b.link(2)); err != nil {
		return nil, err
	}
	if g.Source, err = f.source(b.link(3)); err != nil {
		return nil, err
	}
	if g.Comment, err = f.text(b.link(5)); err != nil {
		return nil, err
	}
	if g.VLSD {
		return g, nil
	}
	if err := f.readChannels(g, nil, b.link(1), 0); err != nil {
		return nil, err
	}
	g.finishChannels()
	return g, nil
}

// finishChannels numbers channels of one name and finds the master.
func (g *ChannelGroup) finishChannels() {
	count := make(map[string]int, len(g.Channels))
	for i, c := range g.Channels {
		c.Index = i
		c.Occurrence = count[c.Name]
		count[c.Name]++
		if g.Master == nil && (c.Type == Master || c.Type == VirtualMaster) {
			g.Master = c
		}
	}
}

// bindGroups resolves the links between groups once all are known.
func (f *File) bindGroups() error {
	var channels map[int64]*Channel // made when it is needed, which is rare
	for _, g := range f.Groups {
		if g.masterLink != 0 {
			if g.RemoteMaster = f.groupAt[g.masterLink]; g.RemoteMaster == nil && f.Damage == nil { // else it may be among what is lost
				return corrupt(g.masterLink, "", "is no channel group, group %d names it as its master", g.Index)
			}
		}
		for _, c := range g.Channels {
			if c.Type == VLSD && c.dataLink != 0 {
				c.values = f.groupAt[c.dataLink]
				if v := c.values; v != nil && c.err == nil && (!v.VLSD || v.data.idSize == 0) {
					c.err = corrupt(c.dataLink, "##CG", "is no group of variable-length values, channel %q needs one", c.Name)
				}
			}
			if c.Type == MLSD {
				if channels == nil {
					_, channels = f.byOffset()
				}
				c.bindSize(channels[c.dataLink])
			}
		}
	}
	return nil
}

// source reads the SIBLOCK at link (MDF 4.2, 5.12).
func (f *File) source(link int64) (*Source, error) {
	if link == 0 {
		return nil, nil
	}
	if s, ok := f.sources[link]; ok {
		return s, nil
	}
	b, err := f.src.block(link, "##SI")
	if err != nil {
		return nil, err
	}
	d, err := b.data(3)
	if err != nil {
		return nil, err
	}
	s := &Source{Type: d[0], Bus: BusType(d[1]), Simulated: d[2]&1 != 0}
	for i, p := range []*string{&s.Name, &s.Path, &s.Comment} {
		if *p, err = f.text(b.link(i)); err != nil {
			return nil, err
		}
	}
	f.sources[link] = s
	f.note(link)
	return s, nil
}
