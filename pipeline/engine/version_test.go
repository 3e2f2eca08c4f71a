package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/transport/memory"
)

func TestAnotherConfigurationLeavesUnfinishedJobsAlone(t *testing.T) {
	first := start(t, joined, memory.New(), newMemorySink())
	first.finish()
	want := first.sink.sorted()

	b, sink := memory.New(), newMemorySink()
	p := start(t, joined, b, sink)
	p.submit()
	for p.engine.Meter("p", "sum").In.Load() < 50 {
		<-p.manager.Changed()
	}
	p.stop()
	other := start(t, strings.Replace(joined, "uses: process/sum,", "uses: process/sum, with: { fail_at: 1000 },", 1), b, sink)
	if err := other.manager.Wait(t.Context(), other.submit()); err != nil { // for its own jobs, not for those of the first
		t.Fatal(err)
	}
	other.stop()
	if same := slices.Equal(sink.sorted(), want); same {
		t.Fatal("the other configuration made no results of its own")
	}
	p = start(t, joined, b, sink)
	p.finish()
	got := sink.sorted()
	for _, doc := range want {
		if !slices.Contains(got, doc) {
			t.Fatalf("missing after another configuration ran in between: %s", doc)
		}
	}
	if len(got) != 2*len(want) {
		t.Errorf("%d documents of two configurations, want twice %d", len(got), len(want))
	}
}
