package pipelinetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// ReadAll opens an item and returns its batches, decoded into memory of their own. An error fails the test.
func ReadAll[C any](t testing.TB, typ pipeline.ReaderType[C], cfg C, it pipeline.Item) []pipeline.Batch {
	t.Helper()
	s := newReaderSuite(t, typ, cfg, it)
	r := s.start(nil)
	var batches []pipeline.Batch
	for {
		b, err := r.Read(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("read %d: %v", len(batches)+1, err)
		}
		w, err := encode(b)
		if err != nil {
			t.Fatalf("read %d: %v", len(batches)+1, err)
		}
		batches = append(batches, decode(t, w))
	}
	s.close(r)
	return batches
}

// TestReader is the suite of readers, over one item that can be read to its end. It reads the item through, and then again:
// cut behind every batch (every few in a long item), the snapshot restored into a fresh instance; on one and on two
// processors. Batches must be the same bytes, and so must snapshots. Their slices must join: no row may come behind the end
// of an earlier slice. After the end, Read goes on returning io.EOF.
func TestReader[C any](t testing.TB, typ pipeline.ReaderType[C], cfg C, it pipeline.Item) {
	t.Helper()
	s := newReaderSuite(t, typ, cfg, it)
	s.want = s.read(nil, 0, true, s.checkOrder())
	if len(s.want) == 1 {
		t.Errorf("%s has no batches", it.Name)
	}
	for _, procs := range []int{1, 2} {
		before := runtime.GOMAXPROCS(procs)
		s.compare("read again on "+itoa(procs)+" processors", s.read(nil, 0, false, nil), 0, false)
		runtime.GOMAXPROCS(before)
	}
	s.testCuts()
}

// cutsOfReader bounds how often the item is opened again.
const cutsOfReader = 256

type readerSuite struct {
	t    testing.TB
	open pipeline.Open[pipeline.Reader]
	item pipeline.Item
	want []readStep // one a batch, and the last for the end
}

type readStep struct {
	hash  [sha256.Size]byte // of the batch on the wire: a whole recording need not fit into memory
	brief string
	state []byte
}

func newReaderSuite[C any](t testing.TB, typ pipeline.ReaderType[C], cfg C, it pipeline.Item) *readerSuite {
	t.Helper()
	parts, err := typ.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatalf("assemble: %v", err)
	}
	return &readerSuite{t: t, open: parts.Reader, item: it}
}

func (s *readerSuite) start(state []byte) pipeline.Reader {
	s.t.Helper()
	r, err := s.open(s.t.Context(), s.item)
	if err != nil {
		s.t.Fatalf("open %s: %v", s.item.Name, err)
	}
	if err := r.Restore(s.t.Context(), state); err != nil {
		s.t.Fatalf("restore %d bytes: %v", len(state), err)
	}
	return r
}

func (s *readerSuite) close(r pipeline.Reader) {
	s.t.Helper()
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		s.t.Errorf("close, twice: %v", err)
	}
}

// read reads at most n batches, all with n zero, from a state.
func (s *readerSuite) read(state []byte, n int, snapshots bool, check func(pipeline.Batch)) []readStep {
	s.t.Helper()
	r := s.start(state)
	defer s.close(r)
	var steps []readStep
	for n == 0 || len(steps) < n {
		b, err := r.Read(s.t.Context())
		var st readStep
		if err == nil {
			st = s.step(b, len(steps))
		} else if err != io.EOF {
			s.t.Fatalf("read %d: %v", len(steps)+1, err)
		}
		if snapshots {
			st.state = s.snapshot(r)
		}
		steps = append(steps, st)
		if err != nil {
			s.checkEnd(r)
			break
		}
		if check != nil {
			check(b)
		}
	}
	return steps
}

func (s *readerSuite) step(b pipeline.Batch, i int) readStep {
	s.t.Helper()
	w, err := encode(b)
	if err != nil {
		s.t.Fatalf("batch %d: %v", i+1, err)
	}
	return readStep{hash: sha256.Sum256([]byte(w)), brief: readable(w)}
}

func (s *readerSuite) snapshot(r pipeline.Reader) []byte {
	s.t.Helper()
	state, err := r.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatalf("snapshot: %v", err)
	}
	return slices.Clone(state)
}

func (s *readerSuite) checkEnd(r pipeline.Reader) {
	s.t.Helper()
	if _, err := r.Read(s.t.Context()); err != io.EOF {
		s.t.Errorf("read behind the end: %v", err)
	}
}

// checkOrder returns a check of what a slice promises (schemas.Slice).
func (s *readerSuite) checkOrder() func(pipeline.Batch) {
	var start time.Time
	var to time.Duration
	n := 0
	return func(b pipeline.Batch) {
		s.t.Helper()
		n++
		if n > 1 && (!b.Start.Equal(start) || b.From < to) || b.To < b.From {
			s.t.Fatalf("batch %d covers %v to %v since %v, behind one to %v since %v", n, b.From, b.To, b.Start, to, start)
		}
		for _, t := range b.Tables {
			if times := t.Times(); n > 1 && times[0] < int64(to) || times[len(times)-1] >= int64(b.To) {
				s.t.Fatalf("batch %d, %v to %v: table %s has rows from %d to %d ns", n, b.From, b.To, t.Name, times[0], times[len(times)-1])
			}
		}
		start, to = b.Start, b.To
	}
}

func (s *readerSuite) testCuts() {
	s.t.Helper()
	fresh := s.start(nil)
	at := s.snapshot(fresh)
	s.close(fresh)
	s.compare("restored before the first batch", s.read(at, 0, true, nil), 0, true)
	step, toEnd := max(1, len(s.want)/cutsOfReader), max(1, len(s.want)/runsToEnd)
	for i := 0; i < len(s.want); i += step {
		n := 1
		if i%toEnd == 0 {
			n = 0
		}
		if i == len(s.want)-1 {
			r := s.start(s.want[i].state)
			s.checkEnd(r)
			s.close(r)
			continue
		}
		s.compare("restored behind batch "+itoa(i+1), s.read(s.want[i].state, n, true, nil), i+1, true)
	}
}

func (s *readerSuite) compare(what string, got []readStep, from int, states bool) {
	s.t.Helper()
	for i, g := range got {
		if from+i >= len(s.want) {
			s.t.Fatalf("%s there are more batches than %d: %s", what, len(s.want)-1, g.brief)
		}
		want := s.want[from+i]
		if g.hash != want.hash {
			s.t.Fatalf("%s, batch %d differs:\n  %.300s\nuninterrupted:\n  %.300s", what, from+i+1, g.brief, want.brief)
		}
		if states && string(g.state) != string(want.state) {
			s.t.Fatalf("%s, the snapshot behind batch %d differs:\n  %.300q\nuninterrupted:\n  %.300q", what, from+i+1, g.state, want.state)
		}
	}
}

// CancelledRead opens an item with the reader and reads with a context that has ended; it returns the error, for readers
// whose reads may take long.
func CancelledRead[C any](t testing.TB, typ pipeline.ReaderType[C], cfg C, it pipeline.Item) error {
	t.Helper()
	s := newReaderSuite(t, typ, cfg, it)
	r := s.start(nil)
	defer s.close(r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Read(ctx)
	return err
}
