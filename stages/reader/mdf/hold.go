package mdf

import "sync/atomic"

const (
	defaultHold = 32 << 20
	minShare    = 64 << 10 // of one stream, however many there are
)

// A Hold bounds what readers hold of inflated blocks together, in one file or in several that are given the same Hold.
// Merging groups by time keeps a block of each inflated: with thirty groups of the usual 4 MiB that would be half of
// what a process may take, and nearly all of it would wait. So each open reader has an equal share, and one whose
// blocks are larger than its share inflates them several times, keeping another part each time. Any number of
// goroutines may use it.
type Hold struct {
	bytes   int64
	streams atomic.Int64 // that are being read
}

// NewHold makes a Hold of so many bytes. However many readers there are, each may hold 64 KiB.
func NewHold(bytes int64) *Hold { return &Hold{bytes: bytes} }

// share is what one stream may keep, in bytes.
func (h *Hold) share() int64 { return max(h.bytes/max(h.streams.Load(), 1), minShare) }

// join makes the stream one of those that share; it may be called again and again.
func (s *stream) join() {
	if !s.joined {
		s.joined = true
		s.c.f.hold.streams.Add(1)
	}
}

// leave gives the share back and drops the inflated block; the window stays. The stream can be read on: the next fill joins.
func (s *stream) leave() {
	if s.joined {
		s.joined = false
		s.c.f.hold.streams.Add(-1)
	}
	s.planes = planes{}
}

// close is leave at the end of use: nothing is kept.
func (s *stream) close() {
	if s.ahead != nil {
		s.ahead.stop()
	}
	s.leave()
	s.base, s.r, s.w, s.low, s.buf = s.pos(), 0, 0, 0, nil
}
