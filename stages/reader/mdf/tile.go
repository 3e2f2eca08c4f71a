package mdf

// tileBytes is how much of the records is decoded at a time, one column after the other: so much stays in the first-level
// cache, while walking all records of a block for each column would fetch them from the second or third again and again.
const tileBytes = 24 << 10

// decodeColumns fills the columns of all decoders from the first n records of in, the first of which has number first. It may
// stop early and returns for how many records it did.
func decodeColumns(cols []*decoder, in *rows, n int, first uint64) (int, error) {
	decodeTiles(cols, in, n)
	var err error
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
	}
	return n, err
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
	d.simple = d.blobs == nil && d.col.Width == 1 && c.Type != VirtualMaster && c.Type != VirtualData &&
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
