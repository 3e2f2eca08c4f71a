package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// An Array says how the elements of an array channel lie in the record (CABLOCK, storage CN template).
type Array struct {
	Dims     []int // element [i][j] has number i*Dims[1]+j
	Elements int   // product of Dims
	strides  []int // bytes, per dimension
	invals   []int // the same in invalidation bits; 0 where all elements share one
}

// maxDims is of an array, arrays of arrays included.
const maxDims = 64

// readArray reads a CABLOCK (MDF 4.2, 5.18) with elements in the record. An array of arrays has the dimensions of the outer
// one, then those of the inner one.
func (f *File) readArray(c *Channel, link int64, depth int) error {
	if depth > maxDepth {
		return corrupt(link, "##CA", "is nested more than %d deep", maxDepth)
	}
	if err := f.once(link, "##CA"); err != nil {
		return err
	}
	b, err := f.src.block(link, "##CA")
	if err != nil {
		return err
	}
	d, err := b.data(16)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	storage, ndim := d[1], int(le.Uint16(d[2:]))
	if d, err = b.data(16 + 8*ndim); err != nil {
		return err
	}
	if storage != 0 {
		c.err = fmt.Errorf("channel %q: array storage %d: %w", c.Name, storage, ErrUnsupported)
	}
	a, outer := &Array{Elements: 1}, &Array{Elements: 1}
	if c.Array != nil {
		outer = c.Array
	}
	if ndim == 0 || len(outer.Dims)+ndim > maxDims {
		c.err = corrupt(link, "##CA", "has %d dimensions", ndim)
		return nil
	}
	for i := range ndim {
		n := le.Uint64(d[16+8*i:])
		if n == 0 || n > math.MaxInt32 || int64(n)*int64(a.Elements)*int64(outer.Elements) > math.MaxInt32 {
			c.err = corrupt(link, "##CA", "has dimension %d of %d elements", i, n)
			return nil
		}
		a.Dims = append(a.Dims, int(n))
		a.Elements *= int(n)
	}
	columnMajor := le.Uint32(d[4:])&(1<<6) != 0
	a.strides = append(outer.strides, a.steps(int(int32(le.Uint32(d[8:]))), columnMajor)...)
	a.invals = append(outer.invals, a.steps(int(le.Uint32(d[12:])), columnMajor)...)
	a.Dims = append(outer.Dims, a.Dims...)
	a.Elements *= outer.Elements
	c.Array = a
	return f.readElements(c, b.link(0), depth+1)
}

// readElements reads what the elements of an array are, if they are no values: arrays, or structures. Those are not decoded, but
// listed.
func (f *File) readElements(c *Channel, link int64, depth int) error {
	if link == 0 {
		return nil
	}
	id, _, _, err := f.src.header(link)
	switch {
	case err != nil:
		return err
	case id == "##CA":
		return f.readArray(c, link, depth)
	}
	if c.err == nil {
		c.err = fmt.Errorf("channel %q: array of structures (%s): %w", c.Name, id, ErrUnsupported)
	}
	if id != "##CN" {
		return nil
	}
	first := len(c.Group.Channels)
	err = f.readChannels(c.Group, c, link, depth)
	for _, m := range c.Group.Channels[first:] {
		if m.err == nil {
			m.err = fmt.Errorf("channel %q: in an array of structures: %w", m.Name, ErrUnsupported)
		}
	}
	return err
}

// steps returns the distance of neighbours per dimension; base is that of the innermost one.
func (a *Array) steps(base int, columnMajor bool) []int {
	steps := make([]int, len(a.Dims))
	step := base
	for i := range a.Dims {
		k := len(a.Dims) - 1 - i
		if columnMajor {
			k = i
		}
		steps[k] = step
		step *= a.Dims[k]
	}
	return steps
}

// offset returns the distance of element number i from the first in bytes.
func (a *Array) offset(i int) int { return a.distance(i, a.strides) }

func (a *Array) distance(i int, steps []int) int {
	d := 0
	for k := len(a.Dims) - 1; k >= 0; k-- {
		d += i % a.Dims[k] * steps[k]
		i /= a.Dims[k]
	}
	return d
}

// lastInvalBit is the highest invalidation bit that the channel has.
func (c *Channel) lastInvalBit() int64 {
	last := int64(c.InvalBit)
	if c.Array != nil {
		for k, n := range c.Array.Dims {
			last += int64(n-1) * int64(c.Array.invals[k])
		}
	}
	return last
}

// reach returns the lowest and the highest distance of an element from the first.
func (a *Array) reach() (low, high int64) {
	for k, n := range a.Dims {
		d := int64(n-1) * int64(a.strides[k])
		if d < 0 {
			low += d
		} else {
			high += d
		}
	}
	return low, high
}

// elementMasks are the invalidation bits of the elements of an array, if they have bits of their own; else nil.
func (c *Channel) elementMasks() []byte {
	if c.Array == nil || c.lastInvalBit() == int64(c.InvalBit) {
		return nil
	}
	masks := make([]byte, c.lastInvalBit()/8+1)
	for i := range c.Array.Elements {
		bit := int(c.InvalBit) + c.Array.distance(i, c.Array.invals)
		masks[bit/8] |= 1 << (bit % 8)
	}
	return masks
}
