package mf4

import (
	"math"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// TableSignals is the name of the table of general signals when they are resampled to one time base.
const TableSignals = "signals"

// A resampler puts all signals on the grid t = k·raster, each holding its last value: a row has the last sample at or before
// its time. The table of an input stream of the AEB function begins with its first sample; the general signals stand in one
// table, NaN before their first sample. Values are held to the end of the recording, so a signal that goes silent looks
// frozen; what counts samples (the AEB function's confirmation of objects) wants the native rate instead.
type resampler struct {
	raster int64
	tables []*rasterTable
	bytes  int // of a tick

	next    int64 // number of the next tick
	started bool  // next is known
}

// A rasterTable is one or several streams side by side.
type rasterTable struct {
	name    string
	streams []*heldStream
	general bool
}

// A heldStream is a stream and its last row.
type heldStream struct {
	*stream
	row []float64
	any bool
}

func newResampler(raster time.Duration, streams []*stream) *resampler {
	r := &resampler{raster: int64(raster)}
	general := &rasterTable{name: TableSignals, general: true}
	for _, s := range streams {
		h := &heldStream{stream: s, row: make([]float64, len(s.cols))}
		for i := range h.row {
			h.row[i] = math.NaN()
		}
		r.bytes += s.rowBytes()
		if s.general {
			general.streams = append(general.streams, h)
			continue
		}
		r.tables = append(r.tables, &rasterTable{name: s.name, streams: []*heldStream{h}})
	}
	if len(general.streams) > 0 {
		r.tables = append(r.tables, general)
	}
	return r
}

// cutRaster makes the next slice of ticks once all rows below its end are there. How many ticks a slice has depends on the
// configuration and the binding alone.
func (r *recordingReader) cutRaster() (pipeline.Batch, bool, error) {
	g, w := r.resample, r.watermark()
	if first, _, any := spanOf(r.signals); !g.started && any && w > first {
		g.next, g.started = floorDiv(first+g.raster-1, g.raster), true
	}
	end := g.next + r.ticks()
	if w == math.MaxInt64 {
		if end = min(end, floorDiv(r.furthest((*source).reach), g.raster)+1); !g.started || end <= g.next {
			return r.rest()
		}
	}
	if !g.started || w < end*g.raster {
		return pipeline.Batch{}, false, nil
	}
	from, to := g.next*g.raster, end*g.raster
	tables, err := g.tablesTo(end)
	if err == nil {
		tables, err = r.tables(tables, r.faults, to)
	}
	r.delivered, r.reported = (end-1)*g.raster+1, to
	return r.slice(from, to, tables), err == nil, err
}

// ticks is how many ticks the next slice has.
func (r *recordingReader) ticks() int64 {
	g := r.resample
	n := min(int64(r.sliceBytes/g.bytes), r.sliceMax/g.raster)
	if r.batch > 0 {
		n = min(n, (floorDiv(g.next*g.raster, r.batch)+1)*r.batch/g.raster-g.next)
	}
	return max(n, 1)
}

// rest drops the rows behind the last tick and delivers what faults are left.
func (r *recordingReader) rest() (pipeline.Batch, bool, error) {
	for s := range r.signals {
		s.take(s.pending())
	}
	first, last, any := spanOf(r.faults)
	if !any {
		return pipeline.Batch{}, false, nil
	}
	tables, err := r.tables(nil, r.faults, last+1)
	r.delivered, r.reported = math.MaxInt64, last+1
	return r.slice(first, last+1, tables), err == nil, err
}

// tablesTo makes the rows of ticks next to end−1.
func (g *resampler) tablesTo(end int64) ([]schemas.Table, error) {
	var tables []schemas.Table
	for _, t := range g.tables {
		table, rows, err := t.ticks(g.next, end, g.raster)
		if err != nil {
			return nil, err
		}
		if rows > 0 {
			tables = append(tables, table)
		}
	}
	g.next = end
	return tables, nil
}

// ticks makes the rows of ticks next to end−1 and says how many there are.
func (t *rasterTable) ticks(next, end, raster int64) (schemas.Table, int, error) {
	var times []int64
	columns := t.columns()
	for k := next; k < end; k++ {
		if t.holdTo(k * raster) {
			times = append(times, k*raster)
			t.appendRow(columns)
		}
	}
	if len(times) == 0 {
		return schemas.Table{}, 0, nil
	}
	table, err := schemas.NewTable(t.name, times, columns...)
	return table, len(times), err
}

func (t *rasterTable) columns() []schemas.Column {
	var columns []schemas.Column
	for _, s := range t.streams {
		for _, c := range s.cols {
			columns = append(columns, schemas.Column{Name: c.name, Unit: c.unit})
		}
	}
	return columns
}

// holdTo takes the rows of all streams up to a time; false if the table does not begin before it.
func (t *rasterTable) holdTo(at int64) bool {
	any := t.general
	for _, s := range t.streams {
		s.holdTo(at)
		any = any || s.any
	}
	return any
}

func (t *rasterTable) appendRow(columns []schemas.Column) {
	i := 0
	for _, s := range t.streams {
		for _, v := range s.row {
			columns[i].Float64 = append(columns[i].Float64, v)
			i++
		}
	}
}

// holdTo takes the rows up to a time and keeps the last.
func (h *heldStream) holdTo(at int64) {
	n := h.before(at + 1)
	if n == 0 {
		return
	}
	last := h.head + n - 1
	for i, c := range h.v {
		h.row[i] = c[last]
	}
	h.any = true
	h.take(n)
}
