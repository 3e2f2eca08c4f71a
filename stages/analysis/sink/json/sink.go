// Package jsonsink stores documents as files: the last document of a recording (`form: document`), or all of them as JSON
// Lines (`form: lines`).
//
// A file and its cursor cannot disagree. All that a kill could tear apart stands in one record per chain, in the folder
// .milepost beside the files, replaced by a rename: the cursor, the length of a file of lines, and until the file itself is
// in place the new document. Whoever opens the folder next puts a document that is not in place there, and cuts off lines
// that no cursor covers.
//
// The files of a recording are those of one job. A newer one writes into .milepost until it is through, and its files take the
// place of all of the older one's then, even if it has none. Jobs whose files a path with {job} tells apart stay side by side.
package jsonsink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Forms of a file.
const (
	FormDocument = "document"
	FormLines    = "lines"
)

// Config is the sink's `with:` block.
type Config struct {
	Path   string           `yaml:"path" required:"true" doc:"File of each recording, such as ./out/{pipeline}/{item}.json. {item} is the item's name without extension, {name} with it; {pipeline}, {stage}, {type} and {job} are the others; with {job} the files of older jobs stay."`
	Types  pipeline.Strings `yaml:"types" doc:"Event types to store; none is all that carry documents."`
	Form   string           `yaml:"form" enum:"lines,document" doc:"lines: JSON Lines of all documents in order. document: the last document alone."`
	Indent int              `yaml:"indent" doc:"Spaces of indentation of a document; 0 leaves it as it was emitted. Lines are never indented."`
	Fleet  string           `yaml:"fleet" doc:"File of the fleet result; {run}, {pipeline}, {stage} and {type} are replaced. Default: fleet.json in the folder of path that all recordings of a stage share."`
}

// Type is what a registry lists as sink/json.
var Type = pipeline.SinkType[Config]{
	Name: "sink/json", Summary: "one JSON file a recording: its result, or all documents as lines", Version: "1",
	Accepts: []string{pipeline.Any},
	Default: Config{Form: FormLines, Indent: 1},
	Build:   func(_ context.Context, c Config) (pipeline.Sink, error) { return open(c) },
}

// Validate refuses unknown placeholders and forms.
func (c Config) Validate() error {
	var errs []error
	if c.Form != FormLines && c.Form != FormDocument {
		errs = append(errs, pipeline.FieldErrorf("form", "is %q, not %s or %s", c.Form, FormLines, FormDocument))
	}
	if c.Indent < 0 || c.Indent > 16 {
		errs = append(errs, pipeline.FieldErrorf("indent", "is %d, not 0 to 16", c.Indent))
	}
	if err := checkTemplate(c.Path, "item", "name", "pipeline", "stage", "type", "job"); err != nil {
		errs = append(errs, &pipeline.FieldError{Path: "path", Err: err})
	} else if !strings.Contains(c.Path, "{item}") && !strings.Contains(c.Path, "{name}") && !strings.Contains(c.Path, "{job}") {
		errs = append(errs, pipeline.FieldErrorf("path", "%q is the same for all recordings: use {item}", c.Path))
	}
	if c.Fleet != "" {
		if err := checkTemplate(c.Fleet, "run", "pipeline", "stage", "type"); err != nil {
			errs = append(errs, &pipeline.FieldError{Path: "fleet", Err: err})
		}
	}
	return errors.Join(errs...)
}

// StoredTypes is what Types says, for lint.
func (c Config) StoredTypes() (field string, types []string) { return "types", c.Types }

// FileTemplate is where files go, for lint.
func (c Config) FileTemplate() (field, template string) { return "path", c.Path }

// FleetTemplate is where fleet results go, for lint.
func (c Config) FleetTemplate() (field, template string) {
	if c.Fleet != "" {
		return "fleet", c.Fleet
	}
	return "path", fleetBeside(c.Path)
}

// sink implements pipeline.FleetSink.
type sink struct {
	config Config
	path   template
	fleet  template
	store  *store
	fleets *store // of the fleet file's folder; may be the same

	mu      sync.Mutex
	pending map[schemas.ChainID]*pending
}

// pending is what was written since the chain's last commit.
type pending struct {
	batches map[uint64]held
	last    uint64
}

// held are the documents of one batch, and where they go. Docs may be empty: the file name counts.
type held struct {
	file string
	docs []pipeline.Doc
}

func open(c Config) (*sink, error) {
	_, fleet := c.FleetTemplate()
	s := &sink{config: c, path: newTemplate(c.Path), fleet: newTemplate(fleet), pending: map[schemas.ChainID]*pending{}}
	var err error
	if s.store, err = openStore(s.path.folder, c.Path); err != nil {
		return nil, err
	}
	s.store.together = s.path.uses("job")
	if s.fleets = s.store; s.fleet.folder != s.path.folder {
		if s.fleets, err = openStore(s.fleet.folder, fleet); err != nil {
			return nil, errors.Join(err, s.store.close())
		}
	}
	return s, nil
}

// Cursor implements pipeline.Sink. It drops what was written and not committed.
func (s *sink) Cursor(_ context.Context, id schemas.ChainID) (schemas.Cursor, error) {
	s.drop(id)
	var c schemas.Cursor
	err := s.store.locked(func() error {
		r, err := s.store.load(id)
		c = r.Cursor
		return err
	})
	return c, err
}

func (s *sink) drop(id schemas.ChainID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// Write implements pipeline.Sink. Documents are held in memory until Commit.
func (s *sink) Write(_ context.Context, b pipeline.Batch) error {
	h, err := s.held(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := schemas.ChainID{Job: b.Job, Stage: b.Stage}
	p := s.pending[id]
	if p == nil {
		p = &pending{batches: map[uint64]held{}}
		s.pending[id] = p
	}
	p.batches[b.Sequence], p.last = h, max(p.last, b.Sequence)
	return nil
}

// held takes from a batch what is stored of it.
func (s *sink) held(b pipeline.Batch) (held, error) {
	var h held
	if len(s.config.Types) == 0 || slices.Contains(s.config.Types, b.Type) {
		for _, d := range b.Docs {
			h.docs = append(h.docs, slices.Clone(d))
		}
	}
	if len(h.docs) > 0 || s.config.Form == FormLines && !s.path.uses("type") {
		var err error
		if h.file, err = s.path.file(values(b)); err != nil {
			return held{}, pipeline.Permanent(fmt.Errorf("file of %s: %w", b.Item, err))
		}
		if fleet, err := s.fleet.file(values(b)); err == nil && h.file == fleet && s.fleets == s.store {
			return held{}, pipeline.Permanent(fmt.Errorf("item %s would be written over the fleet result, %s: set fleet", b.Item, h.file))
		}
	}
	return h, nil
}

func values(b pipeline.Batch) map[string]string {
	return map[string]string{"item": stem(b.Item), "name": b.Item, "pipeline": b.Pipeline, "stage": b.Stage, "type": b.Type, "job": string(b.Job)}
}

// Commit implements pipeline.Sink.
func (s *sink) Commit(ctx context.Context, of pipeline.Origin, from, to schemas.Cursor) error {
	s.mu.Lock()
	p := s.pending[of.ChainID]
	delete(s.pending, of.ChainID)
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.store.locked(func() error {
		r, err := s.store.load(of.ChainID)
		if err != nil {
			return err
		}
		if !r.Cursor.SameInput(from) {
			return fmt.Errorf("commit %s: %w", of, pipeline.ErrStale)
		}
		changes, err := s.changes(r, p)
		if err != nil {
			return fmt.Errorf("commit %s: %w", of, err)
		}
		if p != nil {
			r.Sequence = max(r.Sequence, p.last)
		}
		return s.store.commit(of, r, to, changes)
	})
}

// Replaced implements pipeline.Sink.
func (s *sink) Replaced(_ context.Context, of pipeline.Origin) (replaced bool, err error) {
	err = s.store.locked(func() error {
		r, err := s.store.load(of.ChainID)
		if err != nil || len(r.Cursor.Edges) == 0 && !r.ShutOut {
			return err
		}
		v, err := s.store.versions(of)
		replaced = !slices.Contains(v.Jobs, of.Job)
		return err
	})
	return replaced, err
}

// changes are the new contents of files, in order of their names. Batches at or below the record's sequence are stored.
func (s *sink) changes(r record, p *pending) ([]change, error) {
	if p == nil {
		return nil, nil
	}
	byFile := map[string]*change{}
	for _, sequence := range sortedKeys(p.batches) {
		h := p.batches[sequence]
		if sequence <= r.Sequence || h.file == "" {
			continue
		}
		c := byFile[h.file]
		if c == nil {
			c = &change{File: h.file, Lines: s.config.Form == FormLines}
			byFile[h.file] = c
		}
		if err := c.add(h.docs, s.config.Indent); err != nil {
			return nil, pipeline.Permanent(fmt.Errorf("event %d: %w", sequence, err))
		}
	}
	changes := make([]change, 0, len(byFile))
	for _, file := range sortedKeys(byFile) {
		changes = append(changes, *byFile[file])
	}
	return changes, nil
}

// add appends lines, or puts the last document in the place of what was there.
func (c *change) add(docs []pipeline.Doc, indent int) error {
	if !c.Lines && len(docs) > 0 {
		docs, c.Content = docs[len(docs)-1:], nil
	}
	var out bytes.Buffer
	for _, d := range docs {
		var err error
		switch {
		case c.Lines:
			err = json.Compact(&out, d)
		case indent == 0:
			out.Write(bytes.TrimSpace(d))
		default:
			err = json.Indent(&out, d, "", strings.Repeat(" ", indent))
		}
		if err != nil {
			return fmt.Errorf("document is not JSON: %w", err)
		}
		out.WriteByte('\n')
	}
	c.Content = append(c.Content, out.Bytes()...)
	return nil
}

// Restore implements pipeline.RestoringSink: a file that is not there, or that another version has written since, is written
// again as this one left it. What its chain has committed is left as it is.
func (s *sink) Restore(ctx context.Context, of pipeline.Origin, batches []pipeline.Batch) (restored int, err error) {
	p := pending{batches: map[uint64]held{}}
	for _, b := range batches {
		h, err := s.held(b)
		if err != nil {
			return 0, err
		}
		p.batches[b.Sequence] = h
	}
	changes, err := s.changes(record{}, &p)
	if err != nil || ctx.Err() != nil {
		return 0, errors.Join(err, ctx.Err())
	}
	err = s.store.locked(func() error {
		restored, err = s.store.restore(of, changes)
		return err
	})
	return restored, err
}

// WriteFleet implements pipeline.FleetSink.
func (s *sink) WriteFleet(ctx context.Context, run string, b pipeline.Batch) error {
	if err := ctx.Err(); err != nil || len(b.Docs) == 0 {
		return err
	}
	v := values(b)
	v["run"] = run
	file, err := s.fleet.file(v)
	if err != nil {
		return pipeline.Permanent(fmt.Errorf("file of the fleet result of run %s: %w", run, err))
	}
	c := change{File: file}
	if err := c.add(b.Docs, s.config.Indent); err != nil {
		return pipeline.Permanent(err)
	}
	return s.fleets.locked(func() error { return s.fleets.replace(c.File, c.Content, durable) })
}

// Close implements io.Closer.
func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.pending)
	return errors.Join(s.store.close(), s.fleets.close())
}
