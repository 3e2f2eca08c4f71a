// Package stages lists every stage type there is.
package stages

import (
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/stages/analysis/aebkpi"
	"github.com/milepost-dev/milepost/stages/analysis/signalhealth"
	jsonsink "github.com/milepost-dev/milepost/stages/analysis/sink/json"
	"github.com/milepost-dev/milepost/stages/analysis/sink/postgres"
	"github.com/milepost-dev/milepost/stages/analysis/sink/sqlite"
	"github.com/milepost-dev/milepost/stages/process/aeb"
	"github.com/milepost-dev/milepost/stages/reader/mf4"
)

// Standard returns a fresh registry of the stage types of this repository; a binary with plugins adds its own.
func Standard() *pipeline.Registry {
	var r pipeline.Registry
	r.Add(
		mf4.Type,
		aeb.Type,
		aebkpi.Type,
		signalhealth.Type,
		jsonsink.Type,
		sqlite.Type,
		postgres.Type,
		view.Type,
	)
	return &r
}
