package hardbrake_test

import (
	"testing"

	"github.com/milepost-dev/milepost/examples/hard-brake/hardbrake"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
)

func TestHardBrake(t *testing.T) {
	got := pipelinetest.Run(t, hardbrake.Type, hardbrake.Config{Limit: -6}, `
		t  accel
		1  -2
		2  -8`)
	if len(got.Docs) != 1 {
		t.Fatalf("docs = %v", got.Docs)
	}
}
