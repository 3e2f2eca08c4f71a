// Package hardbrake flags samples that brake harder than a limit.
package hardbrake

import (
	"context"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Config is the stage's `with:` block; `milepost schema` is generated from it.
type Config struct {
	Limit float64 `yaml:"limit" doc:"Deceleration in m/s² that counts as hard."`
}

type sample struct{ T, Accel float64 } // columns of the rows, by name

// Type is what a registry lists as process/hard-brake.
var Type = pipeline.ProcessorType[Config]{
	Name: "process/hard-brake", Summary: "flags samples that brake harder than a limit",
	Accepts: []string{schemas.Signals}, Emits: []string{"drive.hardbrake.v1"},
	Default: Config{Limit: -6},
	Build: func(_ context.Context, c Config) (pipeline.Open[pipeline.Processor], error) {
		return pipeline.EachRow(func(ctx context.Context, s sample, out pipeline.Emitter) error {
			if s.Accel > c.Limit {
				return nil // nothing to say
			}
			return pipeline.EmitDoc(ctx, out, "drive.hardbrake.v1", s)
		}), nil
	},
}
