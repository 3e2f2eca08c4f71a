package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Recount counts the records of groups whose count the writer of an unfinalized file has not filled in, and sets
// Cycles and CyclesKnown. Sorted groups need their block headers only, unsorted ones are walked through. A damaged
// data group gives the error after all others are counted; its groups keep what was found up to the damage and
// CyclesKnown stays false. No reader may be in use meanwhile.
func (f *File) Recount(ctx context.Context) error {
	var first error
	done := map[*dataGroup]bool{}
	for _, g := range f.Groups {
		if g.CyclesKnown || done[g.data] {
			continue
		}
		done[g.data] = true
		err := g.data.recount(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && first == nil {
			first = fmt.Errorf("count records of group %d: %w", g.Index, err)
		}
		for _, h := range g.data.groups {
			h.CyclesKnown = err == nil
		}
	}
	return first
}

func (dg *dataGroup) recount(ctx context.Context, f *File) error {
	for _, g := range dg.groups {
		g.Cycles = 0
	}
	if dg.idSize > 0 {
		return dg.walk(ctx, f)
	}
	g := dg.groups[0]
	size := g.recordSize()
	columns, err := g.columnar()
	if err != nil {
		return err
	}
	if columns {
		size = int64(g.DataBytes)
	}
	if size == 0 {
		return nil
	}
	n, err := f.newChain(dg.link, "##DT").total()
	g.Cycles = uint64(n / size)
	return err
}

// walk counts the records of an unsorted data group.
func (dg *dataGroup) walk(ctx context.Context, f *File) error {
	d := newIDReader(f, dg)
	d.call = &call{ctx}
	defer d.s.close()
	for i := 0; ; i++ {
		if i%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		g, size, err := d.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		g.Cycles++
		d.s.skip(size)
	}
}
