// Package inflate decompresses zlib streams (RFC 1950, 1951) that are in memory whole, into memory of the size they have.
//
// The data blocks of an MDF file say how long they are before and after compression, so nothing has to be streamed: input and
// output are slices, bits are taken from a 64-bit word that is filled eight bytes at a time, and while both ends are far away
// nothing is checked but the distance of a match. That is the design of libdeflate, and about twice as fast as a reader that
// may have to stop anywhere.
package inflate

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt says that the stream is damaged, ends early, or does not give as many bytes as wanted.
var ErrCorrupt = errors.New("inflate: corrupt stream")

// A Decoder inflates one stream after the other; it is kept for its tables. One goroutine uses it. The zero value is ready.
type Decoder struct {
	src, dst []byte
	bits     uint64 // the next bits of the stream, from the lowest on; above the n valid ones may stand bits that follow
	n        uint   // valid bits
	in, out  int    // bytes of src in bits, bytes of dst written

	lit   [litTableSize]uint32
	dist  [distTableSize]uint32
	pre   [1 << preBits]uint32
	lens  [maxLit + maxDist]uint8
	fixed bool // lit and dist hold the fixed codes
}

// Zlib inflates the zlib stream src to dst and checks its Adler-32. The stream has to give exactly len(dst) bytes; what stands
// behind it in src is ignored. After an error the contents of dst are undefined.
func (d *Decoder) Zlib(dst, src []byte) error {
	if len(src) < 6 {
		return ErrCorrupt
	}
	head := binary.BigEndian.Uint16(src)
	if head>>8&15 != 8 || head>>12 > 7 || head%31 != 0 || head&(1<<5) != 0 {
		return ErrCorrupt // not deflate, window above 32 KiB, check bits, preset dictionary
	}
	d.src, d.dst, d.bits, d.n, d.in, d.out = src[2:], dst, 0, 0, 0, 0
	err := d.blocks()
	rest := d.src[max(d.in-int(d.n/8), 0):] // whole bytes that were read ahead are given back
	d.src, d.dst = nil, nil
	switch {
	case err != nil:
		return err
	case d.out != len(dst) || len(rest) < 4 || binary.BigEndian.Uint32(rest) != Adler32(dst):
		return ErrCorrupt
	}
	return nil
}

// blocks inflates deflate blocks up to the last (RFC 1951, 3.2.3).
func (d *Decoder) blocks() error {
	for {
		head, err := d.take(3)
		if err != nil {
			return err
		}
		switch head >> 1 {
		case 0:
			err = d.stored()
		case 1:
			d.fixedCodes()
			err = d.compressed()
		case 2:
			if err = d.dynamicCodes(); err == nil {
				err = d.compressed()
			}
		default:
			err = ErrCorrupt
		}
		if err != nil || head&1 != 0 {
			return err
		}
	}
}

// refill makes at least 56 bits valid, or all that are left.
func (d *Decoder) refill() {
	for d.n <= 56 && d.in < len(d.src) {
		d.bits |= uint64(d.src[d.in]) << d.n
		d.in++
		d.n += 8
	}
}

// take returns the next k bits, k ≤ 16.
func (d *Decoder) take(k uint) (uint, error) {
	if d.n < k {
		if d.refill(); d.n < k {
			return 0, ErrCorrupt
		}
	}
	v := uint(d.bits & (1<<k - 1))
	d.bits >>= k
	d.n -= k
	return v, nil
}

// stored copies a block without compression (RFC 1951, 3.2.4).
func (d *Decoder) stored() error {
	d.in -= int(d.n / 8)
	d.bits, d.n = 0, 0
	if len(d.src)-d.in < 4 {
		return ErrCorrupt
	}
	size := int(binary.LittleEndian.Uint16(d.src[d.in:]))
	if size != int(^binary.LittleEndian.Uint16(d.src[d.in+2:])) {
		return ErrCorrupt
	}
	d.in += 4
	if size > len(d.src)-d.in || size > len(d.dst)-d.out {
		return ErrCorrupt
	}
	d.out += copy(d.dst[d.out:], d.src[d.in:d.in+size])
	d.in += size
	return nil
}

// compressed inflates a block of which the tables are built: fast while both ends are far away, then carefully.
func (d *Decoder) compressed() error {
	end, err := d.fast()
	if end || err != nil {
		return err
	}
	return d.careful()
}

// careful is fast for the last bytes of the input or the output: everything is checked.
func (d *Decoder) careful() error {
	for {
		d.refill()
		e := d.lit[d.bits&(1<<litBits-1)]
		if e&flagSubtable != 0 {
			e = d.entry(d.lit[:], e)
		}
		saved := d.bits
		if err := d.consume(e); err != nil {
			return err
		}
		switch {
		case e&flagLiteral != 0:
			if d.out == len(d.dst) {
				return ErrCorrupt
			}
			d.dst[d.out] = byte(e >> 16)
			d.out++
			continue
		case e&flagSpecial != 0 && e&flagEnd != 0:
			return nil
		case e&flagSpecial != 0:
			return ErrCorrupt
		}
		length := int(e>>16&0x7FF) + extra(saved, e)
		e = d.dist[d.bits&(1<<distBits-1)]
		if e&flagSubtable != 0 {
			e = d.entry(d.dist[:], e)
		}
		saved = d.bits
		if err := d.consume(e); err != nil {
			return err
		}
		distance := int(e>>16) + extra(saved, e)
		if e&flagSpecial != 0 || distance > d.out || length > len(d.dst)-d.out {
			return ErrCorrupt
		}
		for range length {
			d.dst[d.out] = d.dst[d.out-distance]
			d.out++
		}
	}
}

// consume drops the bits of a table entry, extra bits included.
func (d *Decoder) consume(e uint32) error {
	k := uint(e & 0xFF)
	if k > d.n {
		return ErrCorrupt
	}
	d.bits >>= k
	d.n -= k
	return nil
}

// entry follows e, which points to a subtable; the bits of the main table are dropped.
func (d *Decoder) entry(table []uint32, e uint32) uint32 {
	k := uint(e & 0xFF)
	if k > d.n {
		return flagSpecial | 0xFF // more bits than there are
	}
	d.bits >>= k
	d.n -= k
	return table[e>>16+uint32(d.bits&(1<<(e>>8&15)-1))]
}

// extra takes the extra bits of a length or distance out of the bits in front of which its code stands.
func extra(saved uint64, e uint32) int {
	return int(saved & (1<<(e&63) - 1) >> (e >> 8 & 15))
}
