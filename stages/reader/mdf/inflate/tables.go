package inflate

import "math/bits"

// Sizes of the tables. Codes longer than the main table go through a subtable; the sizes with all possible subtables are those
// that zlib's enough computes for 288 symbols in 11 bits and 32 symbols in 8 bits, of 15 bits at most.
const (
	litBits, distBits, preBits = 11, 8, 7

	litTableSize  = 2342
	distTableSize = 402

	maxLit, maxDist, maxPre = 288, 32, 19
	maxLength               = 15 // of a code
)

// A table entry has in its lowest byte how many bits to drop, extra bits included, in bits 8 to 11 how many of them are the
// code, and above bit 16 the literal, or the base of the length or distance. Literals have bit 31 set. Special are the end of
// the block, codes that no symbol has (flagSpecial alone), and pointers to a subtable: those have its start above bit 16, the
// bits of its index in bits 8 to 11.
const (
	flagLiteral  = 1 << 31
	flagSpecial  = 1 << 15
	flagSubtable = 1 << 14
	flagEnd      = 1 << 13
)

// What a symbol means, without the length of its code (RFC 1951, 3.2.5).
var (
	litMeaning  = newLitMeaning()
	distMeaning = newDistMeaning()
	preMeaning  = newPreMeaning()
)

func newLitMeaning() (m [maxLit]uint32) {
	for i := range 256 {
		m[i] = flagLiteral | uint32(i)<<16
	}
	m[256] = flagSpecial | flagEnd
	base := uint32(3)
	for i := 257; i < 285; i++ {
		extra := uint32(0)
		if i >= 265 {
			extra = uint32(i-261) / 4
		}
		m[i] = base<<16 | extra
		base += 1 << extra
	}
	m[285] = 258 << 16
	m[286], m[287] = flagSpecial, flagSpecial // take part in the fixed code, stand for nothing
	return m
}

func newDistMeaning() (m [maxDist]uint32) {
	base := uint32(1)
	for i := range 30 {
		extra := uint32(0)
		if i >= 4 {
			extra = uint32(i-2) / 2
		}
		m[i] = base<<16 | extra
		base += 1 << extra
	}
	m[30], m[31] = flagSpecial, flagSpecial
	return m
}

func newPreMeaning() (m [maxPre]uint32) {
	for i := range m {
		m[i] = uint32(i) << 16
	}
	return m
}

// preOrder is the order in which the lengths of the code for code lengths are given (RFC 1951, 3.2.7).
var preOrder = [maxPre]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// fixedCodes builds the tables of RFC 1951, 3.2.6, unless they are there.
func (d *Decoder) fixedCodes() {
	if d.fixed {
		return
	}
	for i := range maxLit {
		switch {
		case i < 144:
			d.lens[i] = 8
		case i < 256:
			d.lens[i] = 9
		case i < 280:
			d.lens[i] = 7
		default:
			d.lens[i] = 8
		}
	}
	build(d.lit[:], d.lens[:maxLit], litMeaning[:], litBits)
	for i := range maxDist {
		d.lens[i] = 5
	}
	build(d.dist[:], d.lens[:maxDist], distMeaning[:], distBits)
	d.fixed = true
}

// dynamicCodes reads the two codes of a block and builds their tables (RFC 1951, 3.2.7).
func (d *Decoder) dynamicCodes() error {
	d.fixed = false
	counts, err := d.take(14)
	if err != nil {
		return err
	}
	lit, dist, pre := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if lit > 286 || dist > 30 {
		return ErrCorrupt
	}
	var preLens [maxPre]uint8
	for _, s := range preOrder[:pre] {
		v, err := d.take(3)
		if err != nil {
			return err
		}
		preLens[s] = uint8(v)
	}
	if !build(d.pre[:], preLens[:], preMeaning[:], preBits) {
		return ErrCorrupt
	}
	if err := d.readLengths(lit + dist); err != nil {
		return err
	}
	if !build(d.lit[:], d.lens[:lit], litMeaning[:], litBits) || !build(d.dist[:], d.lens[lit:lit+dist], distMeaning[:], distBits) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the lengths of n codes.
func (d *Decoder) readLengths(n int) error {
	for i := 0; i < n; {
		d.refill()
		e := d.pre[d.bits&(1<<preBits-1)]
		if err := d.consume(e); err != nil || e&flagSpecial != 0 {
			return ErrCorrupt
		}
		length := uint8(e >> 16)
		if length < 16 {
			d.lens[i] = length
			i++
			continue
		}
		repeat, err := d.repeat(length)
		if err != nil || repeat > n-i || length == 16 && i == 0 {
			return ErrCorrupt
		}
		length = 0
		if e>>16 == 16 {
			length = d.lens[i-1]
		}
		for range repeat {
			d.lens[i] = length
			i++
		}
	}
	return nil
}

func (d *Decoder) repeat(symbol uint8) (int, error) {
	k, base := uint(2), 3
	switch symbol {
	case 17:
		k = 3
	case 18:
		k, base = 7, 11
	}
	v, err := d.take(k)
	return base + int(v), err
}

// build fills the table of a canonical Huffman code, given the length of each symbol's code, 0 for none. It returns false if the
// lengths make no code. As the standard allows, a code may have a single symbol of length 1, or none.
func build(table []uint32, lens []uint8, meaning []uint32, tableBits int) bool {
	var counts [maxLength + 1]int
	for _, l := range lens {
		counts[l]++
	}
	longest := maxLength
	for longest > 1 && counts[longest] == 0 {
		longest--
	}
	var starts [maxLength + 2]int
	space := 0
	for l := 1; l <= longest; l++ {
		starts[l+1] = starts[l] + counts[l]
		space = space<<1 + counts[l]
	}
	if space > 1<<longest {
		return false
	}
	if space < 1<<longest {
		return buildIncomplete(table, lens, meaning, tableBits, space, longest)
	}
	var sorted [maxLit]uint16
	for s, l := range lens {
		if l > 0 {
			sorted[starts[l]] = uint16(s)
			starts[l]++
		}
	}
	fill(table, sorted[:], &counts, meaning, tableBits)
	return true
}

// buildIncomplete makes the table of a code with one symbol or none; other codes may not leave anything unused.
func buildIncomplete(table []uint32, lens []uint8, meaning []uint32, tableBits, space, longest int) bool {
	if space > 1 || longest > 1 {
		return false
	}
	for i := range 1 << tableBits {
		table[i] = flagSpecial | 1
	}
	for s, l := range lens {
		for i := 0; l == 1 && i < 1<<tableBits; i += 2 {
			table[i] = withCode(meaning[s], 1)
		}
	}
	return true
}

// withCode is the entry of a symbol whose code, or the part of it that is left for a subtable, has l bits.
func withCode(meaning uint32, l int) uint32 { return meaning + uint32(l) + uint32(l)<<8 }

// next returns the code after code among those of l bits, read from the other end, as deflate packs them.
func next(code, l int) int {
	bit := 1 << (bits.Len(uint(code^(1<<l-1))) - 1)
	return code&(bit-1) | bit
}

// fill makes the table of a complete code. Codes are assigned in order of their length, so the table of each length is that
// of the length before, twice.
func fill(table []uint32, sorted []uint16, counts *[maxLength + 1]int, meaning []uint32, tableBits int) {
	l := 1
	for counts[l] == 0 {
		l++
	}
	code, count, end := 0, counts[l], 1<<l
	for l <= tableBits {
		for ; count > 0; count-- {
			table[code] = withCode(meaning[sorted[0]], l)
			sorted = sorted[1:]
			if code == end-1 { // the last one
				for ; l < tableBits; l++ {
					end += copy(table[end:2*end], table[:end])
				}
				return
			}
			code = next(code, l)
		}
		for count == 0 {
			if l++; l <= tableBits {
				end += copy(table[end:2*end], table[:end])
			}
			count = counts[l]
		}
	}
	fillSubtables(table, sorted, counts, meaning, tableBits, l, code, count)
}

// fillSubtables goes on with the codes longer than the main table: the first of them, code, has l bits, and count of its length
// are left.
func fillSubtables(table []uint32, sorted []uint16, counts *[maxLength + 1]int, meaning []uint32, tableBits, l, code, count int) {
	end, prefix, start := 1<<tableBits, -1, 0
	for {
		if p := code & (1<<tableBits - 1); p != prefix {
			prefix, start = p, end
			size, used := l-tableBits, count
			for used < 1<<size {
				size++
				used = used<<1 + counts[tableBits+size]
			}
			end = start + 1<<size
			table[prefix] = uint32(start)<<16 | flagSpecial | flagSubtable | uint32(size)<<8 | uint32(tableBits)
		}
		e := withCode(meaning[sorted[0]], l-tableBits)
		sorted = sorted[1:]
		for i := start + code>>tableBits; i < end; i += 1 << (l - tableBits) {
			table[i] = e
		}
		if code == 1<<l-1 {
			return
		}
		code = next(code, l)
		for count--; count == 0; {
			l++
			count = counts[l]
		}
	}
}
