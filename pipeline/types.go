package pipeline

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Any, in Accepts or Emits, stands for every event type.
const Any = "any"

// Role is what a stage is in the graph; the part of `uses:` before the slash.
type Role string

// The four roles.
const (
	RoleReader   Role = "reader"
	RoleProcess  Role = "process"
	RoleAnalysis Role = "analysis"
	RoleSink     Role = "sink"
)

// Info is what a registry says of a stage type, without its configuration's Go type.
type Info struct {
	Name             string // role/type in kebab-case, as after `uses:`; of a sink, "sink/<type>" and <type> in `sinks:`
	Role             Role
	Summary          string // one line for the reference
	Version          string // part of the job's version: raise it when the same input gives another output
	Accepts          []string
	Emits            []string
	FoldEmits        string              // event type of the fleet result; empty without one
	Fields           map[string][]string // by event type of Emits: what its data has, for checking a `when`; nil of unknown data
	Nondeterministic bool                // design.md §6 rule 8: one out event an input, no state across inputs
	Local            bool                // runs only in the process that serves the dashboard
}

// MayEmit refuses an event type that the stage type does not list: edges are checked by what it lists.
func (i Info) MayEmit(eventType string) error {
	if slices.Contains(i.Emits, eventType) || slices.Contains(i.Emits, Any) {
		return nil
	}
	return fmt.Errorf("%s emits %q, which its type does not list (%v)", i.Name, eventType, i.Emits)
}

// Parts is a stage type built with its configuration: what the engine opens for each job. Exactly one of Reader, Processor
// and Sink is set; List goes with Reader, Fold with Processor.
type Parts struct {
	Reader    Open[Reader]
	List      func(ctx context.Context) ([]Item, error)
	Processor Open[Processor]
	Fold      Fold
	FoldOf    string // event type of the documents that Fold takes
	FoldEmits string // event type of what it gives
	Sink      Sink
}

// A StageType is one entry of a Registry: a ReaderType, ProcessorType or SinkType of some configuration.
type StageType interface {
	Info() Info
	// NewConfig returns a pointer to a fresh copy of the default configuration, over which YAML is decoded. A configuration
	// may have Validate() error, called by Assemble and by lint.
	NewConfig() any
	// Assemble parses configuration, DBC and the like once, for all jobs. cfg is what NewConfig returned.
	Assemble(ctx context.Context, cfg any) (Parts, error)
}

// A ReaderType declares a reader. C is its `with:` block; its tags give the JSON Schema.
type ReaderType[C any] struct {
	Name, Summary, Version string
	Emits                  []string
	Default                C
	// List lists the items; called at start and, with --watch, again and again. Order does not matter.
	List func(ctx context.Context, cfg C) ([]Item, error)
	// Build parses configuration once and returns what opens one item.
	Build func(ctx context.Context, cfg C) (Open[Reader], error)
}

// A ProcessorType declares a processor or, by its name's role, an analysis.
type ProcessorType[C any] struct {
	Name, Summary, Version string
	Accepts, Emits         []string // event types, checked along every edge
	Default                C
	Build                  func(ctx context.Context, cfg C) (Open[Processor], error)
	Nondeterministic       bool
	Fold                   Fold                // optional: the fleet result
	FoldOf                 string              // with Fold: the type of the documents it takes
	FoldEmits              string              // with Fold: the type of what it gives
	Fields                 map[string][]string // optional, by type of Emits: names that data has, so that a `when` can be checked
}

// FieldsOf are the names under which encoding/json writes the fields of a struct.
func FieldsOf[D any]() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[D]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && !f.Anonymous {
			name = f.Name
		}
		if name != "" && name != "-" && f.IsExported() {
			names = append(names, name)
		}
	}
	return names
}

// A SinkType declares a sink. One Sink serves all jobs.
type SinkType[C any] struct {
	Name, Summary, Version string
	Accepts                []string
	Default                C
	Build                  func(ctx context.Context, cfg C) (Sink, error)
	Local                  bool
}

// Info describes the type.
func (t ReaderType[C]) Info() Info {
	return Info{Name: t.Name, Role: RoleReader, Summary: t.Summary, Version: t.Version, Emits: t.Emits}
}

// NewConfig returns a copy of Default.
func (t ReaderType[C]) NewConfig() any { c := t.Default; return &c }

// Assemble makes the reader's parts.
func (t ReaderType[C]) Assemble(ctx context.Context, cfg any) (Parts, error) {
	c, err := config[C](t.Name, cfg)
	if err != nil {
		return Parts{}, err
	}
	open, err := t.Build(ctx, c)
	if err != nil {
		return Parts{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	return Parts{Reader: open, List: func(ctx context.Context) ([]Item, error) { return t.List(ctx, c) }}, nil
}

// Info describes the type.
func (t ProcessorType[C]) Info() Info {
	return Info{Name: t.Name, Role: roleOf(t.Name), Summary: t.Summary, Version: t.Version, Accepts: t.Accepts, Emits: t.Emits,
		FoldEmits: t.FoldEmits, Fields: t.Fields, Nondeterministic: t.Nondeterministic}
}

// NewConfig returns a copy of Default.
func (t ProcessorType[C]) NewConfig() any { c := t.Default; return &c }

// Assemble makes the processor's parts.
func (t ProcessorType[C]) Assemble(ctx context.Context, cfg any) (Parts, error) {
	c, err := config[C](t.Name, cfg)
	if err != nil {
		return Parts{}, err
	}
	open, err := t.Build(ctx, c)
	if err != nil {
		return Parts{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	return Parts{Processor: open, Fold: t.Fold, FoldOf: t.FoldOf, FoldEmits: t.FoldEmits}, nil
}

// Info describes the type.
func (t SinkType[C]) Info() Info {
	return Info{Name: t.Name, Role: RoleSink, Summary: t.Summary, Version: t.Version, Accepts: t.Accepts, Local: t.Local}
}

// NewConfig returns a copy of Default.
func (t SinkType[C]) NewConfig() any { c := t.Default; return &c }

// Assemble makes the sink.
func (t SinkType[C]) Assemble(ctx context.Context, cfg any) (Parts, error) {
	c, err := config[C](t.Name, cfg)
	if err != nil {
		return Parts{}, err
	}
	sink, err := t.Build(ctx, c)
	if err != nil {
		return Parts{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	return Parts{Sink: sink}, nil
}

func config[C any](name string, cfg any) (C, error) {
	c, ok := cfg.(*C)
	if !ok {
		var none C
		return none, fmt.Errorf("%s: built with a configuration of type %T, not %T", name, cfg, &none)
	}
	if v, ok := cfg.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return *c, fmt.Errorf("%s: %w", name, err)
		}
	}
	return *c, nil
}
