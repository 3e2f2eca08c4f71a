package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
)

// blobStream is the data of a VLSD channel: values, each after its length in 4 bytes.
type blobStream interface {
	need(n int) error
	window() []byte
	skip(n int)
	pos() int64
	seek(pos int64) error
	spent() (work, at int64) // bytes read so far, and the position in the data
	close()
	grow() bool
}

// keepBlobs is how much of what was read stays in memory, for values that are not referred to in order.
const keepBlobs = 8 << 20

// blobs finds the values of a VLSD channel by their offset. Offsets nearly always ascend, but need not.
type blobs struct {
	ch      *Channel
	s       blobStream
	byOrder bool   // unfinalized, offsets not filled in: value n belongs to record n
	next    uint64 // byOrder: number of the next value
	top     int64  // highest position in the data seen
	work    int64  // bytes moved to find values
	before  int64  // what the stream had read at the last start
	empty   bool
}

// start begins to count the work anew: somebody has asked for another place.
// Where the source has failed it is asked again.
func (b *blobs) start() {
	b.before, _ = b.s.spent()
	b.work = 0
	switch s := b.s.(type) {
	case *stream:
		s.heal()
	case *valueStream:
		if isReadError(s.err) {
			s.d.s.heal()
			s.err = nil
		}
	}
}

// resume lets a stream of values that is mixed with records start in the middle.
func (b *blobs) resume(p ValuePosition) {
	v, ok := b.s.(*valueStream)
	if !ok || b.byOrder || p.Value < 0 || p.Offset < 0 {
		return
	}
	v.mark = []valueMark{{}, {pos: p.Value, data: p.Offset}}
	v.base, v.buf, v.r = p.Value, v.buf[:0], 0
	v.err = v.d.s.seek(p.Offset)
}

func newBlobs(c *Channel) (*blobs, error) {
	f := c.Group.File
	b := &blobs{ch: c, empty: c.dataLink == 0}
	if c.values == nil {
		s := newStream(f.newChain(c.dataLink, "##SD"))
		s.keep = keepBlobs
		b.s = s
		return b, nil
	}
	if !c.values.VLSD || c.values.data.idSize == 0 {
		return nil, corrupt(c.dataLink, "##CG", "is no group of variable-length values, channel %q needs one", c.Name)
	}
	b.s = &valueStream{d: newIDReader(f, c.values.data), g: c.values}
	b.byOrder = !f.Finalized && f.UnfinFlags&unfinOffsets != 0
	return b, nil
}

// at returns the value at offset off, or that of the record if the offsets are not filled in. It is valid until
// the next call.
func (b *blobs) at(off, record uint64) ([]byte, error) {
	if b.empty {
		return nil, nil
	}
	if b.byOrder {
		return b.nth(record)
	}
	if off > 1<<62 {
		return nil, b.missing(off, io.EOF)
	}
	if int64(off) != b.s.pos() {
		if err := b.s.seek(int64(off)); err != nil {
			return nil, err
		}
	}
	return b.value(off)
}

// value returns the value at the head of the stream.
func (b *blobs) value(off uint64) ([]byte, error) {
	if len(b.s.window()) < 4 {
		if err := b.s.need(4); err != nil {
			return nil, b.missing(off, err)
		}
	}
	n := int64(binary.LittleEndian.Uint32(b.s.window()))
	if n > b.ch.Group.File.opts.maxBlock() {
		return nil, corrupt(b.ch.dataLink, "##SD", "has a value of %d bytes at position %d", n, off)
	}
	if int64(len(b.s.window())) < 4+n {
		if err := b.s.need(4 + int(n)); err != nil {
			return nil, b.missing(off, err)
		}
	}
	v := b.s.window()[4 : 4+n]
	b.s.skip(4 + int(n))
	return v, b.account(n)
}

// account bounds the work to a multiple of the data: values may overlap and be referred to again and again, which
// in a prepared file of a megabyte would keep us busy for days. To find values out of order blocks are inflated many times, which
// counts less than values that records share: those are as many bytes again for whoever reads them. A short value is not counted: any number of records may share it.
func (b *blobs) account(n int64) error {
	read, at := b.s.spent()
	b.top = max(b.top, at)
	if n > sharedValue {
		b.work += n
	}
	if work := b.work + read - b.before; work > 256<<20+256*b.top || b.work > 256<<20+16*b.top {
		return fmt.Errorf("channel %q of group %d: values read over and over, %d bytes for %d: %w",
			b.ch.Name, b.ch.Group.Index, work, b.top, ErrLimit)
	}
	return nil
}

const sharedValue = 1 << 10

func (b *blobs) missing(off uint64, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if b.ch.values != nil && !b.ch.Group.File.Finalized {
		return io.EOF // the recording was cut between a record and its value
	}
	e := corrupt(b.ch.dataLink, "##SD", "has no value at position %d, channel %q refers to it", off, b.ch.Name)
	e.Err = io.ErrUnexpectedEOF
	return e
}

// nth returns value number n.
func (b *blobs) nth(n uint64) ([]byte, error) {
	if n < b.next {
		if err := b.s.seek(0); err != nil {
			return nil, err
		}
		b.next = 0
	}
	for {
		v, err := b.value(uint64(b.s.pos()))
		if err != nil {
			return nil, err
		}
		if b.next++; b.next > n {
			return v, nil
		}
	}
}

// valueStream is the data of a VLSD group: what the same values would be as an SD block, taken from the records of
// the group in a data group that it shares with others. It walks the data group on its own, so it may run ahead of
// or behind the records that refer to the values.
type valueStream struct {
	d    *idReader
	g    *ChannelGroup
	buf  []byte
	r    int
	base int64 // position of buf[0]
	err  error
	mark []valueMark
}

func (v *valueStream) close() {
	v.d.s.close()
	v.base, v.buf, v.r = v.pos(), nil, 0
}

// valueMark says where in the data group the value at a position is, so that seeking back need not start over.
type valueMark struct{ pos, data int64 }

const markEvery = 256 << 10

func (v *valueStream) window() []byte { return v.buf[v.r:] }
func (v *valueStream) skip(n int)     { v.r += n }
func (v *valueStream) pos() int64     { return v.base + int64(v.r) }

// spent is that of the data group in which the values stand.
func (v *valueStream) spent() (work, at int64) { return v.d.s.spent() }

func (v *valueStream) need(n int) error {
	for len(v.buf)-v.r < n {
		if err := v.err; err != nil {
			if isCanceled(err) {
				v.err = nil
			}
			return err
		}
		v.err = v.step()
	}
	return nil
}

// step takes the next value of the group.
func (v *valueStream) step() error {
	for {
		g, size, err := v.d.next()
		if err != nil {
			return err
		}
		if g != v.g {
			v.d.s.skip(size)
			continue
		}
		v.note()
		if len(v.buf) > keepBlobs && v.r > keepBlobs/2 {
			k := copy(v.buf, v.buf[v.r:])
			v.buf, v.base, v.r = v.buf[:k], v.base+int64(v.r), 0
		}
		v.buf = append(v.buf, v.d.s.window()[v.d.idSize:size]...)
		v.d.s.skip(size)
		return nil
	}
}

// before returns where in the data group the last mark up to pos is, and what position it has.
func (v *valueStream) before(pos int64) valueMark {
	i := sort.Search(len(v.mark), func(i int) bool { return v.mark[i].pos > pos })
	if i == 0 {
		return valueMark{}
	}
	return v.mark[i-1]
}

// note keeps a mark for the value that starts at the end of buf.
func (v *valueStream) note() {
	end := v.base + int64(len(v.buf))
	if len(v.mark) == 0 || end >= v.mark[len(v.mark)-1].pos+markEvery {
		v.mark = append(v.mark, valueMark{pos: end, data: v.d.s.pos()})
	}
}

func (v *valueStream) seek(pos int64) error {
	if pos >= v.base && pos <= v.base+int64(len(v.buf)) {
		v.r = int(pos - v.base)
		return nil
	}
	if pos < v.base {
		i := sort.Search(len(v.mark), func(i int) bool { return v.mark[i].pos > pos })
		m := v.mark[i-1] // the first mark is at 0
		if err := v.d.s.seek(m.data); err != nil {
			return err
		}
		v.buf, v.r, v.base, v.err = v.buf[:0], 0, m.pos, nil
	}
	for v.base+int64(len(v.buf)) < pos && v.err == nil {
		v.r = len(v.buf)
		v.err = v.step()
	}
	if end := v.base + int64(len(v.buf)); pos > end {
		v.r = len(v.buf)
		return nil // the next need returns the error
	}
	v.r = int(pos - v.base)
	return nil
}
