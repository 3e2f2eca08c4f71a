package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// The shape of the pyramid; a change needs a new schema version.
const (
	baseBucket = 200 * time.Millisecond // of level 0
	fanShift   = 2                      // four buckets make one of the next level
	levels     = 7                      // the top level's buckets cover 819 s
)

func bucketWidth(level int) time.Duration { return baseBucket << (fanShift * level) }

// A bucket is what is known of the samples of one stretch of time. Empty: Count is 0, the rest zero.
type bucket struct {
	Min, Max, Sum float64
	Count         uint32
}

func (b *bucket) merge(o bucket) {
	switch {
	case o.Count == 0:
	case b.Count == 0:
		*b = o
	default:
		b.Min, b.Max = min(b.Min, o.Min), max(b.Max, o.Max)
		b.Sum += o.Sum
		b.Count += o.Count
	}
}

// add takes samples; those that are not finite are gaps.
func (b *bucket) add(values []float64) {
	low, high, sum, n := b.Min, b.Max, b.Sum, b.Count // in registers: this loop sees every sample of every recording
	for _, v := range values {
		if v-v != 0 { // NaN or infinite
			continue
		}
		if n == 0 {
			low, high = v, v
		}
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		sum += v
		n++
	}
	*b = bucket{low, high, sum, n}
}

// A tableFold is the state of the pyramid of one table: the buckets in hand at every level. It is a pure function of the rows.
type tableFold struct {
	foldHead
	Signals []signalFold   // in order of appearance
	byName  map[string]int // place in Signals
}

// foldHead is the part of a tableFold that is of fixed size.
type foldHead struct {
	Rows, Late  uint64
	First, Last int64         // times of the first and the last row
	Intervals   [64]uint64    // how many steps of the time column had so many bits
	Index       [levels]int64 // of the bucket in hand
}

// A signalFold is the bucket in hand of one signal at each level. That of a higher level holds the closed ones below it.
type signalFold struct {
	Name, Unit string
	Open       [levels]bucket
}

// A closed bucket goes to the store.
type closed struct {
	signal string
	level  int
	index  int64
	bucket bucket
}

// fold takes the rows of one table and calls put with every bucket they close.
func (f *tableFold) fold(t pipeline.Table, put func(closed)) {
	times, columns := t.Times(), f.columns(t)
	for i := 0; i < len(times); {
		index := floorDiv(times[i], int64(baseBucket))
		n := i + 1
		for n < len(times) && floorDiv(times[n], int64(baseBucket)) == index {
			n++
		}
		f.segment(times[i:n], index, put)
		if f.Rows > 0 && index == f.Index[0] {
			for c, values := range columns {
				f.Signals[c].Open[0].add(values[i:n])
			}
		}
		i = n
	}
}

// columns are the values of each signal, by its place in f.Signals; nil for those that the table lacks.
func (f *tableFold) columns(t pipeline.Table) map[int][]float64 {
	columns := map[int][]float64{}
	for i, field := range t.Record.Schema().Fields()[1:] {
		values := t.Float64(field.Name)
		if values == nil {
			if values = asFloats(t.Record.Column(i + 1)); values == nil {
				continue
			}
		}
		unit, _ := field.Metadata.GetValue("unit")
		columns[f.signal(field.Name, unit)] = values
	}
	return columns
}

func (f *tableFold) signal(name, unit string) int {
	i, ok := f.byName[name]
	if !ok {
		if f.byName == nil {
			f.byName = map[string]int{}
		}
		i = len(f.Signals)
		f.Signals, f.byName[name] = append(f.Signals, signalFold{Name: name, Unit: unit}), i
	}
	return i
}

// segment moves on to the bucket of some rows, closing those before it. Rows behind the bucket in hand count as late.
func (f *tableFold) segment(times []int64, index int64, put func(closed)) {
	switch {
	case f.Rows == 0:
		f.First, f.Last = times[0], times[0]
		for l := range f.Index {
			f.Index[l] = index >> (fanShift * l)
		}
	case index < f.Index[0]:
		f.Late += uint64(len(times))
		return
	case index > f.Index[0]:
		f.close(index, put)
	}
	f.Rows += uint64(len(times))
	for _, t := range times {
		if step := t - f.Last; step > 0 {
			f.Intervals[bits.Len64(uint64(step))-1]++
		}
		f.Last = max(f.Last, t)
	}
}

// close ends the buckets that do not cover the base bucket index, lowest level first, since each goes into the next one.
func (f *tableFold) close(index int64, put func(closed)) {
	for l := range levels {
		at := index >> (fanShift * l)
		if at == f.Index[l] {
			return
		}
		for s := range f.Signals {
			b := f.Signals[s].Open[l]
			if b.Count == 0 {
				continue
			}
			put(closed{signal: f.Signals[s].Name, level: l, index: f.Index[l], bucket: b})
			f.Signals[s].Open[l] = bucket{}
			if l+1 < levels {
				f.Signals[s].Open[l+1].merge(b)
			}
		}
		f.Index[l] = at
	}
}

// open is the bucket in hand at a level with all that lies in it so far.
func (f *tableFold) open(signal, level int) (index int64, b bucket) {
	for l := level; l >= 0; l-- {
		b.merge(f.Signals[signal].Open[l])
	}
	return f.Index[level], b
}

// interval is about the time between two samples: the median step, rounded up to a power of two nanoseconds.
func (f *tableFold) interval() time.Duration {
	var total, below uint64
	for _, n := range f.Intervals {
		total += n
	}
	for i, n := range f.Intervals {
		if below += n; total > 0 && 2*below >= total && i < 62 {
			return time.Duration(1) << (i + 1)
		}
	}
	return 0
}

// encode writes the state with all its bits: the head, then of each signal name, unit and buckets.
func (f *tableFold) encode() []byte {
	out, _ := binary.Append(nil, binary.LittleEndian, f.foldHead) // an error is a type of no fixed size
	for i := range f.Signals {
		s := &f.Signals[i]
		for _, text := range []string{s.Name, s.Unit} {
			out = append(binary.AppendUvarint(out, uint64(len(text))), text...)
		}
		out, _ = binary.Append(out, binary.LittleEndian, s.Open)
	}
	return out
}

var errFold = errors.New("damaged overview state")

func decodeFold(state []byte) (*tableFold, error) {
	f := &tableFold{}
	n, err := binary.Decode(state, binary.LittleEndian, &f.foldHead)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFold, err)
	}
	for state = state[n:]; len(state) > 0; {
		var s signalFold
		for _, text := range []*string{&s.Name, &s.Unit} {
			length, n := binary.Uvarint(state)
			if n <= 0 || length > uint64(len(state)-n) {
				return nil, errFold
			}
			*text, state = string(state[n:n+int(length)]), state[n+int(length):]
		}
		n, err := binary.Decode(state, binary.LittleEndian, &s.Open)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFold, err)
		}
		state = state[n:]
		if i := f.signal(s.Name, s.Unit); i != len(f.Signals)-1 {
			return nil, errFold
		}
		f.Signals[len(f.Signals)-1].Open = s.Open
	}
	return f, nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// float32s rounds outwards, so that no sample lies outside of what is stored.
func float32s(b bucket) (low, high, mean float32) {
	low, high = toFloat32(b.Min), toFloat32(b.Max)
	if float64(low) > b.Min {
		low = math.Nextafter32(low, float32(math.Inf(-1)))
	}
	if float64(high) < b.Max {
		high = math.Nextafter32(high, float32(math.Inf(1)))
	}
	return max(low, -math.MaxFloat32), min(high, math.MaxFloat32), toFloat32(b.Sum / float64(b.Count))
}

func toFloat32(v float64) float32 {
	return float32(max(-math.MaxFloat32, min(v, math.MaxFloat32)))
}
