package pipeline_test

import (
	"context"
	"fmt"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// A stage that says when a vehicle brakes hard, and what it makes of two rows.
func ExampleEachRow() {
	type row struct{ T, Accel float64 } // columns by name
	open := pipeline.EachRow(func(ctx context.Context, r row, out pipeline.Emitter) error {
		if r.Accel > -6 {
			return nil // nothing to say
		}
		return pipeline.EmitDoc(ctx, out, "drive.hardbrake.v1", r)
	})

	ctx := context.Background()
	stage, err := open(ctx, pipeline.Item{Name: "drive.mf4"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stage.Close()
	table, err := schemas.NewTable("ego", []int64{1e9, 2e9}, schemas.Column{Name: "accel", Float64: []float64{-2, -8}})
	if err != nil {
		fmt.Println(err)
		return
	}
	show := pipeline.EmitterFunc(func(_ context.Context, b pipeline.Batch) error {
		fmt.Printf("%s at %v: %s\n", b.Type, b.From, b.Docs[0])
		return nil
	})
	if err := stage.Process(ctx, pipeline.Batch{Type: schemas.Signals, Tables: []pipeline.Table{table}}, show); err != nil {
		fmt.Println(err)
	}
	// Output: drive.hardbrake.v1 at 2s: {"T":2,"Accel":-8}
}
