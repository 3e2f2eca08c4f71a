package pipeline_test

import (
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
)

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"pralelism": "parallelism", "ReTry": "retry", "max-step-bytes": "max_step_bytes", "tiemout": "timeout", "x": "", "to": "", "frmo": "from", "zebra": ""} {
		if got := pipeline.Nearest(word, []string{"parallelism", "retry", "max_step_bytes", "timeout", "from", "no"}); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
