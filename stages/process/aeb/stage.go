package aeb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Type is what a registry lists as process/aeb.
var Type = pipeline.ProcessorType[Config]{
	Name:    "process/aeb",
	Summary: "runs an automatic emergency braking function on a 50 ms grid",
	Version: "1",
	Accepts: []string{schemas.Signals},
	Emits:   []string{schemas.AEBTicks, schemas.AEBActivation, schemas.AEBInputs},
	Fields: map[string][]string{schemas.AEBTicks: tickFields(), schemas.AEBActivation: pipeline.FieldsOf[Activation](),
		schemas.AEBInputs: pipeline.FieldsOf[Inputs]()},
	Default: defaultConfig(),
	Build: func(_ context.Context, c Config) (pipeline.Open[pipeline.Processor], error) {
		defaults := c.params()
		return func(_ context.Context, it pipeline.Item) (pipeline.Processor, error) {
			p, err := defaults.Override(it.Params)
			if err != nil {
				return nil, pipeline.Permanent(fmt.Errorf("item %s: %w", it.Name, err))
			}
			f := New(p)
			if err := f.bind(it.Params[ParamTracks]); err != nil {
				return nil, pipeline.Permanent(fmt.Errorf("item %s: %w", it.Name, err))
			}
			return &processor{f: f}, nil
		}, nil
	},
}

// ParamTracks is the key of an item's params with the number of slots that its binding names, for slots that never have a
// sample to be counted as 0; optional.
const ParamTracks = "tracks"

// bind makes the slots that a binding names.
func (f *Function) bind(param json.RawMessage) error {
	if param == nil {
		return nil
	}
	var n int
	if err := json.Unmarshal(param, &n); err != nil || n < 0 || n > maxSlots {
		return fmt.Errorf("params %s: want a number of slots up to %d, got %s", ParamTracks, maxSlots, param)
	}
	for i := range n {
		f.slotOf(i)
	}
	return nil
}

// maxRows bounds the rows of one tick table: about 0.6 MiB, the size that events are best at.
const maxRows = 4096

// processor is the function in a pipeline: signals in, tables of ticks, activations, and the sample counts at the end.
type processor struct {
	f     *Function
	stage int // of the last tick given out
}

// Process emits the ticks that are known now, at most maxRows a table, and an activation for each change of the stage.
func (p *processor) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	samples, err := samplesOf(&in)
	if err != nil {
		return pipeline.Permanent(err)
	}
	before := p.f.ego
	e := emission{ctx: ctx, out: out, start: in.Start, stage: p.stage}
	outErr := error(nil)
	err = p.f.Advance(samples, int64(in.To), func(t Tick) error {
		outErr = e.tick(t)
		return outErr
	})
	switch {
	case outErr != nil:
		return gapOr(outErr, before, samples.Ego)
	case err != nil:
		return pipeline.Permanent(err)
	}
	if err := e.flush(); err != nil {
		return err
	}
	p.stage = e.stage
	return nil
}

// gapOr says of an error of the emitter that a gap of hours made too many ticks, where the samples have one behind the last before.
func gapOr(err error, before newest, ego Series) error {
	from, silence := silence(before, ego)
	if silence <= int64(time.Hour) {
		return err
	}
	length, unit := time.Duration(silence).Hours(), "hours"
	if length >= 48 {
		length, unit = length/24, "days"
	}
	return fmt.Errorf("no sample of signal ego_speed for %.4g %s from %.3f s on, in the middle of the recording [E-gap]\n  %w",
		length, unit, float64(from)/1e9, err)
}

// Inputs are the sample counts of a recording: the document of type aeb.inputs.v1.
type Inputs struct {
	Ego       int64         `json:"ego"`
	Yaw       int64         `json:"yaw"`
	Brake     int64         `json:"brake"`
	Tracks    map[int]int64 `json:"tracks"`               // by slot
	Late      int64         `json:"late,omitempty"`       // left out: behind the reorder window
	NotFinite int64         `json:"not_finite,omitempty"` // left out: no number, or one that nobody measures (most)
}

// errNoEgo is why a recording without the ego speed fails instead of having no tick: the grid reaches from its first to its
// last sample (AEB.md, section 2), and a result without ticks would count in the fleet as a drive in which nothing happened.
var errNoEgo = errors.New("no sample of signal ego_speed in the whole recording, and the function computes nothing without it [E-channel]\n" +
	"  next: bind ego_speed to a channel that has values; `milepost inspect` lists the channels of a recording")

// Finish emits the sample counts. Ticks behind the last ego sample are none.
func (p *processor) Finish(ctx context.Context, out pipeline.Emitter) error {
	c := p.f.Counted()
	if c.Ego == 0 {
		return pipeline.Permanent(errNoEgo)
	}
	return pipeline.EmitDoc(ctx, out, schemas.AEBInputs, Inputs(c))
}

// Snapshot returns the function's state and the stage of the last tick given out.
func (p *processor) Snapshot(context.Context) ([]byte, error) {
	return append([]byte{byte(p.stage)}, p.f.Snapshot()...), nil
}

// Restore takes it back.
func (p *processor) Restore(_ context.Context, state []byte) error {
	if state == nil {
		return nil
	}
	if len(state) == 0 || state[0] > StageFull {
		return errState
	}
	p.stage = int(state[0])
	return p.f.Restore(state[1:])
}

// Close has nothing to release.
func (p *processor) Close() error { return nil }

func missing(t pipeline.Table, column string) error {
	return fmt.Errorf("table %s has no column %s of type float64 (it has %v)", t.Name, column, t.Signals())
}

// An Activation is a change of the function's stage: the document of type aeb.activation.v1. Numbers are null where there
// is no target or no time to collision.
type Activation struct {
	T     float64 `json:"t"` // s since the recording's start
	TNS   int64   `json:"t_ns"`
	Kind  string  `json:"kind"` // warn, partial or full when the stage rises; release when it falls; end when it is none
	Stage int     `json:"stage"`
	From  int     `json:"from"` // stage before

	Slot   *int     `json:"slot"`
	TTC    *float64 `json:"ttc"`     // s
	ETTC   *float64 `json:"ettc"`    // s
	AReq   *float64 `json:"areq"`    // m/s²
	Speed  *float64 `json:"speed"`   // of the ego vehicle, m/s
	DeltaV *float64 `json:"delta_v"` // closing speed, m/s
	Gap    *float64 `json:"gap"`     // m
}

func activation(t Tick, from int) Activation {
	a := Activation{T: float64(t.T) / 1e9, TNS: t.T, Kind: kindOf(t.Stage, from), Stage: t.Stage, From: from, TTC: number(t.TTC),
		ETTC: number(t.ETTC), AReq: number(t.AReq), Speed: number(t.V), DeltaV: number(t.C), Gap: number(t.X)}
	if t.Slot != NoSlot {
		a.Slot = &t.Slot
	}
	return a
}

func kindOf(stage, from int) string {
	switch {
	case stage == StageNone:
		return "end"
	case stage < from:
		return "release"
	}
	return [...]string{StageWarn: "warn", StagePartial: "partial", StageFull: "full"}[stage]
}

// tickFields are the columns of a table of ticks; the one of no ticks has them all.
func tickFields() []string {
	table, err := new(ticks).table()
	if err != nil {
		panic(err)
	}
	return table.Signals()
}

// emission collects the ticks of one step into tables.
type emission struct {
	ctx     context.Context
	out     pipeline.Emitter
	start   time.Time
	stage   int
	rows    ticks
	changes []Activation
}

func (e *emission) tick(t Tick) error {
	e.rows.add(t)
	if t.Stage != e.stage {
		e.changes = append(e.changes, activation(t, e.stage))
		e.stage = t.Stage
	}
	if len(e.rows.t) >= maxRows {
		return e.flush()
	}
	return nil
}

// flush emits the rows, then the changes among them, one event each so that `when:` can look at their fields.
func (e *emission) flush() error {
	if len(e.rows.t) == 0 {
		return nil
	}
	first, last := e.rows.t[0], e.rows.t[len(e.rows.t)-1]
	slice := schemas.Slice{Start: e.start, From: time.Duration(first), To: time.Duration(last + TickStep)}
	table, err := e.rows.table()
	if err != nil {
		return pipeline.Permanent(err)
	}
	if err := e.out.Emit(e.ctx, pipeline.Batch{Type: schemas.AEBTicks, Slice: slice, Tables: []pipeline.Table{table}}); err != nil {
		return err
	}
	for _, a := range e.changes {
		slice.From = time.Duration(a.TNS)
		if err := emitDoc(e.ctx, e.out, slice, a); err != nil {
			return err
		}
	}
	e.rows, e.changes = ticks{}, nil
	return nil
}
