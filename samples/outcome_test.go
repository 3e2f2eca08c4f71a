package samples_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/analysis/aebkpi"
	"github.com/milepost-dev/milepost/stages/process/aeb"
	"github.com/milepost-dev/milepost/stages/reader/mf4"
)

// outcomes is what README.md promises of each recording: the changes of the stage with their times, then the verdicts.
var outcomes = map[string]string{
	"sim_full_braking.mf4":  "warn 11.70, partial 12.60, full 13.30, end 14.50: true_collision",
	"sim_driver_brakes.mf4": "warn 10.60, end 12.50: warning_only",
	"sim_false_targets.mf4": ": ",
	"sim_city_drive.mf4":    "warn 97.75, end 99.15, warn 309.00, partial 309.80, end 311.70: warning_only confirmed",
}

func TestTheFunctionDoesWhatTheSamplesAreFor(t *testing.T) {
	got := map[string]string{}
	for _, it := range list(t) {
		ticks := process(t, aeb.Type, it, pipelinetest.ReadAll(t, mf4.Type, config(), it))
		kpis := process(t, aebkpi.Type, it, ticks)
		var changes, verdicts []string
		each(t, ticks, schemas.AEBActivation, func(a struct {
			T    float64
			Kind string
		}) {
			changes = append(changes, fmt.Sprintf("%s %.2f", a.Kind, a.T))
		})
		each(t, kpis, schemas.AEBKPI, func(k struct{ Events []struct{ Verdict string } }) {
			for _, e := range k.Events {
				verdicts = append(verdicts, e.Verdict)
			}
		})
		got[it.Name] = strings.Join(changes, ", ") + ": " + strings.Join(verdicts, " ")
	}
	if d := cmp.Diff(outcomes, got); d != "" {
		t.Errorf("outcomes (-README +got):\n%s", d)
	}
}

// process runs a stage with its default configuration over batches.
func process[C any](t *testing.T, typ pipeline.ProcessorType[C], it pipeline.Item, in []pipeline.Batch) []pipeline.Batch {
	t.Helper()
	cfg := typ.Default
	parts, err := typ.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parts.Processor(t.Context(), it)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var out []pipeline.Batch
	keep := pipeline.EmitterFunc(func(_ context.Context, b pipeline.Batch) error {
		out = append(out, b)
		return nil
	})
	for _, b := range in {
		if err := p.Process(t.Context(), b, keep); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	return out
}

// each decodes the documents of a type.
func each[T any](t *testing.T, batches []pipeline.Batch, eventType string, take func(T)) {
	t.Helper()
	for _, b := range batches {
		if b.Type != eventType {
			continue
		}
		for _, doc := range b.Docs {
			var v T
			if err := json.Unmarshal(doc, &v); err != nil {
				t.Fatal(err)
			}
			take(v)
		}
	}
}
