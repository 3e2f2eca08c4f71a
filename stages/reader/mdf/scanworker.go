package mdf

import (
	"errors"
	"fmt"
	"io"
)

// A scanWorker does tasks of a scan, with memory of its own.
type scanWorker struct {
	s       *scan
	number  int
	readers map[*scanGroup]*GroupReader // used for their decoders; of one data group, so that memory does not grow with their number
	data    *dataGroup                  // of readers
	space   workspace
	raw     []byte // records as they stand in the file
	rows    []byte // of a transposed block
}

// maxScanBlock is the largest compressed block that is inflated at once; larger ones, which no writer should make, are read as a
// stream.
const maxScanBlock = 8 << 20

// run does tasks until there are no more; after a failure those behind it are only taken away.
func (w *scanWorker) run() {
	for t := range w.s.tasks {
		if !w.s.skips(t.number) {
			if err := w.do(&t); err != nil {
				w.s.fail(t.number, err)
			}
		}
		if t.batch != nil {
			t.batch.free()
		}
	}
	w.forget()
}

func (w *scanWorker) forget() {
	for _, r := range w.readers {
		r.Close()
	}
	clear(w.readers)
}

func (w *scanWorker) do(t *scanTask) error {
	switch err := w.s.ctx.Err(); {
	case err != nil:
		return err
	case t.batch != nil:
		return w.batch(t.batch)
	case t.g.single:
		return w.single(t.g)
	}
	r, err := w.reader(t.g)
	if err != nil {
		return err
	}
	if t.fr.zip == zipNone {
		return w.plain(t, r)
	}
	return w.block(t, r)
}

func (w *scanWorker) reader(g *scanGroup) (*GroupReader, error) {
	if r := w.readers[g]; r != nil {
		return r, nil
	}
	if w.data != g.data {
		w.forget()
		w.data = g.data
	}
	r, err := w.s.reader(g.ChannelGroup, g.channels)
	if err == nil {
		r.src.close() // its share of what readers hold goes to those that read
		w.readers[g] = r
	}
	return r, err
}

// single reads a group that cannot be cut into tasks.
func (w *scanWorker) single(g *scanGroup) error {
	if g.size > maxScanBlock {
		w.s.large.Lock()
		defer w.s.large.Unlock()
	}
	r, err := w.s.reader(g.ChannelGroup, g.channels)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		b, err := r.Next(w.s.ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.s.visit(w.number, b); err != nil {
			return err
		}
	}
}

// plain decodes a piece of a plain block.
func (w *scanWorker) plain(t *scanTask, r *GroupReader) error {
	w.raw = grow(w.raw, int(t.to-t.from))
	if err := w.s.f.src.readFull(w.raw, t.fr.body+t.from); err != nil {
		return r.damaged(t, unreadable(t.fr.off, t.g.chain.want, "cannot be read", err))
	}
	return w.bytes(t.g, r, t.fr.start+t.from, w.raw)
}

func (r *GroupReader) damaged(t *scanTask, err error) error {
	return fmt.Errorf("read group %d after record %d: %w", r.g.Index, (t.fr.start+t.from)/t.g.size, err)
}

// block decodes a compressed block.
func (w *scanWorker) block(t *scanTask, r *GroupReader) error {
	fr := &t.fr
	if fr.size > maxScanBlock {
		return w.stream(t, r)
	}
	w.raw = grow(w.raw, int(fr.size))
	if !w.space.whole(w.s.f.src, fr, w.raw) {
		return w.stream(t, r)
	}
	if fr.zip == zipDeflate {
		return w.bytes(t.g, r, fr.start, w.raw)
	}
	if int64(fr.cols) == t.g.size && fr.start%t.g.size == 0 {
		return w.planes(t, r)
	}
	w.rows = grow(w.rows, int(fr.size))
	end := fr.rows() * int(fr.cols)
	p := planes{to: fr.rows(), buf: w.raw}
	p.transpose(w.rows[:end], 0, int(fr.cols))
	copy(w.rows[end:], w.raw[end:])
	return w.bytes(t.g, r, fr.start, w.rows)
}

// stream decodes a block that is too large, or of which something is wrong: what can be had of it is delivered.
func (w *scanWorker) stream(t *scanTask, r *GroupReader) error {
	if int64(t.fr.cols) > maxScanBlock {
		w.s.large.Lock()
		defer w.s.large.Unlock()
	}
	c := w.s.f.newChain(t.g.data.link, t.g.chain.want)
	s := newStream(c)
	defer s.close()
	err := s.seek(t.fr.start)
	for end := t.fr.start + t.fr.size; err == nil && s.pos() < end; {
		if err = s.need(1); err != nil {
			break
		}
		b := s.window()
		b = b[:min(int64(len(b)), end-s.pos())]
		if err := w.bytes(t.g, r, s.pos(), b); err != nil {
			return err
		}
		s.skip(len(b))
	}
	if err == nil && s.w == s.r {
		err = s.pending() // damage that was found together with the last bytes
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return r.damaged(t, err)
}

// bytes decodes the records in b, which stands at position pos of the data of the group, and keeps the parts of records at its ends.
func (w *scanWorker) bytes(g *scanGroup, r *GroupReader, pos int64, b []byte) error {
	if lead := pos % g.size; lead != 0 {
		n := min(g.size-lead, int64(len(b)))
		if err := w.part(g, r, pos, b[:n]); err != nil {
			return err
		}
		pos, b = pos+n, b[n:]
	}
	n := int(g.size)
	if err := w.records(g, r, uint64(pos/g.size), b[:len(b)/n*n]); err != nil {
		return err
	}
	if rest := b[len(b)/n*n:]; len(rest) > 0 {
		return w.part(g, r, pos+int64(len(b)-len(rest)), rest)
	}
	return nil
}

func (w *scanWorker) part(g *scanGroup, r *GroupReader, pos int64, b []byte) error {
	record := g.part(g.size, pos, b)
	if record == nil {
		return nil
	}
	return w.records(g, r, uint64(pos/g.size), record)
}

// records decodes whole records, of which the first has number first.
func (w *scanWorker) records(g *scanGroup, r *GroupReader, first uint64, b []byte) error {
	size := int(g.size)
	if first >= g.limit {
		return nil
	}
	count := int(min(uint64(len(b)/size), g.limit-first))
	for at := 0; at < count; {
		n := min(count-at, g.block)
		in := rows{n: n, data: b[at*size : (at+n)*size], stride: size, invalStride: size}
		in.inval = in.data[min(int(g.DataBytes), len(in.data)):]
		r.next = first + uint64(at)
		n, err := r.decodeTimes(&in)
		if err == nil {
			n, err = decodeColumns(r.cols, &in, n, r.next)
		}
		if err == nil {
			err = w.visit(r, &in, n)
		}
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

func (w *scanWorker) visit(r *GroupReader, in *rows, n int) error {
	r.fill(in, n)
	r.block.at = rows{} // the reader is kept, the records are not
	return w.s.visit(w.number, &r.block)
}

// planes decodes a transposed block whose rows are records: columns of numbers are gathered from the planes, and rows are made for
// the others only.
func (w *scanWorker) planes(t *scanTask, r *GroupReader) error {
	g, rowsHeld := t.g, t.fr.rows()
	first := uint64(t.fr.start / g.size)
	var others []*decoder
	for _, d := range r.cols {
		if !d.planar() {
			others = append(others, d)
		}
	}
	count := rowsHeld
	if left := g.limit - first; first >= g.limit || uint64(count) > left {
		count = int(g.limit - min(first, g.limit))
	}
	p := planes{to: rowsHeld, buf: w.raw}
	for at := 0; at < count; {
		n := min(count-at, g.block)
		view := planeView{data: w.raw, rows: rowsHeld, row: at}
		in := rows{n: n, stride: int(g.size), invalStride: int(g.size)}
		if len(others) > 0 || r.times != nil && !r.times.planar() {
			w.rows = grow(w.rows, n*in.stride)
			p.transpose(w.rows, at, in.stride)
			in.data = w.rows
			in.inval = in.data[min(int(g.DataBytes), len(in.data)):]
		}
		r.next = first + uint64(at)
		n, err := r.gather(&in, view, others)
		if err == nil {
			err = w.visit(r, &in, n)
		}
		if err != nil {
			return err
		}
		at += n
	}
	end := rowsHeld * int(g.size)
	if rest := w.raw[end:]; len(rest) > 0 {
		return w.part(g, r, t.fr.start+int64(end), rest)
	}
	return nil
}

// gather fills the columns of a block: others are those that need the rows of in. It may stop early and returns for how many
// records it did.
func (r *GroupReader) gather(in *rows, view planeView, others []*decoder) (int, error) {
	planarColumns(r.cols, view, in.n)
	n := in.n
	if r.times != nil && r.times.planar() {
		planarColumns([]*decoder{r.times}, view, n)
	} else {
		var err error
		if n, err = r.decodeTimes(in); err != nil {
			return n, err
		}
	}
	return decodeColumns(others, in, n, r.next)
}
