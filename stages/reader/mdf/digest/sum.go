package digest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// sum is the digest of a sequence of numbers, texts or byte strings.
type sum struct {
	h           hash.Hash
	n           int
	buf         []byte
	first, last any // float64 or string, nil for bytes
	total       exactSum
	isNumber    bool
}

func newSum() *sum { return &sum{h: sha256.New()} }

func (s *sum) addNumbers(v []float64) {
	if len(v) == 0 {
		return
	}
	s.isNumber = true
	s.buf = s.buf[:0]
	for _, x := range v {
		u := math.Float64bits(x)
		if x != x {
			u = 0x7FF8000000000000 // there are many NaN, one is written
		}
		s.buf = binary.LittleEndian.AppendUint64(s.buf, u)
		s.total.add(x)
	}
	s.note(jsonNumber(v[0]), jsonNumber(v[len(v)-1]), len(v))
}

func (s *sum) addTexts(c *mdf.Column, n int) {
	s.buf = s.buf[:0]
	for i := range n {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(len(c.At(i))))
		s.buf = append(s.buf, c.At(i)...)
	}
	s.note(string(c.At(0)), string(c.At(n-1)), n)
}

// addBytes leaves out trailing zeros: readers differ in how they pad.
func (s *sum) addBytes(c *mdf.Column, n int) {
	s.buf = s.buf[:0]
	for i := range n {
		b := bytes.TrimRight(c.At(i), "\x00")
		s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(len(b)))
		s.buf = append(s.buf, b...)
	}
	s.note(nil, nil, n)
}

func (s *sum) note(first, last any, n int) {
	s.h.Write(s.buf)
	if s.n == 0 {
		s.first = first
	}
	s.last = last
	s.n += n
}

// put writes the keys of the sum with a prefix.
func (s *sum) put(l line, prefix string) {
	l[prefix+"sha256"] = hex.EncodeToString(s.h.Sum(nil))
	if s.first == nil {
		return
	}
	l[prefix+"first"], l[prefix+"last"] = s.first, s.last
	if s.isNumber {
		l[prefix+"sum"] = s.total.round()
	}
}

// jsonNumber gives what JSON has no number for as a string.
func jsonNumber(x float64) any {
	switch {
	case x != x:
		return "nan"
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	}
	return x
}

// exactSum adds numbers without rounding, as a sum of numbers that do not overlap (Shewchuk, Adaptive precision
// floating-point arithmetic, 1997, algorithm Grow-Expansion).
type exactSum struct{ partial []float64 }

func (s *exactSum) add(x float64) {
	if x != x || math.IsInf(x, 0) {
		return
	}
	k := 0
	for _, y := range s.partial {
		if math.Abs(x) < math.Abs(y) {
			x, y = y, x
		}
		hi := x + y
		lo := y - (hi - x)
		if lo != 0 {
			s.partial[k] = lo
			k++
		}
		x = hi
	}
	s.partial = append(s.partial[:k], x)
}

// round returns the sum rounded once, to even.
func (s *exactSum) round() any {
	n := len(s.partial) - 1
	if n < 0 {
		return 0.0
	}
	hi, lo := s.partial[n], 0.0
	for n--; n >= 0; n-- {
		x, y := hi, s.partial[n]
		hi = x + y
		if lo = y - (hi - x); lo != 0 {
			break
		}
	}
	// Half-way cases are decided by the sign of what is below.
	if n > 0 && (lo < 0) == (s.partial[n-1] < 0) && s.partial[n-1] != 0 {
		y := lo * 2
		if x := hi + y; y == x-hi {
			hi = x
		}
	}
	return jsonNumber(hi)
}
