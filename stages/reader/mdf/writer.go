package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Compression is how a Writer stores records.
type Compression uint8

// Compressions. TransposedDeflate compresses measurements best.
const (
	Uncompressed Compression = iota
	Deflate
	TransposedDeflate
)

// WriterOptions describe a file to write. Equal options and records give equal bytes.
type WriterOptions struct {
	Version     int       // 410 or 411; 0 means 410
	Start       time.Time // of the recording; times of records count from here
	LocalTime   bool      // Start is wall-clock time of an unknown zone
	Comment     string
	Program     string // at most 8 bytes, who writes; "" means "milepost"
	Compression Compression
	// BlockBytes is the size of a data block before compression; 0 means 1 MiB. The standard recommends at most
	// 4 MiB.
	BlockBytes int
}

// A ChannelSpec describes a channel to write.
type ChannelSpec struct {
	Name, Unit, Comment string
	DataType            DataType // UintLE to FloatBE, UTF8, or ByteArray
	Bits                int      // 1 to 64, of floats 32 or 64, of UTF8 and ByteArray a multiple of 8
	Sync                SyncType // of the master only; SyncNone there means SyncTime
	// Conversion makes physical values of raw ones; nil for none. Channels with the same one share its block.
	Conversion *Conversion
	// Invalidation says that samples may be invalid.
	Invalidation bool
}

// A GroupSpec describes a channel group to write.
type GroupSpec struct {
	AcqName, Comment string
	Source           *Source
	Master           ChannelSpec // the zero value means float64 seconds named "time"
	Channels         []ChannelSpec
}

// A Writer writes a sorted MDF 4 file as a stream: it keeps one data block a group in memory. Groups may be added
// at any time. One goroutine uses it.
type Writer struct {
	b      blockWriter
	opts   WriterOptions
	groups []*GroupWriter
	lastDG int64 // 0 before the first group
	lastAT int64 // 0 before the first attachment
	values []*valueCopy
	copied map[*Channel]int64   // CN blocks of copied channels
	sizes  map[*Channel][]int64 // CN blocks that wait for one of them
	pack   packer
	closed bool

	file *os.File // Create: the temporary file
	path string
}

// Create starts a file at path. It is written beside it under another name and appears at path, complete and synced
// to disk, when Close succeeds; nothing is left there after Abort.
func Create(path string, opts WriterOptions) (*Writer, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	w, err := NewWriter(f, opts)
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	w.file, w.path = f, path
	return w, nil
}

// NewWriter starts a file in w, from offset 0. Until Close the file is marked as unfinalized.
func NewWriter(w io.WriterAt, opts WriterOptions) (*Writer, error) {
	if opts.Version == 0 {
		opts.Version = 410
	}
	if opts.Version != 410 && opts.Version != 411 {
		return nil, fmt.Errorf("write MDF version %d: %w", opts.Version, ErrUnsupported)
	}
	if opts.BlockBytes <= 0 {
		opts.BlockBytes = 1 << 20
	}
	if opts.Program == "" {
		opts.Program = "milepost"
	}
	if len(opts.Program) > 8 {
		return nil, fmt.Errorf("write MDF: program name %q is longer than 8 bytes", opts.Program)
	}
	out := &Writer{b: blockWriter{w: w}, opts: opts}
	out.writeHead()
	return out, out.b.err
}

// writeHead writes IDBLOCK, HDBLOCK and FHBLOCK (MDF 4.2, 5.3 to 5.5).
func (w *Writer) writeHead() {
	w.b.raw(w.id(false))
	flags := make([]byte, 20)
	if w.opts.LocalTime {
		flags[0] = 1
	}
	hd := w.b.append("HD", make([]int64, 6), w.startTime(), flags)
	w.b.setLink(hd, 5, w.b.comment("HDcomment", w.opts.Comment, ""))
	tool := "<tool_id>" + escapeXML(w.opts.Program) + "</tool_id>\n<tool_vendor>milepost</tool_vendor>\n" +
		"<tool_version>1</tool_version>\n"
	fh := w.b.append("FH", []int64{0, w.b.comment("FHcomment", "created", tool)}, w.startTime(), make([]byte, 4))
	w.b.setLink(hd, 1, fh)
}

// startTime gives the first 12 bytes of HD and FH data: time in ns since 1970, UTC, time zone and daylight saving
// in minutes. The flag that the zone is valid follows in the next byte, which callers leave 0: times are UTC, or local.
func (w *Writer) startTime() []byte {
	d := make([]byte, 12)
	if !w.opts.Start.IsZero() {
		binary.LittleEndian.PutUint64(d, uint64(w.opts.Start.UnixNano()))
	}
	return d
}

func (w *Writer) id(final bool) []byte {
	b := make([]byte, 64)
	copy(b, "UnFinMF ")
	if final {
		copy(b, "MDF     ")
	} else {
		binary.LittleEndian.PutUint16(b[60:], unfinCycles|unfinDL)
	}
	copy(b[8:], fmt.Sprintf("%d.%02d    ", w.opts.Version/100, w.opts.Version%100))
	copy(b[16:24], fmt.Sprintf("%-8s", w.opts.Program))
	binary.LittleEndian.PutUint16(b[28:], uint16(w.opts.Version))
	return b
}

// Close writes what is left, lists the data blocks and marks the file as finalized. A file of Create is then synced
// and renamed. After an error nothing appears at its path. Closing again returns ErrClosed.
func (w *Writer) Close() error {
	if w.closed {
		return ErrClosed
	}
	w.closed = true
	for _, g := range w.groups {
		g.finish()
	}
	for _, v := range w.values {
		v.finish(w)
	}
	if w.b.err == nil {
		w.b.at(w.id(true), 0)
	}
	if w.file == nil {
		return w.b.err
	}
	if w.b.err != nil {
		return errors.Join(w.b.err, w.file.Close(), os.Remove(w.file.Name()))
	}
	return commit(w.file, w.path)
}

// commit makes a temporary file of the same folder the one at path, all of it or nothing.
func commit(f *os.File, path string) error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Abort gives the file up; of a file of Create nothing remains. After Close it does nothing.
func (w *Writer) Abort() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if w.file == nil {
		return nil
	}
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// AddGroup adds a channel group.
func (w *Writer) AddGroup(spec GroupSpec) (*GroupWriter, error) {
	if w.closed {
		return nil, ErrClosed
	}
	if spec.Master == (ChannelSpec{}) {
		spec.Master = ChannelSpec{Name: "time", Unit: "s", DataType: FloatLE, Bits: 64}
	}
	if spec.Master.Sync == SyncNone {
		spec.Master.Sync = SyncTime
	}
	g := &GroupWriter{w: w}
	for _, c := range append([]ChannelSpec{spec.Master}, spec.Channels...) {
		if err := g.addField(c); err != nil {
			return nil, err
		}
	}
	if spec.Master.Invalidation || !isNumeric(spec.Master.DataType) {
		return nil, fmt.Errorf("master %q: has to be a number that is always valid", spec.Master.Name)
	}
	g.write(spec, nil)
	return g, w.b.err
}

func isNumeric(t DataType) bool { return t <= FloatBE }

// addField gives the channel its place in the record.
func (g *GroupWriter) addField(c ChannelSpec) error {
	ok := c.Bits >= 1 && c.Bits <= 64
	switch c.DataType {
	case UintLE, UintBE, IntLE, IntBE:
	case FloatLE, FloatBE:
		ok = c.Bits == 32 || c.Bits == 64
	case UTF8, ByteArray:
		ok = c.Bits > 0 && c.Bits%8 == 0 && c.Bits <= 1<<20
	default:
		return fmt.Errorf("channel %q: writing %v: %w", c.Name, c.DataType, ErrUnsupported)
	}
	if err := c.Conversion.check(); err != nil {
		return fmt.Errorf("channel %q: %w", c.Name, err)
	}
	if !ok {
		return fmt.Errorf("channel %q: %v cannot have %d bits", c.Name, c.DataType, c.Bits)
	}
	f := field{spec: c, off: g.dataBytes, n: (c.Bits + 7) / 8, inval: -1}
	if c.Invalidation {
		f.inval = g.invalBits
		g.invalBits++
	}
	g.dataBytes += f.n
	g.fields = append(g.fields, f)
	return nil
}

// write writes DG, CG and CN blocks. frame, if not nil, is the structure that all fields but the master belong to.
func (g *GroupWriter) write(spec GroupSpec, frame *ChannelSpec) {
	b := &g.w.b
	le := binary.LittleEndian
	flags := uint16(0)
	if frame != nil {
		flags = cgBusEvent | cgPlainBus
	}
	cg := make([]byte, 32)
	le.PutUint16(cg[16:], flags)
	if frame != nil {
		le.PutUint16(cg[18:], '.')
	}
	le.PutUint32(cg[24:], uint32(g.dataBytes))
	le.PutUint32(cg[28:], uint32(g.invalBytes()))
	source := b.source(spec.Source)
	g.cg = b.append("CG", []int64{0, 0, b.text(spec.AcqName), source, 0, b.text(spec.Comment)}, cg)
	b.setLink(g.cg, 1, g.writeChannels(frame, source))
	g.link()
}

// source writes an SIBLOCK.
func (b *blockWriter) source(s *Source) int64 {
	if s == nil {
		return 0
	}
	d := make([]byte, 8)
	d[0], d[1] = s.Type, uint8(s.Bus)
	if s.Simulated {
		d[2] = 1
	}
	return b.append("SI", []int64{b.text(s.Name), b.text(s.Path), b.text(s.Comment)}, d)
}

// writeChannels writes the channels from the last to the first, so that each knows the next, and returns the first.
func (g *GroupWriter) writeChannels(frame *ChannelSpec, source int64) int64 {
	next := int64(0)
	for i := len(g.fields) - 1; i >= 1; i-- {
		next = g.w.b.channel(g.fields[i], Fixed, [4]int64{next, 0, source, 0}, frame != nil)
	}
	if frame != nil {
		f := field{spec: *frame, off: g.fields[1].off, inval: -1}
		next = g.w.b.channel(f, Fixed, [4]int64{0, next, source, 0}, true)
	}
	return g.w.b.channel(g.fields[0], Master, [4]int64{next, 0, 0, 0}, false)
}

// channel writes a CNBLOCK (MDF 4.2, 5.13); links are the next channel, the composition, the source, and the data.
func (b *blockWriter) channel(f field, t ChannelType, links [4]int64, bus bool) int64 {
	le, c := binary.LittleEndian, f.spec
	d := make([]byte, 72)
	d[0], d[1], d[2] = uint8(t), uint8(c.Sync), uint8(c.DataType)
	if t != Master {
		d[1] = 0
	}
	le.PutUint32(d[4:], uint32(f.off))
	le.PutUint32(d[8:], uint32(c.Bits))
	flags := uint32(0)
	if f.inval >= 0 {
		flags |= cnInvalBit
		le.PutUint32(d[16:], uint32(f.inval))
	}
	if bus {
		flags |= cnBusEvent
	}
	le.PutUint32(d[12:], flags)
	conv := b.conversion(c.Conversion)
	return b.append("CN", []int64{links[0], links[1], b.text(c.Name), links[2], conv, links[3], b.text(c.Unit),
		b.text(c.Comment)}, d)
}
