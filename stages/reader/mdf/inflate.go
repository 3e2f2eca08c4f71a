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
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// inflater inflates one DZ block after the other; it is kept for its buffers.
type inflater struct {
	comp   span
	buffer *bufio.Reader
	zr     io.ReadCloser
	planes []byte // a transposed block before its transposition is undone
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
	if fr.cut != nil {
		return fr.cut
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("compressed data ends")
	}
	return &FormatError{Offset: fr.off, Block: "##DZ", Msg: fmt.Sprintf("inflates to %d of %d bytes", n, fr.size), Err: err}
}

// whole inflates the block to dst, which has its size, and undoes its transposition. Of a block that the end of the
// file cuts, the bytes that are there are returned with the error; of a transposed one there are none.
func (s *inflater) whole(src *source, fr *fragment, dst []byte) (int, error) {
	if err := s.start(src, fr); err != nil {
		return 0, err
	}
	if fr.zip == zipDeflate {
		n, err := s.read(fr, dst, 0)
		if err != nil && fr.cut == nil {
			n = 0
		}
		return n, err
	}
	s.planes = grow(s.planes, len(dst))
	if _, err := s.read(fr, s.planes, 0); err != nil {
		return 0, err
	}
	transpose(dst, s.planes, int(fr.cols))
	return len(dst), nil
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
