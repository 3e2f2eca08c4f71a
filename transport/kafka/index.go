package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// An index is what the state topic says of a partition's chains, as far as this process has read it.
type index struct {
	part *part

	reading sync.Mutex // held by whoever reads the state topic; it is taken before mu

	mu     sync.Mutex
	at     int64  // of the state topic, next to read
	number uint64 // of the partition's last record
	chains map[schemas.JobID]*entry
}

// An entry is what the index knows of one chain.
type entry struct {
	head       head
	trimmed    schemas.Position              // out events at and below it are not needed
	gone       uint64                        // size of those, more or less
	checkpoint int64                         // offset of the last one; -1 none
	snapshot   int                           // its size
	snapped    int64                         // offset of the last record about it
	pages      map[transport.PageHash]extent // those that were not removed
	paged      int64                         // offset of the last page, or removal of one, that was noted
	purged     []schemas.Position            // dead letters that are not to be seen any more
	dgone      uint64                        // size of those
}

// An extent is where a record lies, and its size.
type extent struct {
	offset int64
	size   int
}

func (e *entry) clone() entry {
	c := *e
	c.purged = slices.Clone(e.purged)
	c.pages = make(map[transport.PageHash]extent, len(e.pages))
	for h, at := range e.pages {
		c.pages[h] = at
	}
	return c
}

// needs is the position of the first out event that is not trimmed; 0 when there is none.
func (e *entry) needs() schemas.Position {
	if e.head.OutAt <= e.trimmed {
		return 0
	}
	return max(e.head.First, e.trimmed+1)
}

// goneAt is the size of the out events at and below a position. It takes them for equally large between what it knows.
func (e *entry) goneAt(to schemas.Position) uint64 {
	h, from := &e.head, e.trimmed
	if h.First > from {
		from = h.First - 1
	}
	switch {
	case to >= h.OutAt:
		return h.Size
	case to <= from:
		return e.gone
	}
	return e.gone + uint64(float64(h.Size-min(e.gone, h.Size))*float64(to-from)/float64(h.OutAt-from))
}

// size is what the chain needs, beside the heads.
func (e *entry) size() int64 {
	n := int64(e.head.Size-min(e.gone, e.head.Size)) + int64(e.head.DSize-min(e.dgone, e.head.DSize)) + int64(e.snapshot)
	for _, p := range e.pages {
		n += int64(p.size)
	}
	return n
}

// entry returns the chain's; mu is held.
func (x *index) entry(job schemas.JobID) *entry {
	e := x.chains[job]
	if e == nil {
		e = &entry{checkpoint: -1}
		x.chains[job] = e
	}
	return e
}

// lookup is a copy of what is known of a chain; false when nothing is.
func (x *index) lookup(job schemas.JobID) (entry, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.chains[job]
	if e == nil {
		return entry{checkpoint: -1}, false
	}
	return e.clone(), true
}

// purged says whether a dead letter was removed.
func (x *index) purged(job schemas.JobID, at schemas.Position) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.chains[job]
	return e != nil && slices.Contains(e.purged, at)
}

// newest is the number of the partition's last record.
func (x *index) newest() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.number
}

// each calls f for every chain, under the lock.
func (x *index) each(f func(schemas.JobID, *entry)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for job, e := range x.chains {
		f(job, e)
	}
}

// refresh reads the state topic to its end as it is now. A transaction whose writer was told that it is committed counts
// though its marker is not there yet; one that stays open does not, and the index is then not complete: of what is
// committed in another topic, some may be missing.
func (x *index) refresh(ctx context.Context) (complete bool, err error) {
	x.reading.Lock()
	defer x.reading.Unlock()
	x.mu.Lock()
	at := x.at
	x.mu.Unlock()
	l := x.part.log
	target, begun, wait := int64(-1), time.Now(), time.Duration(0)
	for {
		// Not under mu: a transaction of ours that is on its way, and for whose marker this waits, needs the index.
		p, err := l.fetch(ctx, l.topics[stateTopic], x.part.n, at, wait)
		if errors.Is(err, kerr.OffsetOutOfRange) && p.start != at { // brokers have lost what was read: it is not known any more
			at = p.start
			x.forget(at)
			continue
		}
		if err != nil {
			return false, err
		}
		moved := p.next > at
		if at, err = x.take(&p); err != nil {
			return false, err
		}
		if target < 0 {
			target = p.high
		}
		if at >= p.stable || !moved {
			if complete := p.stable >= target; complete || time.Since(begun) > markersWait {
				return complete, nil
			}
			wait = 20 * time.Millisecond
		}
	}
}

// forget empties the index, to be read again from an offset on.
func (x *index) forget(at int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at, x.number, x.chains = at, 0, map[schemas.JobID]*entry{}
}

// begin reads what one fetch brings, if nothing was read yet.
func (x *index) begin(ctx context.Context) error {
	x.reading.Lock()
	defer x.reading.Unlock()
	l := x.part.log
	p, err := l.fetch(ctx, l.topics[stateTopic], x.part.n, 0, 0)
	if err == nil {
		_, err = x.take(&p)
	}
	return err
}

// take folds what a fetch brought, and returns where to go on.
func (x *index) take(p *portion) (int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range p.records {
		if err := x.fold(r); err != nil {
			return x.at, err
		}
	}
	x.at = max(x.at, p.next)
	return x.at, nil
}

// fold takes one record of the state topic, or one again. The lock is held.
func (x *index) fold(r *kgo.Record) error {
	l := x.part.log
	job, kind := l.jobOf(r), header(r, headerKind)
	if kind != "" && l.partition(job) != x.part {
		return l.misplaced(job, x.part.n)
	}
	e := x.entry(job)
	switch kind {
	case kindHead:
		var h head
		if err := json.Unmarshal(r.Value, &h); err != nil {
			return fmt.Errorf("head at %d of topic %s/%d: %w", r.Offset, r.Topic, r.Partition, err)
		}
		if h.Number >= e.head.Number {
			e.head = h
		}
		x.number = max(x.number, h.Number)
	case kindTrim, kindPurge:
		var m mark
		if err := json.Unmarshal(r.Value, &m); err != nil {
			return fmt.Errorf("mark at %d of topic %s/%d: %w", r.Offset, r.Topic, r.Partition, err)
		}
		if kind == kindTrim {
			e.trim(m)
		} else if !slices.Contains(e.purged, m.At) {
			e.purged = append(e.purged, m.At)
			e.dgone += m.Size
		}
	case transport.Snapshot.String():
		e.snap(r)
	case transport.Page.String():
		hash, err := pageOf(r)
		if err != nil {
			return err
		}
		e.page(hash, r)
	}
	return nil
}

// snap notes a checkpoint, or its removal: the chain is over. What was noted already may come again.
func (e *entry) snap(r *kgo.Record) {
	if r.Offset < e.snapped {
		return
	}
	e.snapped, e.checkpoint, e.snapshot = r.Offset, r.Offset, recordSize(r)
	if r.Value == nil {
		e.checkpoint, e.snapshot = -1, 0
	}
}

// page notes a page, or its removal. What was noted already may come again, between newer ones.
func (e *entry) page(h transport.PageHash, r *kgo.Record) {
	if r.Offset < e.paged {
		return
	}
	if e.paged = r.Offset; r.Value == nil {
		delete(e.pages, h)
		return
	}
	if e.pages == nil {
		e.pages = map[transport.PageHash]extent{}
	}
	e.pages[h] = extent{r.Offset, recordSize(r)}
}

// stored folds in what this process has committed, without reading it back where nobody else's records lie between.
func (x *index) stored(records []*kgo.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range records {
		if r.Offset == x.at {
			x.at++
		}
		if err := x.fold(r); err != nil {
			return err
		}
	}
	return nil
}

// trim notes how far a chain may go.
func (x *index) trim(job schemas.JobID, to mark) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entry(job).trim(to)
}

func (e *entry) trim(to mark) {
	if to.At > e.trimmed {
		e.trimmed, e.gone = to.At, max(e.gone, to.Size)
	}
}
