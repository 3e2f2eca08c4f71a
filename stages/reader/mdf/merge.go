package mdf

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// MergeOptions say how groups are merged. The zero value gives the strict order of time.
type MergeOptions struct {
	ReadOptions
	// Window is a duration in seconds: the records of a window come group by group, windows in the order of time. Groups
	// that are sampled alternately give blocks of one record each in strict order, which costs far more than decoding them.
	Window float64
}

// A Merger reads several groups in the order of time. It holds one block of each, however long the file. One goroutine uses it.
type Merger struct {
	opts   MergeOptions
	all    []*mergeHead
	heads  mergeHeap // with records, by time
	opened bool
	loaded int        // groups of all that are in heads, or empty, before it is opened
	cut    float64    // end of the current window
	last   *mergeHead // whose records were delivered last
	view   Block
	err    error
}

// A mergeHead is one group that is being merged.
type mergeHead struct {
	r      *GroupReader
	number int // position in the selection: decides between equal times
	b      *Block
	i, end int // next record of b, and the first that was not delivered
}

// Merge opens a reader of groups in the order of time, of at least one and of each once. Each needs a master that counts time; others
// make an error that wraps ErrUnsupported.
func (f *File) Merge(opts MergeOptions, selected ...Selection) (*Merger, error) {
	if len(selected) == 0 {
		return nil, errors.New("merge: no groups are given")
	}
	if !(opts.Window >= 0) {
		return nil, fmt.Errorf("merge: a window of %v seconds", opts.Window)
	}
	m := &Merger{opts: opts, cut: math.Inf(-1)}
	for i, s := range selected {
		if slices.ContainsFunc(selected[:i], func(o Selection) bool { return s.Group != nil && o.Group == s.Group }) {
			m.Close()
			return nil, fmt.Errorf("merge: group %d is given twice", s.Group.Index)
		}
		r, err := s.Group.Read(opts.ReadOptions, s.Channels...)
		if err == nil && r.times == nil {
			err = fmt.Errorf("merge group %d: it has no times: %w", s.Group.Index, ErrUnsupported)
		}
		if err != nil {
			m.Close()
			return nil, err
		}
		m.all = append(m.all, &mergeHead{r: r, number: i})
	}
	return m, nil
}

// Next returns some records of one group that come next; Block.Group says of which. After the last it returns io.EOF. Times
// within a group are taken as they stand: a record that steps back in time comes right behind the one in front of it. A time
// that is no number counts as earliest. The block is valid until the next call.
func (m *Merger) Next(ctx context.Context) (*Block, error) {
	if m.err != nil {
		return nil, m.err
	}
	if err := m.advance(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m.err = err
		return nil, err
	}
	if len(m.heads) == 0 {
		m.err = io.EOF
		return nil, io.EOF
	}
	h := m.heads[0]
	h.end = h.i + 1
	limit, including := m.limit(h)
	for h.end < h.b.N {
		t := h.b.Times[h.end]
		if t > limit || t == limit && !including {
			break
		}
		h.end++
	}
	m.last = h
	m.view = h.b.part(h.i, h.end, &m.view)
	return &m.view, nil
}

// advance takes away what was delivered last and reads the next blocks.
func (m *Merger) advance(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !m.opened {
		for ; m.loaded < len(m.all); m.loaded++ { // a call that was cancelled goes on with the group it was at
			h := m.all[m.loaded]
			if more, err := h.load(ctx); err != nil {
				return err
			} else if more {
				m.heads = append(m.heads, h)
			}
		}
		heap.Init(&m.heads)
		m.opened = true
	}
	h := m.last
	if h == nil {
		return nil
	}
	if h.i = h.end; h.i == h.b.N {
		more, err := h.load(ctx)
		if err != nil {
			return err
		}
		if !more {
			heap.Pop(&m.heads)
			m.last = nil
			return nil
		}
	}
	heap.Fix(&m.heads, 0)
	m.last = nil
	return nil
}

// load reads the next block of a group; false at its end. Until the block is there the one before counts as delivered, so that a
// cancelled call can be made again.
func (h *mergeHead) load(ctx context.Context) (bool, error) {
	b, err := h.r.Next(ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h.b, h.i, h.end = b, 0, 0
	return true, nil
}

// limit is up to which time the records of the first group come before those of all others.
func (m *Merger) limit(h *mergeHead) (limit float64, including bool) {
	if w := m.opts.Window; w > 0 {
		if t := h.time(); t >= m.cut && !math.IsInf(t, 0) {
			m.cut = (math.Floor(t/w) + 1) * w
		}
		return m.cut, false
	}
	limit, including = math.Inf(1), true
	for _, k := range []int{1, 2} {
		if k < len(m.heads) {
			if o := m.heads[k]; o.time() < limit || o.time() == limit && o.number < h.number {
				limit, including = o.time(), h.number < o.number
			}
		}
	}
	return limit, including
}

func (h *mergeHead) time() float64 {
	if t := h.b.Times[h.i]; t == t {
		return t
	}
	return math.Inf(-1)
}

// Seek goes to the first records whose times are not before seconds; see GroupReader.SeekTime.
func (m *Merger) Seek(ctx context.Context, seconds float64) error {
	for _, h := range m.all {
		if err := h.r.SeekTime(ctx, seconds); err != nil {
			return err
		}
	}
	m.loaded, m.heads, m.opened, m.last, m.cut, m.err = 0, m.heads[:0], false, nil, math.Inf(-1), nil
	return nil
}

// Losses lists what was skipped of each selected group, with ReadOptions.SkipDamage.
func (m *Merger) Losses() [][]Loss {
	out := make([][]Loss, len(m.all))
	for i, h := range m.all {
		out[i] = h.r.Losses()
	}
	return out
}

// Close closes the readers of all groups.
func (m *Merger) Close() error {
	m.err = ErrClosed
	for _, h := range m.all {
		h.r.Close()
	}
	return nil
}

// mergeHeap orders groups by the time of their next record.
type mergeHeap []*mergeHead

func (h mergeHeap) Len() int      { return len(h) }
func (h mergeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h mergeHeap) Less(i, j int) bool {
	a, b := h[i].time(), h[j].time()
	return a < b || a == b && h[i].number < h[j].number
}

// Push implements heap.Interface.
func (h *mergeHeap) Push(x any) { *h = append(*h, x.(*mergeHead)) }

// Pop implements heap.Interface.
func (h *mergeHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// part returns the block of records i to end-1, which shares its memory; space is a block whose slices may be used.
func (b *Block) part(i, end int, space *Block) Block {
	p := Block{Group: b.Group, First: b.First + uint64(i), N: end - i, Stride: b.Stride, InvalStride: b.InvalStride, values: b.values}
	if b.Times != nil {
		p.Times = b.Times[i:end]
	}
	if b.Records != nil {
		p.Records = b.Records[i*b.Stride : end*b.Stride]
	}
	if b.Inval != nil {
		p.Inval = b.Inval[i*b.InvalStride:]
	}
	p.Columns = append(space.Columns[:0], b.Columns...)
	for k := range p.Columns {
		p.Columns[k].cut(i, end)
	}
	p.at = b.at
	if p.at.n = end - i; p.at.at != nil {
		p.at.at = p.at.at[i:end]
	} else {
		p.at.base += int64(i) * int64(p.at.stride)
	}
	return p
}

// cut leaves the records i to end-1 of the column.
func (c *Column) cut(i, end int) {
	if c.Values != nil {
		w := max(c.Width, 1)
		c.Values = c.Values[i*w : end*w]
	}
	if c.Valid != nil {
		c.Valid = c.Valid[i:end]
	}
	if c.Offsets != nil {
		c.Offsets = c.Offsets[i : end+1]
	}
}
