package spec_test

import (
	"context"
	"fmt"
	"os"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

func ExampleLoad() {
	type config struct {
		Limit float64 `yaml:"limit" doc:"Deceleration that counts as hard."`
	}
	reg := &pipeline.Registry{}
	reg.Add(pipeline.ProcessorType[config]{Name: "process/hard-brake", Accepts: []string{pipeline.Any}})
	file := `version: 1
pipelines:
  drive:
    stages:
      - name: brake
        uses: process/hardbrake
`
	s, problems := spec.Load(context.Background(), []string{"pipelines.yaml"}, spec.Options{
		Registry: reg,
		ReadFile: func(string) ([]byte, error) { return []byte(file), nil },
	})
	fmt.Println(s == nil, problems.Errors())
	_ = problems.Render(os.Stdout)
	// Output:
	// true 1
	// pipelines.yaml:6:15: unknown stage "process/hardbrake" [E-stage]
	//   5 |       - name: brake
	// > 6 |         uses: process/hardbrake
	//                     ^^^^^^^^^^^^^^^^^
	//   did you mean "process/hard-brake"?   milepost stages ls
}
