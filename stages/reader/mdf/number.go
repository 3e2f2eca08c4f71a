package mdf

import (
	"encoding/binary"
	"math"
)

// numKind is a way to turn bytes into a float64; the widths computers like have a loop of their own.
type numKind uint8

const (
	numZero numKind = iota // a field of 0 bits
	numU8
	numI8
	numU16
	numU16BE
	numI16
	numI16BE
	numU32
	numU32BE
	numI32
	numI32BE
	numU64
	numU64BE
	numI64
	numI64BE
	numF32
	numF32BE
	numF64
	numF64BE
	numF16
	numF16BE
	numBits // any other integer
)

// number decodes one numeric field of a record.
type number struct {
	kind   numKind
	off    int // byte in the record
	nbytes int // that the field touches
	bit    uint
	bits   uint
	big    bool
	signed bool
	float  bool // of 16, 32 or 64 bits that do not begin at a byte
}

func newNumber(t DataType, off int, bit, bits uint) number {
	p := number{off: off, bit: bit, bits: bits, nbytes: int(bit+bits+7) / 8,
		big: t == UintBE || t == IntBE || t == FloatBE, signed: t == IntLE || t == IntBE}
	float := t == FloatLE || t == FloatBE
	p.float = float
	p.kind = numBits
	switch {
	case bits == 0:
		p.kind = numZero
	case bit != 0:
	case float:
		p.kind = map[uint]numKind{16: numF16, 32: numF32, 64: numF64}[bits] + order(p.big)
	case bits == 8 && p.signed:
		p.kind = numI8
	case bits == 8:
		p.kind = numU8
	case bits == 16 || bits == 32 || bits == 64:
		p.kind = map[uint]numKind{16: numU16, 32: numU32, 64: numU64}[bits] + order(p.big)
		if p.signed {
			p.kind += numI16 - numU16
		}
	}
	return p
}

func order(big bool) numKind {
	if big {
		return 1
	}
	return 0
}

// uint returns the field of one record as an unsigned integer, exactly, without sign extension (MDF 4.2, 5.13.4:
// the bytes are put in order, then the bit offset counts from the least significant bit).
func (p *number) uint(rec []byte) uint64 {
	b := rec[p.off : p.off+p.nbytes]
	var v, rest uint64
	if p.big {
		if len(b) == 9 {
			rest, b = uint64(b[0]), b[1:]
		}
		for _, x := range b {
			v = v<<8 | uint64(x)
		}
	} else {
		if len(b) == 9 {
			rest, b = uint64(b[8]), b[:8]
		}
		for i := len(b) - 1; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
	}
	v >>= p.bit
	if p.nbytes == 9 {
		v |= rest << (64 - p.bit)
	}
	if p.bits < 64 {
		v &= 1<<p.bits - 1
	}
	return v
}

// int is uint with the sign extended.
func (p *number) int(rec []byte) int64 {
	shift := 64 - p.bits
	return int64(p.uint(rec)<<shift) >> shift
}

// decode fills dst with the field of consecutive records, stride bytes apart. One loop a kind, since a call or a
// switch a value would cost more than the value.
func (p *number) decode(dst []float64, rec []byte, stride int) {
	if len(dst) == 0 {
		return
	}
	le, be := binary.LittleEndian, binary.BigEndian
	rec = rec[min(p.off, len(rec)):]
	switch p.kind {
	case numZero:
		clear(dst)
	case numU8:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(rec[o])
		}
	case numI8:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int8(rec[o]))
		}
	case numU16:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(le.Uint16(rec[o:]))
		}
	case numU16BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(be.Uint16(rec[o:]))
		}
	case numI16:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int16(le.Uint16(rec[o:])))
		}
	case numI16BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int16(be.Uint16(rec[o:])))
		}
	case numU32:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(le.Uint32(rec[o:]))
		}
	case numU32BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(be.Uint32(rec[o:]))
		}
	case numI32:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int32(le.Uint32(rec[o:])))
		}
	case numI32BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int32(be.Uint32(rec[o:])))
		}
	case numU64:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(le.Uint64(rec[o:]))
		}
	case numU64BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(be.Uint64(rec[o:]))
		}
	case numI64:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int64(le.Uint64(rec[o:])))
		}
	case numI64BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(int64(be.Uint64(rec[o:])))
		}
	case numF32:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(math.Float32frombits(le.Uint32(rec[o:])))
		}
	case numF32BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(math.Float32frombits(be.Uint32(rec[o:])))
		}
	case numF64:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = math.Float64frombits(le.Uint64(rec[o:]))
		}
	case numF64BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = math.Float64frombits(be.Uint64(rec[o:]))
		}
	case numF16:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float16(le.Uint16(rec[o:]))
		}
	case numF16BE:
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float16(be.Uint16(rec[o:]))
		}
	case numBits:
		p.decodeBits(dst, rec, stride)
	}
}

// decodeBits is decode for integers of any width; rec starts at the field.
func (p *number) decodeBits(dst []float64, rec []byte, stride int) {
	q := *p
	q.off = 0
	if p.float {
		for i := range dst {
			dst[i] = floatOf(q.uint(rec[i*stride:]), p.bits)
		}
		return
	}
	if p.signed {
		for i := range dst {
			dst[i] = float64(q.int(rec[i*stride:]))
		}
		return
	}
	if !p.big && p.nbytes == 1 {
		mask := uint8(1<<p.bits - 1)
		for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
			dst[i] = float64(rec[o] >> p.bit & mask)
		}
		return
	}
	done := 0
	if !p.big && p.nbytes <= 8 {
		done = q.decodeWords(dst, rec, stride)
	}
	for i := done; i < len(dst); i++ {
		dst[i] = float64(q.uint(rec[i*stride:]))
	}
}

// decodeWords takes fields out of 8 bytes at a time, as long as records have so many behind the field's start; it returns how
// many it decoded. Identifiers of CAN frames are of 29 bits.
func (p *number) decodeWords(dst []float64, rec []byte, stride int) int {
	mask := uint64(1)<<p.bits - 1
	for i, o := 0, 0; i < len(dst); i, o = i+1, o+stride {
		if o+8 > len(rec) {
			return i
		}
		dst[i] = float64(binary.LittleEndian.Uint64(rec[o:]) >> p.bit & mask)
	}
	return len(dst)
}

// floatOf is the IEEE 754 number of so many bits.
func floatOf(u uint64, bits uint) float64 {
	switch bits {
	case 16:
		return float16(uint16(u))
	case 32:
		return float64(math.Float32frombits(uint32(u)))
	}
	return math.Float64frombits(u)
}

// float16 converts an IEEE 754 binary16.
func float16(h uint16) float64 {
	sign, exp, frac := float64(1), int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return math.Copysign(math.Ldexp(frac, -24), sign)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return math.Copysign(math.Ldexp(1024+frac, exp-25), sign)
}
