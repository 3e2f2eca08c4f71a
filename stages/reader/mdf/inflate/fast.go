package inflate

import "encoding/binary"

// What fast may read and write in one turn of its loop: three fills of the bits, and a match of 258 bytes after two literals,
// copied in words.
const (
	marginIn  = 32
	marginOut = 288
)

// fast inflates symbols as long as both ends are so far away that they need not be looked at. It returns true at the end of
// the block. The loop is long because a call a symbol would cost more than the symbol.
func (d *Decoder) fast() (end bool, err error) {
	src, dst := d.src, d.dst
	bits, n, in, out := d.bits, d.n, d.in, d.out
	lastIn, lastOut := len(src)-marginIn, len(dst)-marginOut
	for in <= lastIn && out <= lastOut {
		bits |= binary.LittleEndian.Uint64(src[in:]) << (n & 63)
		in += int((63 - n) >> 3)
		n |= 56
		e := d.lit[bits&(1<<litBits-1)]
		if e&flagLiteral != 0 { // three of them use 33 of 56 bits
			bits >>= e & 63
			n -= uint(e & 63)
			dst[out] = byte(e >> 16)
			out++
			e = d.lit[bits&(1<<litBits-1)]
			if e&flagLiteral != 0 {
				bits >>= e & 63
				n -= uint(e & 63)
				dst[out] = byte(e >> 16)
				out++
				e = d.lit[bits&(1<<litBits-1)]
				if e&flagLiteral != 0 {
					bits >>= e & 63
					n -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
		}
		if e&flagSpecial != 0 {
			if e&flagSubtable != 0 {
				bits >>= litBits
				n -= litBits
				e = d.lit[e>>16+uint32(bits&(1<<(e>>8&15)-1))]
				if e&flagLiteral != 0 {
					bits >>= e & 63
					n -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
			if e&flagSpecial != 0 {
				d.bits, d.n, d.in, d.out = bits>>(e&63), n-uint(e&63), in, out
				if e&flagEnd == 0 {
					return false, ErrCorrupt
				}
				return true, nil
			}
		}
		saved := bits
		bits >>= e & 63
		n -= uint(e & 63)
		length := int(e>>16) + int(saved&(1<<(e&63)-1)>>(e>>8&15))

		bits |= binary.LittleEndian.Uint64(src[in:]) << (n & 63)
		in += int((63 - n) >> 3)
		n |= 56
		e = d.dist[bits&(1<<distBits-1)]
		if e&flagSpecial != 0 {
			if e&flagSubtable != 0 {
				bits >>= distBits
				n -= distBits
				e = d.dist[e>>16+uint32(bits&(1<<(e>>8&15)-1))]
			}
			if e&flagSpecial != 0 {
				return false, ErrCorrupt
			}
		}
		saved = bits
		bits >>= e & 63
		n -= uint(e & 63)
		distance := int(e>>16) + int(saved&(1<<(e&63)-1)>>(e>>8&15))
		if distance > out {
			return false, ErrCorrupt
		}
		from, to := out-distance, out
		out += length
		if distance >= 8 {
			for to < out {
				binary.LittleEndian.PutUint64(dst[to:], binary.LittleEndian.Uint64(dst[from:]))
				from += 8
				to += 8
			}
			continue
		}
		if distance == 1 {
			v := uint64(dst[from]) * 0x0101010101010101
			for to < out {
				binary.LittleEndian.PutUint64(dst[to:], v)
				to += 8
			}
			continue
		}
		for to < out { // of each word that is written, the first distance bytes are right
			binary.LittleEndian.PutUint64(dst[to:], binary.LittleEndian.Uint64(dst[from:]))
			from += distance
			to += distance
		}
	}
	d.bits, d.n, d.in, d.out = bits, n, in, out
	return false, nil
}
