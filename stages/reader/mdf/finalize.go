package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Flags of unfinalized files that reading has no use for.
const (
	unfinReduction = 1 << 1 // cycle counters of SR
	unfinRDLength  = 1 << 3 // length of the last RD
	unfinKnown     = unfinCycles | unfinReduction | unfinDTLength | unfinRDLength | unfinDL | unfinVLSDBytes | unfinOffsets
)

// ErrFinalized is returned by Finalize for a file that has nothing to be repaired.
var ErrFinalized = errors.New("the file is finalized already")

// Finalize writes a repaired copy of an unfinalized file to path, for programs that do not repair while reading: counts of records,
// lengths and lists of data blocks, sizes and offsets of values are filled in (MDF 4.2, 5.3, id_unfin_flags), an incomplete last
// record is cut off, sample reductions whose counts are missing are left out, and the history of the file says so, at the given
// time. All else is copied as it is. The copy appears at path, complete and synced to disk, when Finalize succeeds; the file itself
// is not touched. A file that is damaged otherwise gives an error, and one with flags that only its recorder understands an error
// that wraps ErrUnsupported. Where the file ends within a block whose length is known, or in front of records that it counts, what is
// there is copied, and lost, which may be nil, is told what is missing; the end of a recording whose last length is open is its end.
func (f *File) Finalize(ctx context.Context, path string, at time.Time, lost func(*ChannelGroup, Loss)) error {
	if f.Finalized {
		return ErrFinalized
	}
	if rest := f.UnfinFlags &^ unfinKnown; rest != 0 {
		return fmt.Errorf("finalize: flags %#x: %w", rest, ErrUnsupported)
	}
	if f.customFlags != 0 { // only the program that has set them knows what is to be done
		return fmt.Errorf("finalize: flags %#x of %q (id_custom_unfin_flags): %w", f.customFlags, f.Program, ErrUnsupported)
	}
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err := f.finalizeTo(ctx, out, at, lost); err != nil {
		out.Close()
		os.Remove(out.Name())
		return fmt.Errorf("finalize: %w", err)
	}
	return commit(out, path)
}

func (f *File) finalizeTo(ctx context.Context, out *os.File, at time.Time, lost func(*ChannelGroup, Loss)) error {
	if _, err := io.Copy(out, &contextReader{ctx, io.NewSectionReader(f.src.r, 0, f.src.size)}); err != nil {
		return err
	}
	if lost == nil {
		lost = func(*ChannelGroup, Loss) {}
	}
	z := &finalizer{f: f, lost: lost, b: blockWriter{w: out, end: (f.src.size + 7) &^ 7}}
	done := map[*dataGroup]bool{}
	for _, g := range f.Groups {
		if done[g.data] {
			continue
		}
		done[g.data] = true
		if err := z.group(ctx, g.data); err != nil {
			return fmt.Errorf("group %d: %w", g.Index, err)
		}
	}
	if err := z.history(at); err != nil {
		return err
	}
	z.b.at([]byte("MDF     "), 0)
	z.b.at(make([]byte, 4), 60)
	return z.b.err
}

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// A finalizer repairs the copy in b of a file.
type finalizer struct {
	f    *File
	b    blockWriter
	lost func(*ChannelGroup, Loss)
}

// group repairs one data group.
func (z *finalizer) group(ctx context.Context, dg *dataGroup) error {
	t, err := z.count(ctx, dg)
	if err != nil {
		return err
	}
	for i, g := range dg.groups {
		data := g.off + headerSize + 8*z.links(g.off)
		z.b.setUint64(data+8, t.records[i])
		if g.VLSD {
			z.b.setUint64(data+24, t.bytes[i]) // cg_data_bytes and cg_inval_bytes are one number here
		}
		if z.f.UnfinFlags&(unfinReduction|unfinRDLength) != 0 && !g.VLSD {
			z.b.setLink(g.off, 4, 0)
		}
	}
	if err := z.valueBlocks(dg); err != nil || t.chain == nil {
		return err
	}
	if err := z.tell(ctx, dg, t); err != nil {
		return err
	}
	return z.blocks(dg, t)
}

// cut is why the last block is shorter than it says, nil if it is not. That a block is missing is another matter.
func (c *chain) cut() error {
	if n := len(c.frags); n > 0 {
		return c.frags[n-1].cut
	}
	return nil
}

// tell tells which records the end of the file has cut off.
func (z *finalizer) tell(ctx context.Context, dg *dataGroup, t *dataTally) error {
	cut := t.chain.cut()
	for i, g := range dg.groups {
		l := g.lossOfAll(cut)
		l.From = t.records[i]
		if cut == nil || g.VLSD || g.CyclesKnown && l.From >= g.Cycles {
			continue
		}
		if g.Sorted() && l.From > 0 {
			r, err := g.Read(ReadOptions{BlockRecords: 1})
			if err != nil {
				return err
			}
			if err = r.Seek(l.From - 1); err == nil {
				_, err = r.Next(ctx)
			}
			l.Before = r.Progress().Last
			if r.Close(); err != nil {
				return err
			}
		}
		z.lost(g, l)
	}
	return nil
}

// valueBlocks looks at the values of variable length that have blocks of their own; the last may have an open length.
func (z *finalizer) valueBlocks(dg *dataGroup) error {
	for _, g := range dg.groups {
		for _, c := range g.Channels {
			if c.Type != VLSD || c.values != nil || c.dataLink == 0 || c.err != nil {
				continue
			}
			values := z.f.newChain(c.dataLink, "##SD")
			if _, err := values.total(); err != nil {
				return fmt.Errorf("values of channel %q: %w", c.Name, err)
			}
			if n := len(values.frags); n > 0 && values.repair && values.frags[n-1].zip == zipNone {
				fr := &values.frags[n-1]
				z.b.setUint64(fr.off+8, uint64(fr.body-fr.off+fr.size))
			}
		}
	}
	return nil
}

func (z *finalizer) links(off int64) int64 {
	_, _, n, err := z.f.src.header(off)
	if err != nil && z.b.err == nil {
		z.b.err = err
	}
	return int64(n)
}

// A dataTally is what is in a data group.
type dataTally struct {
	records []uint64 // of each group
	bytes   []uint64 // VLSD groups: of the values
	end     int64    // position behind the last complete record
	chain   *chain
}

// count finds out what is in a data group. The data may end anywhere.
func (z *finalizer) count(ctx context.Context, dg *dataGroup) (*dataTally, error) {
	t := &dataTally{records: make([]uint64, len(dg.groups)), bytes: make([]uint64, len(dg.groups))}
	for _, g := range dg.groups {
		if g.elements > 1 {
			return t, fmt.Errorf("arrays whose elements have records of their own: %w", ErrUnsupported)
		}
	}
	if dg.idSize > 0 {
		return t, z.walk(ctx, dg, t)
	}
	g := dg.groups[0]
	size := g.recordSize()
	columns, err := g.columnar()
	if err != nil {
		return t, err
	}
	if columns {
		if z.f.UnfinFlags&(unfinDTLength|unfinDL) != 0 {
			return t, fmt.Errorf("columns of an unfinalized file: %w", ErrUnsupported)
		}
		t.records[0] = g.Cycles
		if !g.CyclesKnown && g.DataBytes > 0 {
			n, err := z.f.newChain(dg.link, "##DT").total()
			if err != nil {
				return t, err
			}
			t.records[0] = uint64(n / int64(g.DataBytes))
		}
		return t, nil
	}
	if size == 0 {
		return t, nil
	}
	t.chain = z.f.newChain(dg.link, "##DT")
	n, err := t.chain.total()
	if err != nil && t.chain.cut() == nil && !(g.CyclesKnown && uint64(n/size) >= g.Cycles) {
		return t, err
	}
	if last := len(t.chain.frags) - 1; last >= 0 && t.chain.frags[last].cut != nil && t.chain.frags[last].zip != zipNone {
		n = t.chain.frags[last].start // half a compressed block: its check sum is missing
	}
	t.records[0] = uint64(n / size)
	if g.CyclesKnown {
		t.records[0] = min(t.records[0], g.Cycles)
	}
	t.end = int64(t.records[0]) * size
	return t, nil
}

// walk counts the records of an unsorted data group, and fills in the offsets of values that are referred to by their order.
func (z *finalizer) walk(ctx context.Context, dg *dataGroup, t *dataTally) error {
	d := newIDReader(z.f, dg)
	d.call = &call{ctx}
	defer d.s.close()
	t.chain = d.s.c
	index := map[*ChannelGroup]int{}
	for i, g := range dg.groups {
		index[g] = i
	}
	values := z.values(dg)
	for n := 0; ; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		g, size, err := d.next()
		if err != nil {
			if err := t.chain.err; err != nil && !errors.Is(err, io.EOF) && t.chain.cut() == nil {
				return err // a block is missing, not only its end
			}
			if t.end = d.s.pos(); errors.Is(err, io.EOF) || IsTruncated(err) {
				t.withoutValues(values, index, n)
				return nil
			}
			return err
		}
		i := index[g]
		t.records[i]++
		if g.VLSD {
			t.bytes[i] += uint64(size - d.idSize - 4)
		}
		for _, v := range values {
			if err := v.see(g, d, size, n); err != nil {
				return err
			}
		}
		d.s.skip(size)
	}
}

// valueMatch follows which records of a channel have their value. If offsets are not filled in, record n refers to value n.
type valueMatch struct {
	z       *finalizer
	c       *Channel
	byOrder bool
	next    int64        // where the next value will be among the values
	values  []int64      // byOrder: offsets of values that no record has yet
	waiting []waitingFor // records whose value has not come yet
}

type waitingFor struct {
	record int   // number among all of the data
	pos    int64 // of the record in the data
	offset int64 // of its value; not byOrder
}

func (z *finalizer) values(dg *dataGroup) (all []*valueMatch) {
	for _, g := range dg.groups {
		for _, c := range g.Channels {
			if c.Type == VLSD && c.values != nil && c.values.data == dg && c.err == nil {
				all = append(all, &valueMatch{z: z, c: c, byOrder: z.f.UnfinFlags&unfinOffsets != 0})
			}
		}
	}
	return all
}

// see takes the record at the head of d, which is number n of the data.
func (v *valueMatch) see(g *ChannelGroup, d *idReader, size, n int) error {
	switch g {
	case v.c.values:
		if v.byOrder {
			v.values = append(v.values, v.next)
		}
		v.next += int64(size - d.idSize)
	case v.c.Group:
		p := newNumber(UintLE, d.idSize+int(v.c.ByteOffset), uint(v.c.BitOffset), uint(v.c.BitCount))
		v.waiting = append(v.waiting, waitingFor{record: n, pos: d.s.pos(), offset: int64(p.uint(d.s.window()))})
	default:
		return nil
	}
	if !v.byOrder {
		for len(v.waiting) > 0 && v.waiting[0].offset < v.next {
			v.waiting = v.waiting[1:]
		}
		return nil
	}
	for len(v.values) > 0 && len(v.waiting) > 0 {
		field := binary.LittleEndian.AppendUint64(nil, uint64(v.values[0]))[:v.c.BitCount/8]
		if err := v.z.patch(d.s.c, v.waiting[0].pos+int64(d.idSize)+int64(v.c.ByteOffset), field); err != nil {
			return err
		}
		v.values, v.waiting = v.values[1:], v.waiting[1:]
	}
	return nil
}

// withoutValues leaves the last records out whose values the recorder did not come to write; n is the number of all records.
// Those that others follow stay where they are, but are not counted.
func (t *dataTally) withoutValues(values []*valueMatch, index map[*ChannelGroup]int, n int) {
	lost := map[int]int64{}
	for _, v := range values {
		for _, w := range v.waiting {
			if _, counted := lost[w.record]; !counted {
				lost[w.record] = w.pos
				t.records[index[v.c.Group]]--
			}
		}
	}
	for ; n > 0; n-- {
		pos, ok := lost[n-1]
		if !ok {
			return
		}
		t.end = pos
	}
}

// patch overwrites bytes at a position of the data, which may lie in two blocks.
func (z *finalizer) patch(c *chain, pos int64, b []byte) error {
	for len(b) > 0 {
		i, err := c.find(pos)
		if err != nil {
			return err
		}
		fr := &c.frags[i]
		if fr.zip != zipNone {
			return fmt.Errorf("offsets of values in the compressed block at %#x: %w", fr.off, ErrUnsupported)
		}
		n := min(int64(len(b)), fr.start+fr.size-pos)
		z.b.at(b[:n], fr.body+pos-fr.start)
		pos, b = pos+n, b[n:]
	}
	return z.b.err
}

// blocks makes the data blocks end behind the last complete record.
func (z *finalizer) blocks(dg *dataGroup, t *dataTally) error {
	var kept, sizes []int64
	zipped, relist := false, z.f.UnfinFlags&unfinDL != 0
	for i := range t.chain.frags {
		fr := &t.chain.frags[i]
		left := t.end - fr.start
		if left <= 0 && i > 0 {
			relist = true
			break
		}
		off, size := fr.off, min(fr.size, max(left, 0))
		switch {
		case fr.zip == zipNone:
			z.b.setUint64(fr.off+8, uint64(fr.body-fr.off+size))
		case size < fr.size:
			if limit := z.f.opts.maxBlock(); size > limit {
				return fmt.Errorf("compressed block at %#x: %d bytes of it remain, Options.MaxBlockBytes is %d: %w", fr.off, size, limit, ErrLimit)
			}
			data, err := z.data(dg, fr.start, size)
			if err != nil {
				return err
			}
			off, relist = z.b.append("DT", nil, data), true
		default:
			zipped = true
		}
		kept, sizes = append(kept, off), append(sizes, size)
	}
	if !relist || len(kept) == 0 {
		return nil
	}
	w := Writer{b: z.b}
	if zipped {
		w.opts.Compression = Deflate
	}
	link := w.writeList(kept, sizes)
	z.b = w.b
	z.b.setLink(dg.off, 2, link)
	return z.b.err
}

// data reads some of the data of a group.
func (z *finalizer) data(dg *dataGroup, pos, size int64) ([]byte, error) {
	s := newStream(z.f.newChain(dg.link, "##DT"))
	defer s.close()
	if err := s.seek(pos); err != nil {
		return nil, err
	}
	if err := s.need(int(size)); err != nil {
		return nil, err
	}
	return append([]byte(nil), s.window()[:size]...), nil
}

// history appends an entry to the history of the file.
func (z *finalizer) history(at time.Time) error {
	tool := "<tool_id>milepost</tool_id>\n<tool_vendor>milepost</tool_vendor>\n<tool_version>1</tool_version>\n"
	w := Writer{opts: WriterOptions{Start: at}}
	comment := z.b.comment("FHcomment", "finalized: counts and lengths that the recorder had left open are filled in", tool)
	entry := z.b.append("FH", []int64{0, comment}, w.startTime(), make([]byte, 4))
	last := z.f.lists[hdHistory]
	if last == 0 {
		z.b.setLink(64, hdHistory, entry)
		return z.b.err
	}
	r := z.f.fresh()
	for {
		b, _, err := r.entry(last, "##FH", 0)
		if err != nil {
			return err
		}
		if b.link(0) == 0 {
			z.b.setLink(last, 0, entry)
			return z.b.err
		}
		last = b.link(0)
	}
}
