package mdf

import (
	"errors"
	"io"
	"iter"
)

// A DataBlock is one block of the data of a group, as its header says.
type DataBlock struct {
	Offset     int64  // in the file
	ID         string // "##DT", "##DZ", "##DV", "##SD", ...
	Disk       int64  // bytes of data in the file
	Start      int64  // position of the first byte in the data
	Size       int64  // bytes of data, inflated
	Transposed bool
	RowBytes   int // of a transposed block
}

// DataBlocks walks the blocks that hold the records of the group, in order, reading their headers only. Groups that
// share their data have the same. What is wrong comes last, as an error with an empty block.
func (g *ChannelGroup) DataBlocks() iter.Seq2[DataBlock, error] {
	want := "##DT"
	columns, err := g.columnar()
	if err != nil {
		return func(yield func(DataBlock, error) bool) { yield(DataBlock{}, err) }
	}
	if columns {
		want = "##DV"
	}
	return g.File.newChain(g.data.link, want).blocks()
}

// ValueBlocks walks the blocks that hold the values of a variable-length channel; there are none if another group
// holds them.
func (c *Channel) ValueBlocks() iter.Seq2[DataBlock, error] {
	link := c.dataLink
	if c.Type != VLSD || c.values != nil {
		link = 0
	}
	return c.Group.File.newChain(link, "##SD").blocks()
}

func (c *chain) blocks() iter.Seq2[DataBlock, error] {
	return func(yield func(DataBlock, error) bool) {
		for i := 0; ; i++ {
			fr, err := c.at(i)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(DataBlock{}, err)
				return
			case !yield(c.describe(fr), nil):
				return
			}
		}
	}
}

func (c *chain) describe(fr *fragment) DataBlock {
	b := DataBlock{Offset: fr.off, ID: c.want, Disk: fr.disk, Start: fr.start, Size: fr.size}
	if fr.zip != zipNone {
		b.ID = "##DZ"
	}
	if fr.zip == zipTransposed {
		b.Transposed, b.RowBytes = true, int(fr.cols)
	}
	return b
}
