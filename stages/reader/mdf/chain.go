package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
)

// Kinds of compression of a DZ block (dz_zip_type), shifted by one so that 0 is none.
const (
	zipNone = iota
	zipDeflate
	zipTransposed
	zipZeros // there is no block: all its bytes are 0
)

// fragment is one data block of a chain: where its bytes lie and which bytes of the data they are.
type fragment struct {
	off   int64 // of the block, for messages
	body  int64 // of its bytes in the file
	disk  int64 // number of these bytes, cut at the end of the file
	start int64 // position of its first byte in the data
	size  int64 // number of bytes it gives
	zip   uint8
	cols  uint32 // zipTransposed: bytes of a row
	cut   error  // the block is longer than the file
	bad   error  // the block cannot be read; its size is what the list says
}

// chain is the list of data blocks (DT, DZ, DL, HL, and SD, DV, DI likewise) behind one link, discovered block by
// block as it is read: opening a chain costs one header, whatever its length. A chain takes 88 bytes a block.
type chain struct {
	src     *source
	f       *File
	want    string        // plain block id: "##DT", "##SD", "##DV", "##DI"
	group   *ChannelGroup // "##DI": of whose records they are
	frags   []fragment
	pending []int64 // links of the current list block that are not opened yet
	sizes   []int64 // of these blocks by the list, 0 where it does not say; only with skip
	skip    bool    // blocks that cannot be read are fragments too, if their size is known
	next    int64   // next list block
	first   int64   // the chain's link, as long as it could not be read
	lists   map[int64]bool
	listed  int64 // bytes of the lists read so far
	listEnd int64 // behind the last of them
	start   int64 // position after the last fragment
	disk    int64 // bytes of all fragments in the file
	err     error // io.EOF after the last fragment, or why discovery stopped
	repair  bool  // unfinalized: the last block's length is not to be trusted
	limit   int64 // of an inflated transposed block
	head    [dzHeader]byte
}

const dzHeader = 48 // block header and the fixed part of a DZ

func (f *File) newChain(link int64, want string) *chain {
	c := &chain{src: f.src, f: f, want: want, limit: f.opts.maxBlock(), lists: map[int64]bool{}}
	c.repair = !f.Finalized && f.UnfinFlags&unfinDTLength != 0
	if link == 0 {
		c.err = io.EOF
		return c
	}
	if err := c.open(link); isReadError(err) {
		c.first = link
	} else {
		c.err = err
	}
	return c
}

// open reads the first block, which may be a list.
func (c *chain) open(link int64) error {
	id, _, _, err := c.src.header(link)
	if err != nil {
		return err
	}
	switch id {
	case "##HL":
		b, err := c.list(link, "##HL")
		if err != nil {
			return err
		}
		c.next = b.link(0)
	case "##DL", "##LD":
		c.next = link
	default:
		c.pending = []int64{link}
	}
	return nil
}

// list reads a list block whole, past the header budget: it is data, not metadata, and read when reached. Lists do not overlap, so
// all of a chain together are no longer than the file.
func (c *chain) list(off int64, want ...string) (block, error) {
	if c.lists[off] {
		return block{}, corrupt(off, want[0], "is linked to twice: the links form a cycle")
	}
	budget := *c.src
	budget.budget = budget.size - c.listed
	b, err := budget.block(off, want...)
	if isReadError(err) {
		return b, err
	}
	c.lists[off] = true
	c.listed = budget.size - budget.budget
	c.listEnd = off + headerSize + int64(len(b.raw))
	return b, err
}

// at returns fragment i, discovering it if need be; io.EOF after the last. Where the source cannot be read the next call tries again.
func (c *chain) at(i int) (*fragment, error) {
	for i >= len(c.frags) {
		if c.err != nil {
			return nil, c.err
		}
		if err := c.discover(); isReadError(err) {
			return nil, err
		} else {
			c.err = err
		}
	}
	return &c.frags[i], nil
}

// discover appends the next fragment or reads the next list block.
func (c *chain) discover() error {
	if c.first != 0 {
		if err := c.open(c.first); err != nil {
			return err
		}
		c.first = 0
	}
	for len(c.pending) == 0 {
		if c.next == 0 {
			off, err := c.unlisted()
			switch {
			case err != nil:
				return err
			case off == 0:
				return io.EOF
			}
			c.sizes = nil
			return c.addBlock(off)
		}
		if err := c.readList(); err != nil {
			return err
		}
	}
	pending, sizes := c.pending, c.sizes
	link := c.pending[0]
	c.pending = c.pending[1:]
	if link == 0 {
		if !c.f.Finalized { // the writer had reserved room for more links
			c.pending, c.next = c.pending[:0], 0
		}
		return nil
	}
	size := int64(0)
	if len(c.sizes) > 0 {
		size, c.sizes = c.sizes[0], c.sizes[1:]
	}
	n, start, disk := len(c.frags), c.start, c.disk
	var err error
	if link < 0 && c.group != nil {
		err, size = c.addZeros(-link), 0
	} else {
		err = c.addBlock(link)
	}
	if isReadError(err) {
		c.pending, c.sizes = pending, sizes
	}
	if err == nil || size <= 0 || isReadError(err) {
		return err
	}
	if len(c.frags) == n {
		c.disk = disk
	} // else the end of the file cuts the block: what is in front can be read
	if rest := size - (c.start - start); rest > 0 {
		c.frags = append(c.frags, fragment{off: link, start: c.start, size: rest, bad: err})
		c.start += rest
	}
	return nil
}

// readList reads one DL (MDF 4.2, 5.21). Its offsets are not needed, but for passing damage: the blocks' own lengths are
// read on the way, which costs one small read a block and cannot disagree with the data.
func (c *chain) readList() error {
	off := c.next
	id, _, _, err := c.src.header(off)
	if err != nil {
		return err
	}
	if id == "##LD" {
		return c.readColumnList(off)
	}
	b, err := c.list(off, "##DL")
	if err != nil {
		return err
	}
	if b.nlink < 1 {
		return corrupt(off, b.id, "has no links")
	}
	d, err := b.data(8)
	if err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint32(d[4:]))
	if !c.f.Finalized && c.f.UnfinFlags&unfinDL != 0 && b.link(0) == 0 {
		n = b.nlink - 1 // the count is not up to date; links that are not used are 0
	}
	if n > b.nlink-1 {
		return corrupt(off, b.id, "says %d blocks, has %d links", n, b.nlink)
	}
	if c.skip {
		c.listSizes(d, n, b.link(0) == 0)
	}
	return c.takeList(b, 1, n, 1)
}

// listSizes takes the sizes of the n blocks of a list from its data: one for all but the last of all lists, or their offsets.
func (c *chain) listSizes(d []byte, n int, last bool) {
	le := binary.LittleEndian
	c.sizes = grow(c.sizes, n)
	clear(c.sizes)
	at := func(i int) int64 { return int64(le.Uint64(d[8+8*i:])) }
	switch {
	case d[0]&1 != 0 && len(d) >= 16:
		for i := range n {
			c.sizes[i] = at(0)
		}
		if last && n > 0 {
			c.sizes[n-1] = 0
		}
	case d[0]&1 == 0 && len(d) >= 8+8*n && n > 0 && at(0) == c.start:
		for i := range n - 1 {
			c.sizes[i] = at(i+1) - at(i)
		}
	}
	for i, size := range c.sizes {
		if size < 0 || size > c.src.size*maxInflate {
			c.sizes[i] = 0
		}
	}
}

// readColumnList reads one LD (MDF 4.2, 5.30): links of the data blocks, then, with flag bit 31, those of the
// invalidation blocks. Writers that put each invalidation block behind its data block are understood too.
func (c *chain) readColumnList(off int64) error {
	b, err := c.list(off, "##LD")
	if err != nil {
		return err
	}
	d, err := b.data(8)
	if err != nil {
		return err
	}
	flags, n := binary.LittleEndian.Uint32(d), int(binary.LittleEndian.Uint32(d[4:]))
	links := n
	if flags&(1<<31) != 0 {
		links *= 2
	}
	if links > b.nlink-1 {
		return corrupt(off, b.id, "says %d blocks, has %d links", n, b.nlink)
	}
	pairs := false
	if links != n && n > 1 {
		if pairs, err = c.holds(b.link(2), "##DI"); err == nil && !pairs {
			pairs, err = c.holds(b.link(2*n-1), "##DV")
		}
		if err != nil {
			delete(c.lists, off)
			return err
		}
	}
	switch {
	case c.want == "##DI" && links == n: // no list of them: all samples are valid
		return c.takeInval(b, 0, 1, n, 1)
	case pairs:
		if c.want == "##DI" {
			return c.takeInval(b, 2, 1, n, 2)
		}
		return c.takeList(b, 1, n, 2)
	case c.want == "##DI":
		return c.takeInval(b, 1+n, 1, n, 1)
	}
	return c.takeList(b, 1, n, 1)
}

// takeInval is takeList for invalidation bytes, from link first on, 0 for none at all. Where the link is nil, all samples of the data
// block are valid, whose link, from link data on, is taken as a negative number.
func (c *chain) takeInval(b block, first, data, n, step int) error {
	c.pending = c.pending[:0]
	for i := range n {
		link := int64(0)
		if first > 0 {
			link = b.link(first + i*step)
		}
		if link == 0 {
			link = -b.link(data + i*step)
		}
		c.pending = append(c.pending, link)
	}
	c.next = b.link(0)
	return nil
}

// addZeros appends the invalidation bytes of the samples in the data block at off, all of which are valid.
func (c *chain) addZeros(off int64) error {
	d := c.f.newChain(0, "##DV")
	if err := d.addBlock(off); len(d.frags) == 0 {
		return err
	}
	g := c.group
	rows := d.start / int64(g.DataBytes)
	if rows > math.MaxInt64/4/int64(g.InvalBytes) {
		return corrupt(off, c.want, "would have %d invalidation bytes for each of %d records", g.InvalBytes, rows)
	}
	fr := fragment{off: off, start: c.start, size: rows * int64(g.InvalBytes), zip: zipZeros}
	c.start += fr.size
	c.frags = append(c.frags, fr)
	return nil
}

// holds says whether the block at a link has data of that kind, compressed or not.
func (c *chain) holds(link int64, want string) (bool, error) {
	id, _, _, err := c.src.header(link)
	if err == nil && id == "##DZ" {
		id, err = c.f.zippedID(link)
	}
	return err == nil && id == want, onlyReadError(err)
}

// takeList takes n links of a list, each step behind the last.
func (c *chain) takeList(b block, first, n, step int) error {
	c.pending = c.pending[:0]
	for i := range n {
		c.pending = append(c.pending, b.link(first+i*step))
	}
	c.next = b.link(0)
	return nil
}

// header is source.header without an allocation; of a DZ it reads the fixed part too.
func (c *chain) header(off int64) (string, int64, int, error) {
	if off < 64 || off > c.src.size-headerSize {
		return c.src.header(off)
	}
	if err := c.src.readFull(c.head[:min(dzHeader, c.src.size-off)], off); err != nil {
		return "", 0, 0, err
	}
	return c.src.parseHeader(off, c.head[:])
}

// addBlock appends the data block at off.
func (c *chain) addBlock(off int64) error {
	id, length, nlink, err := c.header(off)
	if err != nil {
		return err
	}
	fr := fragment{off: off, start: c.start}
	switch {
	case id == c.want || c.want == "##DT" && id == "##DV":
		head := headerSize + 8*int64(nlink)
		if err := c.plain(&fr, id, head, length); err != nil {
			return err
		}
	case id == "##DZ":
		if err := c.zipped(&fr, length); err != nil {
			return err
		}
	default:
		return corrupt(off, id, "stands where %s or ##DZ is expected", c.want)
	}
	if c.disk += fr.disk + headerSize; c.disk > c.src.size {
		return corrupt(off, id, "is listed with others that are together longer than the file")
	}
	c.start += fr.size
	c.frags = append(c.frags, fr)
	if fr.cut != nil {
		return fr.cut
	}
	return nil
}

// plain fills the fragment of an uncompressed block.
func (c *chain) plain(fr *fragment, id string, head, length int64) error {
	fr.body = fr.off + head
	end := fr.off + max(length, head)
	if c.repair && c.isLast() {
		var err error
		if end, err = c.f.endOf(fr.off, head, length); err != nil {
			return err
		}
	}
	if end > c.src.size || end < 0 {
		fr.cut = truncated(fr.off, id, length, c.src.size-fr.off)
		end = c.src.size
	}
	fr.disk = max(end-fr.body, 0)
	fr.size = fr.disk
	return nil
}

// isLast says that no block follows the one that is being added. Links that are not used yet are 0.
func (c *chain) isLast() bool {
	return c.next == 0 && !slices.ContainsFunc(c.pending, func(link int64) bool { return link != 0 })
}

// Deflate cannot expand more than this (RFC 1951: 258 bytes from 2 bits).
const maxInflate = 1032

// zipped fills the fragment of a DZ (MDF 4.2, 5.23).
func (c *chain) zipped(fr *fragment, length int64) error {
	const id = "##DZ"
	if c.src.size-fr.off < dzHeader {
		return truncated(fr.off, id, length, c.src.size-fr.off)
	}
	d := c.head[headerSize:]
	le := binary.LittleEndian
	if org := blockID([]byte{'#', '#', d[0], d[1]}); org != c.want && (c.want != "##DT" || org != "##DV") {
		return corrupt(fr.off, id, "holds a %s where %s is expected", org, c.want)
	}
	if d[2] > 1 {
		return fmt.Errorf("data block at %#x: compression type %d: %w", fr.off, d[2], ErrUnsupported)
	}
	fr.zip, fr.cols = zipDeflate+d[2], le.Uint32(d[4:])
	fr.body, fr.size, fr.disk = fr.off+dzHeader, int64(le.Uint64(d[8:])), int64(le.Uint64(d[16:]))
	switch {
	case fr.disk < 0 || fr.disk > length-dzHeader:
		return corrupt(fr.off, id, "of %d bytes says it holds %d", length, uint64(fr.disk))
	case fr.size < 0 || fr.size/maxInflate > fr.disk+1:
		return corrupt(fr.off, id, "says that %d bytes inflate to %d", fr.disk, uint64(fr.size))
	case fr.zip == zipTransposed && fr.cols == 0:
		return corrupt(fr.off, id, "is transposed with rows of 0 bytes")
	case fr.zip == zipTransposed && fr.size > c.limit:
		return fmt.Errorf("data block at %#x: transposed block of %d bytes, Options.MaxBlockBytes is %d: %w",
			fr.off, fr.size, c.limit, ErrLimit)
	}
	if have := c.src.size - fr.body; fr.disk > have {
		fr.cut = truncated(fr.off, id, length, c.src.size-fr.off)
		fr.disk = have
	}
	return nil
}

// find returns the number of the fragment that holds position pos, discovering on the way; io.EOF past the end.
func (c *chain) find(pos int64) (int, error) {
	for pos >= c.start {
		if _, err := c.at(len(c.frags)); err != nil {
			return len(c.frags), err
		}
	}
	return sort.Search(len(c.frags), func(i int) bool { return c.frags[i].start+c.frags[i].size > pos }), nil
}

// total returns the length of the data, discovering all blocks. A chain that ends in a truncated or wrong block
// gives the length up to there and the error.
func (c *chain) total() (int64, error) {
	for {
		if _, err := c.at(len(c.frags)); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return c.start, err
		}
	}
}
