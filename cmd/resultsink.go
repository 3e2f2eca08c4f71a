package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A resultSink writes what the stages of one job emit into an MDF file: a channel group for each table, named stage/table, and an
// attachment for the documents of each type. Stages come as they come, so each has a file of its own first; equal results give
// equal files. It implements pipeline.Sink.
type resultSink struct {
	dir string

	mu     sync.Mutex
	stages map[string]*stageResults
}

// stageResults are those of one stage. One goroutine writes them at a time.
type stageResults struct {
	path   string
	w      *mdf.Writer // nil before the first table
	start  time.Time
	groups map[string]*mdf.GroupWriter // by name and columns
	docs   map[string]*bytes.Buffer    // by type: JSON Lines
	cursor schemas.Cursor
	last   uint64 // sequence of the last batch
}

func newResultSink(dir string) *resultSink {
	return &resultSink{dir: dir, stages: map[string]*stageResults{}}
}

func (s *resultSink) stage(id schemas.ChainID, pipelineName string) *stageResults {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(id.Job) + "/" + id.Stage
	r := s.stages[key]
	if r == nil {
		r = &stageResults{path: filepath.Join(s.dir, fmt.Sprintf("%d.mf4", len(s.stages))), groups: map[string]*mdf.GroupWriter{}, docs: map[string]*bytes.Buffer{}}
		s.stages[key] = r
	}
	if pipelineName != "" {
		s.stages[pipelineName+"/"+id.Stage] = r
	}
	return r
}

// Cursor implements pipeline.Sink.
func (s *resultSink) Cursor(_ context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	return s.stage(id, "").cursor, nil
}

// Write implements pipeline.Sink. What cannot be written cannot be written again either.
func (s *resultSink) Write(_ context.Context, b pipeline.Batch) error {
	r := s.stage(schemas.ChainID{Job: b.Job, Stage: b.Stage}, b.Pipeline)
	if b.Sequence <= r.last {
		return nil
	}
	r.last = b.Sequence
	for _, t := range b.Tables {
		if err := r.table(b, t); err != nil {
			return pipeline.Permanent(fmt.Errorf("write table %s of stage %s: %w", t.Name, b.Stage, err))
		}
	}
	for _, d := range b.Docs {
		if r.docs[b.Type] == nil {
			r.docs[b.Type] = &bytes.Buffer{}
		}
		r.docs[b.Type].Write(bytes.TrimSpace(d))
		r.docs[b.Type].WriteByte('\n')
	}
	return nil
}

// Commit implements pipeline.Sink.
func (s *resultSink) Commit(_ context.Context, of pipeline.Origin, _, to schemas.Cursor) error {
	s.stage(of.ChainID, "").cursor = to.Clone()
	return nil
}

// Replaced implements pipeline.Sink: there is one job.
func (s *resultSink) Replaced(context.Context, pipeline.Origin) (bool, error) { return false, nil }

func (r *stageResults) table(b pipeline.Batch, t schemas.Table) (err error) {
	if r.w == nil {
		r.start = b.Start
		if r.w, err = mdf.Create(r.path, mdf.WriterOptions{Start: r.start, Compression: mdf.TransposedDeflate}); err != nil {
			return err
		}
	}
	group := mdf.GroupSpec{AcqName: b.Stage + "/" + t.Name, Comment: b.Type}
	var columns []mdf.Samples
	key := t.Name
	for i, f := range t.Record.Schema().Fields() {
		channel, samples, ok := channelOf(f, t.Record.Column(i))
		if ok && f.Name != schemas.TimeColumn {
			group.Channels, columns = append(group.Channels, channel), append(columns, samples)
			key += "\x00" + f.Name + "\x00" + f.Type.Name()
		}
	}
	g := r.groups[key]
	if g == nil {
		if g, err = r.w.AddGroup(group); err != nil {
			return err
		}
		r.groups[key] = g
	}
	return g.Append(secondsOf(t.Times(), b.Start.Sub(r.start)), columns...)
}

// secondsOf are the times of a table, since the start of the file.
func secondsOf(t []int64, shift time.Duration) []float64 {
	s := make([]float64, len(t))
	for i, ns := range t {
		s[i] = float64(ns+int64(shift)) / 1e9
	}
	return s
}

// channelOf describes a column as a channel. A value that is null or no number is an invalid sample. ok is false for texts, which
// stages emit as documents.
func channelOf(f arrow.Field, column arrow.Array) (c mdf.ChannelSpec, s mdf.Samples, ok bool) {
	c = mdf.ChannelSpec{Name: f.Name, DataType: mdf.FloatLE, Bits: 64, Invalidation: true}
	c.Unit, _ = f.Metadata.GetValue("unit")
	s.Valid = make([]bool, column.Len())
	for i := range s.Valid {
		s.Valid[i] = column.IsValid(i)
	}
	switch v := column.(type) {
	case *array.Float64:
		s.Float = v.Float64Values()
		for i, x := range s.Float {
			s.Valid[i] = s.Valid[i] && x == x
		}
	case *array.Int64:
		c.DataType, s.Int = mdf.IntLE, v.Int64Values()
	case *array.Boolean:
		c.DataType, c.Bits, s.Uint = mdf.UintLE, 8, make([]uint64, v.Len())
		for i := range s.Uint {
			if v.Value(i) {
				s.Uint[i] = 1
			}
		}
	default:
		return c, s, false
	}
	return c, s, true
}

// file makes one file of those of the stages, in their order, and opens it.
func (s *resultSink) file(ctx context.Context, pipelineName string, stages []string, comment string) (*mdf.File, error) {
	var start time.Time
	for _, name := range stages {
		if r := s.stages[pipelineName+"/"+name]; r != nil && r.w != nil {
			start = r.start
			break
		}
	}
	path := filepath.Join(s.dir, "results.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{Start: start, Comment: comment, Compression: mdf.TransposedDeflate})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for _, name := range stages {
		if r := s.stages[pipelineName+"/"+name]; r != nil {
			if err := r.copyTo(ctx, w, name); err != nil {
				return nil, fmt.Errorf("stage %s: %w", name, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return mdf.Open(path)
}

func (r *stageResults) copyTo(ctx context.Context, w *mdf.Writer, stage string) error {
	for _, eventType := range slices.Sorted(maps.Keys(r.docs)) {
		docs := r.docs[eventType].Bytes()
		spec := mdf.AttachmentSpec{Name: stage + "." + eventType + ".json", MIMEType: "application/json", Comment: "result of stage " + stage}
		if bytes.Count(docs, []byte("\n")) > 1 {
			spec.Name, spec.MIMEType = spec.Name+"l", "application/jsonl"
		}
		if err := w.Attach(spec, docs); err != nil {
			return err
		}
	}
	if r.w == nil {
		return nil
	}
	if err := r.w.Close(); err != nil {
		return err
	}
	f, err := mdf.Open(r.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Excerpt(ctx, w, mdf.ExcerptOptions{})
}

// Close implements pipeline.Sink: files that are not finished are given up.
func (s *resultSink) Close() error {
	var errs []error
	for _, r := range s.stages {
		if r.w != nil {
			errs = append(errs, r.w.Abort())
		}
	}
	return errors.Join(errs...)
}
