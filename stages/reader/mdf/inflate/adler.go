package inflate

import "encoding/binary"

const (
	adlerMod = 65521
	// adlerBytes is how many bytes can be summed before the second sum has to be reduced.
	adlerBytes = 5552 &^ (8*adlerWords - 1)
	// adlerWords is how many 8-byte words can be summed in lanes of 16 bits: 255·n·(n+1)/2 < 1<<16.
	adlerWords = 16
)

// Adler32 is the checksum of RFC 1950, eight bytes at a time: the standard library's goes byte by byte.
func Adler32(p []byte) uint32 {
	a, b := uint64(1), uint64(0)
	for len(p) > 0 {
		q := p[:min(len(p), adlerBytes)]
		p = p[len(q):]
		for len(q) >= 8*adlerWords {
			sum, weighted := adlerLanes((*[8 * adlerWords]byte)(q))
			b += a*8*adlerWords + weighted
			a += sum
			q = q[8*adlerWords:]
		}
		for _, x := range q {
			a += uint64(x)
			b += a
		}
		a, b = a%adlerMod, b%adlerMod
	}
	return uint32(b<<16 | a)
}

// adlerLanes returns the sum of the bytes, and their sum weighted by how far each is from the end: 128 for the first, 1 for the
// last. Even and odd bytes are summed in four lanes of 16 bits each, and so are those sums after each word.
func adlerLanes(p *[8 * adlerWords]byte) (sum, weighted uint64) {
	const lanes = 0x00FF00FF00FF00FF
	var even, odd, evens, odds uint64
	for i := 0; i < len(p); i += 8 {
		w := binary.LittleEndian.Uint64(p[i : i+8])
		evens += even
		odds += odd
		even += w & lanes
		odd += w >> 8 & lanes
	}
	for k := range uint(4) {
		e, o := even>>(16*k)&0xFFFF, odd>>(16*k)&0xFFFF
		sum += e + o
		weighted += 8*(evens>>(16*k)&0xFFFF+odds>>(16*k)&0xFFFF) + uint64(8-2*k)*e + uint64(7-2*k)*o
	}
	return sum, weighted
}
