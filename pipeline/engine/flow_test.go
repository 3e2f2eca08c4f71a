package engine

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// A power cut of the server takes what a stage has stored, and not what its consumer has taken. The stage computes it again, and its
// events lie elsewhere: the consumer's checkpoint names the position of one that it has yet to read.
func TestAFloorFromBeforeALossTrimsNothingNew(t *testing.T) {
	const taken, stored = 10, 30
	log, err := memory.New().Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "read"})
	if err != nil {
		t.Fatal(err)
	}
	id := schemas.ChainID{Job: "j-0123456789abcdef", Stage: "read"}
	chain, _, err := log.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	producer := &node{name: "read", out: log, log: slog.New(slog.DiscardHandler)}
	consumer := &node{name: "pass", inputs: []*node{producer}}
	producer.consumers = []*node{consumer}
	f := newFlows()
	a, err := f.open(t.Context(), producer, id.Job, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var at []schemas.Position
	for n := range uint64(stored) {
		e := schemas.Event{Chain: id, Sequence: n + 1, Pipeline: "p", Type: "x.v1", Data: fmt.Append(nil, n)}
		if _, err := chain.Append(t.Context(), transport.Record{Kind: transport.Out, Event: e}); err != nil {
			t.Fatal(err)
		}
		a.produced(n+1, len(e.Data))
		at = append(at, schemas.Position(n+1))
	}
	i := &instance{n: producer, chain: chain, flow: a, savedOut: stored}
	left := func() (n int) {
		t.Helper()
		i.trim(t.Context(), 1)
		c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true}
		if err := transport.Each(t.Context(), log, c, func(*transport.Stored) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	f.consumed(producer, consumer, id.Job, schemas.EdgeCursor{Sequence: taken, Position: at[2*taken-1]}, true)
	if n := left(); n != stored {
		t.Errorf("%d of %d events are left by a position that was another event's", n, stored)
	}
	f.consumed(producer, consumer, id.Job, schemas.EdgeCursor{Sequence: taken + 1, Position: at[taken]}, false)
	if n := left(); n != stored-taken-1 {
		t.Errorf("%d events are left when the consumer had taken %d of %d, and said where they lie", n, taken+1, stored)
	}
}
