package mdf

// convert converts the samples of n records, or of fewer if their texts get long, and returns of how many.
func (d *decoder) convert(r *rows, n int) int {
	c, v := d.col, d.ch.Conversion
	text := len(d.nums) == 0 || d.blobs != nil
	switch {
	case text && v.takesText():
		return d.convertFromText(n)
	case text:
	case v.hasText:
		return d.convertToText(r, n)
	case d.ch.DataType >= ComplexLE:
		d.convertComplex()
	default:
		v.Apply(c.Values, d.ch.isInteger())
	}
	return n
}

// convertComplex is a linear conversion of complex numbers, whose offset is a real number; others are not defined.
func (d *decoder) convertComplex() {
	if v := d.ch.Conversion; v.Type == Linear {
		for i := 0; i+1 < len(d.col.Values); i += 2 {
			v.Apply(d.col.Values[i:i+1], false)
			d.col.Values[i+1] *= v.Values[1]
		}
	}
}

// convertToText is a conversion of numbers that gives texts.
func (d *decoder) convertToText(r *rows, n int) int {
	c, v := d.col, d.ch.Conversion
	if len(d.nums) != 1 {
		return n
	}
	c.start(n * c.Width)
	integers, mixed := d.ch.isInteger(), v.Mixed()
	for i := range n {
		if len(c.Bytes) > d.most {
			return i
		}
		values := c.Values[i*c.Width : (i+1)*c.Width]
		for k, x := range values {
			u := uint64(int64(x))
			if integers && !d.ch.virtual() {
				u = d.nums[0].uint(r.data[i*r.stride+d.elementAt(k):])
			}
			var number float64
			c.Bytes, number = v.appendText(c.Bytes, x, u, integers)
			c.Offsets = append(c.Offsets, uint32(len(c.Bytes)))
			if mixed {
				values[k] = number
			}
		}
	}
	return n
}

// elementAt is where element k of an array begins in the record; of a scalar it is 0, whose number knows its place.
func (d *decoder) elementAt(k int) int {
	if d.elems == nil {
		return 0
	}
	return int(d.elems[k])
}

// convertFromText is a conversion of texts; the numbers of TextToValue stand in Values beside the texts.
func (d *decoder) convertFromText(n int) int {
	c, v := d.col, d.ch.Conversion
	width := max(c.Width, 1)
	if v.Type == TextToValue {
		c.Values = grow(c.Values, n*width)
		for i := range c.Values {
			c.Values[i] = v.textValue(c.At(i))
		}
		return n
	}
	d.strbuf = append(d.strbuf[:0], c.Bytes...)
	c.Bytes = c.Bytes[:0]
	from := uint32(0)
	for i := range n * width {
		if i%width == 0 && len(c.Bytes) > d.most {
			return i / width
		}
		to := c.Offsets[i+1]
		c.Bytes = v.appendTranslated(c.Bytes, d.strbuf[from:to])
		from, c.Offsets[i+1] = to, uint32(len(c.Bytes))
	}
	return n
}
