package mdf

import (
	"errors"
	"io"
	"math"
)

// A Loss is what a reader with ReadOptions.SkipDamage could not read.
type Loss struct {
	From, To uint64   // records From to To-1 are missing; To is 0 where the file does not say how many there were
	Before   float64  // time of the last record in front of it, NaN if there is none
	After    float64  // time of the first record behind it, NaN if there is none
	Channel  *Channel // nil: all channels; else the records are there, but not the values of this one
	Err      error    // what is wrong, usually a FormatError; never that the source could not be read
}

// maxLosses bounds what a reader keeps of losses; later ones are joined to the last.
const maxLosses = 1 << 12

// Losses lists what has been skipped so far, in order. To, After and the number of losses may change with the next block.
func (r *GroupReader) Losses() []Loss { return r.losses }

// skipBlocks has the chains of the records list blocks that cannot be read.
func (r *GroupReader) skipBlocks() {
	switch s := r.src.(type) {
	case *sortedRows:
		s.s.c.skip = true
	case *columnRows:
		s.data.s.c.skip = true
		if s.inval != nil {
			s.inval.s.c.skip = true
		}
	}
}

// skipDamage goes to what lies behind the damage that has ended reading; false if reading has ended for good. Where nothing
// behind it can be found, all that is left is lost and reading ends as if there were no more.
func (r *GroupReader) skipDamage() bool {
	var damage *FormatError
	if !r.opts.SkipDamage || errors.Is(r.err, io.EOF) || r.err == ErrClosed || !errors.As(r.err, &damage) && !errors.Is(r.err, ErrLimit) {
		return false
	}
	rest := uint64(0)
	if r.g.CyclesKnown {
		rest = max(r.g.Cycles, r.next)
	}
	to, ok := r.behindDamage()
	if ok && to > r.next && (rest == 0 || to < rest) {
		r.lose(Loss{From: r.next, To: to, Err: r.err})
		switch err := r.seek(to); {
		case err == nil:
			return true
		case isReadError(err):
			r.err = err
			return false
		}
	}
	if rest == 0 || rest > r.next {
		r.lose(Loss{From: r.next, To: rest, Err: r.err})
	}
	r.err = io.EOF
	return false
}

func (r *GroupReader) lose(l Loss) {
	l.Before, l.After = math.NaN(), math.NaN()
	if r.seen {
		l.Before = r.last
	}
	if n := len(r.losses); n > 0 && (n >= maxLosses || r.losses[n-1].To == l.From && l.Channel == nil && r.losses[n-1].Channel == nil) {
		r.losses[n-1].To = l.To
		return
	}
	r.losses = append(r.losses, l)
}

// found notes the time of the first record behind a loss.
func (r *GroupReader) found() {
	if n := len(r.losses); n > 0 && r.block.Times != nil && r.losses[n-1].After != r.losses[n-1].After && r.losses[n-1].Channel == nil {
		r.losses[n-1].After = r.block.Times[0]
	}
}

// behindDamage is the first record that begins behind the damaged data block. Only where records stand alone can it be
// found: in unsorted data nothing tells where the next one begins.
func (r *GroupReader) behindDamage() (uint64, bool) {
	switch s := r.src.(type) {
	case *sortedRows:
		return s.behindDamage()
	case *columnRows:
		to, ok := s.data.behindDamage()
		if s.inval == nil {
			return to, ok
		}
		inval, also := s.inval.behindDamage()
		return max(to, inval), ok || also
	}
	return 0, false
}

func (r *sortedRows) behindDamage() (uint64, bool) {
	s := r.s
	if s.pending() == nil || s.frag >= len(s.c.frags) {
		return 0, false
	}
	fr := &s.c.frags[s.frag]
	size := int64(r.size)
	return uint64((fr.start + fr.size + size - 1) / size), true
}

// loseValues gives the values of variable-length channels up that cannot be read, from a record on: without them their
// samples are empty and invalid, while the other channels go on. It is false if no such values are at fault.
func (r *GroupReader) loseValues(from uint64) bool {
	any := false
	for _, d := range r.cols {
		if d.fault == nil {
			continue
		}
		rest := uint64(0)
		if r.g.CyclesKnown {
			rest = r.g.Cycles
		}
		r.lose(Loss{From: from, To: rest, Channel: d.ch, Err: r.wrap(d.fault)})
		d.lost, d.fault, any = true, nil, true
	}
	return any
}
