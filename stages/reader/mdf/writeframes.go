package mdf

import "fmt"

// A Frame is one CAN data frame to write.
type Frame struct {
	Time     float64 // seconds since WriterOptions.Start
	Bus      uint8   // from 1
	ID       uint32  // 11 or 29 bits
	Extended bool    // ID has 29 bits
	FD       bool
	Transmit bool
	Data     []byte
}

// A FrameSpec describes a group of CAN frames to write.
type FrameSpec struct {
	AcqName  string // "" means "CAN_DataFrame"
	Comment  string
	Bus      string // name of the bus or the logger's input, "" means "CAN"
	MaxBytes int    // longest payload: 8 (0 means that) or, for CAN FD, up to 64
}

// A FrameWriter takes CAN frames.
type FrameWriter struct {
	g    *GroupWriter
	max  int
	time [1]float64
	cols [10]Samples
	buf  [10][1]uint64
	data []byte
}

// AddFrames adds a group of CAN data frames in the structure of ASAM MDF bus logging, so that readers know it as
// such.
func (w *Writer) AddFrames(spec FrameSpec) (*FrameWriter, error) {
	if w.closed {
		return nil, ErrClosed
	}
	if spec.MaxBytes == 0 {
		spec.MaxBytes = 8
	}
	if spec.MaxBytes < 0 || spec.MaxBytes > 64 {
		return nil, fmt.Errorf("add CAN frames of up to %d bytes, 64 are possible", spec.MaxBytes)
	}
	if spec.AcqName == "" {
		spec.AcqName = frameChannel
	}
	if spec.Bus == "" {
		spec.Bus = "CAN"
	}
	g := &GroupWriter{w: w}
	for _, c := range frameFields(spec.MaxBytes) {
		if err := g.addField(c); err != nil {
			return nil, err
		}
	}
	frame := ChannelSpec{Name: frameChannel, DataType: ByteArray, Bits: 8 * (g.dataBytes - 8)}
	g.write(GroupSpec{AcqName: spec.AcqName, Comment: spec.Comment,
		Source: &Source{Name: spec.Bus, Path: spec.Bus, Type: 2, Bus: BusCAN}}, &frame)
	f := &FrameWriter{g: g, max: spec.MaxBytes, data: make([]byte, spec.MaxBytes)}
	for i := range f.cols {
		f.cols[i].Uint = f.buf[i][:]
	}
	f.cols[5] = Samples{Data: f.data}
	return f, w.b.err
}

// frameFields are the members of CAN_DataFrame that are written, after the time.
func frameFields(maxBytes int) []ChannelSpec {
	u := func(name string, bits int) ChannelSpec {
		return ChannelSpec{Name: frameChannel + "." + name, DataType: UintLE, Bits: bits}
	}
	data := ChannelSpec{Name: frameChannel + ".DataBytes", DataType: ByteArray, Bits: 8 * maxBytes}
	return []ChannelSpec{
		{Name: "Timestamp", Unit: "s", DataType: FloatLE, Bits: 64, Sync: SyncTime},
		u("BusChannel", 8), u("ID", 32), u("IDE", 8), u("DLC", 8), u("DataLength", 8), data,
		u("Dir", 8), u("EDL", 8), u("BRS", 8), u("ESI", 8),
	}
}

// Append takes a frame. Frames have to come in the order of their times.
func (f *FrameWriter) Append(fr Frame) error {
	dlc := 0
	for dlc < 15 && dlcLengths[dlc] < len(fr.Data) {
		dlc++
	}
	if len(fr.Data) > f.max {
		return fmt.Errorf("append CAN frame %#x of %d bytes to a group of at most %d", fr.ID, len(fr.Data), f.max)
	}
	f.time[0] = fr.Time
	clear(f.data)
	copy(f.data, fr.Data)
	for i, v := range [10]uint64{uint64(fr.Bus), uint64(fr.ID), bit(fr.Extended), uint64(dlc), uint64(len(fr.Data)), 0,
		bit(fr.Transmit), bit(fr.FD)} {
		f.buf[i][0] = v
	}
	return f.g.Append(f.time[:], f.cols[:]...)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
