package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// chunkBuckets is how many neighbouring buckets of a signal lie in one row of the store.
const chunkBuckets = 256

// A chunk holds the closed buckets of one signal and level whose index has the same chunk number. mean is kept, not the sum.
type chunk struct {
	filled         [chunkBuckets / 64]uint64
	min, max, mean [chunkBuckets]float32
	count          [chunkBuckets]uint32
}

func (c *chunk) has(i int) bool { return c.filled[i/64]&(1<<(i%64)) != 0 }

// put replaces, so that a bucket stored twice is stored once.
func (c *chunk) put(i int, b bucket) {
	c.filled[i/64] |= 1 << (i % 64)
	c.min[i], c.max[i], c.mean[i] = float32s(b)
	c.count[i] = b.Count
}

// bucket is the ith one; the sum is made of the mean.
func (c *chunk) bucket(i int) bucket {
	if !c.has(i) {
		return bucket{}
	}
	n := c.count[i]
	return bucket{Min: float64(c.min[i]), Max: float64(c.max[i]), Sum: float64(c.mean[i]) * float64(n), Count: n}
}

func (c *chunk) len() (n int) {
	for _, w := range c.filled {
		n += bits.OnesCount64(w)
	}
	return n
}

var (
	compressor, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	decompressor, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
)

// encode writes the bitmap, then of the filled buckets the minima, maxima and means as byte planes and the counts as
// varints, compressed. Each minimum is XORed with the one before, and maximum and mean with the minimum: neighbours share
// their upper bytes, which become runs of zeros.
func (c *chunk) encode() []byte {
	n := c.len()
	raw := make([]byte, 0, chunkBuckets/8+14*n)
	for _, w := range c.filled {
		raw = binary.LittleEndian.AppendUint64(raw, w)
	}
	planes := make([]byte, 12*n)
	previous, k := uint32(0), 0
	for i := range chunkBuckets {
		if !c.has(i) {
			continue
		}
		low := math.Float32bits(c.min[i])
		for v, word := range [3]uint32{low ^ previous, math.Float32bits(c.max[i]) ^ low, math.Float32bits(c.mean[i]) ^ low} {
			for p := range 4 {
				planes[(4*v+p)*n+k] = byte(word >> (8 * p))
			}
		}
		previous = low
		k++
	}
	raw = append(raw, planes...)
	for i := range chunkBuckets {
		if c.has(i) {
			raw = binary.AppendUvarint(raw, uint64(c.count[i]))
		}
	}
	return compressor.EncodeAll(raw, nil)
}

var errChunk = errors.New("damaged overview chunk")

func decodeChunk(data []byte) (*chunk, error) {
	raw, err := decompressor.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errChunk, err)
	}
	if len(raw) < chunkBuckets/8 {
		return nil, errChunk
	}
	c := &chunk{}
	for i := range c.filled {
		c.filled[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	n, rest := c.len(), raw[chunkBuckets/8:]
	if len(rest) < 12*n {
		return nil, errChunk
	}
	planes, counts := rest[:12*n], rest[12*n:]
	previous, k := uint32(0), 0
	for i := range chunkBuckets {
		if !c.has(i) {
			continue
		}
		word := func(v int) (w uint32) {
			for p := range 4 {
				w |= uint32(planes[(4*v+p)*n+k]) << (8 * p)
			}
			return w
		}
		low := word(0) ^ previous
		c.min[i], c.max[i], c.mean[i] = math.Float32frombits(low), math.Float32frombits(word(1)^low), math.Float32frombits(word(2)^low)
		count, size := binary.Uvarint(counts)
		if size <= 0 || count > math.MaxUint32 {
			return nil, errChunk
		}
		c.count[i], counts = uint32(count), counts[size:]
		previous = low
		k++
	}
	return c, nil
}
