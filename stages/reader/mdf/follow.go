package mdf

import (
	"errors"
	"io"
)

// Grow says that the file has size bytes now: a recording that is still being written grows. It must not shrink. No reader of the
// file may be in use meanwhile. What readers have found to be the end is not any more after GroupReader.Continue.
func (f *File) Grow(size int64) { f.src.size = max(f.src.size, size) }

// Continue lets a reader that has returned io.EOF go on with what has been written since, after File.Grow; false if there is
// nothing new. It is for unfinalized files whose last data block is still growing, as loggers write them: a record that is not
// complete waits for its rest. When the writer has finalized the file it has to be opened again.
func (r *GroupReader) Continue() bool {
	if !errors.Is(r.err, io.EOF) || r.g.File.Finalized || r.g.CyclesKnown {
		return false
	}
	grown := r.src.grow()
	for _, d := range r.cols {
		if d.blobs != nil {
			grown = d.blobs.s.grow() || grown
		}
	}
	if grown {
		r.err = nil
	}
	return grown
}

// Continue is GroupReader.Continue.
func (f *FrameReader) Continue() bool { return f.r.Continue() }

// grow lets the stream go on behind what was the end.
func (s *stream) grow() bool {
	n := len(s.c.frags)
	if n == 0 || !s.c.repair || !errors.Is(s.c.err, io.EOF) {
		return false
	}
	last := &s.c.frags[n-1]
	_, length, _, err := s.c.src.header(last.off)
	if err != nil || last.zip != zipNone {
		return false
	}
	end, err := s.c.f.endOf(last.off, last.body-last.off, length)
	more := end - last.body - last.size
	if err != nil || more <= 0 {
		return false
	}
	if s.frag == n {
		s.frag, s.in = n-1, last.size
	}
	last.size += more
	last.disk += more
	s.c.start += more
	s.c.disk += more
	if errors.Is(s.err, io.EOF) {
		s.err = nil
	}
	return true
}

func (r *sortedRows) grow() bool { return r.s.grow() }
func (c *columnRows) grow() bool { return false }
func (virtualRows) grow() bool   { return false }

func (u *unsortedRows) grow() bool {
	if !u.d.s.grow() {
		return false
	}
	if errors.Is(u.err, io.EOF) {
		u.err = nil
	}
	return true
}

func (v *valueStream) grow() bool {
	if !v.d.s.grow() {
		return false
	}
	if errors.Is(v.err, io.EOF) {
		v.err = nil
	}
	return true
}
