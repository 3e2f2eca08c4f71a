package mdf

import (
	"errors"
	"io"
	"slices"
)

// A scanBatch is records of unsorted data, taken apart by group.
type scanBatch struct {
	parts []scanPart
	pool  chan *scanBatch
}

// A scanPart is consecutive records of a group.
type scanPart struct {
	g     *scanGroup
	first uint64
	data  []byte
}

func (b *scanBatch) free() { b.pool <- b }

// batch decodes the records of a batch.
func (w *scanWorker) batch(b *scanBatch) error {
	for i := range b.parts {
		p := &b.parts[i]
		if len(p.data) == 0 {
			continue
		}
		r, err := w.reader(p.g)
		if err == nil {
			err = w.records(p.g, r, p.first, p.data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unsorted takes the data that several groups share apart, a batch of about 1 MiB after the other.
func (s *scan) unsorted(all []*scanGroup, dg *dataGroup) error {
	d := newIDReader(s.f, dg)
	defer d.s.close()
	d.s.ahead, d.call = newAhead(1), &call{s.ctx}
	var groups []*scanGroup
	slots := map[*ChannelGroup]int{}
	for _, g := range all {
		if g.data == dg && !g.single {
			slots[g.ChannelGroup] = len(groups)
			groups = append(groups, g)
		}
	}
	pool := make(chan *scanBatch, s.opts.Workers+2)
	for range cap(pool) {
		b := &scanBatch{pool: pool, parts: make([]scanPart, len(groups))}
		pool <- b
	}
	for {
		b := <-pool
		for i, g := range groups {
			b.parts[i] = scanPart{g: g, first: g.seen, data: reuse(b.parts[i].data)}
		}
		err := b.take(d, slots)
		for i, g := range groups {
			g.seen += uint64(len(b.parts[i].data)) / uint64(g.size)
		}
		if e := s.send(scanTask{batch: b}); e != nil {
			return e
		}
		if err != nil || !slices.ContainsFunc(groups, func(g *scanGroup) bool { return g.seen < g.limit }) {
			return s.finishUnsorted(d, groups, err)
		}
	}
}

// reuse returns the memory of b, unless it is much and was of no use the last time: of many groups each may have its records in one
// place, and what all of them took there together would be held.
func reuse(b []byte) []byte {
	if len(b) == 0 && cap(b) > minShare {
		return nil
	}
	return b[:0]
}

// take fills the batch with the records of the next piece of the data.
func (b *scanBatch) take(d *idReader, slots map[*ChannelGroup]int) error {
	var slot [256]int // by record id, for ids that fit; 0 for none
	for g, i := range slots {
		if g.RecordID < 256 {
			slot[g.RecordID] = i + 1
		}
	}
	for end := d.s.pos() + gatherBytes; d.s.pos() < end; {
		g, size, err := d.next()
		if err != nil {
			return err
		}
		i := 0
		if g.RecordID < 256 {
			i = slot[g.RecordID]
		} else if k, ok := slots[g]; ok {
			i = k + 1
		}
		if i > 0 {
			p := &b.parts[i-1]
			p.data = append(p.data, d.s.window()[d.idSize:size]...)
		}
		d.s.skip(size)
	}
	return nil
}

// finishUnsorted is what the end of the data means: every group has to have the records it says.
func (s *scan) finishUnsorted(d *idReader, groups []*scanGroup, err error) error {
	for _, g := range groups {
		if g.seen >= g.limit { // what follows is nothing that it needs
			continue
		}
		r, e := s.reader(g.ChannelGroup, nil)
		if e != nil {
			return e
		}
		r.src.close()
		r.src = &unsortedRows{d: d, g: g.ChannelGroup, size: int(g.size)}
		r.next = g.seen
		if e := r.wrap(err); !errors.Is(e, io.EOF) {
			return e
		}
	}
	return nil
}
