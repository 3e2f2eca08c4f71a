package mdf

import "fmt"

// tileBytes is how much of the records is decoded at a time, one column after the other: so much stays in the first-level
// cache, while walking all records of a block for each column would fetch them from the second or third again and again.
const tileBytes = 24 << 10

// decodeColumns fills the columns of all decoders from the first n records of in, the first of which has number first. It may
// stop early and returns for how many records it did.
func decodeColumns(cols []*decoder, in *rows, n int, first uint64) (int, error) {
	decodeTiles(cols, in, n)
	var err error
	all, held := n, int64(0)
	for i := 0; i < len(cols) && n > 0; i++ {
		d := cols[i]
		if d.simple {
			d.decodeValidity(in, n)
			continue
		}
		var e error
		if n, e = d.decode(in, n, first); e != nil {
			err = e
		}
		limit := d.ch.Group.File.opts.maxBlock()
		if held += int64(len(d.col.Bytes)); held <= 2*limit {
			continue
		}
		if all > 1 {
			return decodeColumns(cols, in, 1, first)
		}
		return 0, fmt.Errorf("values of a record of group %d are longer than %d bytes together, Options.MaxBlockBytes is %d: %w",
			d.ch.Group.Index, held, limit, ErrLimit)
	}
	return n, err
}

// boundColumns makes blocks so short that their columns take no more than Options.MaxBlockBytes together. Without it a record of a
// byte would give thousands of columns of the same byte 16384 values each, and as many channels 4 MiB each of the same value.
func (r *GroupReader) boundColumns() error {
	limit := r.g.File.opts.maxBlock()
	fixed, free := int64(0), int64(0)
	for _, d := range r.cols {
		fixed += d.perRecord()
		if d.blobs != nil || len(d.nums) > 0 && !d.raw && d.ch.Conversion != nil && d.ch.Conversion.hasText {
			free++
		}
	}
	if fixed > 2*limit {
		return fmt.Errorf("%d channels of group %d take %d bytes a record, Options.MaxBlockBytes is %d: %w",
			len(r.cols), r.g.Index, fixed, limit, ErrLimit)
	}
	r.max = int(max(min(int64(r.max), limit/max(fixed, 1)), 1))
	for _, d := range r.cols {
		d.most = int(max(min(maxColumnBytes, limit/max(free, 1)), minShare))
	}
	return nil
}

// perRecord is how many bytes a record takes in the column, without values of variable length.
func (d *decoder) perRecord() int64 {
	switch {
	case d.blobs != nil:
		return 24 // offsets, and the order in which values are read
	case len(d.nums) > 0:
		return 8*int64(d.col.Width) + 1
	}
	width := int64(max(d.col.Width, 1))
	n := int64(d.length) * width // elements of an array may share bytes
	if k := d.col.Kind; k == Text || k == Texts {
		n *= 2 // Latin-1 letters take up to two bytes
	}
	return n + 4*width + 1
}

// decodeTiles decodes the simple columns.
func decodeTiles(cols []*decoder, in *rows, n int) {
	any := false
	for _, d := range cols {
		if d.simple {
			d.col.Values = grow(d.col.Values, n)
			any = true
		}
	}
	if !any { // and perhaps no rows
		return
	}
	tile := max(tileBytes/max(in.stride, 1), 16)
	for at := 0; at < n; at += tile {
		end := min(at+tile, n)
		rec := in.data[at*in.stride:]
		for _, d := range cols {
			if d.simple {
				v := d.col.Values[at:end]
				d.nums[0].decode(v, rec, in.stride)
				d.apply(v)
			}
		}
	}
}

// setSimple says whether the column is one number a record that stands in it, so that parts of it can be decoded in any order.
func (d *decoder) setSimple() {
	c := d.ch
	d.simple = d.blobs == nil && d.col.Width == 1 && !c.virtual() &&
		(d.raw || c.Conversion == nil || !c.Conversion.hasText)
}

// apply is the conversion of a simple column.
func (d *decoder) apply(v []float64) {
	if !d.raw && d.ch.Conversion != nil {
		d.ch.Conversion.Apply(v, d.ch.isInteger())
	}
}

// planarColumns fills the columns of the decoders that can do without rows from n rows of a transposed block of whole records.
func planarColumns(cols []*decoder, p planeView, n int) {
	for _, d := range cols {
		if !d.planar() {
			continue
		}
		d.col.Values = grow(d.col.Values, n)
		d.nums[0].gather(d.col.Values, p.data, p.rows, p.row)
		d.apply(d.col.Values)
		at := (int(d.ch.Group.DataBytes)+d.inval)*p.rows + p.row
		d.validity(p.data, at, 1, n)
	}
}

// A planeView is a place in the planes of a transposed block.
type planeView struct {
	data []byte
	rows int // of the block
	row  int
}

func (d *decoder) planar() bool { return d.simple && d.nums[0].planar() }
