package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// memory is a file in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) open() (*File, error) { return NewFile(m, int64(len(m.b))) }

// builder writes files in layouts that the Writer has not: for each test the blocks it is about.
type builder struct {
	memory
	blockWriter
	lastDG int64
}

func newBuilder(unfinFlags uint16) *builder {
	b := &builder{}
	b.w = &b.memory
	id := make([]byte, 64)
	copy(id, "MDF     4.20    test    ")
	if unfinFlags != 0 {
		copy(id, "UnFinMF ")
	}
	binary.LittleEndian.PutUint16(id[28:], 420)
	binary.LittleEndian.PutUint16(id[60:], unfinFlags)
	b.raw(id)
	b.append("HD", make([]int64, 6), make([]byte, 32))
	return b
}

// cn is a channel for the builder.
type cn struct {
	name      string
	typ       ChannelType
	dt        DataType
	bit       uint8
	off, bits uint32
	flags     uint32
	inval     uint32
	sync      SyncType
	data      int64 // link
	conv      int64 // link
	comp      int64 // link
}

// channels writes them as a list and returns the offset of each.
func (b *builder) channels(list ...cn) []int64 {
	le := binary.LittleEndian
	offs := make([]int64, len(list))
	next := int64(0)
	for i := len(list) - 1; i >= 0; i-- {
		c := list[i]
		d := make([]byte, 72)
		d[0], d[1], d[2], d[3] = uint8(c.typ), uint8(c.sync), uint8(c.dt), c.bit
		le.PutUint32(d[4:], c.off)
		le.PutUint32(d[8:], c.bits)
		le.PutUint32(d[12:], c.flags)
		le.PutUint32(d[16:], c.inval)
		next = b.append("CN", []int64{next, c.comp, b.text(c.name), 0, c.conv, c.data, 0, 0}, d)
		offs[i] = next
	}
	return offs
}

// cg is a channel group for the builder.
type cg struct {
	id, cycles  uint64
	flags       uint16
	data, inval uint32
	first       int64 // link
	master      int64 // link
}

// groups writes them as a list and returns the offset of each.
func (b *builder) groups(list ...cg) []int64 {
	le := binary.LittleEndian
	offs := make([]int64, len(list))
	next := int64(0)
	for i := len(list) - 1; i >= 0; i-- {
		g := list[i]
		d := make([]byte, 32)
		le.PutUint64(d, g.id)
		le.PutUint64(d[8:], g.cycles)
		le.PutUint16(d[16:], g.flags)
		le.PutUint32(d[24:], g.data)
		le.PutUint32(d[28:], g.inval)
		links := []int64{next, g.first, 0, 0, 0, 0}
		if g.flags&cgRemoteMaster != 0 {
			links = append(links, g.master)
		}
		next = b.append("CG", links, d)
		offs[i] = next
	}
	return offs
}

// dg writes a data group and links it.
func (b *builder) dg(idSize int, firstCG, data int64) int64 {
	off := b.append("DG", []int64{0, firstCG, data, 0}, []byte{byte(idSize), 0, 0, 0, 0, 0, 0, 0})
	if b.lastDG == 0 {
		b.setLink(64, 0, off)
	} else {
		b.setLink(b.lastDG, 0, off)
	}
	b.lastDG = off
	return off
}

// dz writes a compressed block; cols 0 means not transposed.
func (b *builder) dz(id string, data []byte, cols int) int64 {
	var p packer
	le := binary.LittleEndian
	kind, body := byte(0), data
	if cols > 0 {
		kind, body = 1, p.transpose(data, cols)
	}
	packed, err := p.deflate(body)
	if err != nil {
		panic(err)
	}
	head := append([]byte(id), kind, 0)
	head = le.AppendUint32(head, uint32(cols))
	head = le.AppendUint64(head, uint64(len(data)))
	head = le.AppendUint64(head, uint64(len(packed)))
	return b.append("DZ", nil, head, packed)
}

// dl writes lists of at most per blocks each.
func (b *builder) dl(per int, blocks ...int64) int64 {
	var next int64
	for i := (len(blocks) - 1) / per; i >= 0; i-- {
		part := blocks[i*per : min((i+1)*per, len(blocks))]
		d := make([]byte, 8+8*len(part)) // offsets stay 0: readers must not trust them
		binary.LittleEndian.PutUint32(d[4:], uint32(len(part)))
		next = b.append("DL", append([]int64{next}, part...), d)
	}
	return next
}

// split writes data as a list of blocks of the given sizes, repeated, of all kinds in turn.
func (b *builder) split(id string, data []byte, sizes ...int) int64 {
	var blocks []int64
	for i := 0; len(data) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(data))
		switch part := data[:n]; i % 3 {
		case 0:
			blocks = append(blocks, b.append(id, nil, part))
		case 1:
			blocks = append(blocks, b.dz(id, part, 0))
		case 2:
			blocks = append(blocks, b.dz(id, part, 7))
		}
		data = data[n:]
	}
	return b.dl(3, blocks...)
}

// table is a group read whole.
type table struct {
	times  []float64
	values [][]float64
	texts  [][]string
	valid  [][]bool
}

// readAll reads the given channels of a group, or all; it returns what came before an error beside it.
func readAll(g *ChannelGroup, opts ReadOptions, chans ...*Channel) (*table, error) {
	if len(chans) == 0 {
		for _, c := range g.Channels {
			if c.Err() == nil {
				chans = append(chans, c)
			}
		}
	}
	t := &table{values: make([][]float64, len(chans)), texts: make([][]string, len(chans)), valid: make([][]bool, len(chans))}
	r, err := g.Read(opts, chans...)
	if err != nil {
		return t, err
	}
	defer r.Close()
	return t, t.readFrom(r)
}

func (t *table) readFrom(r *GroupReader) error {
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t.add(b)
	}
}

func (t *table) add(b *Block) {
	t.times = append(t.times, b.Times...)
	for i := range b.Columns {
		c := &b.Columns[i]
		t.values[i] = append(t.values[i], c.Values...)
		t.valid[i] = append(t.valid[i], c.Valid...)
		for k := 0; c.Offsets != nil && k < b.N*max(c.Width, 1); k++ {
			t.texts[i] = append(t.texts[i], string(c.At(k)))
		}
	}
}

func mustOpen(t testing.TB, m *memory) *File {
	t.Helper()
	f, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func comment(t *testing.T, c *Channel) string {
	t.Helper()
	s, err := c.Comment()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
