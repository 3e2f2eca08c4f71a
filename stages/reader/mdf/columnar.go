package mdf

import "encoding/binary"

// columnar says that data and invalidation bytes of the group are kept apart (MDF 4.20, DV and DI blocks).
func (g *ChannelGroup) columnar() (bool, error) {
	if g.data.link == 0 {
		return false, nil
	}
	id, err := g.File.listID(g.data.link)
	if id == "##DZ" {
		id, err = g.File.zippedID(g.data.link)
	}
	return id == "##LD" || id == "##DV", err
}

// listID says what block of data, or list of such, is at link, behind an HL if there is one; "" if it is no block. Errors are the source's.
func (f *File) listID(link int64) (string, error) {
	id, length, nlink, err := f.src.header(link)
	if err != nil {
		return "", onlyReadError(err)
	}
	if id != "##HL" || nlink < 1 || length < headerSize+8 || link > f.src.size-headerSize-8 {
		return id, nil
	}
	b, err := f.src.at(link+headerSize, 8)
	if err != nil {
		return "", onlyReadError(err)
	}
	if id, _, _, err = f.src.header(int64(binary.LittleEndian.Uint64(b))); err != nil {
		return "", onlyReadError(err)
	}
	return id, nil
}

// zippedID says what a DZ block holds; "" if it is cut off. Errors are the source's.
func (f *File) zippedID(off int64) (string, error) {
	if off > f.src.size-dzHeader {
		return "", nil
	}
	d, err := f.src.at(off+headerSize, 2)
	if err != nil {
		return "", onlyReadError(err)
	}
	return blockID([]byte{'#', '#', d[0], d[1]}), nil
}

// columnRows reads a group whose data bytes are in DV and whose invalidation bytes are in DI blocks. The blocks of
// the two need not hold the same records.
type columnRows struct {
	g     *ChannelGroup
	data  sortedRows
	inval *sortedRows // nil without invalidation bytes
	valid []byte      // what stands for them then
}

func newColumnRows(g *ChannelGroup) (*columnRows, error) {
	f := g.File
	c := &columnRows{g: g}
	c.data = sortedRows{s: newStream(f.newChain(g.data.link, "##DV")), g: g, size: int(g.DataBytes)}
	c.valid = make([]byte, g.InvalBytes)
	if g.InvalBytes == 0 || g.DataBytes == 0 {
		return c, nil
	}
	id, err := f.listID(g.data.link)
	if id == "##LD" {
		c.inval = &sortedRows{s: newStream(f.newChain(g.data.link, "##DI")), g: g, size: int(g.InvalBytes)}
		c.inval.s.c.group = g
	}
	return c, err
}

func (c *columnRows) peek(max int) (rows, error) {
	r, err := c.data.peekBytes(max)
	r.inval, r.invalStride = nil, 0
	if c.inval == nil {
		r.inval = c.valid
		return r, err
	}
	if err != nil {
		return r, err
	}
	i, err := c.inval.peekBytes(r.n)
	r.n = min(r.n, i.n)
	r.inval, r.invalStride = i.data, i.stride
	return r, err
}

func (c *columnRows) advance(n int) {
	c.data.advance(n)
	if c.inval != nil {
		c.inval.advance(n)
	}
}

func (c *columnRows) seek(record uint64) error {
	if c.inval != nil {
		if err := c.inval.seek(record); err != nil {
			return err
		}
	}
	return c.data.seek(record)
}

// resume gets the position in the data bytes, from which that of the invalidation bytes follows.
func (c *columnRows) resume(pos int64) error { return c.seek(uint64(pos / int64(c.data.size))) }

func (c *columnRows) where() (int64, string) { return c.data.where() }

func (c *columnRows) pending() error {
	if c.inval != nil && c.inval.pending() != nil {
		return c.inval.pending()
	}
	return c.data.pending()
}

func (c *columnRows) close() {
	c.data.close()
	if c.inval != nil {
		c.inval.close()
	}
}
