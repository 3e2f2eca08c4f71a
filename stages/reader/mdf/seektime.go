package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// SeekTime makes the first record whose time is not before seconds the next to be read; times have to ascend. In a
// sorted group that takes about as many single reads as its number of records has binary digits, and inflates one
// block each; an unsorted group is walked through up to the record. Past the last record Next returns io.EOF.
func (r *GroupReader) SeekTime(ctx context.Context, seconds float64) error {
	g := r.g
	if r.times == nil {
		return fmt.Errorf("seek in group %d: it has no times: %w", g.Index, ErrUnsupported)
	}
	if !g.Sorted() {
		return r.walkTo(ctx, seconds)
	}
	n, err := r.count()
	if err != nil {
		return err
	}
	probe, err := g.Read(ReadOptions{Raw: r.opts.Raw, BlockRecords: 1})
	if err != nil {
		return err
	}
	defer probe.Close()
	low, high := uint64(0), n
	for low < high {
		mid := low + (high-low)/2
		t, err := probe.timeAt(ctx, mid)
		if err != nil {
			return err
		}
		if t < seconds {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return r.Seek(low)
}

// count returns the number of records of a sorted group, from the block headers if the file does not say.
func (r *GroupReader) count() (uint64, error) {
	if r.g.CyclesKnown {
		return r.g.Cycles, nil
	}
	s, ok := r.src.(*sortedRows)
	if !ok {
		return 0, nil
	}
	n, err := s.s.c.total()
	return uint64(n / int64(s.size)), err
}

func (r *GroupReader) timeAt(ctx context.Context, record uint64) (float64, error) {
	if err := r.Seek(record); err != nil {
		return 0, err
	}
	b, err := r.Next(ctx)
	if err != nil {
		return 0, err
	}
	return b.Times[0], nil
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
