package mf4

import (
	"context"
	"math"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// records reads the channels of one group: each output gets a row a record.
type records struct {
	r       *mdf.GroupReader
	sorted  bool
	outputs []*output
	rows    []recordRow // by output
}

// A recordRow makes the row of record i from the columns of a block; false when the sample is invalid.
type recordRow interface {
	fill(b *mdf.Block, i int, row []float64) bool
}

func (p *records) next(ctx context.Context, to *source) error {
	b, err := p.r.Next(ctx)
	to.lacks(p.r.Losses())
	if err == nil {
		p.hand(b, to, true)
	}
	return err
}

// hand gives the samples of a block to a source.
func (p *records) hand(b *mdf.Block, to *source, marks bool) {
	for i, seconds := range b.Times {
		if marks {
			to.mark(b.First+uint64(i), func() mdf.Position { return b.Position(i) })
		}
		t, ok := to.tick(seconds)
		for k, o := range p.outputs {
			if ok {
				to.put(o, t, p.rows[k].fill(b, i, o.row))
			} else {
				to.lost(o)
			}
		}
	}
}

// seek is for sorted groups; others would be walked through all the same.
func (p *records) seek(ctx context.Context, seconds float64) error {
	if p.sorted {
		return p.r.SeekTime(ctx, seconds)
	}
	return nil
}

func (p *records) resume(at mdf.Position) error { return p.r.Resume(at) }
func (p *records) progress() mdf.Progress       { return p.r.Progress() }
func (p *records) close() error                 { return p.r.Close() }

// sample is the value of a column and whether it is valid; a value that is not a number never is.
func sample(b *mdf.Block, column, i int) (float64, bool) {
	c := &b.Columns[column]
	v := c.Values[i]
	return v, v == v && (c.Valid == nil || c.Valid[i])
}

// meanRecord is one signal: (mean of columns + offset) × factor.
type meanRecord struct {
	columns        []int
	offset, factor float64
	flag           bool // the value is 1 where it is not 0
}

func (m meanRecord) fill(b *mdf.Block, i int, row []float64) bool {
	sum := 0.0
	for _, c := range m.columns {
		v, ok := sample(b, c, i)
		if !ok {
			return false
		}
		sum += v
	}
	row[0] = scale(sum, len(m.columns), m.offset, m.factor)
	if m.flag {
		row[0] = number(row[0] != 0)
	}
	return true
}

// scale is (mean + offset) × factor, rounded after each operation.
func scale(sum float64, n int, offset, factor float64) float64 {
	return float64(float64(sum/float64(n))+offset) * factor
}

// A scaling makes a physical value of a recorded one: (value + offset) × factor.
type scaling struct{ offset, factor float64 }

// of leaves the sign of 0 alone where nothing is to be added.
func (s scaling) of(v float64) float64 {
	if s.offset != 0 {
		v = float64(v + s.offset)
	}
	return v * s.factor
}

// unscaled is the scaling of each value of a track that is delivered as recorded.
func unscaled() (all [trackSignalCount]scaling) {
	for i := range all {
		all[i].factor = 1
	}
	return all
}

// trackRecord is a slot of an object list; columns are −1 where the binding names none.
type trackRecord struct {
	columns [trackSignalCount]int
	scale   [trackSignalCount]scaling
}

func newTrackRecord() *trackRecord {
	t := &trackRecord{scale: unscaled()}
	for i := range t.columns {
		t.columns[i] = -1
	}
	return t
}

// value is one value of record i; other where the binding names no channel for it.
func (t *trackRecord) value(b *mdf.Block, i, part int, other float64) (float64, bool) {
	if t.columns[part] < 0 {
		return other, true
	}
	v, ok := sample(b, t.columns[part], i)
	return t.scale[part].of(v), ok
}

func (t *trackRecord) fill(b *mdf.Block, i int, row []float64) bool {
	x, okX := t.value(b, i, trackX, 0)
	r, okR := t.value(b, i, trackRate, 0)
	y, okY := t.value(b, i, trackY, 0)
	valid, okValid := t.value(b, i, trackValid, 1)
	isNew, okNew := t.value(b, i, trackNew, 0)
	trackRow(row, held(x, okX), held(y, okY), held(r, okR), okX && okR && okValid && valid != 0, okNew && isNew != 0)
	return true
}

// held is NaN for a value that is not there, so that a gap stays a gap.
func held(v float64, ok bool) float64 {
	if !ok {
		return math.NaN()
	}
	return v
}

// trackRow fills a row of trackColumns.
func trackRow(row []float64, x, y, r float64, valid, isNew bool) {
	row[0], row[1], row[2], row[3], row[4] = x, y, r, number(valid), number(isNew)
}

// signalsRecord is several signals of one group; NaN where one is invalid.
type signalsRecord []meanRecord

func (s signalsRecord) fill(b *mdf.Block, i int, row []float64) bool {
	for k, m := range s {
		if !m.fill(b, i, row[k:k+1]) {
			row[k] = math.NaN()
		}
	}
	return true
}
