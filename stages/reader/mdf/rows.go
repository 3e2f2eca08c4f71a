package mdf

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// rows are some consecutive records of a group, in memory.
type rows struct {
	n           int
	data        []byte // the data bytes of record i start at i*stride
	stride      int
	inval       []byte // the invalidation bytes of record i start at i*invalStride
	invalStride int
	at          []int64 // unsorted: position of each record in the data of the group
	base        int64   // sorted: position of the first record
}

// position returns where record i starts in the data of the group.
func (r *rows) position(i int) int64 {
	if r.at != nil {
		return r.at[i]
	}
	return r.base + int64(i)*int64(r.stride)
}

// recordSource delivers the records of one group in order. peek returns up to max of those that follow, at least
// one unless it returns an error; advance takes n of them away. What peek returned is valid until the next call.
type recordSource interface {
	peek(max int) (rows, error)
	advance(n int)
	seek(record uint64) error // the next record to peek
	resume(pos int64) error   // the same by its position in the data
	where() (int64, string)   // block being read, for messages
	pending() error           // what is wrong with data read ahead of the last record, nil if nothing
	close()                   // gives memory back; nothing is read afterwards
	grow() bool               // the end of the data was not its end: see GroupReader.Continue
}

func (f *File) newRecordSource(g *ChannelGroup) (recordSource, error) {
	if g.data.idSize > 0 {
		return newUnsortedRows(g), nil
	}
	if g.recordSize() == 0 {
		return &virtualRows{}, nil
	}
	columns, err := g.columnar()
	switch {
	case err != nil:
		return nil, err
	case columns:
		return newColumnRows(g)
	}
	return &sortedRows{s: newStream(f.newChain(g.data.link, "##DT")), g: g, size: int(g.recordSize())}, nil
}

// sortedRows reads a group that has its data to itself.
type sortedRows struct {
	s    *stream
	g    *ChannelGroup
	size int
}

func (r *sortedRows) peek(max int) (rows, error) {
	p, err := r.peekBytes(max)
	if p.n > 0 {
		p.inval, p.invalStride = p.data[r.g.DataBytes:], r.size
	}
	return p, err
}

// peekBytes is peek for rows that may be the data or the invalidation bytes alone.
func (r *sortedRows) peekBytes(max int) (rows, error) {
	err := r.s.need(r.size)
	w := r.s.window()
	n := min(len(w)/r.size, max)
	if n == 0 {
		if errors.Is(err, io.EOF) && len(w) > 0 && r.g.File.Finalized {
			off, id := r.where()
			err = corrupt(off, id, "ends %d bytes into a record of %d", len(w), r.size)
		}
		return rows{}, err
	}
	return rows{n: n, data: w[:n*r.size], stride: r.size, base: r.s.pos()}, nil
}

func (r *sortedRows) advance(n int) { r.s.skip(n * r.size) }

func (r *sortedRows) seek(record uint64) error {
	return r.s.seek(int64(min(record, uint64(1<<62)/uint64(r.size))) * int64(r.size))
}

func (r *sortedRows) resume(pos int64) error { return r.s.seek(pos) }

func (r *sortedRows) where() (int64, string) { return r.s.where(r.g) }

func (r *sortedRows) pending() error { return r.s.pending() }

func (r *sortedRows) close() { r.s.close() }

// pending returns the sticky error unless it is the proper end.
func (s *stream) pending() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// where names the block being read.
func (s *stream) where(g *ChannelGroup) (int64, string) {
	i := s.frag
	if i >= len(s.c.frags) {
		i--
	}
	if i < 0 {
		return g.data.off, "##DG"
	}
	switch s.c.frags[i].zip {
	case zipNone, zipZeros:
		return s.c.frags[i].off, s.c.want
	}
	return s.c.frags[i].off, "##DZ"
}

// virtualRows are the records of a group that has virtual channels only: there is nothing to read.
type virtualRows struct{}

func (virtualRows) peek(max int) (rows, error) { return rows{n: max}, nil }
func (virtualRows) advance(int)                {}
func (virtualRows) seek(uint64) error          { return nil }
func (virtualRows) resume(int64) error         { return nil }
func (virtualRows) where() (int64, string)     { return 0, "" }
func (virtualRows) pending() error             { return nil }
func (virtualRows) close()                     {}

// idReader takes the record ids of an unsorted data group apart (MDF 4.2, 4.19).
type idReader struct {
	s      *stream
	idSize int
	dg     *dataGroup
	small  [256]*ChannelGroup // by id, for ids that fit
	large  map[uint64]*ChannelGroup
	others []*ChannelGroup // the other elements of CG templates
	call   *call           // of the reader, nil for none
}

func newIDReader(f *File, dg *dataGroup) *idReader {
	d := &idReader{s: newStream(f.newChain(dg.link, "##DT")), idSize: dg.idSize, dg: dg}
	for _, g := range dg.groups {
		switch {
		case !g.VLSD && g.recordSize() > f.opts.maxBlock():
			continue // see unknown
		case g.RecordID < 256:
			d.small[g.RecordID] = g
			continue
		}
		if d.large == nil {
			d.large = map[uint64]*ChannelGroup{}
		}
		d.large[g.RecordID] = g
	}
	d.addTemplates()
	return d
}

// addTemplates makes the records of the other elements of CG templates known: they are skipped.
func (d *idReader) addTemplates() {
	for _, g := range d.dg.groups {
		if g.elements < 2 || g.recordSize() > g.File.opts.maxBlock() {
			continue
		}
		other := &ChannelGroup{File: g.File, Index: g.Index, data: g.data, off: g.off, DataBytes: g.DataBytes, InvalBytes: g.InvalBytes,
			RecordID: g.RecordID + 1, elements: g.elements - 1}
		if id := other.RecordID; id < 256 && d.small[id] != nil {
			continue // the id of a group stands for it
		}
		d.others = append(d.others, other)
		for id := other.RecordID; id < 256 && other.has(id) && d.small[id] == nil; id++ {
			d.small[id] = other
		}
	}
}

// has says that records of that id are of one of the elements.
func (g *ChannelGroup) has(id uint64) bool { return id-g.RecordID < uint64(g.elements) }

// next returns the group and the size of the record at the head of the window, record id included; of a VLSD
// record also the 4 bytes of length. The record is in the window then. At the end of the data it returns io.EOF; an
// incomplete last record is an error in a finalized file and dropped in another.
func (d *idReader) next() (*ChannelGroup, int, error) {
	w := d.s.window()
	if len(w) < d.idSize {
		if err := d.need(d.idSize); err != nil {
			return nil, 0, d.end(err)
		}
		w = d.s.window()
	}
	g := d.group(w)
	if g == nil {
		return nil, 0, d.unknown(recordID(w, d.idSize))
	}
	size, err := d.recordSize(g, w)
	if err == nil && len(w) < size {
		err = d.need(size)
	}
	if err != nil {
		return nil, 0, d.end(err)
	}
	return g, size, nil
}

// need is stream.need unless the call is canceled. It is asked where the window ends, not for each record.
func (d *idReader) need(n int) error {
	if err := d.call.canceled(); err != nil {
		return err
	}
	return d.s.need(n)
}

// unknown is what a record id means that no group has, or one whose records are too long.
func (d *idReader) unknown(id uint64) error {
	off, block := d.s.where(d.dg.groups[0])
	for _, g := range d.dg.groups {
		if limit := g.File.opts.maxBlock(); g.RecordID == id && !g.VLSD && g.recordSize() > limit {
			return fmt.Errorf("data block at %#x: group %d has records of %d bytes, Options.MaxBlockBytes is %d: %w",
				off, g.Index, g.recordSize(), limit, ErrLimit)
		}
	}
	err := corrupt(off, block, "has record id %d at position %d of its data group, no channel group has it", id, d.s.pos())
	switch zeros, ended := d.onlyZeros(); {
	case ended != nil:
		return ended
	case zeros:
		return io.EOF
	}
	return err
}

// onlyZeros says that the rest of an unfinalized file's data is zeros: some recorders reserve space before they fill it. They
// are skipped. The error is that of the context, or the source's.
func (d *idReader) onlyZeros() (zeros bool, ended error) {
	if d.dg.groups[0].File.Finalized {
		return false, nil
	}
	for {
		w := d.s.window()
		for _, b := range w {
			if b != 0 {
				return false, nil
			}
		}
		d.s.skip(len(w))
		if err := d.need(1); err != nil {
			return true, cmp.Or(onlyReadError(err), d.call.canceled())
		}
	}
}

func (d *idReader) recordSize(g *ChannelGroup, w []byte) (int, error) {
	if !g.VLSD {
		return d.idSize + int(g.recordSize()), nil
	}
	if len(w) < d.idSize+4 {
		if err := d.need(d.idSize + 4); err != nil {
			return 0, err
		}
		w = d.s.window()
	}
	n := int64(binary.LittleEndian.Uint32(w[d.idSize:]))
	if n > g.File.opts.maxBlock() {
		off, id := d.s.where(g)
		return 0, corrupt(off, id, "has a value of %d bytes at position %d of its data group", n, d.s.pos())
	}
	return d.idSize + 4 + int(n), nil
}

// end turns the end of the data inside a record into what it means.
func (d *idReader) end(err error) error {
	rest := len(d.s.window())
	if !errors.Is(err, io.EOF) || rest == 0 || !d.dg.groups[0].File.Finalized {
		return err
	}
	off, id := d.s.where(d.dg.groups[0])
	return corrupt(off, id, "ends %d bytes into a record", rest)
}

func (d *idReader) group(w []byte) *ChannelGroup {
	if d.idSize == 1 {
		return d.small[w[0]]
	}
	id := recordID(w, d.idSize)
	if id < 256 {
		return d.small[id]
	}
	if g := d.large[id]; g != nil {
		return g
	}
	for _, g := range d.others {
		if g.has(id) {
			return g
		}
	}
	return nil
}

func recordID(w []byte, size int) uint64 {
	le := binary.LittleEndian
	switch size {
	case 1:
		return uint64(w[0])
	case 2:
		return uint64(le.Uint16(w))
	case 4:
		return uint64(le.Uint32(w))
	}
	return le.Uint64(w)
}

// unsortedRows gathers the records of one group from the data it shares with others.
type unsortedRows struct {
	d    *idReader
	g    *ChannelGroup
	size int
	buf  []byte  // gathered records
	at   []int64 // where each was
	r    int     // records taken away
	err  error
}

func newUnsortedRows(g *ChannelGroup) *unsortedRows {
	return &unsortedRows{d: newIDReader(g.File, g.data), g: g, size: int(g.recordSize())}
}

const gatherBytes = 1 << 20

func (u *unsortedRows) peek(max int) (rows, error) {
	if u.r > 0 {
		k := copy(u.buf, u.buf[u.r*u.size:])
		u.buf = u.buf[:k]
		u.at = append(u.at[:0], u.at[u.r:]...)
		u.r = 0
	}
	if isCanceled(u.err) {
		u.err = nil
	}
	for len(u.at) < max && len(u.buf) < gatherBytes && u.err == nil {
		u.gather()
	}
	n := min(len(u.at), max)
	if n == 0 {
		return rows{}, u.err
	}
	b := u.buf[:n*u.size]
	return rows{n: n, data: b, stride: u.size, inval: b[min(int(u.g.DataBytes), len(b)):], invalStride: u.size, at: u.at[:n]}, nil
}

// gather takes the next record of the data group.
func (u *unsortedRows) gather() {
	g, size, err := u.d.next()
	if err != nil {
		u.err = err
		return
	}
	if g == u.g {
		u.at = append(u.at, u.d.s.pos())
		u.buf = append(u.buf, u.d.s.window()[u.d.idSize:size]...)
	}
	u.d.s.skip(size)
}

func (u *unsortedRows) advance(n int) { u.r += n }

func (u *unsortedRows) seek(record uint64) error {
	if err := u.resume(0); err != nil {
		return err
	}
	for record > 0 && u.err == nil {
		g, size, err := u.d.next()
		if u.err = err; err != nil {
			break
		}
		if g == u.g {
			record--
		}
		u.d.s.skip(size)
	}
	return nil
}

func (u *unsortedRows) resume(pos int64) error {
	u.buf, u.at, u.r, u.err = u.buf[:0], u.at[:0], 0, nil
	return u.d.s.seek(pos)
}

func (u *unsortedRows) where() (int64, string) { return u.d.s.where(u.g) }

func (u *unsortedRows) pending() error { return u.d.s.pending() }

func (u *unsortedRows) close() {
	u.d.s.close()
	u.buf, u.at, u.r = nil, nil, 0
}
