package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Selection names channels of one group.
type Selection struct {
	Group    *ChannelGroup
	Channels []*Channel
}

// A SharedReader reads several groups of one unsorted data group in one pass, where a GroupReader each would read
// the data once each. Memory does not depend on the file's size. One goroutine uses it.
type SharedReader struct {
	d       *idReader
	readers []*GroupReader
	rows    map[*ChannelGroup]*sharedRows
	queue   []*GroupReader // that have records of the current window, in the order of the first of them
	start   SharedPosition // of the current window
	call    call
	err     error
}

// A SharedPosition is a place in the data of a SharedReader; it serialises as JSON.
type SharedPosition struct {
	Offset  int64    `json:"offset"`  // in the data of the groups
	Records []uint64 `json:"records"` // in front of it, of each selected group
}

// SharesData says that the two groups have their records in the same data, so a SharedReader can read both at once.
func (g *ChannelGroup) SharesData(other *ChannelGroup) bool { return g.data == other.data }

// ReadShared opens a reader of several groups that share their data.
func (f *File) ReadShared(opts ReadOptions, selected ...Selection) (*SharedReader, error) {
	if slices.ContainsFunc(selected, func(s Selection) bool { return s.Group == nil }) {
		return nil, errNoGroup
	}
	if len(selected) == 0 || selected[0].Group.Sorted() {
		return nil, fmt.Errorf("read groups together: none of an unsorted data group is given: %w", ErrUnsupported)
	}
	dg := selected[0].Group.data
	s := &SharedReader{d: newIDReader(f, dg), rows: map[*ChannelGroup]*sharedRows{}}
	s.d.call = &s.call
	for _, sel := range selected {
		if sel.Group.data != dg || s.rows[sel.Group] != nil {
			return nil, fmt.Errorf("read groups together: group %d is given twice or has other data", sel.Group.Index)
		}
		r, err := sel.Group.Read(opts, sel.Channels...)
		if err != nil {
			return nil, err
		}
		rows := &sharedRows{unsortedRows: unsortedRows{d: s.d, g: sel.Group, size: int(sel.Group.recordSize())}}
		r.src.close()
		r.src = rows
		s.rows[sel.Group] = rows
		s.readers = append(s.readers, r)
	}
	s.start.Records = make([]uint64, len(selected))
	return s, nil
}

// sharedRows are the records of one group in the current window.
type sharedRows struct{ unsortedRows }

// peek returns what the window has; errWindow says that it has no more.
func (r *sharedRows) peek(max int) (rows, error) {
	if r.err == nil {
		r.err = errWindow // unsortedRows must not gather on its own
	}
	return r.unsortedRows.peek(max)
}

var errWindow = errors.New("window is empty")

// Next returns the next block; Block.Group says of which group. Within a window of about 1 MiB of the data, groups
// come one after the other, windows come in the order of the file. After the last block it returns io.EOF; what is
// in front of damage is delivered before its error.
func (s *SharedReader) Next(ctx context.Context) (*Block, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(s.queue) == 0 {
			if s.err != nil {
				return nil, s.err
			}
			s.call.ctx = ctx
			s.window()
			s.call.ctx = nil
			continue
		}
		b, err := s.queue[0].Next(ctx)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, errWindow) && !errors.Is(err, io.EOF) {
			s.err, s.queue = err, s.queue[:0]
			return nil, err
		}
		s.queue = s.queue[1:]
	}
}

// window gathers the records of the next piece of the data.
func (s *SharedReader) window() {
	s.start.Offset = s.d.s.pos()
	for i, r := range s.readers {
		s.start.Records[i] = r.next
		if !errors.Is(r.err, io.EOF) {
			r.err = nil
		}
		rows := s.rows[r.g]
		rows.buf, rows.at, rows.r, rows.err = rows.buf[:0], rows.at[:0], 0, nil
	}
	s.queue = s.queue[:0]
	for s.d.s.pos() < s.start.Offset+gatherBytes {
		g, size, err := s.d.next()
		if isCanceled(err) && s.call.canceled() != nil {
			return
		}
		if err != nil {
			s.err = s.finish(err)
			return
		}
		if rows := s.rows[g]; rows != nil {
			s.take(rows, size)
		}
		s.d.s.skip(size)
	}
}

func (s *SharedReader) take(rows *sharedRows, size int) {
	if len(rows.at) == 0 {
		i := slices.IndexFunc(s.readers, func(r *GroupReader) bool { return r.g == rows.g })
		s.queue = append(s.queue, s.readers[i])
	}
	rows.at = append(rows.at, s.d.s.pos())
	rows.buf = append(rows.buf, s.d.s.window()[s.d.idSize:size]...)
}

// finish is what the end of the data means: every group has to have the records it says.
func (s *SharedReader) finish(err error) error {
	if !errors.Is(err, io.EOF) {
		return s.readers[0].wrap(err)
	}
	for _, r := range s.readers {
		have := r.next + uint64(len(s.rows[r.g].at))
		if r.g.CyclesKnown && r.g.File.Finalized && have < r.g.Cycles {
			off, id := s.d.s.where(r.g)
			e := corrupt(off, id, "is the last of group %d, which says %d records and has %d", r.g.Index, r.g.Cycles, have)
			e.Err = io.ErrUnexpectedEOF
			return e
		}
	}
	return io.EOF
}

// Position returns the start of the window that the last block belongs to. After Resume its blocks are delivered
// again; Block.First tells which records are known already.
func (s *SharedReader) Position() SharedPosition {
	return SharedPosition{Offset: s.start.Offset, Records: slices.Clone(s.start.Records)}
}

// Resume goes to a place that Position gave for the same file and selection.
func (s *SharedReader) Resume(p SharedPosition) error {
	if len(p.Records) != len(s.readers) || p.Offset < 0 {
		return fmt.Errorf("resume groups: position is of %d groups, not of %d", len(p.Records), len(s.readers))
	}
	s.err, s.queue = nil, s.queue[:0]
	for i, r := range s.readers {
		if err := r.Resume(Position{Record: p.Records[i], Offset: p.Offset}); err != nil {
			return err
		}
	}
	return nil
}

// Progress returns that of each selected group.
func (s *SharedReader) Progress() []Progress {
	out := make([]Progress, len(s.readers))
	for i, r := range s.readers {
		out[i] = r.Progress()
	}
	return out
}

// Close ends reading; Next returns ErrClosed then.
func (s *SharedReader) Close() error {
	s.err, s.queue = ErrClosed, nil
	s.d.s.close()
	for _, r := range s.readers {
		r.Close()
	}
	return nil
}
