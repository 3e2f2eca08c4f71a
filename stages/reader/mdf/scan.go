package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
)

// ScanOptions say how Scan decodes. The zero value is right for most.
type ScanOptions struct {
	// Raw leaves the conversions out, as ReadOptions.Raw does.
	Raw bool
	// Workers is the number of goroutines that decode; 0 means one for each core.
	Workers int
	// BlockRecords bounds the records of a block; 0 means as many as fit well into the processor's cache.
	BlockRecords int
}

// Scan reads whole channels on all cores: for sums, statistics, or writing the columns elsewhere, where the order of the blocks
// does not matter. It is the fastest way to read a file; to read in the order of time use GroupReader.
//
// visit is called with one block after the other of every selected group, in any order: Block.First says where it belongs.
// Blocks are visited by several goroutines at a time, each of which calls with its own number, 0 <= worker < Workers; the block
// is the worker's and is valid during the call. Block.Records is nil, Block.Position must not be called. An error of visit, or
// of ctx, ends the scan and is returned.
//
// Before an error in the file is returned, all records in front of the damage have been visited; some behind it may have been.
// Memory does not depend on the size of the file: a worker needs three times the size of a compressed block, or 1 MiB.
func (f *File) Scan(ctx context.Context, opts ScanOptions, visit func(worker int, b *Block) error, selected ...Selection) error {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	s := &scan{ctx: ctx, f: f, opts: opts, visit: visit, tasks: make(chan scanTask, opts.Workers)}
	groups, err := s.prepare(selected)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range opts.Workers {
		w := &scanWorker{s: s, number: i, readers: map[*scanGroup]*GroupReader{}}
		wg.Go(w.run)
	}
	s.produce(groups)
	close(s.tasks)
	wg.Wait()
	return s.err
}

// scan is one call of Scan: a producer, which is the caller's goroutine, finds out where records stand and hands the places out as
// tasks, in the order of the data; workers inflate and decode them.
type scan struct {
	ctx   context.Context // of the call, which scan does not outlive
	f     *File
	opts  ScanOptions
	visit func(worker int, b *Block) error
	tasks chan scanTask
	next  int // number of the next task

	large sync.Mutex // held by a worker that has rows of more than maxScanBlock in memory

	mu    sync.Mutex
	err   error // of the first task in the order of the data
	errAt int   // its number
}

// A scanGroup is a group that is scanned.
type scanGroup struct {
	*ChannelGroup
	channels []*Channel
	size     int64  // of a record
	limit    uint64 // records
	block    int    // records of a block at most
	chain    *chain // where tasks can be cut out of the data, else nil
	single   bool   // read by a GroupReader
	seen     uint64 // unsorted: records found so far
	seams
}

// A scanTask is a part of the data of a group: bytes from..to of a data block, some records of unsorted data, or all the group has.
type scanTask struct {
	number   int
	g        *scanGroup
	fr       fragment
	from, to int64
	batch    *scanBatch
}

func (s *scan) prepare(selected []Selection) ([]*scanGroup, error) {
	var groups []*scanGroup
	for _, sel := range selected {
		r, err := s.reader(sel.Group, sel.Channels)
		if err != nil {
			return nil, err
		}
		g := &scanGroup{ChannelGroup: sel.Group, channels: sel.Channels, size: sel.Group.recordSize(), limit: math.MaxUint64}
		g.block = r.max
		if g.CyclesKnown {
			g.limit = g.Cycles
		}
		err = g.choose(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// choose finds out how the group can be read.
func (g *scanGroup) choose(r *GroupReader) error {
	g.single = r.other != nil || g.size == 0 || g.size > maxScanBlock
	for _, d := range r.cols {
		g.single = g.single || d.blobs != nil
	}
	if g.single || g.data.idSize > 0 {
		return nil
	}
	columns, err := g.columnar()
	switch {
	case err != nil:
		return err
	case !columns:
		g.chain = g.File.newChain(g.data.link, "##DT")
	case g.InvalBytes == 0:
		g.chain = g.File.newChain(g.data.link, "##DV")
	default:
		g.single = true
	}
	return nil
}

// reader opens a reader whose decoders are used; its source is not.
func (s *scan) reader(g *ChannelGroup, channels []*Channel) (*GroupReader, error) {
	return g.Read(ReadOptions{Raw: s.opts.Raw, BlockRecords: s.opts.BlockRecords, ColumnsOnly: true, Ahead: 1}, channels...)
}

func (s *scan) produce(groups []*scanGroup) {
	done := map[*dataGroup]bool{}
	for _, g := range groups {
		var err error
		switch {
		case g.single:
			err = s.send(scanTask{g: g})
		case g.chain != nil:
			err = s.sorted(g)
		case !done[g.data]:
			done[g.data] = true
			err = s.unsorted(groups, g.data)
		}
		if err != nil {
			s.fail(s.next, err)
			return
		}
	}
}

// send hands a task out; it returns an error when the scan has to end.
func (s *scan) send(t scanTask) error {
	if err := s.failed(); err != nil {
		return err
	}
	t.number = s.next
	s.next++
	select {
	case s.tasks <- t:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// fail notes what is wrong with a task. What comes first in the data counts, however late it is found.
func (s *scan) fail(number int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || number < s.errAt {
		s.err, s.errAt = err, number
	}
}

func (s *scan) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// skips says whether a task need not be done: what is wrong stands in front of it.
func (s *scan) skips(number int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil && number > s.errAt
}

// sorted cuts the data of a group into tasks.
func (s *scan) sorted(g *scanGroup) error {
	pos, piece := int64(0), int64(g.block)*g.size
	for i := 0; uint64(pos/g.size) < g.limit; i++ {
		fr, err := g.chain.at(i)
		if errors.Is(err, io.EOF) {
			return s.finish(g, pos)
		}
		if err != nil {
			return fmt.Errorf("read group %d after record %d: %w", g.Index, pos/g.size, err)
		}
		if pos = fr.start + fr.size; fr.zip != zipNone {
			err = s.send(scanTask{g: g, fr: *fr, to: fr.size})
		} else {
			err = s.pieces(g, fr, piece)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pieces cuts a plain data block at borders of records.
func (s *scan) pieces(g *scanGroup, fr *fragment, piece int64) error {
	to := int64(0)
	for from := int64(0); from < fr.size; from = to {
		to = min(fr.size, from+piece-(fr.start+from)%g.size)
		if uint64((fr.start+from)/g.size) >= g.limit {
			return nil
		}
		if err := s.send(scanTask{g: g, fr: *fr, from: from, to: to}); err != nil {
			return err
		}
	}
	return nil
}

// finish is what the end of the data means: the group has to have the records it says.
func (s *scan) finish(g *scanGroup, end int64) error {
	if !g.CyclesKnown || !g.File.Finalized || uint64(end/g.size) >= g.Cycles {
		return nil
	}
	r, err := s.reader(g.ChannelGroup, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	if err = r.Seek(uint64(end / g.size)); err == nil {
		_, err = r.Next(s.ctx)
	}
	return err
}

// seams collect the parts of records that cross the border of a data block.
type seams struct {
	mu   sync.Mutex
	open map[int64]*seam // by number of the record
}

type seam struct {
	data []byte
	have int
}

// part takes a part of the record that starts at pos-pos%size, and returns the record once it is complete.
func (s *seams) part(size, pos int64, b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	record := pos / size
	m := s.open[record]
	if m == nil {
		if s.open == nil {
			s.open = map[int64]*seam{}
		}
		m = &seam{data: make([]byte, size)}
		s.open[record] = m
	}
	copy(m.data[pos%size:], b)
	if m.have += len(b); m.have < int(size) {
		return nil
	}
	delete(s.open, record)
	return m.data
}
