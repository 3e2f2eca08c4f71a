package mdf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Column has the samples of one channel for the records of a Block. Its slices are reused by the next block.
type Column struct {
	Channel *Channel
	Kind    Kind
	Width   int // values a record: 1, 2 for Complex, elements (twice, of complex ones) for Numbers, 0 for Text and Bytes

	// Values are numbers, Width of them a record. They are physical, unless ReadOptions.Raw. A conversion to text
	// leaves the raw values here; if it is Mixed, the values that convert to a number are that number and those that
	// convert to a text NaN.
	Values []float64
	// Valid says of each record whether the sample is valid; nil says that all are. Invalid samples have values too. Of an array
	// whose elements have a bit each it says whether all of them are valid.
	Valid []bool
	// Record i has Bytes[Offsets[i]:Offsets[i+1]]: UTF-8 for Text and for conversions to text, bytes as recorded for
	// Bytes and Struct. Offsets is nil for columns of numbers alone.
	Offsets []uint32
	Bytes   []byte
}

// At returns the text or bytes of record i of the block, valid as long as the block is.
func (c *Column) At(i int) []byte { return c.Bytes[c.Offsets[i]:c.Offsets[i+1]] }

// maxColumnBytes ends a block early when the variable-length values of a column get longer than this together.
const maxColumnBytes = 4 << 20

// decoder fills the Column of one channel from records.
type decoder struct {
	ch     *Channel
	col    *Column
	raw    bool
	nums   []number // of a record, or of an element of an array; of Text and Bytes none, of VLSD the offset
	elems  []uint32 // where the elements of an array begin in the record; nil before the first record
	size   number   // MLSD: the number of bytes
	blobs  *blobs   // VLSD
	field  [2]int   // Text, Bytes: the bytes of the record
	inval  int      // byte among the invalidation bytes, -1 if all samples are equally valid
	mask   byte
	masks  []byte // instead of it, of an array whose elements have bits of their own: those among the invalidation bytes
	most   int    // bytes of values of variable length after which a block ends
	strbuf []byte
	from   int64 // VLSD: position of the first value of the block
	simple bool  // see setSimple
	fault  error // VLSD: what is wrong with the values
	lost   bool  // VLSD: the values cannot be read, and the reader goes on without them

	offsets []uint64    // VLSD: of the values of the block
	order   []uint32    // the records by offset
	places  [][2]uint32 // of their values in strbuf
}

func newDecoder(c *Channel, col *Column, opts ReadOptions) (*decoder, error) {
	if err := c.Err(); c.err != nil || err != nil && !opts.Raw {
		return nil, fmt.Errorf("channel %q of group %d: %w", c.Name, c.Group.Index, err)
	}
	d := &decoder{ch: c, col: col, raw: opts.Raw, inval: -1, most: maxColumnBytes}
	*col = Column{Channel: c, Kind: c.Kind()}
	if c.HasInvalidation() {
		d.inval, d.mask, d.masks = int(c.InvalBit/8), 1<<(c.InvalBit%8), c.elementMasks()
	}
	off := int(c.ByteOffset)
	switch {
	case c.Type == VLSD:
		d.nums = []number{newNumber(UintLE, off, uint(c.BitOffset), uint(c.BitCount))}
		b, err := newBlobs(c)
		if err != nil {
			return nil, err
		}
		d.blobs = b
	case col.Kind == Text || col.Kind == Bytes || col.Kind == Struct:
		d.field = [2]int{off, off + int(c.BitCount/8)}
		if c.size != nil {
			d.size = newNumber(c.size.DataType, int(c.size.ByteOffset), uint(c.size.BitOffset), uint(c.size.BitCount))
		}
	default:
		d.setNumbers(off)
		d.setSimple()
		return d, nil
	}
	if k := col.Kind; k != Text && k != Struct {
		col.Kind = Bytes
	}
	return d, nil
}

// setNumbers sets the numeric fields of a record.
func (d *decoder) setNumbers(off int) {
	if d.isArray() {
		d.addNumbers(0)
		d.col.Width = len(d.nums) * d.ch.Array.Elements
		return
	}
	d.addNumbers(off)
	d.col.Width = len(d.nums)
}

// isArray says that the values of a record are elements; an array of one is like a scalar.
func (d *decoder) isArray() bool { return d.ch.Array != nil && d.ch.Array.Elements > 1 }

// addNumbers adds the one or two numeric fields of a value.
func (d *decoder) addNumbers(off int) {
	c := d.ch
	if c.DataType < ComplexLE {
		d.nums = append(d.nums, newNumber(c.DataType, off, uint(c.BitOffset), uint(c.BitCount)))
		return
	}
	t, half := DataType(FloatLE), uint(c.BitCount/2)
	if c.DataType == ComplexBE {
		t = FloatBE
	}
	d.nums = append(d.nums, newNumber(t, off, 0, half), newNumber(t, off+int(half/8), 0, half))
}

// bytes yields the parts of a record that decode reads, the invalidation byte included.
func (d *decoder) bytes(yield func(from, to int)) {
	from, to := 0, 0
	if d.isArray() { // all from the lowest to the highest element
		low, high := d.ch.Array.reach()
		from, to = int(d.ch.ByteOffset)+int(low), int(d.ch.ByteOffset)+int(high)
	}
	for i := range d.nums {
		yield(from+d.nums[i].off, to+d.nums[i].off+d.nums[i].nbytes)
	}
	yield(d.field[0], d.field[1])
	yield(d.size.off, d.size.off+d.size.nbytes)
	if d.inval >= 0 {
		at := int(d.ch.Group.DataBytes)
		yield(at+d.inval, at+max(d.inval+1, len(d.masks)))
	}
}

// decode fills the column from the first n records of r, the first of which has number first. It may stop early
// and returns for how many it did.
func (d *decoder) decode(r *rows, n int, first uint64) (int, error) {
	c := d.col
	var err error
	switch {
	case d.blobs != nil:
		n, err = d.decodeBlobs(r, n, first)
	case c.Width == 0:
		d.decodeField(r, n)
	default:
		d.decodeNumbers(r, n, first)
	}
	d.decodeValidity(r, n)
	if err == nil && !d.raw && d.ch.Conversion != nil {
		n = d.convert(r, n)
	}
	return n, err
}

func (d *decoder) decodeNumbers(r *rows, n int, first uint64) {
	c := d.col
	c.Values = grow(c.Values, n*c.Width)
	switch {
	case d.ch.virtual():
		for i := range c.Values {
			c.Values[i] = float64(first + uint64(i))
		}
	case c.Width == 1:
		d.nums[0].decode(c.Values, r.data, r.stride)
	default:
		d.decodeElements(r, n)
	}
}

// decodeElements decodes arrays and complex numbers.
func (d *decoder) decodeElements(r *rows, n int) {
	if d.elems == nil {
		d.elems = make([]uint32, d.col.Width/len(d.nums))
		for i := range d.elems {
			if d.isArray() {
				d.elems[i] = uint32(int(d.ch.ByteOffset) + d.ch.Array.offset(i))
			}
		}
	}
	values := d.col.Values
	for i := range n {
		rec := r.data[i*r.stride:]
		for _, at := range d.elems {
			for k := range d.nums {
				d.nums[k].decode(values[:1], rec[at:], 0)
				values = values[1:]
			}
		}
	}
}

// decodeField copies or decodes the field of Text and Bytes channels.
func (d *decoder) decodeField(r *rows, n int) {
	c := d.col
	c.start(n)
	for i := range n {
		rec := r.data[i*r.stride : (i+1)*r.stride]
		b := rec[d.field[0]:d.field[1]]
		if d.ch.size != nil {
			b = b[:min(d.size.uint(rec), uint64(len(b)))]
		}
		c.append(b)
	}
}

// decodeBlobs collects the values of a VLSD channel.
func (d *decoder) decodeBlobs(r *rows, n int, first uint64) (int, error) {
	if d.lost {
		d.col.start(n)
		for range n {
			d.col.append(nil)
		}
		return n, nil
	}
	d.offsets = grow(d.offsets, n)
	ascending := true
	for i := range d.offsets {
		d.offsets[i] = d.nums[0].uint(r.data[i*r.stride:])
		ascending = ascending && (i == 0 || d.offsets[i] >= d.offsets[i-1])
	}
	d.from = int64(d.offsets[0])
	if !ascending && !d.blobs.byOrder && !d.blobs.empty {
		if k, ok := d.scattered(n); ok {
			return k, nil
		}
	}
	c := d.col
	c.start(n)
	for i, off := range d.offsets {
		if len(c.Bytes) > d.most {
			return i, nil
		}
		b, err := d.blobs.at(off, first+uint64(i))
		if err != nil {
			if !errors.Is(err, io.EOF) && !isCanceled(err) {
				d.fault = err
			}
			return i, err
		}
		c.append(b)
	}
	return n, nil
}

// scattered collects values whose offsets do not ascend: read in the order of the offsets, each part of the data is inflated
// once for all records of the block instead of once for each. Of values too long to be held together those of fewer records
// are read. With an error it is not ok: to read one by one tells how far it goes.
func (d *decoder) scattered(n int) (int, bool) {
	for ; n > minScattered; n /= 2 {
		switch fits, err := d.fetch(n); {
		case err != nil:
			return 0, false
		case fits:
			return d.arrange(n), true
		}
	}
	return 0, false
}

// minScattered is how few values are read one by one: each of them is long then.
const minScattered = 8

// fetch reads the values of the first n records in the order of their offsets; it does not fit if they take too much memory.
func (d *decoder) fetch(n int) (fits bool, err error) {
	d.order, d.places = grow(d.order, n), grow(d.places, n)
	for i := range d.order {
		d.order[i] = uint32(i)
	}
	slices.SortFunc(d.order, func(a, b uint32) int { return cmp.Compare(d.offsets[a], d.offsets[b]) })
	d.strbuf = d.strbuf[:0]
	for k, i := range d.order {
		if k > 0 && d.offsets[i] == d.offsets[d.order[k-1]] {
			d.places[i] = d.places[d.order[k-1]]
			continue
		}
		b, err := d.blobs.at(d.offsets[i], 0)
		if err != nil || len(d.strbuf)+len(b) > 2*d.most {
			return false, err
		}
		from := uint32(len(d.strbuf))
		d.strbuf = append(d.strbuf, b...)
		d.places[i] = [2]uint32{from, uint32(len(d.strbuf))}
	}
	return true, nil
}

// arrange puts what was fetched in the order of the records, up to as much as a column may have.
func (d *decoder) arrange(n int) int {
	c := d.col
	c.start(n)
	for i, p := range d.places {
		if len(c.Bytes) > d.most {
			return i
		}
		c.append(d.strbuf[p[0]:p[1]])
	}
	return n
}

// start prepares Offsets and Bytes for n records.
func (c *Column) start(n int) {
	if cap(c.Offsets) < n+1 {
		c.Offsets = make([]uint32, 0, n+1)
	}
	c.Offsets = append(c.Offsets[:0], 0)
	c.Bytes = c.Bytes[:0]
}

func (c *Column) append(b []byte) {
	if c.Kind == Text {
		c.Bytes = appendText(c.Bytes, b, c.Channel.DataType)
	} else {
		c.Bytes = append(c.Bytes, b...)
	}
	c.Offsets = append(c.Offsets, uint32(len(c.Bytes)))
}

func (d *decoder) decodeValidity(r *rows, n int) {
	if d.masks != nil && !d.lost {
		d.elementValidity(r, n)
		return
	}
	d.validity(r.inval, d.inval, r.invalStride, n)
}

// elementValidity sets Valid of n records of an array: of those where no element is invalid.
func (d *decoder) elementValidity(r *rows, n int) {
	c := d.col
	c.Valid = grow(c.Valid, n)
	for i := range n {
		bits, set := r.inval[i*r.invalStride:], byte(0)
		for k, m := range d.masks {
			set |= bits[k] & m
		}
		c.Valid[i] = set == 0
	}
}

// validity sets Valid of n records; the invalidation byte of the first stands at b[at], those that follow stride bytes apart.
func (d *decoder) validity(b []byte, at, stride, n int) {
	c := d.col
	if d.inval < 0 && !d.ch.AllInvalid() && !d.lost {
		return
	}
	c.Valid = grow(c.Valid, n)
	if d.inval < 0 || d.lost {
		clear(c.Valid)
		return
	}
	for i, o := 0, at; i < n; i, o = i+1, o+stride {
		c.Valid[i] = b[o]&d.mask == 0
	}
}

// convert converts the samples of n records, or of fewer if their texts get long, and returns of how many.
func (d *decoder) convert(r *rows, n int) int {
	c, v := d.col, d.ch.Conversion
	switch {
	case c.Width == 0 && v.takesText():
		return d.convertFromText(n)
	case c.Width == 0:
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
	if c.Width != 1 {
		return n
	}
	c.start(n)
	integers, mixed := d.ch.isInteger(), v.Mixed()
	for i := range n {
		if len(c.Bytes) > d.most {
			return i
		}
		x := c.Values[i]
		u := uint64(int64(x))
		if integers && !d.ch.virtual() {
			u = d.nums[0].uint(r.data[i*r.stride:])
		}
		var number float64
		c.Bytes, number = v.appendText(c.Bytes, x, u, integers)
		c.Offsets = append(c.Offsets, uint32(len(c.Bytes)))
		if mixed {
			c.Values[i] = number
		}
	}
	return n
}

// convertFromText is a conversion of texts; the numbers of TextToValue stand in Values beside the texts.
func (d *decoder) convertFromText(n int) int {
	c, v := d.col, d.ch.Conversion
	if v.Type == TextToValue {
		c.Values = grow(c.Values, n)
		for i := range n {
			c.Values[i] = v.textValue(c.At(i))
		}
		return n
	}
	d.strbuf = append(d.strbuf[:0], c.Bytes...)
	c.Bytes = c.Bytes[:0]
	from := uint32(0)
	for i := range n {
		if len(c.Bytes) > d.most {
			return i
		}
		to := c.Offsets[i+1]
		c.Bytes = v.appendTranslated(c.Bytes, d.strbuf[from:to])
		from, c.Offsets[i+1] = to, uint32(len(c.Bytes))
	}
	return n
}

// trim cuts the column to n records.
func (c *Column) trim(n int) {
	if c.Values != nil {
		c.Values = c.Values[:n*max(c.Width, 1)]
	}
	if c.Valid != nil {
		c.Valid = c.Valid[:n]
	}
	if c.Offsets != nil {
		c.Offsets = c.Offsets[:n+1]
		c.Bytes = c.Bytes[:c.Offsets[n]]
	}
}

// grow returns s with length n, reallocated only when its capacity is too small.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
