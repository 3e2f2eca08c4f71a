package mdf

import "sync/atomic"

const (
	defaultHold = 32 << 20
	minShare    = 64 << 10 // of one stream, however many there are
)

func (o Options) hold() int64 {
	if o.HoldBytes <= 0 {
		return defaultHold
	}
	return o.HoldBytes
}

// holding shares Options.HoldBytes among the streams of a file that are being read. Merging groups by time keeps a
// block of each inflated: with thirty groups of the usual 4 MiB that would be half of what a process may take, and
// nearly all of it would wait. A stream whose share is smaller than its block inflates the block several times
// instead, and keeps another part of it each time.
type holding struct{ streams atomic.Int64 }

// share is what one stream may keep of inflated blocks, in bytes.
func (f *File) share() int64 {
	return max(f.opts.hold()/max(f.holding.streams.Load(), 1), minShare)
}

// join makes the stream one of those that share; it may be called again and again.
func (s *stream) join() {
	if !s.joined {
		s.joined = true
		s.c.f.holding.streams.Add(1)
	}
}

// leave gives the share back and drops the inflated block; the window stays. The stream can be read on: the next fill joins.
func (s *stream) leave() {
	if s.joined {
		s.joined = false
		s.c.f.holding.streams.Add(-1)
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
