package mf4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// Type is what a registry lists as reader/mf4.
var Type = pipeline.ReaderType[Config]{
	Name: "reader/mf4", Summary: "replays recordings in MDF 4 files as physical signals", Version: "1",
	Emits:   []string{schemas.Signals},
	Default: Defaults,
	List:    listing.list,
	Build: func(_ context.Context, c Config) (pipeline.Open[pipeline.Reader], error) {
		lib, err := newLibrary(c)
		if err != nil {
			return nil, err
		}
		speed, err := c.speed()
		if err != nil {
			return nil, err
		}
		lib.hold = mdf.NewHold(holdBytes)
		return func(ctx context.Context, it pipeline.Item) (pipeline.Reader, error) {
			return open(ctx, lib, c, speed, it)
		}, nil
	},
}

// listing knows the recordings of this process.
var listing = new(lister)

// holdBytes bounds the inflated blocks of all recordings that a stage reads at a time.
const holdBytes = 16 << 20

// maxHeld bounds the rows that are held for putting them in order.
const maxHeld = 64 << 20

// A recordingReader replays one recording. It implements pipeline.Reader.
type recordingReader struct {
	name  string
	size  int64 // of the file [bytes]
	close func() error
	start time.Time
	plan  *plan

	keep       bool // damaged recordings
	whole      bool // the configuration takes all of the recording
	sliceBytes int
	sliceMax   int64 // [ns]
	batch      int64 // [ns], fixed duration; 0: by bytes
	speed      float64
	resample   *resampler // nil: native rate

	maxHeld   int    // bytes
	delivered int64  // every row of a signal below it was delivered
	reported  int64  // every row of a fault likewise
	origin    *int64 // start of the first slice
}

func open(ctx context.Context, lib *library, c Config, speed float64, it pipeline.Item) (*recordingReader, error) {
	name := strings.TrimPrefix(it.URL, "file://")
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		return nil, openError(it.Name, pipeline.ErrNotRegular)
	}
	if changed, err := listing.hasChanged(ctx, it, name); err != nil {
		return nil, err
	} else if changed {
		return nil, changedError(it.Name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, openError(it.Name, err)
	}
	r, err := newReader(lib, c, speed, it.Name, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	r.close = file.Close
	return r, nil
}

// A recordingFile is what is read of a recording's file.
type recordingFile interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// newReader reads the header of a recording and finds its signals.
func newReader(lib *library, c Config, speed float64, name string, file recordingFile) (*recordingReader, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, openError(name, err)
	}
	keep := c.OnCorrupt == CorruptKeep
	m, err := mdf.Options{KeepReadable: keep, Hold: lib.hold}.NewFile(file, st.Size())
	if err != nil {
		return nil, openError(name, err)
	}
	p, err := lib.resolve(m, name, keep)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return nil, fileError(name, err)
	}
	if err != nil {
		return nil, err
	}
	r := &recordingReader{name: name, size: st.Size(), start: m.Start.UTC(), plan: p, keep: keep, whole: c.From == 0 && c.To == 0,
		sliceBytes: int(c.SliceBytes), sliceMax: int64(c.SliceMax), batch: int64(c.batch(speed)), speed: speed, maxHeld: maxHeld, delivered: math.MinInt64, reported: math.MinInt64}
	for _, s := range p.sources {
		s.window, s.from, s.to = int64(c.ReorderWindow), math.MinInt64, math.MaxInt64
		s.delivered, s.reported = math.MinInt64, math.MinInt64
		if c.From > 0 {
			s.from = int64(c.From)
		}
		if c.To > 0 {
			s.to = int64(c.To)
		}
	}
	if c.Raster > 0 {
		r.resample = newResampler(c.Raster, p.streams)
	}
	return r, nil
}

// Read returns the next slice. Its tables share memory with the reader until the next Read.
func (r *recordingReader) Read(ctx context.Context) (pipeline.Batch, error) {
	for s := range r.all {
		s.compact()
	}
	for _, s := range r.plan.sources {
		s.place(r.delivered) // forgets marks that no snapshot can need
	}
	for {
		if b, ok, err := r.cut(); ok || err != nil {
			return b, err
		}
		s := r.furthestBehind()
		if s == nil {
			return pipeline.Batch{}, r.end()
		}
		if err := r.advance(ctx, s); err != nil {
			return pipeline.Batch{}, err
		}
	}
}

// signals calls yield with every stream of signals.
func (r *recordingReader) signals(yield func(*stream) bool) {
	for _, s := range r.plan.streams {
		if !yield(s) {
			return
		}
	}
}

// faults calls yield with every stream of faults.
func (r *recordingReader) faults(yield func(*stream) bool) {
	for _, s := range r.plan.streams {
		if !yield(s.faults) {
			return
		}
	}
}

// all calls yield with every stream, those of signals before those of faults.
func (r *recordingReader) all(yield func(*stream) bool) {
	more := true
	for s := range r.signals {
		if more = more && yield(s); !more {
			return
		}
	}
	r.faults(yield)
}

// furthestBehind is the source to be advanced; nil when all have ended.
func (r *recordingReader) furthestBehind() *source {
	var first *source
	for _, s := range r.plan.sources {
		if !s.ended && (first == nil || s.watermark() < first.watermark()) {
			first = s
		}
	}
	return first
}

func (r *recordingReader) advance(ctx context.Context, s *source) error {
	err := s.advance(ctx)
	switch {
	case err == nil:
		if err := r.checkTimes(); err != nil {
			return err
		}
		if err := r.checkBuses(); err != nil {
			return err
		}
		return r.checkHeld()
	case errors.Is(err, io.EOF) && s.group.File.Damage != nil && !s.damaged: // groups are missing
		s.ended = true
		s.cut(0, math.NaN())
		return nil
	case errors.Is(err, io.EOF):
		s.ended = true
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !isDamage(err):
		return fileError(r.name, err)
	case r.keep:
		s.end()
		return nil
	}
	return damageError(r.name, s, err)
}

// checkTimes refuses a recording whose times do not count from its start. Whichever source is advanced, others that share its
// data may be too.
func (r *recordingReader) checkTimes() error {
	for _, s := range r.plan.sources {
		if s.distant != 0 {
			return distantError(r.name, r.start, s)
		}
	}
	return nil
}

// checkBuses refuses a recording that has frames of a message on several buses when the binding does not say which it means.
func (r *recordingReader) checkBuses() error {
	if found := ambiguous(r.plan.messages); len(found) > 0 {
		return ambiguousError(r.name, found)
	}
	return nil
}

// checkHeld refuses a recording whose times stand still, or step, so that memory would grow with its size.
func (r *recordingReader) checkHeld() error {
	held := 0
	for s := range r.all {
		held += s.pending() * s.rowBytes()
	}
	if held <= r.maxHeld {
		return nil
	}
	first, _, _ := spanOf(r.all)
	return pipeline.Permanent(fmt.Errorf("%s: more than %v of samples between %v and the reorder window behind the newest; "+
		"its times do not advance, or reorder_window is too long", r.name, pipeline.Size(r.maxHeld), time.Duration(first)))
}

// watermark is the time below which no row can come any more.
func (r *recordingReader) watermark() int64 {
	w := int64(math.MaxInt64)
	for _, s := range r.plan.sources {
		w = min(w, s.watermark())
	}
	return w
}

// spanOf is the time of the first and of the last row that streams hold; false without any.
func spanOf(streams func(func(*stream) bool)) (first, last int64, any bool) {
	first, last = math.MaxInt64, math.MinInt64
	for s := range streams {
		if s.pending() > 0 {
			first, last, any = min(first, s.t[s.head]), max(last, s.t[len(s.t)-1]), true
		}
	}
	return first, last, any
}

// cut makes the next slice once all its rows are there.
func (r *recordingReader) cut() (pipeline.Batch, bool, error) {
	if r.resample != nil {
		return r.cutRaster()
	}
	first, last, any := spanOf(r.all)
	if !any {
		return pipeline.Batch{}, false, nil
	}
	to, ok := r.sliceEnd(first, last)
	if !ok {
		return pipeline.Batch{}, false, nil
	}
	tables, err := r.tables(nil, r.all, to)
	r.delivered, r.reported = to, to
	return r.slice(first, to, tables), err == nil, err
}

// sliceEnd is where a slice that begins with the row at first ends: where its rows reach the byte target, or at its longest
// duration, whichever comes first. It is false while rows below that may still come.
func (r *recordingReader) sliceEnd(first, last int64) (int64, bool) {
	end := first + r.sliceMax
	if r.batch > 0 {
		end = (floorDiv(first, r.batch) + 1) * r.batch
	}
	w := r.watermark()
	if upper := min(w, end); r.bytes(upper) >= r.sliceBytes {
		n := sort.Search(int(upper-first), func(i int) bool { return r.bytes(first+1+int64(i)) >= r.sliceBytes })
		return min(first+1+int64(n), upper), true
	}
	if w == math.MaxInt64 && r.furthest((*source).settled) < end {
		return min(end, last+1), true
	}
	return end, w >= end
}

// furthest is the largest of a time of each source. Once all have ended it does not depend on how far each was read ahead.
func (r *recordingReader) furthest(of func(*source) int64) int64 {
	t := int64(math.MinInt64)
	for _, s := range r.plan.sources {
		t = max(t, of(s))
	}
	return t
}

// bytes is the size of the rows with a time below to.
func (r *recordingReader) bytes(to int64) int {
	n := 0
	for s := range r.all {
		n += s.before(to) * s.rowBytes()
	}
	return n
}

// tables appends a table of each stream's rows below to, those without rows left out.
func (r *recordingReader) tables(tables []schemas.Table, streams func(func(*stream) bool), to int64) ([]schemas.Table, error) {
	for s := range streams {
		n := s.before(to)
		if n == 0 {
			continue
		}
		t, err := s.table(n)
		if err != nil {
			return nil, err
		}
		s.take(n)
		tables = append(tables, t)
	}
	return tables, nil
}

// slice is the batch of [from, to).
func (r *recordingReader) slice(from, to int64, tables []schemas.Table) pipeline.Batch {
	if r.origin == nil {
		r.origin = &from
	}
	b := pipeline.Batch{Type: schemas.Signals, Tables: tables,
		Slice: schemas.Slice{Start: r.start, From: time.Duration(from), To: time.Duration(to)}}
	if r.speed > 0 {
		b.Pace = time.Duration(float64(from-*r.origin) / r.speed)
	}
	return b
}

// end is io.EOF, or what the recording turned out to lack. Only of a recording that was read whole can that be said.
func (r *recordingReader) end() error {
	for _, s := range r.plan.sources {
		if s.damaged || !r.whole {
			return io.EOF
		}
	}
	if missed := absent(r.plan.messages); len(missed) > 0 {
		return absentError(r.name, missed)
	}
	return io.EOF
}

// Close closes the file.
func (r *recordingReader) Close() error {
	if r.close == nil {
		return nil
	}
	shut := r.close
	r.close = nil
	for _, s := range r.plan.sources {
		s.in.close()
	}
	return shut()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
