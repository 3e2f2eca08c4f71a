package engine_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

type rowsConfig struct {
	Items int `yaml:"items" doc:"Number of items."`
	Rows  int `yaml:"rows" doc:"Documents an item."`
}

// rows is a reader of made-up documents {"n": 1}, {"n": 2}, ..., a second apart.
type rows struct{ limit, at uint64 }

func (r *rows) Read(context.Context) (pipeline.Batch, error) {
	if r.at == r.limit {
		return pipeline.Batch{}, io.EOF
	}
	r.at++
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := pipeline.Batch{Type: "row.v1", Docs: []pipeline.Doc{fmt.Appendf(nil, `{"n":%d}`, r.at)}}
	b.Slice = schemas.Slice{Start: start, From: time.Duration(r.at) * time.Second, To: time.Duration(r.at+1) * time.Second}
	return b, nil
}

func (r *rows) Snapshot(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, r.at), nil
}

func (r *rows) Restore(_ context.Context, state []byte) error {
	r.at = binary.LittleEndian.Uint64(state)
	return nil
}

func (r *rows) Close() error { return nil }

var rowsType = pipeline.ReaderType[rowsConfig]{
	Name: "reader/rows", Summary: "made-up documents", Emits: []string{"row.v1"}, Default: rowsConfig{Items: 1, Rows: 10},
	List: func(_ context.Context, c rowsConfig) (items []pipeline.Item, err error) {
		for i := range c.Items {
			items = append(items, pipeline.Item{Name: fmt.Sprintf("item%02d", i), Identity: fmt.Sprint(i)})
		}
		return items, nil
	},
	Build: func(_ context.Context, c rowsConfig) (pipeline.Open[pipeline.Reader], error) {
		return func(context.Context, pipeline.Item) (pipeline.Reader, error) {
			return &rows{limit: uint64(c.Rows)}, nil
		}, nil
	},
}

type sumConfig struct {
	FailAt int  `yaml:"fail_at" doc:"n that fails for good."`
	Flaky  bool `yaml:"flaky" doc:"Every input fails once."`
}

// sum adds up n, and says how far it is at every third.
type sum struct {
	c     sumConfig
	total uint64
}

var tries sync.Map

func firstTry(in pipeline.Batch, n int) bool {
	_, seen := tries.LoadOrStore(fmt.Sprint(in.Job, n), true)
	return !seen
}

func (s *sum) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	var row struct{ N int }
	if err := json.Unmarshal(in.Docs[0], &row); err != nil {
		return err
	}
	if row.N == s.c.FailAt {
		return pipeline.Permanent(errors.New("this one is bad"))
	}
	if s.c.Flaky && firstTry(in, row.N) {
		return errors.New("not yet")
	}
	s.total += uint64(row.N)
	if row.N%3 != 0 {
		return nil
	}
	return pipeline.EmitDoc(ctx, out, "sum.v1", map[string]uint64{"sum": s.total})
}

func (s *sum) Finish(ctx context.Context, out pipeline.Emitter) error {
	return pipeline.EmitDoc(ctx, out, "sum.v1", map[string]uint64{"total": s.total})
}

func (s *sum) Snapshot(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, s.total), nil
}

func (s *sum) Restore(_ context.Context, state []byte) error {
	s.total = binary.LittleEndian.Uint64(state)
	return nil
}

func (s *sum) Close() error { return nil }

var sumType = pipeline.ProcessorType[sumConfig]{
	Name: "process/sum", Summary: "adds up", Accepts: []string{"row.v1"}, Emits: []string{"sum.v1"},
	Build: func(_ context.Context, c sumConfig) (pipeline.Open[pipeline.Processor], error) {
		return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return &sum{c: c}, nil }, nil
	},
}

// count notes which events came, in which order.
type count struct{ seen []string }

func (c *count) Process(_ context.Context, in pipeline.Batch, _ pipeline.Emitter) error {
	c.seen = append(c.seen, fmt.Sprintf("%s#%d", in.Stage, in.Sequence))
	return nil
}

func (c *count) Finish(ctx context.Context, out pipeline.Emitter) error {
	return pipeline.EmitDoc(ctx, out, "count.v1", c.seen)
}

func (c *count) Snapshot(context.Context) ([]byte, error) { return json.Marshal(c.seen) }

func (c *count) Restore(_ context.Context, state []byte) error { return json.Unmarshal(state, &c.seen) }

func (c *count) Close() error { return nil }

var countType = pipeline.ProcessorType[struct{}]{
	Name: "analysis/count", Summary: "counts", Accepts: []string{pipeline.Any}, Emits: []string{"count.v1"},
	Build: func(context.Context, struct{}) (pipeline.Open[pipeline.Processor], error) {
		return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return &count{}, nil }, nil
	},
}

// memorySink keeps documents by id, with its cursors. What is not committed belongs to the process.
type memorySink struct {
	refuse error // what Commit gives instead of storing
	*stored
	pending map[schemas.ChainID]map[string]string
}

// stored is what all processes share.
type stored struct {
	mu      sync.Mutex
	docs    map[string]string
	cursors map[schemas.ChainID]schemas.Cursor
	after   map[schemas.ChainID][]schemas.JobID         // what the last Commit was told
	fault   func(call string, id schemas.ChainID) error // asked before each call without the lock, nil for none
}

func newMemorySink() *memorySink {
	return (&memorySink{stored: &stored{docs: map[string]string{}, cursors: map[schemas.ChainID]schemas.Cursor{}, after: map[schemas.ChainID][]schemas.JobID{}}}).client()
}

// client is the same store in another process.
func (s *memorySink) client() *memorySink {
	return &memorySink{stored: s.stored, pending: map[schemas.ChainID]map[string]string{}}
}

func (s *stored) fails(call string, id schemas.ChainID) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(call, id)
}

func (s *memorySink) Cursor(_ context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	if err := s.fails("cursor", id); err != nil {
		return schemas.Cursor{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
	return s.cursors[id].Clone(), nil
}

func (s *memorySink) Write(_ context.Context, b pipeline.Batch) error {
	id := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	if err := s.fails("write", id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[id] == nil {
		s.pending[id] = map[string]string{}
	}
	for k, d := range b.Docs {
		s.pending[id][fmt.Sprintf("%s/%d/%d", id, b.Sequence, k)] = b.Item + " " + string(d)
	}
	return nil
}

func (s *memorySink) Commit(_ context.Context, of pipeline.Origin, from, to schemas.Cursor) error {
	id := of.ChainID
	if s.refuse != nil {
		return s.refuse
	}
	if err := s.fails("commit", id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cursors[id].SameInput(from) {
		return pipeline.ErrStale
	}
	for k, v := range s.pending[id] {
		s.docs[k] = v
	}
	delete(s.pending, id)
	s.cursors[id], s.after[id] = to.Clone(), of.After
	return nil
}

// Replaced: versions stay side by side, so that tests see what each of them did.
func (s *memorySink) Replaced(context.Context, pipeline.Origin) (bool, error) { return false, nil }

func (s *memorySink) Close() error { return nil }

func (s *memorySink) sorted() (docs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.docs {
		docs = append(docs, k+" "+v)
	}
	slices.Sort(docs)
	return docs
}

// plain is sorted without the jobs' ids: two versions of a pipeline may give the same.
func (s *memorySink) plain() (docs []string) {
	for _, d := range s.sorted() {
		_, d, _ = strings.Cut(d, "/")
		docs = append(docs, d)
	}
	slices.Sort(docs)
	return docs
}
