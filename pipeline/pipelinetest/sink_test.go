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
	mu       sync.Mutex
	keeps    bool // all versions
	rows     map[row]string
	cursors  map[schemas.ChainID]schemas.Cursor
	versions map[string][]schemas.JobID // of each result, in order of their first commits
	fleet    map[string]string
}

type row struct {
	of  schemas.ChainID
	key string
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
	of := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	for i, d := range b.Docs {
		key := fmt.Sprint(b.Sequence, "/", i)
		switch m.bug {
		case "appends":
			key += fmt.Sprint("/", len(m.disk.rows))
		case "keyed without stage":
			of.Stage = ""
		}
		m.disk.rows[row{of, key}] = string(d)
	}
	for _, t := range b.Tables {
		m.disk.rows[row{of, fmt.Sprint(b.Sequence, "/", t.Name)}] = fmt.Sprint(t.Rows())
	}
}

// enter says whether a version is there, and notes it with its first commit.
func (m *memorySink) enter(of pipeline.Origin) bool {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	result := m.result(of)
	_, known := m.disk.cursors[of.ChainID]
	if !known || m.bug == "an older one comes back" && !slices.Contains(m.disk.versions[result], of.Job) {
		m.disk.versions[result] = append(m.disk.versions[result], of.Job)
		for _, job := range of.After {
			id := schemas.ChainID{Job: job, Stage: of.Stage}
			if _, begun := m.disk.cursors[id]; !begun && m.bug != "an older one begins" {
				m.disk.cursors[id] = schemas.Cursor{}
			}
		}
	}
	if m.bug == "replaced by the first commit" {
		m.supersede(of)
	}
	return m.disk.keeps || m.bug == "an older one goes on" || slices.Contains(m.disk.versions[result], of.Job)
}

func (m *memorySink) result(of pipeline.Origin) string {
	of.Job = ""
	switch m.bug {
	case "other items replaced":
		of.Item = ""
	case "other pipelines replaced":
		of.Pipeline = ""
	case "other stages replaced":
		of.Stage = ""
	}
	return fmt.Sprintf("%q %q %q", of.Pipeline, of.Item, of.Stage)
}

// supersede removes all versions before one.
func (m *memorySink) supersede(of pipeline.Origin) {
	versions := m.disk.versions[m.result(of)]
	at := slices.Index(versions, of.Job)
	if m.bug == "the last to end wins" {
		m.disk.versions[m.result(of)] = []schemas.JobID{of.Job}
		versions = slices.DeleteFunc(slices.Clone(versions), func(job schemas.JobID) bool { return job == of.Job })
		at = len(versions)
	} else if at > 0 && m.bug != "an older one comes back" {
		m.disk.versions[m.result(of)] = versions[at:]
	}
	for _, job := range versions[:max(at, 0)] {
		maps.DeleteFunc(m.disk.rows, func(r row, _ string) bool {
			return r.of.Job == job && (r.of.Stage == of.Stage || m.bug == "other stages replaced") && (m.bug != "tables stay" || strings.HasSuffix(r.key, "/0"))
		})
	}
}

func (m *memorySink) Replaced(_ context.Context, of pipeline.Origin) (bool, error) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	_, known := m.disk.cursors[of.ChainID]
	return known && !m.disk.keeps && !slices.Contains(m.disk.versions[m.result(of)], of.Job) && m.bug != "never says that it replaced", nil
}

func (m *memorySink) Commit(_ context.Context, of pipeline.Origin, from, to schemas.Cursor) error {
	id := of.ChainID
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
	there := m.enter(of)
	if there {
		for _, b := range batches {
			m.store(b)
		}
	}
	if stale {
		return pipeline.ErrStale
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if there && to.Ended() && !m.disk.keeps && (m.bug != "nothing replaces nothing" || len(batches) > 0) {
		m.supersede(of)
	}
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
		d := &disk{keeps: bug == "versions are kept" || bug == keeps, rows: map[row]string{}, cursors: map[schemas.ChainID]schemas.Cursor{},
			versions: map[string][]schemas.JobID{}, fleet: map[string]string{}}
		return Store{
			KeepsVersions: bug == keeps || bug == "versions are not kept",
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

// keeps is no bug.
const keeps = "keeps all versions"

func TestSinkTakesAGoodSink(t *testing.T) {
	for _, kind := range []string{"one version", keeps} {
		t.Run(kind, func(t *testing.T) { TestSink(t, memoryStore(kind)) })
	}
}

func TestSinkFindsBadOnes(t *testing.T) {
	for _, bug := range []string{"pending survives Cursor", "cursor forgotten", "stored before Commit", "appends", "keyed without stage", "no comparison",
		"stale but stored", "last batch lost", "commits others", "first fleet result stays", "versions are kept", "versions are not kept", "an older one goes on", "an older one comes back", "an older one begins",
		"the last to end wins", "replaced by the first commit", "other items replaced", "other pipelines replaced", "other stages replaced", "tables stay",
		"nothing replaces nothing", "never says that it replaced"} {
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
