package mdf

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// FrameKind is the name of the structure that bus events of a kind have in ASAM MDF bus logging.
type FrameKind string

// Kinds of bus events (ASAM MDF Bus Logging 1.0, chapter 4).
const (
	CANDataFrame     FrameKind = "CAN_DataFrame"
	CANRemoteFrame   FrameKind = "CAN_RemoteFrame"
	CANErrorFrame    FrameKind = "CAN_ErrorFrame"
	CANOverloadFrame FrameKind = "CAN_OverloadFrame"
	LINFrame         FrameKind = "LIN_Frame"
	LINChecksumError FrameKind = "LIN_ChecksumError"
	LINReceiveError  FrameKind = "LIN_ReceiveError"
	LINSyncError     FrameKind = "LIN_SyncError"
	LINWakeUp        FrameKind = "LIN_WakeUp"
	LINTransmitError FrameKind = "LIN_TransmissionError"
	FlexRayFrame     FrameKind = "FLX_Frame"
	FlexRayPDU       FrameKind = "FLX_Pdu"
	FlexRayNull      FrameKind = "FLX_NullFrame"
	FlexRayError     FrameKind = "FLX_ErrorFrame"
	FlexRaySymbol    FrameKind = "FLX_Symbol"
	EthernetFrame    FrameKind = "ETH_Frame"
	EthernetError    FrameKind = "ETH_ErrorFrame"
	EthernetChecksum FrameKind = "ETH_ChecksumError"
	MOSTMessage      FrameKind = "MOST_Message"
)

var frameKinds = []FrameKind{CANDataFrame, CANRemoteFrame, CANErrorFrame, CANOverloadFrame, LINFrame, LINChecksumError, LINReceiveError,
	LINSyncError, LINWakeUp, LINTransmitError, FlexRayFrame, FlexRayPDU, FlexRayNull, FlexRayError, FlexRaySymbol, EthernetFrame,
	EthernetError, EthernetChecksum, MOSTMessage}

// FrameKind says which bus events the group holds; "" if it holds none. Groups with frames of CAN only are read faster by Frames.
func (g *ChannelGroup) FrameKind() FrameKind {
	for _, c := range g.Channels {
		name, _, member := strings.Cut(c.Name, ".")
		if kind := FrameKind(name); slices.Contains(frameKinds, kind) && (member || len(c.Children) > 0) {
			return kind
		}
	}
	return ""
}

// members are the channels of the structure by their names in it, in the order of the file.
func (g *ChannelGroup) members(kind FrameKind) (names []string, chans []*Channel) {
	known := map[string]bool{}
	for _, c := range g.Channels {
		name, ok := strings.CutPrefix(c.Name, string(kind)+".")
		if !ok && (c.Parent == nil || c.Parent.Name != string(kind)) || c.err != nil || known[name] {
			continue
		}
		known[name] = true
		names, chans = append(names, name), append(chans, c)
	}
	return names, chans
}

// BusFrames are bus events of one block, in columns: frames of any bus, and errors. The slices are reused by the next call.
type BusFrames struct {
	Kind     FrameKind
	First    uint64 // number of the first one in its group
	N        int
	Times    []float64 // seconds since File.Start
	Bus      []uint8   // BusChannel; see BusKnown
	BusKnown bool      // the group has the member BusChannel, 0 is a bus too; false: Bus is all 0
	ID       []uint32  // of CAN and LIN the identifier, of FlexRay the slot, of Ethernet the EtherType; 0 where there is none
	Transmit []bool    // sent by the logger (Dir)
	Offsets  []uint32  // payload of event i: Data[Offsets[i]:Offsets[i+1]]
	Data     []byte    // DataBytes, cut to the length that the event says

	names []string
	block *Block
}

// Payload returns the data bytes of event i, valid as long as the BusFrames are.
func (f *BusFrames) Payload(i int) []byte { return f.Data[f.Offsets[i]:f.Offsets[i+1]] }

// Position returns the place of event i, 0 <= i <= N, for BusFrameReader.Resume.
func (f *BusFrames) Position(i int) Position { return f.block.Position(i) }

// Member returns the column of a member of the structure by its name in ASAM MDF bus logging, such as "Cycle", "Checksum",
// "Source" or "ErrorType"; nil if the group has no such member.
func (f *BusFrames) Member(name string) *Column {
	if i := slices.Index(f.names, name); i >= 0 {
		return &f.block.Columns[i]
	}
	return nil
}

// A BusFrameReader reads the bus events of a group, block by block.
type BusFrameReader struct {
	r      *GroupReader
	frames BusFrames
}

// BusFrames opens a reader of the bus events of the group.
func (g *ChannelGroup) BusFrames(opts ReadOptions) (*BusFrameReader, error) {
	if g == nil {
		return nil, errNoGroup
	}
	kind := g.FrameKind()
	if kind == "" {
		return nil, fmt.Errorf("group %d (%s) holds no bus events: %w", g.Index, g.AcqName, ErrUnsupported)
	}
	names, chans := g.members(kind)
	opts.Raw, opts.ColumnsOnly = true, true // texts for numbers, as of Dir, are of no use here
	if opts.BlockRecords <= 0 {
		opts.BlockRecords = blockFrames
	}
	r, err := g.Read(opts, chans...)
	if err != nil {
		return nil, err
	}
	if r.times != nil {
		r.times.raw = false
	}
	return &BusFrameReader{r: r, frames: BusFrames{Kind: kind, names: names}}, nil
}

// Next returns the next events, as GroupReader.Next does its block.
func (f *BusFrameReader) Next(ctx context.Context) (*BusFrames, error) {
	b, err := f.r.Next(ctx)
	if err != nil {
		return nil, err
	}
	fr := &f.frames
	fr.block, fr.First, fr.N = b, b.First, b.N
	if fr.Times = b.Times; fr.Times == nil {
		return nil, fmt.Errorf("group %d has bus events without times: %w", b.Group.Index, ErrUnsupported)
	}
	fr.Bus, fr.ID, fr.Transmit = grow(fr.Bus, b.N), grow(fr.ID, b.N), grow(fr.Transmit, b.N)
	bus := fr.number("BusChannel")
	fr.BusKnown = bus != nil
	fillUint8(fr.Bus, bus)
	fillBool(fr.Transmit, fr.number("Dir"))
	clear(fr.ID)
	for i, x := range fr.number(fr.idMember()) {
		fr.ID[i] = uint32(x)
	}
	fr.payloads()
	return fr, nil
}

func (f *BusFrames) idMember() string {
	if strings.HasPrefix(string(f.Kind), "ETH_") {
		return "EtherType"
	}
	return "ID"
}

// number returns the values of a numeric member, nil without.
func (f *BusFrames) number(name string) []float64 {
	if c := f.Member(name); c != nil && c.Kind == Number {
		return c.Values
	}
	return nil
}

// lengthMembers say how many of the data bytes count, in the order they are looked for.
var lengthMembers = []string{"DataLength", "ReceivedDataByteCount", "ReceivedDataByteLength", "PayloadLength"}

func (f *BusFrames) payloads() {
	f.Offsets, f.Data = append(grow(f.Offsets, f.N+1)[:0], 0), f.Data[:0]
	data := f.Member("DataBytes")
	if data != nil && data.Offsets == nil {
		data = nil
	}
	var lengths []float64
	for _, name := range lengthMembers {
		if lengths == nil {
			lengths = f.number(name)
		}
	}
	for i := range f.N {
		if data != nil {
			p := data.At(i)
			if lengths != nil && lengths[i] >= 0 && lengths[i] < float64(len(p)) {
				p = p[:int(lengths[i])]
			}
			f.Data = append(f.Data, p...)
		}
		f.Offsets = append(f.Offsets, uint32(len(f.Data)))
	}
}

// Seek is GroupReader.Seek.
func (f *BusFrameReader) Seek(event uint64) error { return f.r.Seek(event) }

// SeekTime is GroupReader.SeekTime.
func (f *BusFrameReader) SeekTime(ctx context.Context, seconds float64) error {
	return f.r.SeekTime(ctx, seconds)
}

// Resume is GroupReader.Resume.
func (f *BusFrameReader) Resume(p Position) error { return f.r.Resume(p) }

// Losses is GroupReader.Losses.
func (f *BusFrameReader) Losses() []Loss { return f.r.Losses() }

// Close is GroupReader.Close.
func (f *BusFrameReader) Close() error { return f.r.Close() }
