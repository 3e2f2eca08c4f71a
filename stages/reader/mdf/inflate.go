package mdf

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

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
	return 0, sourceError(err)
}

// inflater inflates one DZ block after the other; it is kept for its buffers.
type inflater struct {
	comp   span
	buffer *bufio.Reader
	zr     io.ReadCloser
	piece  []byte
}

// start begins with fr.
func (s *inflater) start(src *source, fr *fragment) error {
	s.comp = span{src: src, off: fr.body, end: fr.body + fr.disk}
	if s.zr == nil {
		s.buffer = bufio.NewReaderSize(&s.comp, 16<<10)
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

// read inflates exactly len(b) bytes; at is how many of the block came before.
func (s *inflater) read(fr *fragment, b []byte, at int64) (int, error) {
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
	if isReadError(err) {
		return unreadable(fr.off, "##DZ", "", err)
	}
	if fr.cut != nil {
		return fr.cut
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("compressed data ends")
	}
	return &FormatError{Offset: fr.off, Block: "##DZ", Msg: fmt.Sprintf("inflates to %d of %d bytes", n, fr.size), Err: err}
}

// pieces inflates the block, calling take with one part after the other and its position; each is valid during the call.
func (s *inflater) pieces(fr *fragment, take func(b []byte, at int64)) error {
	s.piece = grow(s.piece, 32<<10)
	for at := int64(0); at < fr.size; {
		b := s.piece[:min(int64(len(s.piece)), fr.size-at)]
		if _, err := s.read(fr, b, at); err != nil {
			return err
		}
		take(b, at)
		at += int64(len(b))
	}
	return nil
}

// check inflates a deflated block and keeps nothing of it.
func (s *inflater) check(src *source, fr *fragment) error {
	if err := s.start(src, fr); err != nil {
		return err
	}
	return s.pieces(fr, func([]byte, int64) {})
}

// deflated inflates the whole deflated block to dst, which has its size. Of a block that the end of the file cuts, the
// bytes that are there are returned with the error.
func (s *inflater) deflated(src *source, fr *fragment, dst []byte) (int, error) {
	if inflateWhole(src, fr, dst) {
		return len(dst), nil
	}
	if err := s.start(src, fr); err != nil {
		return 0, err
	}
	n, err := s.read(fr, dst, 0)
	if err != nil && fr.cut == nil {
		n = 0
	}
	return n, err
}
