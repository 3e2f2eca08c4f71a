package mdf

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

const (
	pieceSize  = 1 << 20 // read at a time
	wholeBlock = 4 << 20 // deflated blocks up to this size are inflated whole, so that a damaged one gives nothing
)

// stream reads the data of a chain in order through a window. Blocks are read or inflated straight behind what is
// left of the window, so a record that crosses a block border needs no special case.
type stream struct {
	c    *chain
	buf  []byte
	r, w int   // unread is buf[r:w]
	base int64 // position of buf[0] in the data
	frag int   // fragment that gives the byte at base+w
	in   int64 // bytes of it that are in the window already
	err  error // sticky; delivered when the window is empty
	keep int   // bytes that stay in the window though read
	work int64 // bytes read or inflated so far
	next int   // size of the next piece: small after a seek, then growing

	comp   span
	buffer *bufio.Reader
	zr     io.ReadCloser
	planes []byte // a transposed block before its transposition is undone
}

func newStream(c *chain) *stream { return &stream{c: c} }

// span is a part of the file as an io.Reader.
type span struct {
	src      *source
	off, end int64
}

// Read implements io.Reader; a file shorter than the span is an io.ErrUnexpectedEOF.
func (s *span) Read(b []byte) (int, error) {
	if s.off >= s.end {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), s.end-s.off)]
	n, err := s.src.r.ReadAt(b, s.off)
	s.off += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// pos returns the position of the next unread byte.
func (s *stream) pos() int64 { return s.base + int64(s.r) }

// window returns what is unread and in memory.
func (s *stream) window() []byte { return s.buf[s.r:s.w] }

func (s *stream) skip(n int) { s.r += n }

// need makes at least n bytes unread in the window. With less left in the data it returns the sticky error, io.EOF
// at the proper end; the window then has what is left.
func (s *stream) need(n int) error {
	for s.w-s.r < n {
		if s.err != nil {
			return s.err
		}
		s.err = s.fill(n)
	}
	return nil
}

// fill appends the next piece to the window, of which n bytes are wanted.
func (s *stream) fill(n int) error {
	fr, err := s.c.at(s.frag)
	if err != nil {
		return err
	}
	if s.in >= fr.size {
		s.frag, s.in = s.frag+1, 0
		return nil
	}
	switch fr.zip {
	case zipNone:
		return s.fillPlain(fr, n)
	case zipDeflate:
		return s.fillDeflate(fr, n)
	}
	return s.fillTransposed(fr)
}

// room moves the unread bytes to the front and returns free space of n bytes behind them.
func (s *stream) room(n int) []byte {
	s.work += int64(n)
	if s.r > 0 && s.w+n > s.keep {
		copy(s.buf, s.buf[s.r:s.w])
		s.base += int64(s.r)
		s.w -= s.r
		s.r = 0
	}
	if len(s.buf) < s.w+n {
		buf := make([]byte, max(s.w+n, min(2*len(s.buf), 2*pieceSize)))
		copy(buf, s.buf[:s.w])
		s.buf = buf
	}
	return s.buf[s.w : s.w+n]
}

// piece returns how much to read next. After a seek little is read, since another may follow.
func (s *stream) piece() int64 {
	if s.next == 0 {
		s.next = pieceSize
	}
	n := s.next
	s.next = min(2*s.next, pieceSize)
	return int64(n)
}

func (s *stream) fillPlain(fr *fragment, n int) error {
	n = int(min(max(s.piece(), int64(n)), fr.disk-s.in))
	if err := s.c.src.readFull(s.room(n), fr.body+s.in); err != nil {
		return &FormatError{Offset: fr.off, Block: s.c.want, Msg: "cannot be read", Err: err}
	}
	s.w += n
	s.in += int64(n)
	return nil
}

// inflater starts inflating fr.
func (s *stream) inflater(fr *fragment) error {
	s.comp = span{src: s.c.src, off: fr.body, end: fr.body + fr.disk}
	if s.zr == nil {
		s.buffer = bufio.NewReaderSize(&s.comp, 64<<10)
		zr, err := zlib.NewReader(s.buffer)
		if err != nil {
			return inflateError(fr, 0, err)
		}
		s.zr = zr
		return nil
	}
	s.buffer.Reset(&s.comp)
	if err := s.zr.(zlib.Resetter).Reset(s.buffer, nil); err != nil {
		return inflateError(fr, 0, err)
	}
	return nil
}

// inflate reads exactly len(b) bytes; at is how many of the block came before.
func (s *stream) inflate(fr *fragment, b []byte, at int64) (int, error) {
	n, err := io.ReadFull(s.zr, b)
	if err != nil {
		return n, inflateError(fr, at+int64(n), err)
	}
	if at+int64(n) < fr.size {
		return n, nil
	}
	var one [1]byte // reading past the end checks the Adler-32
	if k, err := s.zr.Read(one[:]); k > 0 || err != io.EOF {
		if k > 0 {
			return n, corrupt(fr.off, "##DZ", "inflates to more than the %d bytes it says", fr.size)
		}
		return n, inflateError(fr, fr.size, err)
	}
	return n, nil
}

func inflateError(fr *fragment, n int64, err error) error {
	if fr.cut != nil {
		return fr.cut
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("compressed data ends")
	}
	return &FormatError{Offset: fr.off, Block: "##DZ", Msg: fmt.Sprintf("inflates to %d of %d bytes", n, fr.size), Err: err}
}

func (s *stream) fillDeflate(fr *fragment, n int) error {
	if s.in == 0 {
		if err := s.inflater(fr); err != nil {
			return err
		}
	}
	n = int(min(max(wholeBlock, int64(n)), fr.size-s.in))
	got, err := s.inflate(fr, s.room(n), s.in)
	if err != nil && fr.cut == nil {
		return err // the check sum is wrong or missing: no byte of the block can be trusted
	}
	s.w += got
	s.in += int64(got)
	return err
}

// fillTransposed inflates a whole block, since its first row needs bytes from all over it.
func (s *stream) fillTransposed(fr *fragment) error {
	if err := s.inflater(fr); err != nil {
		return err
	}
	n := int(fr.size)
	if cap(s.planes) < n {
		s.planes = make([]byte, n)
	}
	if _, err := s.inflate(fr, s.planes[:n], 0); err != nil {
		return err
	}
	transpose(s.room(n), s.planes[:n], int(fr.cols))
	s.w += n
	s.in = fr.size
	return nil
}

// transpose undoes the transposition of a DZ of type 1 (MDF 4.2, 5.23.2): planes has byte 0 of every row, then byte
// 1 of every row, and so on; a remainder of less than a row stands at the end as it is. Tiles keep both sides in
// the first-level cache.
func transpose(dst, planes []byte, cols int) {
	rows := len(planes) / cols
	copy(dst[rows*cols:], planes[rows*cols:])
	const tile = 32
	for r0 := 0; r0 < rows; r0 += tile {
		r1 := min(r0+tile, rows)
		for c := range cols {
			col := planes[c*rows+r0 : c*rows+r1]
			d := r0*cols + c
			for _, b := range col {
				dst[d] = b
				d += cols
			}
		}
	}
}

// seek makes pos the next unread byte. Blocks in between are skipped by their headers, only the one that holds pos
// is inflated. A position past the end makes the next need return io.EOF, or what ended the chain.
func (s *stream) seek(pos int64) error {
	if pos >= s.base && pos <= s.base+int64(s.w) && s.w > 0 {
		s.r = int(pos - s.base)
		return nil
	}
	back := pos < s.base
	s.err = nil
	s.r, s.w, s.base = 0, 0, pos
	s.next = pieceSize / 16
	i, err := s.c.find(pos)
	s.frag, s.in = i, 0
	if err != nil {
		s.err = err
		return nil
	}
	fr := &s.c.frags[i]
	skip := pos - fr.start
	s.base = fr.start
	if fr.zip == zipNone {
		lead := int64(0)
		if back { // whoever steps back once may do so again
			lead = min(skip, pieceSize/32)
		}
		s.in, s.base = skip-lead, pos-lead
		return s.drop(lead)
	}
	return s.drop(skip)
}

// drop reads and forgets n bytes.
func (s *stream) drop(n int64) error {
	for n > 0 {
		if err := s.need(1); err != nil {
			return nil // the next need returns it again
		}
		k := min(n, int64(s.w-s.r))
		s.r += int(k)
		n -= k
	}
	return nil
}
