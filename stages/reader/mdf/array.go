package mdf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// An Array says how the elements of an array channel lie in the record (CABLOCK, storage CN template). A member of an array of
// structures has those of the array, and behind them its own if it is an array itself.
type Array struct {
	Dims     []int // element [i][j] has number i*Dims[1]+j
	Elements int   // product of Dims
	strides  []int // bytes, per dimension
	invals   []int // the same in invalidation bits; 0 where all elements share one
}

// Where the elements of an array are (MDF 4.2, 5.18, ca_storage).
const (
	cnTemplate = iota // in one record
	cgTemplate        // in records of their own, whose ids follow that of the group
	dgTemplate        // in records of their own, in data of their own
)

// maxDims is of an array, arrays of arrays included.
const maxDims = 64

// readArray reads a CABLOCK (MDF 4.2, 5.18) with elements in the record. An array of arrays has the dimensions of the outer
// one, then those of the inner one; so has an array in an array of structures.
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
	if n := int(binary.LittleEndian.Uint16(d[2:])); n > 0 {
		if d, err = b.data(16 + 8*n); err != nil {
			return err
		}
	}
	if err := c.addArray(link, d); err != nil {
		c.err = cmp.Or(c.err, err)
	}
	return f.readElements(c, b.link(0), depth+1)
}

// addArray adds what a CABLOCK says of the elements to what those around it say.
func (c *Channel) addArray(link int64, d []byte) error {
	le := binary.LittleEndian
	storage, ndim := d[1], int(le.Uint16(d[2:]))
	outer := &Array{Elements: 1}
	if c.Array != nil {
		outer = c.Array
	}
	if ndim == 0 || len(outer.Dims)+ndim > maxDims {
		return corrupt(link, "##CA", "has %d dimensions", ndim)
	}
	a := &Array{Elements: 1}
	for i := range ndim {
		n := le.Uint64(d[16+8*i:])
		if n == 0 || n > math.MaxInt32 || int64(n)*int64(a.Elements)*int64(outer.Elements) > math.MaxInt32 {
			return corrupt(link, "##CA", "has dimension %d of %d elements", i, n)
		}
		a.Dims = append(a.Dims, int(n))
		a.Elements *= int(n)
	}
	switch {
	case storage > dgTemplate:
		return corrupt(link, "##CA", "has storage type %d", storage)
	case storage != cnTemplate:
		c.Template = a.Dims
		if storage == cgTemplate {
			c.Group.elements = max(c.Group.elements, a.Elements)
		}
		return nil
	}
	base := int(int32(le.Uint32(d[8:])))
	if base == 0 && a.Elements > 1 {
		base = int((uint64(c.BitOffset) + uint64(c.BitCount) + 7) / 8) // writers that know no gaps leave it out
	}
	columnMajor := le.Uint32(d[4:])&(1<<6) != 0
	c.Array = &Array{
		Dims:     slices.Concat(outer.Dims, a.Dims),
		Elements: outer.Elements * a.Elements,
		strides:  slices.Concat(outer.strides, a.steps(base, columnMajor)),
		invals:   slices.Concat(outer.invals, a.steps(int(le.Uint32(d[12:])), columnMajor)),
	}
	return nil
}

// readElements reads what the elements of an array are, if they are no values: arrays, or structures.
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
	case id == "##CN":
		first := len(c.Group.Channels)
		err = f.readChannels(c.Group, c, link, depth)
		for _, m := range c.Group.Channels[first:] {
			if c.err != nil && m.err == nil {
				m.err = fmt.Errorf("channel %q: in %q: %w", m.Name, c.Name, c.err)
			}
		}
		if !c.inElement() {
			c.place()
		}
		return err
	}
	c.err = cmp.Or[error](c.err, fmt.Errorf("channel %q: array of %s: %w", c.Name, id, ErrUnsupported))
	return nil
}

// inElement says that the channel is in an array of structures.
func (c *Channel) inElement() bool { return c.Parent != nil && c.Parent.Array != nil }

// place finds where the members of an array of structures stand, and checks them. Their offsets are those in the first element,
// counted from the start of the record as everywhere (MDF 4.2, 5.13), or, as some writers read the standard, from the start of the
// element: that is so where the record's count would put a member outside of the element and the other none.
func (c *Channel) place() {
	from, size := int64(c.ByteOffset), int64(c.BitCount/8)
	if size == 0 && c.Array != nil {
		size = c.Array.spacing()
	}
	absolute, relative := true, true
	c.element(func(m *Channel) {
		at := int64(m.ByteOffset)
		end := at + int64(uint64(m.BitOffset)+uint64(m.BitCount)+7)/8
		absolute = absolute && at >= from && end <= from+size
		relative = relative && end <= size
	})
	c.element(func(m *Channel) {
		if !absolute && relative && !m.virtual() {
			m.ByteOffset += c.ByteOffset
		}
	})
	c.element(func(m *Channel) {
		if m.Array.own(c.Array) && len(m.Children) > 0 {
			m.place()
		}
		m.check(m.off)
	})
}

// element calls do for the members of an element, and for theirs, but not for those of arrays of structures among them.
func (c *Channel) element(do func(*Channel)) {
	for _, m := range c.Children {
		do(m)
		if !m.Array.own(c.Array) {
			m.element(do)
		}
	}
}

// spacing is the distance of the two elements that are closest to each other.
func (a *Array) spacing() int64 {
	least := int64(math.MaxInt64)
	for _, s := range a.strides {
		least = min(least, max(int64(s), -int64(s)))
	}
	return least
}

// ownArray is the array that the channel itself is, without those that it is in; nil if it is none.
func (c *Channel) ownArray() *Array {
	a := c.Array
	if !c.inElement() || a == nil {
		return a
	}
	outer := c.Parent.Array
	if !a.own(outer) {
		return nil
	}
	k := len(outer.Dims)
	return &Array{Dims: a.Dims[k:], Elements: a.Elements / outer.Elements, strides: a.strides[k:], invals: a.invals[k:]}
}

// own says that a is an array in one of the elements of outer.
func (a *Array) own(outer *Array) bool {
	return a != nil && (outer == nil || len(a.Dims) > len(outer.Dims))
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
