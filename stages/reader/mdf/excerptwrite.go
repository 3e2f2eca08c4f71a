package mdf

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// write writes the blocks of the group: DG, CG, and the chosen channels.
func (c *groupCopy) write() error {
	b, g, le := &c.out.w.b, c.g, binary.LittleEndian
	flags := uint16(0)
	if g.BusEvent {
		flags |= cgBusEvent
	}
	if g.PlainBus {
		flags |= cgPlainBus
	}
	cg := make([]byte, 32)
	le.PutUint16(cg[16:], flags)
	if g.BusEvent {
		le.PutUint16(cg[18:], '.')
	}
	le.PutUint32(cg[24:], uint32(c.out.dataBytes))
	le.PutUint32(cg[28:], g.InvalBytes)
	first, err := c.channels(c.roots)
	if err != nil {
		return err
	}
	if c.master {
		if first, err = c.remoteMaster(first); err != nil {
			return err
		}
	}
	c.out.cg = b.append("CG", []int64{0, first, b.text(g.AcqName), b.source(g.Source), 0, b.text(g.Comment)}, cg)
	c.out.link()
	c.out.w.values = append(c.out.w.values, c.values...)
	return b.err
}

// link writes the data group, behind those that are there.
func (g *GroupWriter) link() {
	b := &g.w.b
	g.dg = b.append("DG", []int64{0, g.cg, 0, 0}, make([]byte, 8))
	if g.w.lastDG == 0 {
		b.setLink(64, 0, g.dg)
	} else {
		b.setLink(g.w.lastDG, 0, g.dg)
	}
	g.w.lastDG = g.dg
	g.w.groups = append(g.w.groups, g)
}

// remoteMaster writes the times that come from another group as a channel of this one.
func (c *groupCopy) remoteMaster(next int64) (int64, error) {
	m := c.g.RemoteMaster.Master
	comment, err := m.Comment()
	if err != nil {
		return 0, fmt.Errorf("copy comment of channel %q: %w", m.Name, err)
	}
	spec := ChannelSpec{Name: m.Name, Unit: m.Unit, Comment: comment, DataType: FloatLE, Bits: 64, Sync: m.Sync}
	return c.out.w.b.channel(field{spec: spec, inval: -1}, Master, [4]int64{next, 0, 0, 0}, false), nil
}

// channels writes channels from the last to the first, so that each knows the next, and returns the first.
func (c *groupCopy) channels(list []*Channel) (next int64, err error) {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].err != nil {
			continue // what cannot be read is not copied
		}
		if next, err = c.channel(list[i], next); err != nil {
			return 0, err
		}
	}
	return next, nil
}

func (c *groupCopy) channel(ch *Channel, next int64) (int64, error) {
	b, le := &c.out.w.b, binary.LittleEndian
	comp, err := c.channels(ch.Children)
	if a := ch.ownArray(); err == nil && a != nil {
		comp, err = b.array(a, comp)
	}
	if err != nil {
		return 0, err
	}
	from, to := ch.extent()
	d := make([]byte, 72)
	d[0], d[1], d[2], d[3] = uint8(ch.Type), uint8(ch.Sync), uint8(ch.DataType), ch.BitOffset
	if from < to {
		le.PutUint32(d[4:], uint32(c.moved(int(ch.ByteOffset))))
	}
	le.PutUint32(d[8:], ch.BitCount)
	le.PutUint32(d[12:], ch.Flags&(cnAllInvalid|cnInvalBit|cnPrecision|cnBusEvent))
	le.PutUint32(d[16:], ch.InvalBit)
	if ch.Precision >= 0 {
		d[20] = uint8(ch.Precision)
	}
	if k := slices.Index(c.numbered, ch); k >= 0 {
		d[0], d[2], d[3] = uint8(Fixed), uint8(UintLE), 0
		if ch.Type == VirtualMaster {
			d[0] = uint8(Master)
		}
		le.PutUint32(d[4:], uint32(c.numberAt(k)))
		le.PutUint32(d[8:], 64)
	}
	if ch.Type == Sync {
		d[0] = uint8(Fixed) // the attachment that it synchronizes with is not copied
	}
	if ch.Type == VLSD && ch.DataType >= Latin1 && ch.DataType <= UTF16BE {
		d[2] = uint8(UTF8)
	}
	comment, err := ch.Comment()
	if err != nil {
		return 0, fmt.Errorf("copy comment of channel %q: %w", ch.Name, err)
	}
	conv := b.conversion(ch.Conversion)
	off := b.append("CN", []int64{next, comp, b.text(ch.Name), b.source(ch.Source), conv, 0, b.text(ch.Unit), b.text(comment)}, d)
	if ch.Type == VLSD {
		if ch.BitCount%8 != 0 || ch.BitOffset != 0 {
			return 0, fmt.Errorf("copy channel %q: offsets of %d bits: %w", ch.Name, ch.BitCount, ErrUnsupported)
		}
		c.values = append(c.values, &valueCopy{c: ch, at: c.moved(int(ch.ByteOffset)), cn: off})
	}
	c.out.w.bindSize(ch, off)
	return off, b.err
}

// bindSize fills in the link from a channel of maximum length to the channel that has the length, once both are written.
func (w *Writer) bindSize(ch *Channel, off int64) {
	if w.copied == nil {
		w.copied = map[*Channel]int64{}
		w.sizes = map[*Channel][]int64{}
	}
	w.copied[ch] = off
	for _, waiting := range w.sizes[ch] {
		w.b.setLink(waiting, 5, off)
	}
	if s := ch.size; s != nil {
		if at, ok := w.copied[s]; ok {
			w.b.setLink(off, 5, at)
		} else {
			w.sizes[s] = append(w.sizes[s], off)
		}
	}
}

// array writes a CABLOCK (MDF 4.2, 5.18), or one for each dimension, where the elements lie as no single one can say.
func (b *blockWriter) array(a *Array, members int64) (int64, error) {
	last := len(a.Dims) - 1
	for _, columnMajor := range []bool{false, true} {
		inner := last
		if columnMajor {
			inner = 0
		}
		if slices.Equal(a.steps(a.strides[inner], columnMajor), a.strides) && slices.Equal(a.steps(a.invals[inner], columnMajor), a.invals) {
			return b.arrayBlock(a.Dims, a.strides[inner], a.invals[inner], columnMajor, members)
		}
	}
	link, err := members, error(nil)
	for k := last; k >= 0 && err == nil; k-- {
		link, err = b.arrayBlock(a.Dims[k:k+1], a.strides[k], a.invals[k], false, link)
	}
	return link, err
}

func (b *blockWriter) arrayBlock(dims []int, stride, inval int, columnMajor bool, members int64) (int64, error) {
	le := binary.LittleEndian
	d := make([]byte, 16)
	le.PutUint16(d[2:], uint16(len(dims)))
	if columnMajor {
		le.PutUint32(d[4:], 1<<6)
	}
	le.PutUint32(d[8:], uint32(int32(stride)))
	le.PutUint32(d[12:], uint32(inval))
	for _, dim := range dims {
		d = le.AppendUint64(d, uint64(dim))
	}
	return b.append("CA", []int64{members}, d), b.err
}

// finish writes the last block of the values and the list of all.
func (v *valueCopy) finish(w *Writer) {
	v.flush(w)
	if link := w.writeList(v.blocks, v.sizes); link != 0 {
		w.b.setLink(v.cn, 5, link)
	}
}
