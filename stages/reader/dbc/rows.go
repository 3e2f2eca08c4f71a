package dbc

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Rows are the frames of one message that were picked out of a batch of frames, and the values of some signals of it, a column a
// signal and a row a frame. It allocates only for more frames or signals than ever before. A Decoder picks by identifier; who
// does that by rules of his own uses Rows by themselves.
type Rows struct {
	Signals []*Signal // to be decoded
	Columns           // after Decode: a value is NaN, and not Valid, where the frame does not hold it

	index []uint32 // numbers of the frames in the batch
	words []uint64 // the first 8 bytes of each payload, little-endian, zeros behind a shorter one
	size  []uint8  // bytes of each payload, at most 255
	min   int      // the smallest of them
}

// Reset forgets the frames.
func (r *Rows) Reset() { r.index = r.index[:0] }

// Pick adds frame i of the batch that Decode will get, as row Len.
func (r *Rows) Pick(i int) { r.index = append(r.index, uint32(i)) }

// Len returns the number of frames that were picked.
func (r *Rows) Len() int { return len(r.index) }

// Payload returns the bytes of row k, of the batch that Decode was given.
func (r *Rows) Payload(f *Frames, k int) []byte {
	i := r.index[k]
	return f.Data[f.Offsets[i]:f.Offsets[i+1]]
}

// Decode decodes the signals of the frames that were picked out of f.
func (r *Rows) Decode(f *Frames) {
	n := len(r.index)
	r.words, r.size = resized(r.words, n), resized(r.size, n)
	r.min = math.MaxInt
	for k, i := range r.index {
		from, to := f.Offsets[i], f.Offsets[i+1]
		size := int(to - from)
		r.size[k] = uint8(min(size, 255))
		r.min = min(r.min, size)
		if int(from)+8 <= len(f.Data) {
			w := binary.LittleEndian.Uint64(f.Data[from:])
			if size < 8 {
				w &= 1<<(8*uint(size)) - 1
			}
			r.words[k] = w
		} else {
			r.words[k] = shortWord(f.Data[from:to])
		}
	}
	r.resize(len(r.Signals))
	for i, s := range r.Signals {
		r.Values[i], r.Valid[i] = resized(r.Values[i], n), resized(r.Valid[i], n)
		r.column(f, s, r.Values[i], r.Valid[i])
	}
}

func shortWord(b []byte) uint64 {
	var w uint64
	for i, x := range b[:min(len(b), 8)] {
		w |= uint64(x) << (8 * uint(i))
	}
	return w
}

// column decodes one signal of all frames. Signals within the first 8 bytes are shifted out of a word, the
// others are read byte by byte.
func (r *Rows) column(f *Frames, s *Signal, values []float64, valid []bool) {
	if s.Switch != nil || s.last >= 8 || s.undecodable {
		for k, i := range r.index {
			values[k], valid[k] = s.Decode(f.Data[f.Offsets[i]:f.Offsets[i+1]])
			if !valid[k] {
				values[k] = math.NaN()
			}
		}
		return
	}
	r.shift(s, values)
	if s.last < r.min {
		for k := range valid {
			valid[k] = true
		}
		return
	}
	for k, size := range r.size {
		if valid[k] = s.last < int(size); !valid[k] {
			values[k] = math.NaN()
		}
	}
}

// shift takes a signal within 8 bytes out of the words, one loop for each kind.
func (r *Rows) shift(s *Signal, values []float64) {
	size := uint(s.Size)
	mask := ^uint64(0) >> (64 - size)
	down, up := uint(8*s.first)+s.offset, 64-size
	if s.Motorola {
		down = 64 - (uint(8*s.first) + s.offset) - size
	}
	factor, offset := s.Factor, s.Offset
	words := r.words[:len(values)]
	switch {
	case s.Kind != KindUnsigned && s.Kind != KindSigned:
		for k, w := range words {
			if s.Motorola {
				w = bits.ReverseBytes64(w)
			}
			values[k] = s.physical(w >> down & mask)
		}
	case s.Kind == KindUnsigned && !s.Motorola:
		for k, w := range words {
			values[k] = float64(float64(w>>down&mask)*factor) + offset
		}
	case s.Kind == KindUnsigned:
		for k, w := range words {
			values[k] = float64(float64(bits.ReverseBytes64(w)>>down&mask)*factor) + offset
		}
	case !s.Motorola:
		for k, w := range words {
			values[k] = float64(float64(int64(w>>down<<up)>>up)*factor) + offset
		}
	default:
		for k, w := range words {
			values[k] = float64(float64(int64(bits.ReverseBytes64(w)>>down<<up)>>up)*factor) + offset
		}
	}
}

// resized returns s with n elements; their values are those of before.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}

// Columns holds decoded values, one column a signal, all of the same length; its memory is used again by each call.
type Columns struct {
	Values [][]float64 // NaN where not Valid
	Valid  [][]bool
}

func (c *Columns) resize(n int) {
	for len(c.Values) < n {
		c.Values, c.Valid = append(c.Values, nil), append(c.Valid, nil)
	}
	c.Values, c.Valid = c.Values[:n], c.Valid[:n]
}
