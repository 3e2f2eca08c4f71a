package dbc

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Kind is how the bits of a signal are read.
type Kind uint8

// The kinds of a signal: `+` and `-` of SG_, and 1 and 2 of SIG_VALTYPE_.
const (
	KindUnsigned Kind = iota
	KindSigned
	KindFloat32
	KindFloat64
)

// A Signal is a value at fixed bits of a message: physical = raw·Factor + Offset.
type Signal struct {
	Name     string
	Unit     string
	Comment  string
	Start    int  // as in the file: Intel the lowest bit, Motorola the highest; bit n is bit n%8 of byte n/8
	Size     int  // bits
	Motorola bool // most significant byte first
	Kind     Kind
	Factor   float64
	Offset   float64
	Min, Max float64 // declared range of the physical value; both 0 means none; values are never clamped
	Values   []ValueLabel
	Line     int // in the file, from 1

	IsSwitch bool          // its raw value selects other signals of the message
	Switch   *Signal       // the signal that selects this one, nil when it is always there
	Selected []SwitchRange // raw values of Switch at which this signal is there

	undecodable bool // bits that cannot be read as the kind says
	first, last int  // bytes of the payload it lies in
	offset      uint // Intel: bits below it in the first byte; Motorola: bits above it in the first byte
}

// A ValueLabel names one raw value (VAL_).
type ValueLabel struct {
	Value int64
	Label string
}

// A SwitchRange is a closed range of raw switch values.
type SwitchRange struct{ Low, High uint64 }

// maxDecodableBits is the widest signal that has a value; wider ones (byte arrays) are kept without.
const maxDecodableBits = 64

// place computes the bytes that the signal lies in; once, when everything is known.
func (s *Signal) place() {
	msb := s.Start // Motorola counts on from its highest bit, from the left of each byte
	if s.Motorola {
		msb = s.Start/8*8 + 7 - s.Start%8
	}
	s.first, s.offset = msb/8, uint(msb%8)
	s.last = (msb + s.Size - 1) / 8
	switch s.Kind {
	case KindFloat32:
		s.undecodable = s.Size != 32
	case KindFloat64:
		s.undecodable = s.Size != 64
	default:
		s.undecodable = s.Size < 1 || s.Size > maxDecodableBits
	}
}

// Undecodable says why the signal never has a value, whatever the payload; it is empty for one that can have one.
func (s *Signal) Undecodable() string {
	switch {
	case !s.undecodable:
		return ""
	case s.Kind == KindFloat32:
		return fmt.Sprintf("SIG_VALTYPE_ says a float of 32 bits, SG_ says %d bits", s.Size)
	case s.Kind == KindFloat64:
		return fmt.Sprintf("SIG_VALTYPE_ says a float of 64 bits, SG_ says %d bits", s.Size)
	}
	return fmt.Sprintf("it is of %d bits, and a number has 1 to %d", s.Size, maxDecodableBits)
}

// Decode returns the physical value, float64(raw·Factor) + Offset, rounded after each operation. ok is false when not all
// bits of the signal (or of its switch) are in the payload, or its switch selects others.
func (s *Signal) Decode(payload []byte) (value float64, ok bool) {
	if s.Switch != nil && !s.selected(payload) {
		return 0, false
	}
	raw, ok := s.raw(payload)
	if !ok {
		return 0, false
	}
	return s.physical(raw), true
}

// Raw returns the bits as an integer, sign-extended for KindSigned; floats as their bits. ok is as for Decode.
func (s *Signal) Raw(payload []byte) (raw int64, ok bool) {
	if s.Switch != nil && !s.selected(payload) {
		return 0, false
	}
	u, ok := s.raw(payload)
	if s.Kind == KindSigned {
		return s.signed(u), ok
	}
	return int64(u), ok
}

// Label returns the name that the value table has for a raw value.
func (s *Signal) Label(raw int64) (string, bool) {
	for _, v := range s.Values {
		if v.Value == raw {
			return v.Label, true
		}
	}
	return "", false
}

// Top is the physical value of the highest raw value, which many networks send for "not available"; NaN for floats.
func (s *Signal) Top() float64 {
	switch {
	case s.undecodable || s.Kind == KindFloat32 || s.Kind == KindFloat64:
		return math.NaN()
	case s.Kind == KindSigned:
		return s.physical(1<<(s.Size-1) - 1)
	}
	return s.physical(1<<s.Size - 1)
}

func (s *Signal) physical(raw uint64) float64 {
	var v float64
	switch s.Kind {
	case KindUnsigned:
		v = float64(raw)
	case KindSigned:
		v = float64(s.signed(raw))
	case KindFloat32:
		v = float64(math.Float32frombits(uint32(raw)))
	case KindFloat64:
		v = math.Float64frombits(raw)
	}
	return float64(v*s.Factor) + s.Offset
}

func (s *Signal) signed(raw uint64) int64 {
	shift := 64 - uint(s.Size)
	return int64(raw<<shift) >> shift
}

// selected walks up the switches; Load has refused cycles.
func (s *Signal) selected(payload []byte) bool {
	for at := s; at.Switch != nil; at = at.Switch {
		raw, ok := at.Switch.raw(payload)
		if !ok || !at.selectedBy(raw) {
			return false
		}
	}
	return true
}

func (s *Signal) selectedBy(raw uint64) bool {
	for _, r := range s.Selected {
		if r.Low <= raw && raw <= r.High {
			return true
		}
	}
	return false
}

// raw gathers the bits of the signal, whatever its switch says.
func (s *Signal) raw(payload []byte) (uint64, bool) {
	if s.undecodable || s.last >= len(payload) {
		return 0, false
	}
	bytes := payload[s.first : s.last+1]
	mask := ^uint64(0) >> (64 - uint(s.Size))
	if s.Motorola {
		return motorola(bytes, s.offset, uint(s.Size)) & mask, true
	}
	return intel(bytes, s.offset) & mask, true
}

// intel reads 1 to 9 bytes, least significant first, from bit offset of the first upwards.
func intel(bytes []byte, offset uint) uint64 {
	if len(bytes) < 8 {
		var v uint64
		for i, b := range bytes {
			v |= uint64(b) << (8 * uint(i))
		}
		return v >> offset
	}
	v := binary.LittleEndian.Uint64(bytes) >> offset
	if len(bytes) == 9 {
		v |= uint64(bytes[8]) << (64 - offset)
	}
	return v
}

// motorola reads 1 to 9 bytes, most significant first, without the bits below the signal; those above it are still there.
func motorola(bytes []byte, offset, size uint) uint64 {
	below := 8*uint(len(bytes)) - offset - size
	if len(bytes) < 9 {
		var v uint64
		for _, b := range bytes {
			v = v<<8 | uint64(b)
		}
		return v >> below
	}
	return binary.BigEndian.Uint64(bytes)<<(8-below) | uint64(bytes[8])>>below
}
