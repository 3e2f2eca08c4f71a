package ordeal

import (
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages"
)

// Registry is the standard stages and those of this package.
func Registry() *pipeline.Registry {
	r := stages.Standard()
	r.Add(ReaderType, StageType)
	return r
}
