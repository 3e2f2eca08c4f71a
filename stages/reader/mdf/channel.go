package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// ChannelType says how the values of a channel are found (cn_type).
type ChannelType uint8

// Channel types of MDF 4.2, 5.13.
const (
	Fixed         ChannelType = iota // a field of the record
	VLSD                             // the record holds an offset to a value of variable length
	Master                           // a field of the record that orders it: time, angle, distance or index
	VirtualMaster                    // the record's number, converted
	Sync                             // a field that synchronizes with an attachment
	MLSD                             // a field of a maximum length, the real one is in another channel
	VirtualData                      // the record's number, converted
)

// SyncType says what a master channel counts (cn_sync_type).
type SyncType uint8

// Sync types of MDF 4.2, 5.13.
const (
	SyncNone     SyncType = iota
	SyncTime              // seconds since File.Start
	SyncAngle             // radians
	SyncDistance          // metres
	SyncIndex             // record number
)

// DataType is the type of a raw value (cn_data_type).
type DataType uint8

// Data types of MDF 4.2, 5.13.
const (
	UintLE DataType = iota
	UintBE
	IntLE
	IntBE
	FloatLE
	FloatBE
	Latin1
	UTF8
	UTF16LE
	UTF16BE
	ByteArray
	MIMESample
	MIMEStream
	CANopenDate
	CANopenTime
	ComplexLE
	ComplexBE
)

var dataTypeNames = [...]string{"uint", "uint big-endian", "int", "int big-endian", "float", "float big-endian",
	"Latin-1 text", "UTF-8 text", "UTF-16 text", "UTF-16 text big-endian", "bytes", "MIME sample", "MIME stream",
	"CANopen date", "CANopen time", "complex", "complex big-endian"}

// String returns the name of the type; little-endian is not mentioned.
func (t DataType) String() string {
	if int(t) < len(dataTypeNames) {
		return dataTypeNames[t]
	}
	return fmt.Sprintf("data type %d", uint8(t))
}

// Kind is what the samples of a channel are when decoded.
type Kind uint8

// Kinds of samples.
const (
	Number      Kind = iota // float64
	Text                    // UTF-8
	Bytes                   // bytes as recorded
	Complex                 // two float64, real and imaginary
	Numbers                 // an array of float64, row-major
	Struct                  // no value of its own, its Children have: decoded as Bytes
	Texts                   // an array of Text, row-major
	ByteStrings             // an array of Bytes, row-major
)

// Flags of a channel (MDF 4.2, 5.13, cn_flags).
const (
	cnAllInvalid = 1 << 0
	cnInvalBit   = 1 << 1
	cnPrecision  = 1 << 2
	cnBusEvent   = 1 << 10
)

// A Channel is a column of a channel group (CNBLOCK).
type Channel struct {
	Group      *ChannelGroup
	Index      int     // position in Group.Channels
	Name       string  // not unique in a group: see Occurrence
	Occurrence int     // 0 for the first channel of that name in the group, 1 for the next
	Unit       string  // of the physical value
	UnitXML    string  // the unit as it stands in the file, if it is given as XML
	Source     *Source // nil if none

	Type       ChannelType
	Sync       SyncType
	DataType   DataType
	ByteOffset uint32 // in the record
	BitOffset  uint8  // 0 to 7, in the first byte
	BitCount   uint32
	Flags      uint32
	InvalBit   uint32 // in the invalidation bytes, used if HasInvalidation
	Precision  int    // decimal places to show, -1 if not given

	Conversion *Conversion // nil if none
	Parent     *Channel    // the structure it is a member of
	Children   []*Channel  // members of a structure
	Array      *Array      // nil for a scalar
	// Template are the dimensions of an array whose elements have records, and times, of their own (CABLOCK, storage CG or DG
	// template). The channel is the first of them, the others are not read; nil for all other channels.
	Template []int

	dataLink int64
	off      int64         // of the block
	comment  int64         // link
	values   *ChannelGroup // VLSD group with the values
	size     *Channel      // MLSD: channel with the number of bytes
	err      error         // why it cannot be decoded
}

// HasInvalidation says whether samples of the channel can be invalid one by one.
func (c *Channel) HasInvalidation() bool {
	return c.Flags&cnInvalBit != 0 && c.Flags&cnAllInvalid == 0 && c.Group.InvalBytes > 0
}

// AllInvalid says that no sample of the channel is valid.
func (c *Channel) AllInvalid() bool { return c.Flags&cnAllInvalid != 0 }

// IsMaster says whether the channel orders its group.
func (c *Channel) IsMaster() bool { return c.Type == Master || c.Type == VirtualMaster }

// Err says why the channel cannot be decoded, nil if it can. Where it is the Err of its Conversion, the channel can be read raw.
func (c *Channel) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.Conversion.Err()
}

// Kind returns what the samples of the channel are.
func (c *Channel) Kind() Kind {
	switch {
	case len(c.Children) > 0:
		return Struct
	case c.DataType >= Latin1 && c.DataType <= UTF16BE:
		if c.isArray() {
			return Texts
		}
		return Text
	case c.DataType >= ByteArray && c.DataType <= CANopenTime:
		if c.isArray() {
			return ByteStrings
		}
		return Bytes
	case c.Array != nil:
		return Numbers
	case c.DataType >= ComplexLE:
		return Complex
	}
	return Number
}

// isInteger says whether ranges of a conversion include their upper bound.
func (c *Channel) isInteger() bool { return c.DataType <= IntBE }

const maxDepth = 32 // of compositions and conversions; real files have 3

func (f *File) readChannels(g *ChannelGroup, parent *Channel, link int64, depth int) error {
	for link != 0 {
		if err := f.once(link, "##CN"); err != nil {
			return err
		}
		if depth > maxDepth {
			return corrupt(link, "##CN", "is nested more than %d deep", maxDepth)
		}
		b, err := f.src.block(link, "##CN")
		if err != nil {
			return fmt.Errorf("read channel %d: %w", len(g.Channels), err)
		}
		c, err := f.newChannel(g, b)
		if err != nil {
			return fmt.Errorf("read channel %d: %w", len(g.Channels), err)
		}
		if c.Parent = parent; parent != nil {
			c.Array = parent.Array
		}
		g.Channels = append(g.Channels, c)
		if parent != nil {
			parent.Children = append(parent.Children, c)
		}
		if err := f.readComposition(c, b.link(1), depth+1); err != nil {
			return err
		}
		if !c.inElement() { // else place does
			c.check(link)
		}
		link = b.link(0)
	}
	return nil
}

func (f *File) newChannel(g *ChannelGroup, b block) (*Channel, error) {
	d, err := b.data(24)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if len(f.spare) == 0 {
		f.spare = make([]Channel, 64)
	}
	c := &f.spare[0]
	f.spare = f.spare[1:]
	*c = Channel{
		Group: g, Type: ChannelType(d[0]), Sync: SyncType(d[1]), DataType: DataType(d[2]), BitOffset: d[3],
		ByteOffset: le.Uint32(d[4:]), BitCount: le.Uint32(d[8:]), Flags: le.Uint32(d[12:]),
		InvalBit: le.Uint32(d[16:]), Precision: -1, dataLink: b.link(5), off: b.off, comment: b.link(7),
	}
	if c.Type == VLSD && c.dataLink != 0 {
		f.noteData(c.dataLink)
	}
	if c.Flags&cnPrecision != 0 {
		c.Precision = int(d[20])
	}
	if c.Name, err = f.text(b.link(2)); err != nil {
		return nil, err
	}
	if c.Source, err = f.source(b.link(3)); err != nil {
		return nil, err
	}
	if c.Conversion, err = f.conversion(b.link(4), 0); err != nil {
		return nil, err
	}
	if c.Unit, err = f.text(b.link(6)); err != nil {
		return nil, err
	}
	if t, _ := f.textAt(b.link(6)); t.xml {
		c.UnitXML = strings.TrimSpace(t.s)
	}
	if c.Unit == "" && c.Conversion != nil {
		c.Unit = c.Conversion.unit
	}
	f.note(c.comment)
	return c, nil
}

// readComposition reads what cn_composition points to: the members of a structure, or an array.
func (f *File) readComposition(c *Channel, link int64, depth int) error {
	if link == 0 {
		return nil
	}
	id, _, _, err := f.src.header(link)
	if err != nil {
		return err
	}
	switch id {
	case "##CN":
		return f.readChannels(c.Group, c, link, depth)
	case "##CA":
		return f.readArray(c, link, depth)
	case "##DS", "##CL", "##CV", "##CU": // MDF 4.3
		c.err = fmt.Errorf("channel %q: composition %s of MDF 4.3: %w", c.Name, id, ErrUnsupported)
		return nil
	}
	return corrupt(link, id, "stands where ##CN or ##CA is expected")
}

// check sets err when the field does not lie in the record or its width is impossible. The file opens
// nevertheless: its other channels can be read.
func (c *Channel) check(off int64) {
	if c.err == nil && c.Array != nil && (c.virtual() || int64(c.Array.Elements) > int64(c.Group.DataBytes)) {
		c.err = corrupt(off, "##CA", "gives %q %d elements in a record of %d bytes", c.Name, c.Array.Elements, c.Group.DataBytes)
	}
	switch {
	case c.err != nil:
	case c.HasInvalidation() && c.lastInvalBit()/8 >= int64(c.Group.InvalBytes):
		c.err = corrupt(off, "##CN", "%q has invalidation bit %d of %d bytes", c.Name, c.lastInvalBit(), c.Group.InvalBytes)
	case c.virtual() && (c.DataType > FloatBE || len(c.Children) > 0):
		c.err = corrupt(off, "##CN", "%q is the number of the record and has data type %d and %d members", c.Name, c.DataType, len(c.Children))
	case !c.virtual():
		c.checkField(off)
	}
}

// virtual says that the values are the numbers of the records: the channel has no field.
func (c *Channel) virtual() bool { return c.Type == VirtualMaster || c.Type == VirtualData }

func (c *Channel) checkField(off int64) {
	if c.DataType > ComplexBE || c.Type > VirtualData {
		c.err = corrupt(off, "##CN", "%q has type %d and data type %d", c.Name, c.Type, c.DataType)
		return
	}
	if c.BitOffset > 7 {
		c.err = corrupt(off, "##CN", "%q has bit offset %d", c.Name, c.BitOffset)
		return
	}
	bytes := (int64(c.BitOffset) + int64(c.BitCount) + 7) / 8
	end := int64(c.ByteOffset) + bytes
	if c.Array != nil {
		low, high := c.Array.reach()
		if end += high; int64(c.ByteOffset)+low < 0 {
			end = math.MaxInt64
		}
	}
	if end > int64(c.Group.DataBytes) {
		c.err = corrupt(off, "##CN", "%q ends at byte %d of a record of %d", c.Name, end, c.Group.DataBytes)
		return
	}
	if c.Array != nil && c.Type == VLSD {
		c.err = fmt.Errorf("channel %q: array of values of variable length: %w", c.Name, ErrUnsupported)
		return
	}
	if limit := c.Group.File.opts.maxBlock(); c.isArray() && len(c.Children) == 0 && 8*int64(c.Array.Elements)*int64(c.width()) > limit {
		c.err = fmt.Errorf("channel %q: array of %d elements, Options.MaxBlockBytes is %d: %w", c.Name, c.Array.Elements, limit, ErrLimit)
		return
	}
	c.checkWidth(off)
}

// width is how many numbers a value is.
func (c *Channel) width() int {
	if c.DataType >= ComplexLE {
		return 2
	}
	return 1
}

func (c *Channel) checkWidth(off int64) {
	numeric := c.DataType <= FloatBE || c.Type == VLSD
	switch {
	case c.DataType >= ComplexLE && c.Type != VLSD:
		if c.BitOffset != 0 || c.BitCount != 32 && c.BitCount != 64 && c.BitCount != 128 {
			c.err = corrupt(off, "##CN", "%q is complex with %d bits", c.Name, c.BitCount)
		}
	case numeric && c.BitCount > 64:
		c.err = corrupt(off, "##CN", "%q is a number of %d bits", c.Name, c.BitCount)
	case (c.DataType == FloatLE || c.DataType == FloatBE) && c.Type != VLSD:
		if c.BitCount != 16 && c.BitCount != 32 && c.BitCount != 64 {
			c.err = corrupt(off, "##CN", "%q is a float of %d bits", c.Name, c.BitCount)
		}
	case !numeric && (c.BitOffset != 0 || c.BitCount%8 != 0):
		c.err = corrupt(off, "##CN", "%q is %v at bit %d with %d bits", c.Name, c.DataType, c.BitOffset, c.BitCount)
	}
}

// bindSize sets the channel that holds the number of bytes of an MLSD channel.
func (c *Channel) bindSize(size *Channel) {
	switch {
	case c.err != nil:
	case size == nil || size.Group != c.Group || len(size.Children) > 0 || !size.isInteger() || size.virtual() || size.Type == VLSD ||
		size.isArray() && (!c.isArray() || !slices.Equal(size.Array.Dims, c.Array.Dims)):
		c.err = corrupt(c.dataLink, "", "is no size channel, %q of group %d needs one", c.Name, c.Group.Index)
	case size.err != nil:
		c.err = size.err
	default:
		c.size = size
	}
}
