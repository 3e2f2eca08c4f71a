package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Seek makes record the next to be read. In sorted groups the blocks in front of it are skipped without being
// inflated; in unsorted ones all in front of it is walked through: use Resume there. Past the last record Next returns io.EOF.
func (r *GroupReader) Seek(record uint64) error {
	if r.err == ErrClosed {
		return ErrClosed
	}
	r.startValues()
	return r.seek(record)
}

func (r *GroupReader) startValues() {
	for _, d := range r.cols {
		if d.blobs != nil {
			d.blobs.start()
		}
	}
}

func (r *GroupReader) seek(record uint64) error {
	r.err, r.next = nil, record
	if r.other != nil {
		if err := r.other.seek(record); err != nil {
			return r.wrap(err)
		}
	}
	if err := r.src.seek(record); err != nil {
		return r.wrap(err)
	}
	return nil
}

// Resume goes to a place that Block.Position gave for the same file and group. Unlike Seek it need not read what
// lies in front of it. A place behind the end of the data is an error.
func (r *GroupReader) Resume(p Position) error {
	if r.err == ErrClosed {
		return ErrClosed
	}
	if p.Offset < 0 || r.g.CyclesKnown && r.g.File.Finalized && p.Record > r.g.Cycles {
		return fmt.Errorf("resume group %d: the file has no position %+v", r.g.Index, p)
	}
	if r.g.Sorted() {
		return r.Seek(p.Record)
	}
	r.err, r.next = nil, p.Record
	r.startValues()
	for _, v := range p.Values {
		for _, d := range r.cols {
			if d.ch.Index == v.Channel && d.blobs != nil {
				d.blobs.resume(v)
			}
		}
	}
	if r.other != nil {
		if err := r.other.seek(p.Record); err != nil {
			return r.wrap(err)
		}
	}
	if err := r.src.resume(p.Offset); err != nil {
		return err
	}
	if s := r.stream(); s != nil && errors.Is(s.err, io.EOF) && p.Offset > s.c.start {
		return fmt.Errorf("resume group %d: the file has no position %+v", r.g.Index, p)
	}
	return nil
}

// SeekTime makes the first record whose time is not before seconds the next to be read; times have to ascend. In a
// sorted group that takes about as many single reads as its number of records has binary digits, and inflates one
// block each; an unsorted group is walked through up to the record. Past the last record Next returns io.EOF. Records that cannot
// be read count as being as late as the first that can be read behind them.
func (r *GroupReader) SeekTime(ctx context.Context, seconds float64) error {
	g := r.g
	if r.times == nil {
		return fmt.Errorf("seek in group %d: it has no times: %w", g.Index, ErrUnsupported)
	}
	if seconds != seconds {
		return fmt.Errorf("seek in group %d: the time is not a number", g.Index)
	}
	if !g.Sorted() {
		return r.walkTo(ctx, seconds)
	}
	probe, err := g.Read(ReadOptions{Raw: r.opts.Raw, BlockRecords: 1, SkipDamage: true})
	if err != nil {
		return err
	}
	defer probe.Close()
	low := uint64(0)
	high, err := probe.count()
	if err != nil {
		return err
	}
	for low < high {
		mid := low + (high-low)/2
		record, t, err := probe.timeFrom(ctx, mid)
		switch {
		case errors.Is(err, io.EOF):
			high = mid
		case err != nil:
			return err
		case t < seconds:
			low = record + 1
		default:
			high = mid
		}
	}
	return r.Seek(low)
}

// count returns the number of records of a sorted group, from the block headers in front of damage if the file does not say.
func (r *GroupReader) count() (uint64, error) {
	if r.g.CyclesKnown {
		return r.g.Cycles, nil
	}
	var s *sortedRows
	switch src := r.src.(type) {
	case *sortedRows:
		s = src
	case *columnRows:
		s = &src.data
	default:
		return 0, nil
	}
	n, err := s.s.c.total()
	var damage *FormatError
	if errors.As(err, &damage) || errors.Is(err, ErrLimit) {
		err = nil
	}
	return uint64(n / int64(s.size)), err
}

// timeFrom returns the first record from the given one on that can be read, and its time; io.EOF if there is none.
func (r *GroupReader) timeFrom(ctx context.Context, from uint64) (record uint64, seconds float64, err error) {
	if err := r.Seek(from); err != nil {
		return 0, 0, err
	}
	r.losses = r.losses[:0]
	b, err := r.Next(ctx)
	if err != nil {
		return 0, 0, err
	}
	return b.First, b.Times[0], nil
}

// walkTo finds the record by reading times from the start.
func (r *GroupReader) walkTo(ctx context.Context, seconds float64) error {
	probe, err := r.g.Read(ReadOptions{Raw: r.opts.Raw})
	if err != nil {
		return err
	}
	defer probe.Close()
	end := Position{}
	for {
		b, err := probe.Next(ctx)
		if errors.Is(err, io.EOF) {
			return r.Resume(end)
		}
		if err != nil {
			return err
		}
		for i, t := range b.Times {
			if t >= seconds {
				return r.Resume(b.Position(i))
			}
		}
		end = b.Position(b.N)
	}
}

// SeekTime is GroupReader.SeekTime.
func (f *FrameReader) SeekTime(ctx context.Context, seconds float64) error {
	return f.r.SeekTime(ctx, seconds)
}
