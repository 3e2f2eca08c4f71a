package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// ExcerptOptions say what Excerpt takes. The zero value takes everything.
type ExcerptOptions struct {
	// Channels chooses channels; nil means all. Masters come with their groups, structures with their members, and a size channel
	// with what it is the size of.
	Channels func(*Channel) bool
	// From and To bound the times of records, in seconds since File.Start: From <= time < To; nil means no bound. Records in front of
	// the start, such as a pre-trigger's, have negative times. Groups whose master is no time are taken whole.
	From, To *float64
	// Lost has damage skipped instead of ending with an error, as ReadOptions.SkipDamage does, and is told what is missing of a
	// group, with physical times. It is not told of what lies outside From and To. Groups of which nothing can be copied are left out.
	Lost func(*ChannelGroup, Loss)
}

// Contains says whether a time is between From and To.
func (o *ExcerptOptions) Contains(t float64) bool {
	return (o.From == nil || t >= *o.From) && (o.To == nil || t < *o.To)
}

// Touches says whether some of what is lost may have been between From and To.
func (o *ExcerptOptions) Touches(l Loss) bool {
	return !(o.To != nil && l.Before >= *o.To || o.From != nil && l.After < *o.From) // times that are not known may be any
}

// bounded says whether records are chosen by their time.
func (o *ExcerptOptions) bounded() bool { return o.From != nil || o.To != nil }

// Excerpt writes groups of the file into w: records within a time, with the chosen channels. Raw values, conversions, units,
// sources, comments and invalidation bits stay what they are; so do the times, so w should have the Start of the file, and virtual
// channels become fields where records are left out. Unsorted
// groups become sorted, values of variable length are written in the order of their records, texts among them as UTF-8. Groups of
// which nothing is chosen are left out, and so are attachments and events. What is in front of damage is written before its error is
// returned; w can be closed then.
func (f *File) Excerpt(ctx context.Context, w *Writer, opts ExcerptOptions) error {
	var first error
	for _, g := range f.Groups {
		if g.VLSD {
			continue
		}
		c, err := w.newGroupCopy(g, opts)
		if err == nil && c != nil {
			err = c.run(ctx, opts)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.b.err != nil {
			return w.b.err
		}
		if err != nil && opts.skips(err) {
			opts.Lost(g, g.lossOfAll(err))
			err = nil
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// lossOfAll is the loss of all records of a group.
func (g *ChannelGroup) lossOfAll(err error) Loss {
	l := Loss{Before: math.NaN(), After: math.NaN(), Err: err}
	if g.CyclesKnown {
		l.To = g.Cycles
	}
	return l
}

// skips says whether a group that cannot be copied is left out. What a source that fails does not give may be there next time.
func (o *ExcerptOptions) skips(err error) bool {
	var failed *readError
	return o.Lost != nil && !errors.As(err, &failed)
}

// A groupCopy copies one group: of each record the bytes that chosen channels need, channels moved to where these bytes get.
type groupCopy struct {
	g      *ChannelGroup
	out    *GroupWriter
	roots  []*Channel // chosen, with all their members
	spans  []copySpan
	values []*valueCopy
	master bool // the times come from another group: they stand in front of the record
	timed  bool // records are chosen by their time
	// Virtual channels of a group whose records are chosen by time: their raw values are the numbers that the records had, which
	// stand behind such times and in front of all else.
	numbered []*Channel
	rec      []byte
}

// A copySpan is bytes of a record that are copied together, since channels share or touch them.
type copySpan struct{ from, to, at int }

// A valueCopy writes the values of a channel of variable length.
type valueCopy struct {
	c       *Channel
	at      int   // of the offset in the new record
	cn      int64 // block of the channel
	column  int   // of the reader
	buf     []byte
	written int64
	blocks  []int64
	sizes   []int64
	known   map[uint64]int64 // where values stand in the copy, by their offset in the file: records may share one
}

const (
	copiedValue = 64      // longer values are written once for all records that share them
	maxKnown    = 1 << 16 // values that are remembered
)

func (w *Writer) newGroupCopy(g *ChannelGroup, opts ExcerptOptions) (*groupCopy, error) {
	c := &groupCopy{g: g}
	chosen := false
	for _, ch := range g.Channels {
		if ch.Parent != nil || ch.err != nil {
			continue
		}
		isMaster := ch == g.Master
		if isMaster || opts.chooses(ch) {
			c.roots = append(c.roots, ch)
			chosen = chosen || !isMaster || opts.Channels == nil
		}
	}
	if !chosen {
		return nil, nil
	}
	c.addSizes()
	c.master = g.Master == nil && g.RemoteMaster != nil && g.RemoteMaster != g && g.RemoteMaster.Master != nil
	m := c.timeMaster()
	c.timed = m != nil && m.Sync == SyncTime && opts.bounded()
	if c.timed || c.master {
		if err := m.Err(); err != nil {
			return nil, fmt.Errorf("copy group %d: times of channel %q: %w", g.Index, m.Name, err)
		}
	}
	c.layOut()
	c.out = &GroupWriter{w: w, dataBytes: c.dataBytes(), invalBits: 8 * int(g.InvalBytes)}
	if c.out.record() == 0 {
		c.out.dataBytes = 1 // virtual channels alone: a record has to have a byte to be counted
	}
	if err := w.room(c.out.record()); err != nil {
		return nil, fmt.Errorf("copy group %d: %w", g.Index, err)
	}
	return c, c.write()
}

func (o *ExcerptOptions) chooses(c *Channel) bool {
	return o.Channels == nil || o.Channels(c) || slices.ContainsFunc(c.Children, o.chooses)
}

// room refuses records that no block takes.
func (w *Writer) room(size int) error {
	if size > 64<<20 {
		return fmt.Errorf("records of %d bytes: %w", size, ErrLimit)
	}
	return nil
}

// addSizes adds the size channels of chosen channels that have one.
func (c *groupCopy) addSizes() {
	for i := 0; i < len(c.roots); i++ {
		c.roots[i].walk(func(ch *Channel) {
			if s := ch.size; s != nil && !c.has(s) {
				for s.Parent != nil {
					s = s.Parent
				}
				c.roots = append(c.roots, s)
			}
		})
	}
}

func (c *groupCopy) has(ch *Channel) bool {
	for ch.Parent != nil {
		ch = ch.Parent
	}
	return slices.Contains(c.roots, ch)
}

// walk calls do for the channel and all members below it.
func (c *Channel) walk(do func(*Channel)) {
	do(c)
	for _, m := range c.Children {
		m.walk(do)
	}
}

// extent returns which bytes of the record the channel has.
func (c *Channel) extent() (from, to int) {
	if c.virtual() {
		return 0, 0
	}
	from, to = int(c.ByteOffset), int(c.ByteOffset)+int((uint64(c.BitOffset)+uint64(c.BitCount)+7)/8)
	if c.Array != nil {
		low, high := c.Array.reach()
		from, to = from+int(low), to+int(high)
	}
	return from, to
}

// layOut finds the bytes that are copied and where they go.
func (c *groupCopy) layOut() {
	var spans []copySpan
	for _, root := range c.roots {
		root.walk(func(ch *Channel) {
			if from, to := ch.extent(); ch.err == nil && from < to {
				spans = append(spans, copySpan{from: from, to: to})
			}
			if ch.err == nil && ch.virtual() && c.timed {
				c.numbered = append(c.numbered, ch)
			}
		})
	}
	slices.SortFunc(spans, func(a, b copySpan) int { return a.from - b.from })
	at := c.front()
	for _, s := range spans {
		if n := len(c.spans); n > 0 && s.from <= c.spans[n-1].to {
			last := &c.spans[n-1]
			at += max(s.to-last.to, 0)
			last.to = max(last.to, s.to)
			continue
		}
		s.at = at
		at += s.to - s.from
		c.spans = append(c.spans, s)
	}
}

// front is how many bytes stand in front of those that are copied.
func (c *groupCopy) front() int {
	n := 8 * len(c.numbered)
	if c.master {
		n += 8
	}
	return n
}

// numberAt is where the number of numbered channel k stands.
func (c *groupCopy) numberAt(k int) int { return c.front() - 8*(len(c.numbered)-k) }

func (c *groupCopy) dataBytes() int {
	n := c.front()
	for _, s := range c.spans {
		n += s.to - s.from
	}
	return n
}

// moved returns where a byte of the record gets.
func (c *groupCopy) moved(off int) int {
	i := slices.IndexFunc(c.spans, func(s copySpan) bool { return off >= s.from && off < s.to })
	if i < 0 {
		return 0 // of a field of no bits
	}
	return c.spans[i].at + off - c.spans[i].from
}

// run copies the records.
func (c *groupCopy) run(ctx context.Context, opts ExcerptOptions) error {
	chans := make([]*Channel, len(c.values))
	for i, v := range c.values {
		chans[i], v.column = v.c, i
	}
	r, err := c.g.Read(ReadOptions{Raw: true, Ahead: 2, SkipDamage: opts.Lost != nil}, chans...)
	if err != nil {
		return err
	}
	defer r.Close()
	// What lies in front of From is read too: SeekTime takes it that times ascend, and one clock that was set may hide half of a group.
	times := c.converted()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			c.tell(r.Losses(), opts)
			return nil
		}
		if err != nil {
			return err
		}
		t := times(b.Times)
		for i := range b.N {
			if c.timed && i < len(t) && !opts.Contains(t[i]) {
				continue
			}
			if err := c.record(b, i, t); err != nil {
				return err
			}
		}
	}
}

// tell tells what the reader has not been able to read of the records that are chosen.
func (c *groupCopy) tell(losses []Loss, opts ExcerptOptions) {
	times := c.converted()
	for _, l := range losses {
		t := times([]float64{l.Before, l.After})
		if l.Before, l.After = t[0], t[1]; !c.timed || opts.Touches(l) {
			opts.Lost(c.g, l)
		}
	}
}

func (c *groupCopy) timeMaster() *Channel {
	if c.g.Master == nil && c.g.RemoteMaster != nil {
		return c.g.RemoteMaster.Master
	}
	return c.g.Master
}

// converted returns what makes physical times of raw ones.
func (c *groupCopy) converted() func([]float64) []float64 {
	m := c.timeMaster()
	if m == nil || m.Conversion == nil {
		return func(raw []float64) []float64 { return raw }
	}
	var buf []float64
	return func(raw []float64) []float64 {
		buf = append(buf[:0], raw...)
		m.Conversion.Apply(buf, m.isInteger())
		return buf
	}
}

// record copies record i of the block.
func (c *groupCopy) record(b *Block, i int, times []float64) error {
	c.rec = append(c.rec[:0], make([]byte, c.out.record())...)
	if c.master && i < len(times) {
		binary.LittleEndian.PutUint64(c.rec, math.Float64bits(times[i]))
	}
	for k := range c.numbered {
		binary.LittleEndian.PutUint64(c.rec[c.numberAt(k):], b.First+uint64(i))
	}
	in := b.Records[i*b.Stride:]
	for _, s := range c.spans {
		copy(c.rec[s.at:s.at+s.to-s.from], in[s.from:s.to])
	}
	if n := int(c.g.InvalBytes); n > 0 {
		copy(c.rec[c.out.dataBytes:], b.Inval[i*b.InvalStride:i*b.InvalStride+n])
	}
	for _, v := range c.values {
		v.put(c.rec, v.place(c.out.w, c.rec, b.Columns[v.column].At(i)))
	}
	return c.out.appendRecord(c.rec)
}

// appendRecord takes a record as it stands in the file.
func (g *GroupWriter) appendRecord(rec []byte) error {
	g.buf = append(g.buf, rec...)
	g.n++
	if len(g.buf) >= max(g.w.opts.BlockBytes/len(rec), 1)*len(rec) {
		g.flush()
	}
	return g.w.b.err
}

// put writes the offset of a value into the record.
func (v *valueCopy) put(rec []byte, off int64) {
	for i := range int(v.c.BitCount / 8) {
		rec[v.at+i] = byte(off >> (8 * i))
	}
}

// place returns the offset of the value of a record, which has the one in the file still, and appends the value unless it is there.
func (v *valueCopy) place(w *Writer, rec, b []byte) int64 {
	f := v.c.Group.File
	byOrder := v.c.values != nil && !f.Finalized && f.UnfinFlags&unfinOffsets != 0 // the offsets are not filled in
	if len(b) <= copiedValue || byOrder {
		return v.add(w, b)
	}
	from := uint64(0)
	for i := range int(v.c.BitCount / 8) {
		from |= uint64(rec[v.at+i]) << (8 * i)
	}
	off, ok := v.known[from]
	if !ok {
		if v.known == nil || len(v.known) >= maxKnown {
			v.known = map[uint64]int64{}
		}
		off = v.add(w, b)
		v.known[from] = off
	}
	return off
}

// add appends a value and returns its offset.
func (v *valueCopy) add(w *Writer, b []byte) int64 {
	off := v.written + int64(len(v.buf))
	text := v.c.DataType >= Latin1 && v.c.DataType <= UTF16BE
	n := len(b)
	if text {
		n++ // texts end with a NUL
	}
	v.buf = binary.LittleEndian.AppendUint32(v.buf, uint32(n))
	if v.buf = append(v.buf, b...); text {
		v.buf = append(v.buf, 0)
	}
	if len(v.buf) >= w.opts.BlockBytes {
		v.flush(w)
	}
	return off
}

func (v *valueCopy) flush(w *Writer) {
	if len(v.buf) == 0 {
		return
	}
	v.blocks = append(v.blocks, w.writeData("SD", v.buf, 1))
	v.sizes = append(v.sizes, int64(len(v.buf)))
	v.written += int64(len(v.buf))
	v.buf = v.buf[:0]
}
