package mdf

// planes hold some rows of a transposed block, column by column as the block has them (MDF 4.2, 5.23.2: byte 0 of every
// row, then byte 1 of every row, and so on; a remainder of less than a row stands at the end as it is). Only wanted
// columns and no more rows than fit into a limit are kept.
type planes struct {
	off      int64 // of the block in the file; 0 for none
	from, to int   // rows
	wanted   *columnSet
	buf      []byte // from..to of the first wanted column, then of the second, ...
	tail     []byte // the remainder
}

// A columnSet is the bytes of a row that are wanted.
type columnSet struct {
	slots   []int32 // by column: its number among the wanted ones, −1 if it is not wanted
	columns []int   // that are wanted, ascending
}

// maxColumns bounds the rows that are taken apart: of longer ones all bytes are kept, which takes less than to say which.
const maxColumns = 1 << 20

// newColumnSet makes the set of the given bytes of rows of size bytes; nil if that is all of them.
func newColumnSet(size int, wanted func(yield func(from, to int))) *columnSet {
	if size > maxColumns {
		return nil
	}
	c := &columnSet{slots: make([]int32, size)}
	wanted(func(from, to int) {
		for i := from; i < min(to, size); i++ {
			c.slots[i] = 1
		}
	})
	for i, w := range c.slots {
		c.slots[i] = -1
		if w > 0 {
			c.slots[i] = int32(len(c.columns))
			c.columns = append(c.columns, i)
		}
	}
	if len(c.columns) == size {
		return nil
	}
	return c
}

// fits says whether rows of the block are records of the set; otherwise all of the block is needed.
func (c *columnSet) fits(fr *fragment) bool {
	return c != nil && int(fr.cols) == len(c.slots) && fr.start%int64(fr.cols) == 0
}

// rows is the number of whole rows of a transposed block.
func (fr *fragment) rows() int { return int(fr.size / int64(fr.cols)) }

// have says whether row is there; the one behind the last stands for the remainder.
func (p *planes) have(fr *fragment, row int) bool {
	return p.off == fr.off && (row >= p.from && row < p.to || row == fr.rows())
}

// load inflates the block and keeps the rows from row on that fit into limit bytes, but at least one. After an error
// nothing is kept.
func (p *planes) load(inf *inflater, src *source, fr *fragment, row int, wanted *columnSet, limit int64) error {
	p.off, p.wanted = 0, nil
	kept := int(fr.cols)
	if wanted.fits(fr) {
		p.wanted, kept = wanted, max(len(wanted.columns), 1)
	}
	p.from = row
	p.to = min(fr.rows(), row+max(int(limit)/kept, 1))
	size := (p.to - p.from) * kept
	if int64(cap(p.buf)) > limit && cap(p.buf) > size { // the share has shrunk
		p.buf = nil
	}
	p.buf = grow(p.buf, size)
	p.tail = grow(p.tail, int(fr.size%int64(fr.cols)))
	if err := p.inflate(inf, src, fr); err != nil {
		return err
	}
	p.off = fr.off
	return nil
}

func (p *planes) inflate(inf *inflater, src *source, fr *fragment) error {
	all := int64(len(p.buf)) == fr.size
	if all && inflateWhole(src, fr, p.buf) || !all && p.takeWhole(src, fr) {
		return nil
	}
	if err := inf.start(src, fr); err != nil {
		return err
	}
	if all {
		_, err := inf.read(fr, p.buf, 0)
		return err
	}
	return inf.pieces(fr, func(b []byte, at int64) { p.take(fr, b, int(at)) })
}

// take keeps what is wanted of b, which stands at a position of the block.
func (p *planes) take(fr *fragment, b []byte, at int) {
	rows, cols := fr.rows(), int(fr.cols)
	for len(b) > 0 && at < rows*cols {
		col, row := at/rows, at%rows
		n := min(len(b), rows-row)
		if slot := p.slot(col); slot >= 0 {
			p.takeColumn(slot, b[:n], row)
		}
		b, at = b[n:], at+n
	}
	if len(b) > 0 {
		copy(p.tail[at-rows*cols:], b)
	}
}

func (p *planes) slot(col int) int {
	if p.wanted == nil {
		return col
	}
	return int(p.wanted.slots[col])
}

// takeColumn keeps the rows from..to of a column, of which b has those from row on.
func (p *planes) takeColumn(slot int, b []byte, row int) {
	low, high := max(p.from, row), min(p.to, row+len(b))
	if low < high {
		copy(p.buf[slot*(p.to-p.from)+low-p.from:], b[low-row:high-row])
	}
}

// transpose writes rows from row on to dst, which has space for some whole rows of cols bytes; bytes that are not
// wanted become 0. Tiles keep both sides in the first-level cache.
func (p *planes) transpose(dst []byte, row, cols int) {
	const tile = 32
	held, rows := p.to-p.from, len(dst)/cols
	kept := cols
	if p.wanted != nil {
		kept = len(p.wanted.columns)
		clear(dst)
	}
	for r0 := 0; r0 < rows; r0 += tile {
		n := min(tile, rows-r0)
		start := row - p.from + r0
		for k := range kept {
			d := r0*cols + k
			if p.wanted != nil {
				d = r0*cols + p.wanted.columns[k]
			}
			for _, b := range p.buf[k*held+start : k*held+start+n] {
				dst[d] = b
				d += cols
			}
		}
	}
}
