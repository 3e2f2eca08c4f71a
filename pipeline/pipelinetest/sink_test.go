package pipelinetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// A disk is what a memorySink stores; it outlives the sinks.
type disk struct {
	mu      sync.Mutex
	rows    map[string]string
	cursors map[schemas.ChainID]schemas.Cursor
	fleet   map[string]string
}

// memory is a sink; its bugs are what the suite must find.
type memorySink struct {
	disk    *disk
	bug     string
	mu      sync.Mutex
	pending map[schemas.ChainID][]pipeline.Batch
}

func (m *memorySink) Cursor(_ context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bug != "pending survives Cursor" {
		delete(m.pending, id)
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.bug == "cursor forgotten" {
		return schemas.Cursor{}, nil
	}
	return m.disk.cursors[id], nil
}

func (m *memorySink) Write(_ context.Context, b pipeline.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	if m.bug == "stored before Commit" {
		m.store(b)
		return nil
	}
	m.pending[id] = append(m.pending[id], b)
	return nil
}

func (m *memorySink) store(b pipeline.Batch) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	for row, d := range b.Docs {
		key := fmt.Sprint(b.Job, "/", b.Stage, "/", b.Sequence, "/", row)
		switch m.bug {
		case "appends":
			key += fmt.Sprint("/", len(m.disk.rows))
		case "keyed without stage":
			key = fmt.Sprint(b.Job, "/", b.Sequence, "/", row)
		}
		m.disk.rows[key] = string(d)
	}
	for _, t := range b.Tables {
		m.disk.rows[fmt.Sprint(b.Job, "/", b.Stage, "/", b.Sequence, "/", t.Name)] = fmt.Sprint(t.Rows())
	}
}

func (m *memorySink) Commit(_ context.Context, id schemas.ChainID, from, to schemas.Cursor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.mu.Lock()
	stale := !m.disk.cursors[id].SameInput(from) && m.bug != "no comparison"
	m.disk.mu.Unlock()
	batches := m.pending[id]
	delete(m.pending, id)
	if m.bug == "commits others" {
		batches = slices.Concat(slices.Collect(maps.Values(m.pending))...)
	}
	if stale && m.bug != "stale but stored" {
		return fmt.Errorf("commit: %w", pipeline.ErrStale)
	}
	if m.bug == "last batch lost" && len(batches) > 0 {
		batches = batches[:len(batches)-1]
	}
	for _, b := range batches {
		m.store(b)
	}
	if stale {
		return pipeline.ErrStale
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.disk.cursors[id] = to.Clone()
	return nil
}

func (m *memorySink) WriteFleet(_ context.Context, run string, b pipeline.Batch) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.bug == "first fleet result stays" {
		m.disk.fleet[run] = cmp.Or(m.disk.fleet[run], string(b.Docs[0]))
		return nil
	}
	m.disk.fleet[run] = string(b.Docs[0])
	return nil
}

func (m *memorySink) Close() error { return nil }

func memoryStore(bug string) func(testing.TB) Store {
	return func(testing.TB) Store {
		d := &disk{rows: map[string]string{}, cursors: map[schemas.ChainID]schemas.Cursor{}, fleet: map[string]string{}}
		return Store{
			Open: func() (pipeline.Sink, error) {
				return &memorySink{disk: d, bug: bug, pending: map[schemas.ChainID][]pipeline.Batch{}}, nil
			},
			Dump: func() (string, error) {
				d.mu.Lock()
				defer d.mu.Unlock()
				return fmt.Sprint(d.rows, d.fleet), nil
			},
		}
	}
}

func TestSinkTakesAGoodSink(t *testing.T) { TestSink(t, memoryStore("")) }

func TestSinkFindsBadOnes(t *testing.T) {
	for _, bug := range []string{"pending survives Cursor", "cursor forgotten", "stored before Commit", "appends", "keyed without stage", "no comparison",
		"stale but stored", "last batch lost", "commits others", "first fleet result stays"} {
		failed := 0
		for _, c := range sinkCases {
			if fails(func(tb testing.TB) { c.run(tb, memoryStore(bug)) }) {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s: no case failed", bug)
		}
	}
}

// fails runs a case and says whether it failed.
func fails(run func(testing.TB)) bool {
	tb := &failing{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(tb)
	}()
	<-done
	return len(tb.said) > 0
}

type failing struct {
	testing.TB
	said []string
}

func (f *failing) Helper()                  {}
func (f *failing) Context() context.Context { return context.Background() }
func (f *failing) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
func (f *failing) Fatal(args ...any) { f.Fatalf("%s", strings.TrimSpace(fmt.Sprintln(args...))) }
func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}
