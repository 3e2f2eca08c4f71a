package mdf

import (
	"context"
	"fmt"
	"strings"
)

// Frames are CAN frames of one block, in columns. The slices are reused by the next call.
type Frames struct {
	First    uint64 // number of the first frame in its group
	N        int
	Times    []float64 // seconds since File.Start
	Bus      []uint8   // CAN_DataFrame.BusChannel or, without that member, ChannelGroup.BusChannel; see BusKnown
	BusKnown bool      // the file says the buses, 0 is one of them; false: Bus is all 0
	ID       []uint32  // 11 or 29 bits
	Extended []bool    // ID has 29 bits
	DLC      []uint8   // data length code
	FD       []bool    // CAN FD format (EDL)
	Transmit []bool    // sent by the logger (Dir)
	Offsets  []uint32  // payload of frame i: Data[Offsets[i]:Offsets[i+1]]
	Data     []byte

	block *Block
	group *ChannelGroup
	bus   uint8            // of the group
	col   [memberCount]int // number of the member's column, -1 if missing
}

// Payload returns the data bytes of frame i, valid as long as the Frames are.
func (f *Frames) Payload(i int) []byte { return f.Data[f.Offsets[i]:f.Offsets[i+1]] }

// Buses is Bus, nil where the file does not say it.
func (f *Frames) Buses() []uint8 {
	if !f.BusKnown {
		return nil
	}
	return f.Bus
}

// Position returns the place of frame i, 0 <= i <= N, for FrameReader.Resume.
func (f *Frames) Position(i int) Position { return f.block.Position(i) }

// The members of CAN_DataFrame that are read (ASAM MDF bus logging 1.0, table 5).
const (
	memberBus = iota
	memberID
	memberIDE
	memberDLC
	memberLength
	memberData
	memberFD
	memberDir
	memberCount
)

var memberNames = [memberCount]string{"BusChannel", "ID", "IDE", "DLC", "DataLength", "DataBytes", "EDL", "Dir"}

// blockFrames is small enough for the columns of a block, 64 KiB with the members as numbers, to stay in the processor's
// cache; loggers with a group for each bus make many readers.
const blockFrames = 1024

const frameChannel = "CAN_DataFrame"

// HasFrames says that the group holds CAN data frames, so Frames can be called.
func (g *ChannelGroup) HasFrames() bool {
	m := g.frameMembers()
	return m[memberID] != nil && m[memberData] != nil
}

// HasIDE says that frames of the group tell 29-bit identifiers from 11-bit ones. Without it only those above 0x7FF are known
// to have 29 bits.
func (g *ChannelGroup) HasIDE() bool { return g.frameMembers()[memberIDE] != nil }

// frameMembers finds the members, which are named "CAN_DataFrame.ID" by most writers and "ID" inside the structure
// CAN_DataFrame by some.
func (g *ChannelGroup) frameMembers() (m [memberCount]*Channel) {
	for _, c := range g.Channels {
		name, ok := strings.CutPrefix(c.Name, frameChannel+".")
		if !ok && (c.Parent == nil || c.Parent.Name != frameChannel) {
			continue
		}
		for i, want := range memberNames {
			if name == want && m[i] == nil && c.err == nil && c.fits(i) {
				m[i] = c
			}
		}
	}
	return m
}

// fits says whether the channel can be that member.
func (c *Channel) fits(member int) bool {
	k := c.Kind()
	if member == memberData {
		return k == Bytes || k == Text || k == Struct
	}
	return k == Number && c.Type != VLSD
}

// BusChannel is the number at the end of the group's name or source, such as 1 of "CAN1_Rx", for recorders that keep each
// bus in a group of its own and do not say it in the frames. ok is false if there is none.
func (g *ChannelGroup) BusChannel() (bus uint8, ok bool) {
	names := []string{g.AcqName}
	if g.Source != nil {
		names = append(names, g.Source.Path, g.Source.Name)
	}
	for _, n := range names {
		if _, after, can := strings.Cut(strings.ToUpper(n), "CAN"); can {
			if k, _ := fmt.Sscanf(strings.TrimLeft(after, " _"), "%d", &bus); k == 1 {
				return bus, true
			}
		}
	}
	return 0, false
}

// A FrameReader reads the CAN data frames of a group, block by block.
type FrameReader struct {
	r      *GroupReader
	frames Frames
}

// FrameChannels are the channels of the group that CAN data frames are made of: a block that was read with them, by a
// GroupReader or by File.Scan, is what Frames.Fill needs. It is nil if the group holds no frames.
func (g *ChannelGroup) FrameChannels() []*Channel {
	if !g.HasFrames() {
		return nil
	}
	var chans []*Channel
	for _, c := range g.frameMembers() {
		if c != nil {
			chans = append(chans, c)
		}
	}
	return chans
}

// Frames opens a reader of the CAN data frames of the group. Remote and error frames are in groups of their own.
func (g *ChannelGroup) Frames() (*FrameReader, error) { return g.ReadFrames(ReadOptions{}) }

// ReadFrames is Frames with options; Raw and ColumnsOnly mean nothing to it.
func (g *ChannelGroup) ReadFrames(opts ReadOptions) (*FrameReader, error) {
	if g == nil {
		return nil, errNoGroup
	}
	if !g.HasFrames() {
		return nil, fmt.Errorf("group %d (%s) has no %s channels: %w", g.Index, g.AcqName, frameChannel, ErrUnsupported)
	}
	opts.Raw, opts.ColumnsOnly = false, true
	if opts.BlockRecords <= 0 {
		opts.BlockRecords = blockFrames
	}
	r, err := g.Read(opts, g.FrameChannels()...)
	return &FrameReader{r: r}, err
}

// Next returns the next frames, as GroupReader.Next does its block.
func (f *FrameReader) Next(ctx context.Context) (*Frames, error) {
	b, err := f.r.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &f.frames, f.frames.Fill(b)
}

// Fill takes the frames of a block that has the columns of ChannelGroup.FrameChannels. They are valid as long as the block is.
func (fr *Frames) Fill(b *Block) error {
	if fr.group != b.Group {
		if !b.Group.HasFrames() {
			return fmt.Errorf("group %d has no CAN frames: %w", b.Group.Index, ErrUnsupported)
		}
		fr.group = b.Group
		fr.findMembers(b)
	}
	fr.block, fr.First, fr.N = b, b.First, b.N
	if fr.Times = b.Times; fr.Times == nil {
		return fmt.Errorf("group %d has CAN frames without times: %w", b.Group.Index, ErrUnsupported)
	}
	fr.fill(b)
	return nil
}

func (fr *Frames) findMembers(b *Block) {
	next := 0
	for i, c := range b.Group.frameMembers() {
		fr.col[i] = -1
		if c != nil {
			fr.col[i] = next
			next++
		}
	}
	if fr.bus, fr.BusKnown = b.Group.BusChannel(); fr.col[memberBus] >= 0 {
		fr.BusKnown = true
	}
}

func (fr *Frames) fill(b *Block) {
	n := b.N
	fr.Bus, fr.ID, fr.Extended = grow(fr.Bus, n), grow(fr.ID, n), grow(fr.Extended, n)
	fr.DLC, fr.FD, fr.Transmit = grow(fr.DLC, n), grow(fr.FD, n), grow(fr.Transmit, n)
	fr.fillBus(b)
	fillUint8(fr.DLC, fr.values(b, memberDLC))
	fillBool(fr.FD, fr.values(b, memberFD))
	fillBool(fr.Transmit, fr.values(b, memberDir))
	fillBool(fr.Extended, fr.values(b, memberIDE))
	for i, x := range fr.values(b, memberID) {
		id := uint32(x)
		fr.Extended[i] = fr.Extended[i] || id&(1<<31) != 0 || id&(1<<29-1) > 0x7FF
		fr.ID[i] = id & (1<<29 - 1)
	}
	fr.fillData(b)
}

// fillBus takes the bus of each frame, or that of the group where its frames do not say it.
func (fr *Frames) fillBus(b *Block) {
	if fr.col[memberBus] >= 0 {
		fillUint8(fr.Bus, fr.values(b, memberBus))
		return
	}
	for i := range fr.Bus {
		fr.Bus[i] = fr.bus
	}
}

// values returns the numbers of a member, nil if the group has no such member.
func (fr *Frames) values(b *Block, member int) []float64 {
	if fr.col[member] < 0 {
		return nil
	}
	return b.Columns[fr.col[member]].Values
}

func fillUint8(dst []uint8, v []float64) {
	clear(dst)
	for i, x := range v {
		dst[i] = uint8(x)
	}
}

func fillBool(dst []bool, v []float64) {
	clear(dst)
	for i, x := range v {
		dst[i] = x != 0
	}
}

// dlcLengths are the payload lengths of the data length codes of CAN FD (ISO 11898-1).
var dlcLengths = [16]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64}

// fillData cuts the payloads to DataLength or, without that member, to what the DLC means.
func (fr *Frames) fillData(b *Block) {
	data := &b.Columns[fr.col[memberData]]
	lengths := fr.values(b, memberLength)
	fr.Offsets = append(grow(fr.Offsets, b.N+1)[:0], 0)
	fr.Data = fr.Data[:0]
	for i := range b.N {
		p := data.At(i)
		switch {
		case lengths != nil:
			if n := lengths[i]; n >= 0 && n < float64(len(p)) {
				p = p[:int(n)]
			}
		case fr.col[memberDLC] >= 0 && data.Channel.Type != VLSD:
			p = p[:min(len(p), dlcLengths[fr.DLC[i]&15])]
		}
		fr.Data = append(fr.Data, p...)
		fr.Offsets = append(fr.Offsets, uint32(len(fr.Data)))
	}
}

// Seek is GroupReader.Seek.
func (f *FrameReader) Seek(frame uint64) error { return f.r.Seek(frame) }

// Resume is GroupReader.Resume.
func (f *FrameReader) Resume(p Position) error { return f.r.Resume(p) }

// Progress is GroupReader.Progress.
func (f *FrameReader) Progress() Progress { return f.r.Progress() }

// Losses is GroupReader.Losses.
func (f *FrameReader) Losses() []Loss { return f.r.Losses() }

// Close is GroupReader.Close.
func (f *FrameReader) Close() error { return f.r.Close() }
