package jetstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// overChain writes a chain that is over: two pages that a checkpoint names, an event, and the control behind which nothing comes.
func overChain(t *testing.T, log transport.Log, id schemas.ChainID) {
	t.Helper()
	ch, _, err := log.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := make([]byte, 2*transport.PageBytes)
	snapshot[0] = 1 // else both pages were the same
	var pages []transport.PageHash
	var records []transport.Record
	for _, p := range transport.SplitPages(snapshot) {
		pages = append(pages, p.Hash)
		records = append(records, transport.Record{Kind: transport.Page, Page: &p})
	}
	event := crashEvent(1)
	event.Event.Chain = id
	end := schemas.Event{Chain: id, Sequence: 1, Pipeline: "p", Type: schemas.TypeControl, Data: fmt.Appendf(nil, `{"kind":%q}`, schemas.ControlEnd)}
	if _, err := ch.Append(t.Context(), append(records, event)...); err != nil {
		t.Fatal(err)
	}
	if err := log.Commit(t.Context(), map[transport.Chain]transport.Checkpoint{ch: {Out: 1, Pages: pages}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Append(t.Context(), transport.Record{Kind: transport.Control, Event: end, Cursor: &schemas.Cursor{}}); err != nil {
		t.Fatal(err)
	}
}

// TestATrimThatIsBrokenOffIsSeen: a chain that is over is trimmed kind by kind. Who comes after a kill between two of them looks whether
// an out event or a checkpoint is left, and trims again if there is; without one nothing else may be left either.
func TestATrimThatIsBrokenOffIsSeen(t *testing.T) {
	t.Parallel()
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	for purges := 1; ; purges++ {
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: fmt.Sprintf("s%d", purges)})
		if err != nil {
			t.Fatal(err)
		}
		id := schemas.ChainID{Job: "j-0123456789abcdef", Stage: fmt.Sprintf("s%d", purges)}
		overChain(t, log, id)
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		var asked atomic.Int64
		heard, err := b.nc.Subscribe("$JS.API.STREAM.PURGE.>", func(*nats.Msg) {
			if asked.Add(1) == int64(purges) {
				kill()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		trimmed := log.Trim(ctx, id, ^schemas.Position(0))
		if err := heard.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		seen := false
		kinds := []transport.Kind{transport.Out, transport.Snapshot}
		err = transport.Each(t.Context(), log, transport.WatchConfig{Kinds: kinds, Chain: &id, Newest: true, Drain: true}, func(*transport.Stored) error {
			seen = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := log.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("broken off at purge %d: %d records are left (%v)", purges, s.Records, trimmed)
		if !seen && s.Records != 1 {
			t.Errorf("broken off at purge %d: %d records are left that nobody will look for, want the last one", purges, s.Records)
		}
		if trimmed == nil && seen {
			t.Errorf("a whole trim has left something")
		}
		if asked.Load() < int64(purges) { // it was not broken off
			return
		}
	}
}
