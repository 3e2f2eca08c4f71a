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
	Width   int // values a record: 1, 2 for Complex, elements of an array (twice, of complex ones), 0 for Text and Bytes

	// Values are numbers, Width of them a record. They are physical, unless ReadOptions.Raw. A conversion to text
	// leaves the raw values here; if it is Mixed, the values that convert to a number are that number and those that
	// convert to a text NaN.
	Values []float64
	// Valid says of each record whether the sample is valid; nil says that all are. Invalid samples have values too. Of an array
	// whose elements have a bit each it says whether all of them are valid.
	Valid []bool
	// Record i has Bytes[Offsets[i]:Offsets[i+1]]: UTF-8 for Text and for conversions to text, bytes as recorded for
	// Bytes and Struct. Offsets is nil for columns of numbers alone. Element k of record i of an array has number i*Width+k here.
	Offsets []uint32
	Bytes   []byte
}

// At returns the text or bytes of record i of the block, of an array those of element i, counted through all records. They are
// valid as long as the block is.
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
	sizes  []uint32 // MLSD: where the elements of the array of sizes begin in the record; nil if all have the same
	blobs  *blobs   // VLSD
	field  [2]int   // Text, Bytes: the bytes of the record, with all elements of an array
	length int      // Text, Bytes: of a value
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
		if col.Kind != Text && col.Kind != Struct {
			col.Kind = Bytes
		}
	case col.Kind == Number || col.Kind == Numbers || col.Kind == Complex:
		d.setNumbers(off)
		d.setSimple()
	default:
		d.setField()
	}
	return d, nil
}

// setField sets the bytes of a record that Text, Bytes and Struct have.
func (d *decoder) setField() {
	c := d.ch
	d.field[0], d.field[1] = c.extent()
	d.length = int(c.BitCount / 8)
	if s := c.size; s != nil {
		d.size = newNumber(s.DataType, int(s.ByteOffset), uint(s.BitOffset), uint(s.BitCount))
	}
	switch {
	case d.col.Kind == Struct:
		d.length = d.field[1] - d.field[0]
	case c.isArray():
		d.col.Width = c.Array.Elements
	}
}

// setNumbers sets the numeric fields of a record.
func (d *decoder) setNumbers(off int) {
	if d.ch.isArray() {
		d.addNumbers(0)
		d.col.Width = len(d.nums) * d.ch.Array.Elements
		return
	}
	d.addNumbers(off)
	d.col.Width = len(d.nums)
}

// isArray says that the values of a record are elements; an array of one is like a scalar.
func (c *Channel) isArray() bool { return c.Array != nil && c.Array.Elements > 1 }

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
	from, to := 0, 0    // fields of scalars know their place
	if d.ch.isArray() { // all from the lowest to the highest element
		low, high := d.ch.Array.reach()
		from, to = int(d.ch.ByteOffset)+int(low), int(d.ch.ByteOffset)+int(high)
	}
	for i := range d.nums {
		yield(from+d.nums[i].off, to+d.nums[i].off+d.nums[i].nbytes)
	}
	yield(d.field[0], d.field[1])
	yield(d.sizeBytes())
	if d.inval >= 0 {
		at := int(d.ch.Group.DataBytes)
		yield(at+d.inval, at+max(d.inval+1, len(d.masks)))
	}
}

// sizeBytes are the bytes of a record that the sizes of MLSD values have.
func (d *decoder) sizeBytes() (from, to int) {
	if d.ch.size == nil {
		return 0, 0
	}
	return d.ch.size.extent()
}

// decode fills the column from the first n records of r, the first of which has number first. It may stop early
// and returns for how many it did.
func (d *decoder) decode(r *rows, n int, first uint64) (int, error) {
	var err error
	switch {
	case d.blobs != nil:
		n, err = d.decodeBlobs(r, n, first)
	case len(d.nums) == 0:
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
	d.placeElements()
	row, step := d.elementRow()
	values := d.col.Values
	for i := range n {
		rec := r.data[i*r.stride : (i+1)*r.stride]
		for e := 0; e < len(d.elems); e += row {
			at := rec[d.elems[e]:]
			for k := range d.nums {
				d.nums[k].decode(values[:row], at, step)
				values = values[row:]
			}
		}
	}
}

// elementRow is how many elements that follow each other in the column stand as far from each other in the record, and how far.
func (d *decoder) elementRow() (n, step int) {
	if a := d.ch.Array; d.ch.isArray() && len(d.nums) == 1 {
		if last := len(a.Dims) - 1; a.strides[last] > 0 {
			return a.Dims[last], a.strides[last]
		}
	}
	return 1, 0
}

// placeElements finds where the elements of an array begin, once.
func (d *decoder) placeElements() {
	if d.elems != nil {
		return
	}
	switch {
	case d.ch.isArray() && d.col.Kind != Struct:
		d.elems = d.ch.elementOffsets()
	default: // complex numbers know their place
		d.elems = []uint32{uint32(d.field[0])}
	}
	if s := d.ch.size; s != nil && s.isArray() {
		d.sizes, d.size.off = s.elementOffsets(), 0
	}
}

// elementOffsets are where the elements of an array begin in the record.
func (c *Channel) elementOffsets() []uint32 {
	elems := make([]uint32, c.Array.Elements)
	for i := range elems {
		elems[i] = uint32(int(c.ByteOffset) + c.Array.offset(i))
	}
	return elems
}

// decodeField copies or decodes the field of Text and Bytes channels, or of the elements of an array of these.
func (d *decoder) decodeField(r *rows, n int) {
	c := d.col
	d.placeElements()
	c.start(n * len(d.elems))
	for i := range n {
		rec := r.data[i*r.stride : (i+1)*r.stride]
		for e, at := range d.elems {
			b := rec[at : int(at)+d.length]
			if d.ch.size != nil {
				b = b[:min(d.size.uint(rec[d.sizeAt(e):]), uint64(len(b)))]
			}
			c.append(b)
		}
	}
}

// sizeAt is where the array of sizes has that of element e; 0 if it is none, whose number knows its place.
func (d *decoder) sizeAt(e int) int {
	if d.sizes == nil {
		return 0
	}
	return int(d.sizes[e])
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
			if !errors.Is(err, io.EOF) && !isCanceled(err) && !isReadError(err) {
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
	if c.Kind == Text || c.Kind == Texts {
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

// trim cuts the column to n records.
func (c *Column) trim(n int) {
	all := n * max(c.Width, 1)
	if c.Values != nil {
		c.Values = c.Values[:all]
	}
	if c.Valid != nil {
		c.Valid = c.Valid[:n]
	}
	if c.Offsets != nil {
		c.Offsets = c.Offsets[:all+1]
		c.Bytes = c.Bytes[:c.Offsets[all]]
	}
}

// grow returns s with length n, reallocated only when its capacity is too small.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
