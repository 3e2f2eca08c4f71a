package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// LinearConversion is raw*factor + offset.
func LinearConversion(offset, factor float64) *Conversion {
	return &Conversion{Type: Linear, Values: []float64{offset, factor}}
}

// check says whether the conversion can be written: whether its type, values and references go together.
func (c *Conversion) check() error {
	if c == nil {
		return nil
	}
	if c.Type > BitfieldText {
		return fmt.Errorf("write conversion of type %d: %w", c.Type, ErrUnsupported)
	}
	if len(c.Values) > math.MaxUint16 || len(c.Masks) > math.MaxUint16 || len(c.Refs) > math.MaxUint16 {
		return fmt.Errorf("write conversion: %d values and %d references, 65535 are possible: %w", len(c.Values), len(c.Refs), ErrUnsupported)
	}
	for _, r := range c.Refs {
		if err := r.Conversion.check(); err != nil {
			return err
		}
	}
	probe := Conversion{Type: c.Type, Values: c.Values, Masks: c.Masks, Refs: c.Refs}
	if c.Type == Algebraic && len(c.Refs) == 0 {
		probe.Refs = []ConversionRef{{Text: c.Formula}}
	}
	return probe.compile(0)
}

// conversion writes a CCBLOCK (MDF 4.2, 5.14) and those it refers to; nil is a nil link.
func (b *blockWriter) conversion(c *Conversion) int64 {
	if c == nil {
		return 0
	}
	if off, ok := b.convs[c]; ok {
		return off
	}
	refs := c.Refs
	if c.Type == Algebraic && len(refs) == 0 {
		refs = []ConversionRef{{Text: c.Formula}}
	}
	links := []int64{b.text(c.Name), b.text(c.Unit), b.text(c.Comment), 0}
	for _, r := range refs {
		links = append(links, b.conversionRef(r))
	}
	le := binary.LittleEndian
	d := make([]byte, 24)
	d[0] = uint8(c.Type)
	le.PutUint16(d[4:], uint16(len(refs)))
	le.PutUint16(d[6:], uint16(len(c.Values)+len(c.Masks)))
	for _, v := range c.Values {
		d = le.AppendUint64(d, math.Float64bits(v))
	}
	for _, m := range c.Masks {
		d = le.AppendUint64(d, m)
	}
	if b.convs == nil {
		b.convs = map[*Conversion]int64{}
	}
	off := b.append("CC", links, d)
	b.convs[c] = off
	return off
}

func (b *blockWriter) conversionRef(r ConversionRef) int64 {
	switch {
	case r.Nil:
		return 0
	case r.Conversion != nil:
		return b.conversion(r.Conversion)
	case r.Text == "": // unlike no reference, which text makes of it
		return b.append("TX", nil, []byte{0})
	}
	return b.text(r.Text)
}
