package signalhealth

import (
	"context"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Type is what a registry lists as analysis/signal-health.
var Type = pipeline.ProcessorType[Config]{
	Name:    "analysis/signal-health",
	Summary: "finds gaps, frozen signals, values that cannot be, invalid samples and steps back in time",
	Version: "1",
	Accepts: []string{schemas.Signals},
	Emits:   []string{schemas.HealthFinding, schemas.HealthSummary},
	Fields:  map[string][]string{schemas.HealthFinding: pipeline.FieldsOf[Finding](), schemas.HealthSummary: pipeline.FieldsOf[Summary]()},
	Default: Config{MaxGap: 100 * time.Millisecond, FrozenAfter: 5 * time.Second, MaxInvalid: 0.01, MaxFindings: 20},
	Build: func(_ context.Context, c Config) (pipeline.Open[pipeline.Processor], error) {
		return func(_ context.Context, it pipeline.Item) (pipeline.Processor, error) {
			return &processor{item: it.Name, h: health{c: &c}}, nil
		}, nil
	},
}

// processor is the state machine in a pipeline.
type processor struct {
	item string
	h    health
}

// Process emits an event for each finding that is known now.
func (p *processor) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	for _, f := range p.h.take(&in) {
		if err := pipeline.EmitDoc(ctx, out, schemas.HealthFinding, f); err != nil {
			return err
		}
	}
	return nil
}

// Finish emits what is known only at the end, and the summary.
func (p *processor) Finish(ctx context.Context, out pipeline.Emitter) error {
	findings, summary := p.h.end(p.item)
	for _, f := range findings {
		if err := pipeline.EmitDoc(ctx, out, schemas.HealthFinding, f); err != nil {
			return err
		}
	}
	return pipeline.EmitDoc(ctx, out, schemas.HealthSummary, summary)
}

// Snapshot returns the state as JSON.
func (p *processor) Snapshot(context.Context) ([]byte, error) { return p.h.snapshot() }

// Restore takes it back.
func (p *processor) Restore(_ context.Context, state []byte) error {
	if state == nil {
		return nil
	}
	return p.h.restore(state)
}

// Close has nothing to release.
func (p *processor) Close() error { return nil }
