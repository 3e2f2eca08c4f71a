package mdf

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
	low  int   // buf[low:w] is data; before low there is none
	base int64 // position of buf[0] in the data, were there data
	frag int   // fragment that gives the byte at base+w
	in   int64 // bytes of it that are in the window already
	err  error // sticky; delivered when the window is empty
	keep int   // bytes that stay in the window though read
	want int   // bytes that the need under way wants in the window
	work int64 // bytes read or inflated so far
	next int   // size of the next piece: small after a seek, then growing

	inf    inflater
	planes planes     // the transposed block that is being read
	wanted *columnSet // nil: all bytes of a record
	joined bool       // has a share of what streams may hold
	ahead  *ahead     // nil: blocks are inflated when they are needed
}

func newStream(c *chain) *stream { return &stream{c: c} }

// pos returns the position of the next unread byte.
func (s *stream) pos() int64 { return s.base + int64(s.r) }

// offset returns the place in the file up to which data has been read; of compressed blocks it is the start.
func (s *stream) offset() int64 {
	if len(s.c.frags) == 0 {
		return 0
	}
	fr := &s.c.frags[min(s.frag, len(s.c.frags)-1)]
	switch {
	case s.frag >= len(s.c.frags):
		return fr.body + fr.disk
	case fr.zip == zipNone:
		return fr.body + s.in
	}
	return fr.body
}

// spent returns how many bytes were read or inflated so far, and the position.
func (s *stream) spent() (work, at int64) { return s.work, s.pos() }

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
		s.want = n
		if s.err = s.fill(n); s.err != nil {
			s.leave()
		}
	}
	return nil
}

// fill appends the next piece to the window, of which n bytes are wanted.
func (s *stream) fill(n int) error {
	s.join()
	fr, err := s.c.at(s.frag)
	if err != nil {
		return err
	}
	if s.in >= fr.size {
		s.frag, s.in = s.frag+1, 0
		return nil
	}
	if fr.bad != nil {
		return fr.bad
	}
	if s.ahead != nil && s.in == 0 && fr.zip != zipNone && fr.size <= wholeBlock {
		return s.fillAhead(fr)
	}
	switch fr.zip {
	case zipNone:
		return s.fillPlain(fr, n)
	case zipDeflate:
		return s.fillDeflate(fr, n)
	case zipZeros:
		return s.fillZeros(fr, n)
	}
	return s.fillTransposed(fr, n)
}

// room moves the unread bytes to the front and returns free space of n bytes behind them.
func (s *stream) room(n int) []byte {
	s.work += int64(n)
	if s.r > 0 && s.w+n > s.kept() {
		copy(s.buf, s.buf[s.r:s.w])
		s.base += int64(s.r)
		s.w -= s.r
		s.r, s.low = 0, 0
	}
	if len(s.buf) < s.w+n {
		// It doubles up to what is known to be needed. A long record is not known to be there: it may be a number in a damaged file.
		buf := make([]byte, max(s.w+n+headroom, min(2*len(s.buf), max(int(2*s.most()), s.kept(), s.want+headroom))))
		copy(buf, s.buf[:s.w])
		s.buf = buf
	}
	return s.buf[s.w : s.w+n]
}

// kept is how much of what was read stays in the window.
func (s *stream) kept() int {
	if s.keep == 0 {
		return 0
	}
	return int(min(int64(s.keep), s.c.f.hold.share()))
}

// most is the size of the largest piece, bounded by the stream's share.
func (s *stream) most() int64 { return min(max(s.c.f.hold.share()/4, minShare), pieceSize) }

// piece returns how much to read next. After a seek little is read, since another may follow.
func (s *stream) piece() int64 {
	if s.next == 0 {
		s.next = pieceSize
	}
	n := min(int64(s.next), s.most())
	s.next = min(2*s.next, pieceSize)
	return n
}

func (s *stream) fillPlain(fr *fragment, n int) error {
	n = int(min(max(s.piece(), int64(n)), fr.disk-s.in))
	if err := s.c.src.readFull(s.room(n), fr.body+s.in); err != nil {
		return unreadable(fr.off, s.c.want, "cannot be read", err)
	}
	s.w += n
	s.in += int64(n)
	return nil
}

func (s *stream) fillZeros(fr *fragment, n int) error {
	n = int(min(max(s.piece(), int64(n)), fr.size-s.in))
	clear(s.room(n))
	s.w += n
	s.in += int64(n)
	return nil
}

// fillDeflate inflates the next piece of a deflated block, all of it if it has a usual size and the stream's share allows.
// If only the share does not, the block is inflated twice: before its check sum is known it gives nothing.
func (s *stream) fillDeflate(fr *fragment, n int) error {
	whole := fr.size <= min(s.c.f.hold.share(), wholeBlock)
	if whole && s.in == 0 {
		got, err := s.inf.deflated(s.c.src, fr, s.room(int(fr.size)))
		s.w += got
		s.in += int64(got)
		return err
	}
	if s.in == 0 {
		if !whole && fr.size <= wholeBlock && fr.cut == nil {
			if err := s.inf.check(s.c.src, fr); err != nil {
				return err
			}
		}
		if err := s.inf.start(s.c.src, fr); err != nil {
			return err
		}
	}
	n = int(min(max(s.piece(), int64(n)), fr.size-s.in))
	got, err := s.inf.read(fr, s.room(n), s.in)
	if err != nil && fr.cut == nil {
		return err // the check sum is wrong or missing: no byte of the block can be trusted
	}
	s.w += got
	s.in += int64(got)
	return err
}

// fillTransposed appends the next rows of a transposed block to the window, inflating it if they are not held.
func (s *stream) fillTransposed(fr *fragment, n int) error {
	cols := int(fr.cols)
	row := int(s.in / int64(cols))
	if !s.planes.have(fr, row) {
		s.work += fr.size
		if err := s.planes.load(&s.inf, s.c.src, fr, row, s.wanted, s.c.f.hold.share()); err != nil {
			return err
		}
	}
	if row == fr.rows() {
		n = copy(s.room(len(s.planes.tail)), s.planes.tail)
	} else {
		rows := min(max(max(int(s.piece()), n)/cols, 1), s.planes.to-row)
		n = rows * cols
		s.planes.transpose(s.room(n), row, cols)
	}
	s.w += n
	s.in += int64(n)
	return nil
}

// seek makes pos the next unread byte. Blocks in between are skipped by their headers, only the one that holds pos
// is inflated. A position past the end makes the next need return io.EOF, or what ended the chain.
func (s *stream) seek(pos int64) error {
	if pos >= s.base+int64(s.low) && pos <= s.base+int64(s.w) && s.w > 0 && !isReadError(s.err) {
		s.r = int(pos - s.base)
		return nil
	}
	back := pos < s.base
	s.err = nil
	s.r, s.w, s.low, s.base = 0, 0, 0, pos
	s.next = pieceSize / 16
	i, err := s.c.find(pos)
	s.frag, s.in = i, 0
	if err != nil {
		s.err = err
		return nil
	}
	fr := &s.c.frags[i]
	skip := pos - fr.start
	lead := fr.lead(skip, back)
	s.in, s.base = skip-lead, pos-lead
	if s.drop(lead); isReadError(s.err) { // heal tries again for the place that was asked for
		s.r, s.w, s.low, s.base = 0, 0, 0, pos
	}
	return nil
}

// heal lets the stream try again what its source has failed to read.
func (s *stream) heal() {
	if isReadError(s.err) {
		s.seek(s.pos())
	}
}

// lead is how many bytes in front of a place have to be read before it. back says that the place lies before the last one:
// whoever steps back once may do so again.
func (fr *fragment) lead(skip int64, back bool) int64 {
	switch {
	case fr.zip == zipTransposed:
		return skip % int64(fr.cols)
	case fr.zip == zipDeflate:
		return skip
	case back:
		return min(skip, pieceSize/32)
	}
	return 0
}

// drop reads and forgets n bytes, or those in front of an error: the next need returns it again.
func (s *stream) drop(n int64) {
	for n > 0 {
		if s.need(1) != nil {
			return
		}
		k := min(n, int64(s.w-s.r))
		s.r += int(k)
		n -= k
	}
}
