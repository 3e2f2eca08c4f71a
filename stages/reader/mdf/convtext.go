package mdf

import (
	"math"
	"strconv"
)

// nesting is what a conversion has below it. Conversions share what they refer to, so there may be far more ways down than blocks.
type nesting struct {
	height  int   // of the references below it
	weight  int   // texts and conversions that a sample takes at most
	longest int64 // bytes of a text that it gives, at most
	unit    string
}

const (
	maxWeight    = 1 << 13 // real bit fields have some dozen
	numberLength = 32      // of a number that stands in a text, at most
)

// measure finds out what is below the conversion, and refuses what would recur without end or take ages for each sample.
func (c *Conversion) measure(off int64) error {
	c.nesting = nesting{weight: 1, unit: c.Unit}
	for i := range c.Refs {
		r := &c.Refs[i]
		below := nesting{weight: 1, longest: int64(len(r.Text))}
		if r.Conversion != nil {
			below = r.Conversion.nesting
			below.longest = max(below.longest, numberLength) + int64(len(r.Conversion.Name)) + 1
			if c.Unit == "" && r.Conversion.Unit != "" {
				c.unit = r.Conversion.Unit // that of the last reference that has one
			}
		}
		c.height = max(c.height, below.height+1)
		if c.Type == BitfieldText {
			c.weight += below.weight
			c.longest += below.longest + 1
		} else {
			c.weight = max(c.weight, below.weight+1)
			c.longest = max(c.longest, below.longest)
		}
	}
	if c.height > maxDepth || c.weight > maxWeight {
		c.Refs = nil // nobody goes down there
		return corrupt(off, "##CC", "is nested %d deep, a sample takes %d steps", c.height, c.weight)
	}
	return nil
}

// find returns the number of the table's row for x, len(rows) for the default.
func (c *Conversion) find(x float64, integers bool) int {
	if c.Type == RangeToText {
		return c.row(x, integers, len(c.Values)/2, 2)
	}
	if c.keys != nil {
		if i, ok := c.keys[x]; ok {
			return i
		}
		return len(c.Values)
	}
	for i, v := range c.Values {
		if v == x {
			return i
		}
	}
	return len(c.Values)
}

// appendText appends the text of raw value x to dst; u is the same value as an integer. When the value converts to
// a number, nothing is appended and the number returned, otherwise NaN.
func (c *Conversion) appendText(dst []byte, x float64, u uint64, integers bool) ([]byte, float64) {
	if c.Type == BitfieldText {
		return c.appendBits(dst, u), math.NaN()
	}
	row := c.find(x, integers)
	if row >= len(c.Refs) || c.Refs[row].Nil {
		return dst, math.NaN()
	}
	r := c.Refs[row]
	switch {
	case r.Conversion == nil:
		return append(dst, r.Text...), math.NaN()
	case r.Conversion.hasText:
		return r.Conversion.appendText(dst, x, u, integers)
	}
	one := [1]float64{x}
	r.Conversion.Apply(one[:], integers)
	return dst, one[0]
}

// appendBits is BitfieldText (MDF 4.2, 5.14.11): the texts of all masked values, each with the name of its table in
// front, joined by "|".
func (c *Conversion) appendBits(dst []byte, u uint64) []byte {
	start := len(dst)
	for i, mask := range c.Masks {
		r := c.Refs[i]
		before := len(dst)
		if before > start {
			dst = append(dst, '|')
		}
		body := len(dst)
		dst = r.appendMasked(dst, u&mask)
		if len(dst) == body {
			dst = dst[:before]
		}
	}
	return dst
}

func (r ConversionRef) appendMasked(dst []byte, u uint64) []byte {
	if r.Conversion == nil {
		return append(dst, r.Text...)
	}
	body := len(dst)
	if r.Conversion.Name != "" {
		dst = append(append(dst, r.Conversion.Name...), '=')
	}
	named := len(dst)
	if !r.Conversion.hasText {
		one := [1]float64{float64(u)}
		r.Conversion.Apply(one[:], true)
		return appendNumber(dst, one[0])
	}
	dst, number := r.Conversion.appendText(dst, float64(u), u, true)
	if len(dst) == named && number == number {
		dst = appendNumber(dst, number)
	}
	if len(dst) == named && named > body {
		return dst[:body] // a table without a text for the value says nothing
	}
	return dst
}

func appendNumber(dst []byte, x float64) []byte { return strconv.AppendFloat(dst, x, 'g', -1, 64) }

// textValue is TextToValue: the number of a text, the default or NaN for an unknown one.
func (c *Conversion) textValue(s []byte) float64 {
	i, ok := c.texts[string(s)]
	if !ok {
		i = len(c.Refs)
	}
	if i >= len(c.Values) {
		return math.NaN()
	}
	return c.Values[i]
}

// appendTranslated is TextToText: the translation of s, the default, or s itself when there is none.
func (c *Conversion) appendTranslated(dst, s []byte) []byte {
	if i, ok := c.texts[string(s)]; ok {
		return append(dst, c.Refs[2*i+1].Text...)
	}
	if len(c.Refs)%2 == 1 && !c.Refs[len(c.Refs)-1].Nil {
		return append(dst, c.Refs[len(c.Refs)-1].Text...)
	}
	return append(dst, s...)
}
