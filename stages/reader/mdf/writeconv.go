package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// LinearConversion is raw*factor + offset.
func LinearConversion(offset, factor float64) *Conversion {
	return &Conversion{Type: Linear, Values: []float64{offset, factor}}
}

// check says whether the conversion can be written: whether its type, values and references go together.
func (c *Conversion) check() error {
	_, err := c.compiled(map[*Conversion]*Conversion{})
	return err
}

// compiled returns the conversion as the reader would have it; done are those that have been looked at, nil while they are.
func (c *Conversion) compiled(done map[*Conversion]*Conversion) (*Conversion, error) {
	if c == nil {
		return nil, nil
	}
	if p, ok := done[c]; ok {
		if p == nil {
			return nil, fmt.Errorf("write conversion of type %d, which refers to itself: %w", c.Type, ErrUnsupported)
		}
		return p, nil
	}
	done[c] = nil
	if c.Type > BitfieldText {
		return nil, fmt.Errorf("write conversion of type %d: %w", c.Type, ErrUnsupported)
	}
	if len(c.Values) > math.MaxUint16 || len(c.Masks) > math.MaxUint16 || len(c.Refs) > math.MaxUint16 {
		return nil, fmt.Errorf("write conversion: %d values and %d references, 65535 are possible: %w", len(c.Values), len(c.Refs), ErrUnsupported)
	}
	p := &Conversion{Type: c.Type, Name: c.Name, Unit: c.Unit, Values: c.Values, Masks: c.Masks, Refs: slices.Clone(c.Refs)}
	if c.Type == Algebraic && len(c.Refs) == 0 {
		p.Refs = []ConversionRef{{Text: c.Formula}}
	}
	for i := range p.Refs {
		var err error
		if p.Refs[i].Conversion, err = p.Refs[i].Conversion.compiled(done); err != nil {
			return nil, err
		}
	}
	done[c] = p
	return p, p.compile(0)
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
