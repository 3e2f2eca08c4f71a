package cmd

import (
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd/internal/api"
	"github.com/milepost-dev/milepost/pipeline/engine"
)

// What keeps room in a full log is told with the commands that give it back, and of a job where it holds any.
func TestWhatHoldsAFullLogIsTold(t *testing.T) {
	free := api.Node{Pipeline: "p", Stage: "read", Full: true}
	if lines := heldText(free); lines != nil {
		t.Errorf("nobody holds anything: %q", lines)
	}
	held := api.Node{Pipeline: "p", Stage: "aeb", Full: true, HeldBy: &engine.Held{Letters: 3_200_000, Jobs: []engine.Holder{
		{Pipeline: "q", Job: "j-1", Bytes: 12_000_000}, {Pipeline: "q", Job: "j-2", Bytes: 8_000_000}}}}
	got := strings.Join(heldText(held), "\n")
	want := `the log of aeb is full: 2 failed jobs hold 20.0 MB   j-1 12.0 MB, j-2 8.0 MB
  next: milepost dlq redrive q   or   milepost jobs cancel j-1 j-2
the log of aeb is full: dead letters of jobs that are over hold 3.2 MB
  next: milepost dlq purge p/aeb`
	if got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
	pipelines := []api.Pipeline{{Nodes: []api.Node{free, held}}}
	if got, want := holdsText("j-2", pipelines), "8.0 MB of the log of p/aeb, which is full"; got != want {
		t.Errorf("of j-2 it says %q, want %q", got, want)
	}
	if got := holdsText("j-3", pipelines); got != "" {
		t.Errorf("of a job that holds nothing it says %q", got)
	}
}
