package aebkpi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Config is the stage's `with:` block: the closed-loop estimate, AEB.md sections 2 and 6. The cf_ keys of the `params` of a
// recording's binding override it.
type Config struct {
	Delay   time.Duration `yaml:"delay" doc:"From a demand for braking to the brake, in the closed-loop estimate; a multiple of 50ms."`
	Partial float64       `yaml:"partial" doc:"Deceleration in m/s² that partial braking asks for."`
	Full    float64       `yaml:"full" doc:"Deceleration in m/s² that full braking asks for."`
	Ramp    float64       `yaml:"ramp" doc:"How fast the deceleration may change, in m/s³."`
	Length  time.Duration `yaml:"length" doc:"Length of the estimate; a multiple of 50ms."`
}

// tickLength is the grid of the function.
const tickLength = 50 * time.Millisecond

// Validate refuses what is off the grid of 50 ms, and numbers that the estimate cannot take.
func (c Config) Validate() error {
	var errs []error
	refuse := func(bad bool, field, format string, args ...any) {
		if bad {
			errs = append(errs, pipeline.FieldErrorf(field, format, args...))
		}
	}
	refuse(c.Delay%tickLength != 0, "delay", "%v is not a multiple of %v", c.Delay, tickLength)
	refuse(c.Length%tickLength != 0, "length", "%v is not a multiple of %v", c.Length, tickLength)
	for _, r := range c.closedLoop().refused() {
		refuse(true, r.field, "must be %s", r.want)
	}
	return errors.Join(errs...)
}

func (c Config) closedLoop() ClosedLoop {
	return ClosedLoop{DelayTicks: int(c.Delay / tickLength), Decel: [4]float64{0, 0, c.Partial, c.Full}, Ramp: c.Ramp,
		MaxTicks: int(c.Length / tickLength)}
}

const maxEstimateTicks = 100_000 // of 50 ms: more than an hour

// refusal says what the number of a field, or of a key of params, must be.
type refusal struct{ field, key, want string }

func (p ClosedLoop) refused() (all []refusal) {
	refuse := func(bad bool, field, key, want string) {
		if bad {
			all = append(all, refusal{field, key, want})
		}
	}
	ticks := fmt.Sprintf("to %d ticks", maxEstimateTicks)
	refuse(p.DelayTicks < 0 || p.DelayTicks > maxEstimateTicks, "delay", "cf_delay_ticks", "0 "+ticks)
	refuse(p.MaxTicks < 1 || p.MaxTicks > maxEstimateTicks, "length", "cf_max_ticks", "1 "+ticks)
	refuse(!(p.Ramp > 0) || math.IsInf(p.Ramp, 0), "ramp", "cf_ramp", "above 0")
	for stage, field := range []string{"", "", "partial", "full"} {
		d := p.Decel[stage]
		refuse(!(d >= 0) || math.IsInf(d, 0), field, "cf_decel", "0 or more for each stage")
	}
	return all
}

// RefusedParams says what of an item's params the estimate cannot take.
func (c Config) RefusedParams(params map[string]json.RawMessage) []error {
	_, errs := c.closedLoop().overridden(params)
	return errs
}

// Type is what a registry lists as analysis/aeb-kpi.
var Type = pipeline.ProcessorType[Config]{
	Name:    "analysis/aeb-kpi",
	Summary: "scores every intervention of the AEB function, per recording and over the fleet",
	Version: "1",
	Accepts: []string{schemas.AEBTicks, schemas.AEBInputs},
	Emits:   []string{schemas.AEBKPI},
	Fields:  map[string][]string{schemas.AEBKPI: pipeline.FieldsOf[Result]()},
	Default: Config{Delay: 200 * time.Millisecond, Partial: 4, Full: 9, Ramp: 20, Length: 10 * time.Second},
	Build: func(_ context.Context, c Config) (pipeline.Open[pipeline.Processor], error) {
		defaults := c.closedLoop()
		return func(_ context.Context, it pipeline.Item) (pipeline.Processor, error) {
			cf, err := defaults.override(it.Params)
			if err != nil {
				return nil, pipeline.Permanent(fmt.Errorf("item %s: %w", it.Name, err))
			}
			return &processor{item: it.Name, eval: newEvaluation(cf)}, nil
		}, nil
	},
	Fold:   fold,
	FoldOf: schemas.AEBKPI, FoldEmits: schemas.AEBFleet,
}

// override returns p with what an item's params say, at the top or in the object "aeb".
func (p ClosedLoop) override(params map[string]json.RawMessage) (ClosedLoop, error) {
	p, errs := p.overridden(params)
	for i, err := range errs {
		errs[i] = fmt.Errorf("params.%w", err)
	}
	return p, errors.Join(errs...)
}

// overridden is override with every error apart, a *pipeline.FieldError with its path in params.
func (p ClosedLoop) overridden(params map[string]json.RawMessage) (ClosedLoop, []error) {
	var object map[string]json.RawMessage
	if raw, ok := params["aeb"]; ok {
		if err := json.Unmarshal(raw, &object); err != nil {
			return p, []error{pipeline.FieldErrorf("aeb", "want an object of parameters")}
		}
	}
	var errs []error
	path := map[string]string{}
	var decel []*float64
	const ofStages = "[0, 0, partial, full], a number or null each"
	fields := []struct {
		key, want string
		into      any
	}{{"cf_delay_ticks", "a whole number", &p.DelayTicks}, {"cf_ramp", "a number", &p.Ramp}, {"cf_max_ticks", "a whole number", &p.MaxTicks},
		{"cf_decel", ofStages, &decel}}
	for _, f := range fields {
		raw, ok := object[f.key]
		if path[f.key] = "aeb." + f.key; !ok {
			raw, ok = params[f.key]
			path[f.key] = f.key
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, f.into); err != nil {
			errs = append(errs, pipeline.FieldErrorf(path[f.key], "want %s; have %s", f.want, raw))
		}
	}
	if decel != nil && len(decel) != len(p.Decel) {
		return p, append(errs, pipeline.FieldErrorf(path["cf_decel"], "want %s; have %d elements", ofStages, len(decel)))
	}
	for stage, d := range decel {
		if d != nil {
			p.Decel[stage] = *d
		}
	}
	if len(errs) > 0 {
		return p, errs
	}
	for _, r := range p.refused() {
		errs = append(errs, pipeline.FieldErrorf(path[r.key], "must be %s", r.want))
	}
	return p, errs
}

// processor is an evaluation in a pipeline: tables of ticks and the sample counts in, one document at the end out.
type processor struct {
	item   string
	eval   *Evaluation
	inputs InputSamples
}

// Process takes ticks or the sample counts; it emits nothing.
func (p *processor) Process(_ context.Context, in pipeline.Batch, _ pipeline.Emitter) error {
	switch in.Type {
	case schemas.AEBTicks:
		return pipeline.Permanent(eachTick(&in, p.eval.Add))
	case schemas.AEBInputs:
		for _, doc := range in.Docs {
			p.inputs = InputSamples{}
			if err := json.Unmarshal(doc, &p.inputs); err != nil {
				return pipeline.Permanent(fmt.Errorf("sample counts: %w", err))
			}
		}
	}
	return nil
}

// Finish emits the result of the recording.
func (p *processor) Finish(ctx context.Context, out pipeline.Emitter) error {
	if p.inputs.Tracks == nil {
		p.inputs.Tracks = map[int]int64{}
	}
	return pipeline.EmitDoc(ctx, out, schemas.AEBKPI, p.eval.Result(p.item, p.inputs))
}

// Snapshot returns the evaluation and behind it the sample counts, which only come at the end.
func (p *processor) Snapshot(context.Context) ([]byte, error) {
	inputs, err := json.Marshal(p.inputs)
	if err != nil {
		return nil, err
	}
	w := codec{data: append(p.eval.snapshot(), inputs...)}
	w.word(uint64(len(inputs)))
	return w.data, nil
}

// Restore takes it back.
func (p *processor) Restore(_ context.Context, state []byte) error {
	if state == nil {
		return nil
	}
	if len(state) < 8 {
		return errState
	}
	r := codec{data: state[len(state)-8:], reading: true}
	n, rest := r.word(0), state[:len(state)-8]
	if n > uint64(len(rest)) {
		return errState
	}
	cut := len(rest) - int(n)
	if err := json.Unmarshal(rest[cut:], &p.inputs); err != nil {
		return fmt.Errorf("%w: %w", errState, err)
	}
	return p.eval.restore(rest[:cut])
}

// Close has nothing to release.
func (p *processor) Close() error { return nil }
