package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// A part is what one scripted stage of a test does; nil functions do what is usual.
type part struct {
	open     func(ctx context.Context, it pipeline.Item) error
	step     func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error // default: echo
	finish   func(ctx context.Context, s *scripted, out pipeline.Emitter) error
	snapshot func(ctx context.Context, s *scripted) error
	read     func(ctx context.Context, it pipeline.Item, n int) error // of a reader, before its n-th row, or its end
	closed   func()
}

type parts map[string]*part

type scriptConfig struct {
	Part  string `yaml:"part" doc:"What of the test."`
	Items int    `yaml:"items" doc:"Items of a reader."`
	Rows  int    `yaml:"rows" doc:"Rows of an item."`
	Bytes int    `yaml:"bytes" doc:"Bytes of a row."`
	Paced bool   `yaml:"paced" doc:"A row leaves a second after the one before."`
	Keep  int    `yaml:"keep" doc:"Each n-th input is echoed."`
	State int    `yaml:"state" doc:"Bytes of the state besides."`
}

// types are the stage types that do as the test says: reader/gen, process/script, process/once (non-deterministic).
func (p parts) types() []pipeline.StageType {
	build := func(_ context.Context, c scriptConfig) (pipeline.Open[pipeline.Processor], error) {
		return func(ctx context.Context, it pipeline.Item) (pipeline.Processor, error) {
			s := &scripted{part: p.of(c.Part), c: c, item: it}
			if s.part.open == nil {
				return s, nil
			}
			return s, s.part.open(ctx, it)
		}, nil
	}
	return []pipeline.StageType{
		p.reader(),
		pipeline.ProcessorType[scriptConfig]{Name: "process/script", Accepts: []string{pipeline.Any}, Emits: []string{"script.v1"},
			Default: scriptConfig{Keep: 1}, Build: build},
		pipeline.ProcessorType[scriptConfig]{Name: "analysis/fold", Accepts: []string{pipeline.Any}, Emits: []string{"script.v1"},
			Default: scriptConfig{Keep: 1}, Build: build, FoldOf: "script.v1", FoldEmits: "script.fleet.v1",
			Fold: func(r []pipeline.Result) (pipeline.Doc, error) {
				return fmt.Appendf(nil, `{"results":%d}`, len(r)), nil
			}},
		pipeline.ProcessorType[scriptConfig]{Name: "process/once", Accepts: []string{pipeline.Any}, Emits: []string{"script.v1"},
			Default: scriptConfig{Keep: 1}, Build: build, Nondeterministic: true},
	}
}

func (p parts) of(name string) *part {
	if q := p[name]; q != nil {
		return q
	}
	return &part{}
}

func (p parts) reader() pipeline.StageType {
	return pipeline.ReaderType[scriptConfig]{
		Name: "reader/gen", Emits: []string{"row.v1"}, Default: scriptConfig{Items: 1, Rows: 10},
		List: func(_ context.Context, c scriptConfig) (items []pipeline.Item, err error) {
			for i := range c.Items {
				items = append(items, pipeline.Item{Name: fmt.Sprintf("item%04d", i), Identity: fmt.Sprint(i)})
			}
			return items, nil
		},
		Build: func(_ context.Context, c scriptConfig) (pipeline.Open[pipeline.Reader], error) {
			return func(ctx context.Context, it pipeline.Item) (pipeline.Reader, error) {
				g := &gen{part: p.of(c.Part), c: c, item: it}
				if g.part.open == nil {
					return g, nil
				}
				return g, g.part.open(ctx, it)
			}, nil
		},
	}
}

// gen reads made-up rows, a second apart.
type gen struct {
	part *part
	c    scriptConfig
	item pipeline.Item
	at   int
}

func (g *gen) Read(ctx context.Context) (pipeline.Batch, error) {
	if g.part.read != nil {
		if err := g.part.read(ctx, g.item, g.at+1); err != nil {
			return pipeline.Batch{}, err
		}
	}
	if g.at == g.c.Rows {
		return pipeline.Batch{}, io.EOF
	}
	g.at++
	b := pipeline.Batch{Type: "row.v1", Docs: []pipeline.Doc{row(g.at, g.c.Bytes)}}
	b.Slice = schemas.Slice{Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), From: time.Duration(g.at) * time.Second,
		To: time.Duration(g.at+1) * time.Second}
	if g.c.Paced {
		b.Pace = b.From
	}
	return b, nil
}

var pad = sync.OnceValue(func() string { return strings.Repeat("x", 9<<20) })

func row(n, bytes int) pipeline.Doc { return fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, pad()[:bytes]) }

// progress of the item, for the engine's.
func (g *gen) Progress() float64 { return float64(g.at) / float64(max(1, g.c.Rows)) }

func (g *gen) Snapshot(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, uint64(g.at)), nil
}

func (g *gen) Restore(_ context.Context, state []byte) error {
	g.at = int(binary.LittleEndian.Uint64(state))
	return nil
}

func (g *gen) Close() error {
	if g.part.closed != nil {
		g.part.closed()
	}
	return nil
}

// scripted is a processor that echoes each Keep-th input with the sum of all, unless its part says otherwise.
type scripted struct {
	part *part
	c    scriptConfig
	item pipeline.Item
	seen int
	sum  int
}

var errBad = errors.New("this one is bad")

// number is the n of an input.
func number(in pipeline.Batch) int {
	var r struct {
		N   int
		Sum int
	}
	if len(in.Docs) == 0 || json.Unmarshal(in.Docs[0], &r) != nil {
		return -1
	}
	return max(r.N, r.Sum)
}

func (s *scripted) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	if s.part.step != nil {
		return s.part.step(ctx, s, in, out)
	}
	return s.echo(ctx, in, out)
}

func (s *scripted) echo(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	s.seen++
	s.sum += number(in)
	if s.c.Keep == 0 || s.seen%s.c.Keep != 0 {
		return nil
	}
	return s.emit(ctx, out)
}

func (s *scripted) emit(ctx context.Context, out pipeline.Emitter) error {
	return pipeline.EmitDoc(ctx, out, "script.v1", map[string]any{"sum": s.sum, "seen": s.seen, "pad": pad()[:s.c.Bytes]})
}

func (s *scripted) Finish(ctx context.Context, out pipeline.Emitter) error {
	if s.part.finish != nil {
		return s.part.finish(ctx, s, out)
	}
	return s.emit(ctx, out)
}

func (s *scripted) Snapshot(ctx context.Context) ([]byte, error) {
	if s.part.snapshot != nil {
		if err := s.part.snapshot(ctx, s); err != nil {
			return nil, err
		}
	}
	state, err := json.Marshal([]int{s.seen, s.sum})
	return append(state, bytes.Repeat([]byte{' '}, s.c.State)...), err
}

func (s *scripted) Restore(_ context.Context, state []byte) error {
	var at []int
	err := json.Unmarshal(state, &at)
	if err == nil {
		s.seen, s.sum = at[0], at[1]
	}
	return err
}

func (s *scripted) Close() error {
	if s.part.closed != nil {
		s.part.closed()
	}
	return nil
}
