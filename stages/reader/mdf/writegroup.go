package mdf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/zlib"
)

// field is the place of a channel in the record of a GroupWriter.
type field struct {
	spec  ChannelSpec
	off   int
	n     int // bytes
	inval int // invalidation bit, -1 for none
}

// Samples are raw values of one channel for some consecutive records, in the form that suits the channel: Uint, Int
// or Float for numbers (a float given to an integer channel is rounded to even), Data for UTF8 and ByteArray, with as
// many bytes a record as the channel has.
type Samples struct {
	Float []float64
	Int   []int64
	Uint  []uint64
	Data  []byte
	Valid []bool // nil: all valid
}

// A GroupWriter takes the records of one group.
type GroupWriter struct {
	w         *Writer
	fields    []field // the first is the master
	dataBytes int
	invalBits int

	dg, cg int64
	buf    []byte // records of the block that is being filled
	n      uint64 // records altogether
	blocks []int64
	sizes  []int64 // before compression
}

func (g *GroupWriter) invalBytes() int { return (g.invalBits + 7) / 8 }
func (g *GroupWriter) record() int     { return g.dataBytes + g.invalBytes() }

// Records returns the number of records taken.
func (g *GroupWriter) Records() uint64 { return g.n }

// Append takes len(times) records: the raw values of the master, which for the usual master are seconds since
// WriterOptions.Start and have to ascend, and those of each channel in the order of the spec.
func (g *GroupWriter) Append(times []float64, channels ...Samples) error {
	if g.w.closed {
		return ErrClosed
	}
	if len(channels) != len(g.fields)-1 {
		return fmt.Errorf("append %d channels to a group of %d", len(channels), len(g.fields)-1)
	}
	if err := g.check(len(times), channels); err != nil {
		return err
	}
	size := g.record()
	block := max(g.w.opts.BlockBytes/size, 1)
	for from := 0; from < len(times); {
		room := block - len(g.buf)/size
		to := min(from+room, len(times))
		g.encode(from, to, times, channels)
		if from = to; len(g.buf) == block*size {
			g.flush()
		}
	}
	g.n += uint64(len(times))
	return g.w.b.err
}

func (g *GroupWriter) check(n int, channels []Samples) error {
	for i, s := range channels {
		f := &g.fields[i+1]
		have := max(len(s.Float), len(s.Int), len(s.Uint))
		if !isNumeric(f.spec.DataType) {
			have = len(s.Data) / f.n
		}
		if have != n || s.Valid != nil && len(s.Valid) != n {
			return fmt.Errorf("append %d records: channel %q has %d values, %d validities", n, f.spec.Name, have, len(s.Valid))
		}
		if s.Valid != nil && f.inval < 0 {
			return fmt.Errorf("append to channel %q: it was declared without invalidation", f.spec.Name)
		}
		isFloat := f.spec.DataType == FloatLE || f.spec.DataType == FloatBE
		if isFloat && len(s.Float) != n {
			return fmt.Errorf("append to channel %q: floats are wanted", f.spec.Name)
		}
	}
	return nil
}

// encode appends records from..to to the block.
func (g *GroupWriter) encode(from, to int, times []float64, channels []Samples) {
	size := g.record()
	start := len(g.buf)
	g.buf = append(g.buf, make([]byte, (to-from)*size)...)
	rec := g.buf[start:]
	g.fields[0].encode(rec, size, Samples{Float: times}, from, to)
	for i, s := range channels {
		f := &g.fields[i+1]
		f.encode(rec, size, s, from, to)
		if f.inval < 0 || s.Valid == nil {
			continue
		}
		at := g.dataBytes + f.inval/8
		for k := from; k < to; k++ {
			if !s.Valid[k] {
				rec[(k-from)*size+at] |= 1 << (f.inval % 8)
			}
		}
	}
}

func (f *field) encode(rec []byte, size int, s Samples, from, to int) {
	if !isNumeric(f.spec.DataType) {
		for k := from; k < to; k++ {
			copy(rec[(k-from)*size+f.off:], s.Data[k*f.n:(k+1)*f.n])
		}
		return
	}
	for k := from; k < to; k++ {
		f.put(rec[(k-from)*size+f.off:], f.bits(s, k))
	}
}

// bits returns value k as the bits of the field.
func (f *field) bits(s Samples, k int) uint64 {
	isFloat := f.spec.DataType == FloatLE || f.spec.DataType == FloatBE
	switch {
	case isFloat && f.spec.Bits == 32:
		return uint64(math.Float32bits(float32(s.Float[k])))
	case isFloat:
		return math.Float64bits(s.Float[k])
	case s.Uint != nil:
		return s.Uint[k]
	case s.Int != nil:
		return uint64(s.Int[k])
	}
	x := math.RoundToEven(s.Float[k])
	if x >= 1<<63 {
		return uint64(x)
	}
	return uint64(int64(x))
}

func (f *field) put(b []byte, v uint64) {
	if f.spec.Bits < 64 {
		v &= 1<<f.spec.Bits - 1
	}
	big := f.spec.DataType == UintBE || f.spec.DataType == IntBE || f.spec.DataType == FloatBE
	for i := range f.n {
		if big {
			b[f.n-1-i] = byte(v)
		} else {
			b[i] = byte(v)
		}
		v >>= 8
	}
}

// flush writes the block.
func (g *GroupWriter) flush() {
	if len(g.buf) == 0 {
		return
	}
	g.sizes = append(g.sizes, int64(len(g.buf)))
	g.blocks = append(g.blocks, g.w.writeData("DT", g.buf, g.record()))
	g.buf = g.buf[:0]
}

// packer compresses data blocks; it is kept for its buffers.
type packer struct {
	out    bytes.Buffer
	zw     *zlib.Writer
	planes []byte
}

// writeData writes a data block of that kind; cols is the size of a record, 1 if there are none.
func (w *Writer) writeData(id string, data []byte, cols int) int64 {
	if w.opts.Compression == Uncompressed {
		return w.b.append(id, nil, data)
	}
	body, kind := data, byte(0)
	if w.opts.Compression == TransposedDeflate && cols > 1 {
		body, kind = w.pack.transpose(data, cols), 1
	} else {
		cols = 0
	}
	packed, err := w.pack.deflate(body)
	if err != nil && w.b.err == nil {
		w.b.err = err
	}
	le := binary.LittleEndian
	head := append([]byte(id), kind, 0)
	head = le.AppendUint32(head, uint32(cols))
	head = le.AppendUint64(head, uint64(len(data)))
	head = le.AppendUint64(head, uint64(len(packed)))
	return w.b.append("DZ", nil, head, packed)
}

// transpose puts byte 0 of every record first, then byte 1, and so on (MDF 4.2, 5.23.2).
func (p *packer) transpose(data []byte, cols int) []byte {
	n := len(data) / cols
	p.planes = grow(p.planes, len(data))
	for c := range cols {
		plane := p.planes[c*n : (c+1)*n]
		for i := range plane {
			plane[i] = data[i*cols+c]
		}
	}
	copy(p.planes[n*cols:], data[n*cols:])
	return p.planes
}

func (p *packer) deflate(data []byte) ([]byte, error) {
	p.out.Reset()
	if p.zw == nil {
		p.zw = zlib.NewWriter(&p.out)
	} else {
		p.zw.Reset(&p.out)
	}
	if _, err := p.zw.Write(data); err != nil {
		return nil, err
	}
	err := p.zw.Close()
	return p.out.Bytes(), err
}

// finish writes the last block and the list of all, and fills the number of records in.
func (g *GroupWriter) finish() {
	g.flush()
	b := &g.w.b
	b.setUint64(g.cg+headerSize+8*6+8, g.n)
	if link := g.w.writeList(g.blocks, g.sizes); link != 0 {
		b.setLink(g.dg, 2, link)
	}
}

// writeList returns what links to these data blocks: nothing, the only one, or a DLBLOCK (MDF 4.2, 5.21), headed by an HLBLOCK if
// they are compressed. sizes are before compression.
func (w *Writer) writeList(blocks, sizes []int64) int64 {
	if len(blocks) < 2 {
		return append(blocks, 0)[0]
	}
	le, b := binary.LittleEndian, &w.b
	d := make([]byte, 8)
	le.PutUint32(d[4:], uint32(len(blocks)))
	if n := len(sizes) - 1; slices.Equal(sizes[1:n], sizes[:n-1]) && sizes[n] <= sizes[0] {
		d[0] = 1 // all of the length of the first, but for the last
		d = le.AppendUint64(d, uint64(sizes[0]))
	} else {
		at := int64(0)
		for _, size := range sizes {
			d = le.AppendUint64(d, uint64(at))
			at += size
		}
	}
	list := b.append("DL", append([]int64{0}, blocks...), d)
	if w.opts.Compression == Uncompressed {
		return list
	}
	h := make([]byte, 8)
	h[0] = d[0]
	h[2] = uint8(w.opts.Compression) - uint8(Deflate)
	return b.append("HL", []int64{list}, h)
}
