package main

import (
	"bufio"
	"encoding/binary"
	"math"
	"os"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// blocks writes what mdf.Writer does not: the blocks of an unsorted file (MDF 4.1, 5). Links that point forward are set
// afterwards; the records go last.
type blocks struct {
	w   *bufio.Writer
	f   *os.File
	at  int64
	err error
}

func (b *blocks) write(p []byte) {
	n, err := b.w.Write(p)
	b.at += int64(n)
	if b.err == nil {
		b.err = err
	}
}

// block writes a block, padded to 8 bytes, and returns where it stands.
func (b *blocks) block(id string, links []int64, data []byte) int64 {
	off, le := b.at, binary.LittleEndian
	p := append([]byte("##"+id), 0, 0, 0, 0)
	p = le.AppendUint64(p, uint64(24+8*len(links)+len(data)))
	p = le.AppendUint64(p, uint64(len(links)))
	for _, l := range links {
		p = le.AppendUint64(p, uint64(l))
	}
	p = append(p, data...)
	b.write(append(p, make([]byte, -len(p)&7)...))
	return off
}

func (b *blocks) text(s string) int64 { return b.block("TX", nil, []byte(s+"\x00")) }

// setLink sets a link of a block that is written already.
func (b *blocks) setLink(block int64, link int, to int64) {
	if err := b.w.Flush(); b.err == nil {
		b.err = err
	}
	if _, err := b.f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(to)), block+24+8*int64(link)); b.err == nil {
		b.err = err
	}
}

// header writes all blocks in front of the records, and the header of the data block of size bytes that holds them.
func (b *blocks) header(tables []*table, counts []int, size int64) {
	le := binary.LittleEndian
	id := make([]byte, 64)
	copy(id, "MDF     4.10    milepost")
	le.PutUint16(id[28:], 410)
	b.write(id)
	times := append(le.AppendUint64(nil, uint64(start.UnixNano())), 0, 0, 0, 0)
	hd := b.block("HD", make([]int64, 6), append(times, make([]byte, 20)...))
	comment := b.block("MD", nil, []byte("<FHcomment><TX>generated</TX><tool_id>bench</tool_id><tool_vendor>milepost</tool_vendor>"+
		"<tool_version>1</tool_version></FHcomment>\x00"))
	b.setLink(hd, 1, b.block("FH", []int64{0, comment}, append(times, 0, 0, 0, 0)))
	group := int64(0)
	for k := len(tables) - 1; k >= 0; k-- {
		cg := make([]byte, 32)
		le.PutUint64(cg, uint64(k+1))
		le.PutUint64(cg[8:], uint64(counts[k]))
		le.PutUint32(cg[24:], uint32(tables[k].record()))
		name, first := b.text("G"+string(rune('0'+k))), b.channels(tables[k])
		group = b.block("CG", []int64{group, first, name, 0, 0, 0}, cg)
	}
	dg := b.block("DG", []int64{0, group, 0, 0}, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	b.setLink(hd, 0, dg)
	b.setLink(dg, 2, b.at)
	dt := append([]byte("##DT"), 0, 0, 0, 0)
	dt = le.AppendUint64(dt, uint64(24+size))
	b.write(le.AppendUint64(dt, 0))
}

// channels writes the channels of a table, the last one first, and returns where the first is.
func (b *blocks) channels(t *table) (next int64) {
	unit := b.text("V")
	specs := t.spec()
	off := t.record()
	for i := len(specs) - 1; i >= 0; i-- {
		off -= specs[i].Bits / 8
		next = b.channel(next, specs[i], mdf.Fixed, off, unit)
	}
	return b.channel(next, mdf.ChannelSpec{Name: "t", DataType: mdf.FloatLE, Bits: 64, Sync: mdf.SyncTime}, mdf.Master, 0, b.text("s"))
}

func (b *blocks) channel(next int64, c mdf.ChannelSpec, kind mdf.ChannelType, off int, unit int64) int64 {
	le, conv := binary.LittleEndian, int64(0)
	if c.Conversion != nil {
		cc := append([]byte{1, 0, 0, 0, 0, 0, 2, 0}, make([]byte, 16)...)
		cc = le.AppendUint64(cc, math.Float64bits(c.Conversion.Values[0]))
		conv = b.block("CC", make([]int64, 4), le.AppendUint64(cc, math.Float64bits(c.Conversion.Values[1])))
	}
	cn := make([]byte, 72)
	cn[0], cn[1], cn[2] = byte(kind), byte(c.Sync), byte(c.DataType)
	le.PutUint32(cn[4:], uint32(off))
	le.PutUint32(cn[8:], uint32(c.Bits))
	return b.block("CN", []int64{next, 0, b.text(c.Name), 0, conv, 0, unit, 0}, cn)
}
