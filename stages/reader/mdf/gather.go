package mdf

import (
	"encoding/binary"
	"math"
)

// gatherRows is how many values are put together at a time, in memory that stays in the first-level cache.
const gatherRows = 256

// planar says whether the number can be gathered from the planes of a transposed block.
func (p *number) planar() bool { return p.nbytes <= 8 && !(p.float && p.kind == numBits) }

// gather decodes the field of len(dst) consecutive rows straight from the planes of a transposed block: byte k of row i stands at
// planes[k*rows+i]. Putting the rows together first, which decode would need, costs more than decoding.
func (p *number) gather(dst []float64, planes []byte, rows, row int) {
	if p.kind == numZero {
		clear(dst)
		return
	}
	var words [gatherRows]uint64
	for len(dst) > 0 {
		n := min(len(dst), gatherRows)
		var field [8][]byte // least significant first
		for k := range p.nbytes {
			at := (p.off+k)*rows + row
			if p.big {
				field[p.nbytes-1-k] = planes[at : at+n]
			} else {
				field[k] = planes[at : at+n]
			}
		}
		join(words[:n], &field, p.nbytes)
		p.convertWords(dst[:n], words[:n])
		dst, row = dst[n:], row+n
	}
}

// join makes a word of byte i of each plane.
func join(words []uint64, field *[8][]byte, nbytes int) {
	n := len(words)
	switch nbytes {
	case 1:
		for i, b := range field[0][:n] {
			words[i] = uint64(b)
		}
		return
	case 2:
		low, high := field[0][:n], field[1][:n]
		for i := range words {
			words[i] = uint64(low[i]) | uint64(high[i])<<8
		}
		return
	}
	for k := nbytes; k < 8; k++ {
		field[k] = zeros[:n]
	}
	done := n &^ 7
	for i := 0; i < done; i += 8 {
		transpose8((*[8]uint64)(words[i:]), field, i)
	}
	for i := done; i < n; i++ {
		words[i] = 0
		for k := range nbytes {
			words[i] |= uint64(field[k][i]) << (8 * k)
		}
	}
}

var zeros [gatherRows]byte

// transpose8 makes eight words of bytes at..at+8 of eight planes: an 8×8 matrix is transposed by exchanging halves, quarters and
// bytes of pairs of words.
func transpose8(dst *[8]uint64, field *[8][]byte, at int) {
	le := binary.LittleEndian
	w0, w1, w2, w3 := le.Uint64(field[0][at:]), le.Uint64(field[1][at:]), le.Uint64(field[2][at:]), le.Uint64(field[3][at:])
	w4, w5, w6, w7 := le.Uint64(field[4][at:]), le.Uint64(field[5][at:]), le.Uint64(field[6][at:]), le.Uint64(field[7][at:])
	const half, quarter, single = 0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF
	w0, w4 = w0&half|w4<<32, w0>>32|w4&^half
	w1, w5 = w1&half|w5<<32, w1>>32|w5&^half
	w2, w6 = w2&half|w6<<32, w2>>32|w6&^half
	w3, w7 = w3&half|w7<<32, w3>>32|w7&^half
	w0, w2 = w0&quarter|w2&quarter<<16, w0>>16&quarter|w2&^quarter
	w1, w3 = w1&quarter|w3&quarter<<16, w1>>16&quarter|w3&^quarter
	w4, w6 = w4&quarter|w6&quarter<<16, w4>>16&quarter|w6&^quarter
	w5, w7 = w5&quarter|w7&quarter<<16, w5>>16&quarter|w7&^quarter
	dst[0], dst[1] = w0&single|w1&single<<8, w0>>8&single|w1&^single
	dst[2], dst[3] = w2&single|w3&single<<8, w2>>8&single|w3&^single
	dst[4], dst[5] = w4&single|w5&single<<8, w4>>8&single|w5&^single
	dst[6], dst[7] = w6&single|w7&single<<8, w6>>8&single|w7&^single
}

// convertWords turns the bytes of the field into its value.
func (p *number) convertWords(dst []float64, words []uint64) {
	words = words[:len(dst)]
	switch p.kind {
	case numF64, numF64BE:
		for i, w := range words {
			dst[i] = math.Float64frombits(w)
		}
	case numF32, numF32BE:
		for i, w := range words {
			dst[i] = float64(math.Float32frombits(uint32(w)))
		}
	case numF16, numF16BE:
		for i, w := range words {
			dst[i] = float16(uint16(w))
		}
	default:
		p.convertIntegers(dst, words)
	}
}

func (p *number) convertIntegers(dst []float64, words []uint64) {
	if p.signed {
		shift := 64 - p.bits
		for i, w := range words {
			dst[i] = float64(int64(w>>p.bit<<shift) >> shift)
		}
		return
	}
	if p.bits == 64 {
		for i, w := range words {
			dst[i] = float64(w)
		}
		return
	}
	mask := uint64(1)<<p.bits - 1 // fewer than 64 bits: conversion from a signed number is faster
	for i, w := range words {
		dst[i] = float64(int64(w >> p.bit & mask))
	}
}
