package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

const (
	headerSize = 24 // MDF 4.2, 5.2.2: id, reserved, length, link_count
	pageSize   = 64 << 10
	maxPages   = 128
)

// source is the file as bytes. While the file is opened, header blocks are read through a few cached pages, since a file
// with 20,000 channels has some 80,000 of them, mostly neighbours; data blocks are read past the cache.
type source struct {
	r     io.ReaderAt
	size  int64
	pages map[int64][]byte // nil: nothing is cached, and the source may be used by several goroutines
	page  []byte           // the one asked for last
	start int64            // of page in the file
	// budget is what header blocks may still take: blocks do not overlap and each is read once, so a
	// sound file never needs more than its size. It makes opening linear in the file, whatever is in it.
	budget int64
	limit  int64 // of a block
}

// block is a header block: its links and the data after them. Both alias a cached page.
type block struct {
	id    string
	off   int64
	raw   []byte // all of the block after the header
	nlink int
}

func (b block) link(i int) int64 {
	if i >= b.nlink {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b.raw[8*i:]))
}

// data returns the block's data section, at least min bytes of it.
func (b block) data(min int) ([]byte, error) {
	d := b.raw[8*b.nlink:]
	if len(d) < min {
		return nil, corrupt(b.off, b.id, "has %d bytes of data, needs %d", len(d), min)
	}
	return d, nil
}

// at returns n bytes at off; the caller has checked that they lie inside the file.
func (s *source) at(off int64, n int) ([]byte, error) {
	if i := off - s.start; i >= 0 && i+int64(n) <= int64(len(s.page)) {
		return s.page[i : i+int64(n) : i+int64(n)], nil
	}
	page := off / pageSize
	if s.pages == nil || (off+int64(n)-1)/pageSize != page {
		b := make([]byte, n)
		return b, s.readFull(b, off)
	}
	p, ok := s.pages[page]
	if !ok {
		if len(s.pages) >= maxPages {
			clear(s.pages)
		}
		p = make([]byte, min(pageSize, s.size-page*pageSize))
		if err := s.readFull(p, page*pageSize); err != nil {
			return nil, err
		}
		s.pages[page] = p
	}
	s.page, s.start = p, page*pageSize
	i := off - s.start
	return p[i : i+int64(n) : i+int64(n)], nil
}

// uncache drops what is cached.
func (s *source) uncache() { s.pages, s.page = nil, nil }

// readFull reads exactly len(b) bytes; a source shorter than its size is an io.ErrUnexpectedEOF.
func (s *source) readFull(b []byte, off int64) error {
	n, err := s.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("read %d bytes at %#x: %w", len(b), off, sourceError(err))
}

// sourceError is what it means that ReadAt gave fewer bytes than were asked for: the file is shorter than it was said to be, or it
// could not be read.
func sourceError(err error) error {
	switch {
	case err == nil || err == io.EOF: // not errors.Is: a connection that ends gives an error that wraps io.EOF
		return io.ErrUnexpectedEOF
	case errors.Is(err, fs.ErrClosed):
		return &readError{ErrClosed}
	}
	return &readError{err}
}

// A readError is what keeps the bytes of the file from being read: it is not the file that is wrong.
type readError struct{ err error }

// Error implements error.
func (e *readError) Error() string { return e.err.Error() }

// Unwrap returns the cause, but none that would be taken for the end of the file: a connection ends with io.EOF, too.
func (e *readError) Unwrap() error {
	if errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF) {
		return nil
	}
	return e.err
}

// isReadError says that err is the source's: reading may go well next time, and says nothing about the file.
func isReadError(err error) bool {
	if err == nil { // before there is anything to allocate
		return false
	}
	var failed *readError
	return errors.As(err, &failed)
}

// onlyReadError drops all other errors, where a block that is wrong is not what is looked for.
func onlyReadError(err error) error {
	if isReadError(err) {
		return err
	}
	return nil
}

// unreadable is the error of a block whose bytes cannot be had.
func unreadable(off int64, block, msg string, err error) error {
	if isReadError(err) {
		return fmt.Errorf("block %q at %#x (%d): %w", block, off, off, err)
	}
	return &FormatError{Offset: off, Block: block, Msg: msg, Err: err}
}

// header reads the block header at off and checks it against the file's size, apart from the block's end.
func (s *source) header(off int64) (id string, length int64, nlink int, err error) {
	if off < 64 || off > s.size-headerSize {
		e := corrupt(off, "", "a link points here, the file has %d bytes", s.size)
		e.Err = io.ErrUnexpectedEOF
		return "", 0, 0, e
	}
	h, err := s.at(off, headerSize)
	if err != nil {
		return "", 0, 0, err
	}
	return s.parseHeader(off, h)
}

func (s *source) parseHeader(off int64, h []byte) (id string, length int64, nlink int, err error) {
	if h[0] != '#' || h[1] != '#' {
		return "", 0, 0, corrupt(off, "", "a link points here, but no block starts with %q", h[:4])
	}
	id = blockID(h)
	length = int64(binary.LittleEndian.Uint64(h[8:]))
	links := binary.LittleEndian.Uint64(h[16:])
	if length < 0 {
		return id, 0, 0, corrupt(off, id, "says %d bytes", uint64(length))
	}
	if links > uint64(length)/8 || int64(links) > (s.size-off)/8 {
		return id, 0, 0, corrupt(off, id, "says %d bytes and %d links", length, links)
	}
	return id, length, int(links), nil
}

// blockIDs are the names of known blocks, the frequent ones first, so that reading a header does not allocate.
var blockIDs = [...]string{"##TX", "##CN", "##CC", "##MD", "##SI", "##CG", "##DG", "##DT", "##DZ", "##SD", "##DV", "##DI", "##DL", "##LD",
	"##HL", "##CA", "##HD", "##FH", "##CH", "##AT", "##EV", "##SR", "##RD", "##RV", "##RI"}

func blockID(h []byte) string {
	for _, id := range &blockIDs {
		if id == string(h[:4]) {
			return id
		}
	}
	return string(h[:4])
}

// block reads the whole block at off, whose id has to be one of want.
func (s *source) block(off int64, want ...string) (block, error) {
	id, length, nlink, err := s.header(off)
	if err != nil {
		return block{}, err
	}
	if !slices.Contains(want, id) {
		return block{}, corrupt(off, id, "stands where %s is expected", strings.Join(want, " or "))
	}
	if length < headerSize+8*int64(nlink) {
		return block{}, corrupt(off, id, "says %d bytes and %d links", length, nlink)
	}
	if length > s.size-off {
		return block{}, truncated(off, id, length, s.size-off)
	}
	if length > s.limit {
		return block{}, fmt.Errorf("block %q at %#x: %d bytes, Options.MaxBlockBytes is %d: %w", id, off, length, s.limit, ErrLimit)
	}
	if s.budget -= length; s.budget < 0 {
		return block{}, corrupt(off, id, "overlaps other blocks: together they are longer than the file")
	}
	raw, err := s.at(off+headerSize, int(length-headerSize))
	return block{id: id, off: off, raw: raw, nlink: nlink}, err
}
