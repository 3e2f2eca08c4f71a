package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// ReadOptions say how the channels of a group are decoded. The zero value is right for most.
type ReadOptions struct {
	// Raw leaves the conversions out, that of the times too. Texts are UTF-8 all the same.
	Raw bool
	// BlockRecords bounds the records of a block; 0 means as many as fit well into the processor's cache. A block
	// may have fewer.
	BlockRecords int
	// Ahead is how many compressed blocks are inflated on other cores while the records before them are used; 0
	// means none. Each takes twice the size of a block in memory. With it the reader has to be closed.
	Ahead int
	// ColumnsOnly leaves Block.Records and Block.Inval nil. Of transposed blocks only the bytes that the columns and
	// times need are kept then.
	ColumnsOnly bool
	// SkipDamage goes on behind damage instead of ending with an error: Next skips the records of a damaged data block, and
	// GroupReader.Losses tells which, when, and why. Where nothing behind the damage can be found, reading ends with io.EOF
	// all the same: always look at Losses then.
	SkipDamage bool
}

const (
	blockBytes      = 512 << 10
	maxBlockRecords = 16384
)

func (o ReadOptions) records(g *ChannelGroup) int {
	if o.BlockRecords > 0 {
		return o.BlockRecords
	}
	return int(min(max(blockBytes/max(g.recordSize(), 1), 1), maxBlockRecords))
}

// A Block is some consecutive records of one group, in columns. Everything in it is reused: it is valid until the
// next call of Next, Seek, Resume or Close of the GroupReader that returned it.
type Block struct {
	Group   *ChannelGroup
	First   uint64    // number of the first record, from 0
	N       int       // number of records, at least 1
	Times   []float64 // values of the master: seconds since File.Start if its Sync is SyncTime; nil without a master
	Columns []Column  // in the order the channels were asked for
	// Records are the data bytes of the records as they stand in the file, without record id; record i starts at
	// i*Stride.
	Records []byte
	Stride  int
	// Inval are the invalidation bytes of the records; those of record i start at i*InvalStride.
	Inval       []byte
	InvalStride int

	at     rows
	values []ValuePosition
}

// A Position is the place of a record in a group, for going on there after a restart. It serialises as JSON; it is
// valid for the same file only.
type Position struct {
	Record uint64          `json:"record"`
	Offset int64           `json:"offset"` // in the group's data
	Values []ValuePosition `json:"values,omitempty"`
}

// A ValuePosition says where the values of a variable-length channel go on that are mixed with the records.
type ValuePosition struct {
	Channel int   `json:"channel"` // index
	Value   int64 `json:"value"`   // position among the values
	Offset  int64 `json:"offset"`  // in the group's data
}

// Position returns the place of record i of the block, 0 <= i <= N; N is the one after the block.
func (b *Block) Position(i int) Position {
	p := Position{Record: b.First + uint64(i), Values: append([]ValuePosition(nil), b.values...)}
	switch {
	case i < b.N:
		p.Offset = b.at.position(i)
	case b.N > 0 && b.at.at == nil:
		p.Offset = b.at.base + int64(i)*int64(b.at.stride)
	case b.N > 0:
		p.Offset = b.at.at[b.N-1] + int64(b.Group.data.idSize) + b.Group.recordSize()
	}
	return p
}

// A GroupReader reads channels of one group, block by block, with memory that does not depend on the size of the
// file. One goroutine uses it. Readers of several groups of a file are independent of each other, so groups can be
// merged by time by reading each as far as needed; groups that share their data (unsorted files) read it once each.
type GroupReader struct {
	g     *ChannelGroup
	opts  ReadOptions
	max   int
	src   recordSource
	cols  []*decoder
	times *decoder
	other recordSource // remote master: the records of the group with the times
	block Block
	tcol  Column
	call  call
	next  uint64
	err   error
	last  float64
	seen  bool

	losses []Loss
}

// errNoGroup is what comes of using what File.Group returned without looking.
var errNoGroup = errors.New("the group to be read is nil: the file has none of that name")

// Read opens a reader of the given channels, which have to be of g, from its first record. Without channels only
// times and raw records are delivered. Times need not be asked for.
func (g *ChannelGroup) Read(opts ReadOptions, channels ...*Channel) (*GroupReader, error) {
	if g == nil {
		return nil, errNoGroup
	}
	if g.VLSD {
		return nil, fmt.Errorf("group %d has values of another group only: %w", g.Index, ErrUnsupported)
	}
	if err := g.checkRecords(); err != nil {
		return nil, err
	}
	src, err := g.File.newRecordSource(g)
	if err != nil {
		return nil, fmt.Errorf("read group %d: %w", g.Index, err)
	}
	r := &GroupReader{g: g, opts: opts, max: opts.records(g), src: src, last: math.NaN()}
	if s := r.stream(); s != nil && opts.Ahead > 0 {
		s.ahead = newAhead(opts.Ahead)
	}
	if opts.SkipDamage {
		r.skipBlocks()
	}
	if err := r.openColumns(channels); err != nil {
		return nil, err
	}
	if err := r.openTimes(); err != nil {
		return nil, err
	}
	if err := r.boundColumns(); err != nil {
		return nil, err
	}
	r.handCall()
	if opts.ColumnsOnly {
		r.wantColumns()
	}
	if s := r.stream(); s != nil {
		s.join()
	}
	return r, nil
}

// checkRecords refuses records that cannot be read one after the other.
func (g *ChannelGroup) checkRecords() error {
	if limit := g.File.opts.maxBlock(); g.recordSize() > limit {
		return fmt.Errorf("group %d has records of %d bytes, Options.MaxBlockBytes is %d: %w", g.Index, g.recordSize(), limit, ErrLimit)
	}
	if g.DataBytes > 0 || g.InvalBytes == 0 {
		return nil
	}
	if columns, err := g.columnar(); err != nil {
		return err
	} else if columns {
		return corrupt(g.off, "##CG", "has %d invalidation bytes and no data bytes, in columns", g.InvalBytes)
	}
	return nil
}

func (r *GroupReader) openColumns(channels []*Channel) error {
	r.block = Block{Group: r.g, Columns: make([]Column, len(channels))}
	for i, c := range channels {
		if c == nil {
			return fmt.Errorf("group %d: channel %d of %d to be read is nil: the group has none of that name or number", r.g.Index, i+1, len(channels))
		}
		if c.Group != r.g {
			return fmt.Errorf("channel %q is of group %d, not of group %d", c.Name, c.Group.Index, r.g.Index)
		}
		d, err := newDecoder(c, &r.block.Columns[i], r.opts)
		if err != nil {
			return err
		}
		r.cols = append(r.cols, d)
	}
	return nil
}

// wantColumns says which bytes of records are needed, where the records of a group stand alone.
func (r *GroupReader) wantColumns() {
	if s, ok := r.src.(*sortedRows); ok {
		s.s.wanted = newColumnSet(s.size, func(yield func(from, to int)) {
			for _, d := range r.cols {
				d.bytes(yield)
			}
			if r.times != nil && r.other == nil {
				r.times.bytes(yield)
			}
		})
	}
	if s, ok := r.other.(*sortedRows); ok {
		s.s.wanted = newColumnSet(s.size, r.times.bytes)
	}
}

// openTimes prepares the master of the group, which may be in another one (MDF 4.20).
func (r *GroupReader) openTimes() error {
	g := r.g
	if g.Master == nil && g.RemoteMaster != nil {
		g = g.RemoteMaster
	}
	if g.Master == nil || g.Master.Kind() != Number || g.Master.Type == VLSD {
		return nil
	}
	if g != r.g {
		if err := g.checkRecords(); err != nil {
			return fmt.Errorf("times of group %d: %w", r.g.Index, err)
		}
		var err error
		if r.other, err = g.File.newRecordSource(g); err != nil {
			return fmt.Errorf("times of group %d: %w", r.g.Index, err)
		}
	}
	d, err := newDecoder(g.Master, &r.tcol, r.opts)
	r.times = d
	return err
}

// Next returns the next block. After the last record it returns io.EOF. Before an error all records in front of
// the damage have been delivered; Progress tells how far that is. A compressed block that is damaged gives none of its
// records, unless it inflates to more than 4 MiB: then those of the pieces in front. Errors repeat, apart from those
// of ctx. That of a source that could not be read (see NewFile) lasts until Seek, SeekTime or Resume: Seek(r.Progress().Records)
// asks the source again and goes on where it failed.
func (r *GroupReader) Next(ctx context.Context) (*Block, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		if r.err != nil && !r.skipDamage() {
			return nil, r.err
		}
		r.call.ctx = ctx
		n, err := r.read()
		r.call.ctx = nil
		if isCanceled(err) && ctx.Err() != nil {
			if err = nil; n == 0 {
				return nil, ctx.Err()
			}
		}
		if n > 0 {
			if err != nil {
				r.err = r.wrap(err)
			}
			r.found()
			return &r.block, nil
		}
		if err == nil {
			err = io.EOF
		}
		r.err = r.wrap(err)
		if s := r.stream(); s != nil {
			s.leave() // more records may stand behind the last than the file says
		}
	}
}

// read decodes the next block and returns its number of records, which may come with an error behind them.
func (r *GroupReader) read() (int, error) {
	limit := r.max
	if r.g.CyclesKnown {
		if r.next >= r.g.Cycles {
			return 0, r.atEnd()
		}
		limit = int(min(uint64(limit), r.g.Cycles-r.next))
	}
	if err := r.checkVirtual(); err != nil {
		return 0, err
	}
	in, err := r.src.peek(limit)
	if in.n == 0 {
		return 0, err
	}
	n, err := r.decodeTimes(&in)
	if n > 0 {
		var colErr error
		if n, colErr = r.decodeColumns(&in, n); colErr != nil {
			err = colErr
		}
	}
	r.fill(&in, n)
	r.advance(n)
	return n, err
}

// decodeColumns decodes up to n records. With SkipDamage it goes on without values that cannot be read.
func (r *GroupReader) decodeColumns(in *rows, n int) (int, error) {
	for {
		k, err := decodeColumns(r.cols, in, n, r.next)
		if err == nil || !r.opts.SkipDamage || !r.loseValues(r.next+uint64(k)) {
			return k, err
		}
		if k > 0 {
			return k, nil
		}
	}
}

// atEnd is what follows the last record: io.EOF, or that its block turned out to be damaged.
func (r *GroupReader) atEnd() error {
	if err := r.src.pending(); err != nil {
		return err
	}
	return io.EOF
}

// checkVirtual refuses a count of records that nothing stands behind: with virtual channels alone it is only a
// number, which damage can make any number.
func (r *GroupReader) checkVirtual() error {
	if r.g.recordSize() > 0 {
		return nil
	}
	if r.g.data.idSize == 0 && !r.g.CyclesKnown {
		return io.EOF
	}
	if limit := uint64(1<<24 + 8*r.g.File.src.size); r.g.Cycles > limit && r.g.data.idSize == 0 {
		return corrupt(r.g.data.off, "##CG", "of group %d says %d records without any data", r.g.Index, r.g.Cycles)
	}
	return nil
}

func (r *GroupReader) decodeTimes(in *rows) (int, error) {
	if r.times == nil {
		return in.n, nil
	}
	src := in
	if r.other != nil {
		o, err := r.other.peek(in.n)
		if o.n == 0 {
			return 0, err
		}
		src = &o
	}
	return r.times.decode(src, min(in.n, src.n), r.next)
}

// fill fills the block from what was decoded.
func (r *GroupReader) fill(in *rows, n int) {
	b := &r.block
	b.First, b.N, b.at = r.next, n, *in
	if !r.opts.ColumnsOnly {
		b.Stride, b.Records = in.stride, in.data[:n*in.stride]
		b.Inval, b.InvalStride = in.inval, in.invalStride
	}
	for i := range b.Columns {
		b.Columns[i].trim(n)
	}
	b.Times = nil
	if r.times != nil && n > 0 {
		r.tcol.trim(n)
		b.Times = r.tcol.Values
		r.last, r.seen = b.Times[n-1], true
	}
	b.values = b.values[:0]
	for _, d := range r.cols {
		b.values = d.appendPosition(b.values)
	}
}

// advance takes the records away from the source.
func (r *GroupReader) advance(n int) {
	r.src.advance(n)
	if r.other != nil {
		r.other.advance(n)
	}
	r.next += uint64(n)
}

func (d *decoder) appendPosition(to []ValuePosition) []ValuePosition {
	if d.blobs == nil {
		return to
	}
	v, ok := d.blobs.s.(*valueStream)
	if !ok {
		return to
	}
	m := v.before(d.from)
	return append(to, ValuePosition{Channel: d.ch.Index, Value: m.pos, Offset: m.data})
}

// wrap makes of the end of the data what it means, and names the group in all else.
func (r *GroupReader) wrap(err error) error {
	g := r.g
	if errors.Is(err, io.EOF) {
		if !g.CyclesKnown || r.next >= g.Cycles || !g.File.Finalized {
			return io.EOF
		}
		off, id := r.src.where()
		e := corrupt(off, id, "is the last of group %d, which says %d records and has %d", g.Index, g.Cycles, r.next)
		e.Err = io.ErrUnexpectedEOF
		return e
	}
	return fmt.Errorf("read group %d after record %d: %w", g.Index, r.next, err)
}

// Progress is how far a reader has come.
type Progress struct {
	Records  uint64  // delivered, or skipped by Seek
	Expected uint64  // in the group, 0 if the file does not say
	Last     float64 // time of the last record delivered, NaN before the first
	Offset   int64   // in the file, of the data read last: how far the reader is where Expected is not known; 0 at first
}

// Progress tells how far the reader has come, above all after an error.
func (r *GroupReader) Progress() Progress {
	p := Progress{Records: r.next, Last: r.last}
	if r.g.CyclesKnown {
		p.Expected = r.g.Cycles
	}
	s := r.stream()
	if shared, ok := r.src.(*sharedRows); ok {
		s = shared.d.s
	}
	if s != nil {
		p.Offset = s.offset()
	}
	return p
}

// stream returns the stream of the records, nil if there is none.
func (r *GroupReader) stream() *stream {
	switch s := r.src.(type) {
	case *sortedRows:
		return s.s
	case *unsortedRows:
		return s.d.s
	case *columnRows:
		return s.data.s
	}
	return nil
}

// Close ends reading and waits for what is still inflating; Next returns ErrClosed then. It gives memory back, and the
// reader's share of Options.Hold to the others. Closing twice is allowed.
func (r *GroupReader) Close() error {
	if r.err == ErrClosed {
		return nil
	}
	r.err = ErrClosed
	r.src.close()
	if r.other != nil {
		r.other.close()
	}
	for _, d := range r.cols {
		if d.blobs != nil {
			d.blobs.s.close()
		}
	}
	r.block, r.tcol = Block{Group: r.g}, Column{}
	return nil
}
