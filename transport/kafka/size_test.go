package kafka

import (
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// TestSize: what is trimmed, purged or replaced does not count any more, whatever the brokers still hold; and a process that
// comes later counts the same.
func TestSize(t *testing.T) {
	c, l, id := aheadChain(t)
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const events, size = 10, 10_000
	var outs []transport.Record // of one size, in one transaction: what a part of them takes is an estimate else
	for n := range uint64(events) {
		r := outEvent(id, n+1)
		r.Event.Data = make([]byte, size)
		outs = append(outs, r)
	}
	_, err = ch.Append(t.Context(), outs...)
	check(err)
	large := letter(id)
	large.Event.Data = make([]byte, size)
	_, err = ch.Append(t.Context(), large, letter(id))
	check(err)
	for _, data := range []string{"one", "two"} { // of which the second stays
		page := transport.SplitPages(append(make([]byte, size), data...))[0]
		_, err = ch.Append(t.Context(), transport.Record{Kind: transport.Page, Page: &page})
		check(err)
		check(l.Commit(t.Context(), map[transport.Chain]transport.Checkpoint{ch: {Out: events, Pages: []transport.PageHash{page.Hash}}}))
	}
	holds := func(events uint64) {
		t.Helper()
		b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: 1})
		check(err)
		defer b.Close()
		later, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
		check(err)
		for who, l := range map[string]transport.Log{"who wrote it": l, "who comes later": later} {
			if s, err := l.Stats(t.Context()); err != nil || s.Bytes < events*size || s.Bytes > events*(size+1000)+4000 {
				t.Errorf("to %s it holds %d bytes, %v; want a little more than %d", who, s.Bytes, err, events*size)
			}
		}
	}
	var at, letters []schemas.Position
	check(transport.Each(t.Context(), l, transport.WatchConfig{Kinds: []transport.Kind{transport.Out, transport.DeadLetter}, Drain: true}, func(s *transport.Stored) error {
		if s.Kind == transport.Out {
			at = append(at, s.Position)
		} else {
			letters = append(letters, s.Position)
		}
		return nil
	}))
	holds(events + 2)
	check(l.Trim(t.Context(), id, at[3]))
	holds(events + 2 - 4)
	_, err = l.Purge(t.Context(), id, letters[:1])
	check(err)
	holds(events + 1 - 4)
	check(l.Trim(t.Context(), id, at[events-1]))
	holds(1)
	r := outEvent(id, events+1)
	r.Event.Data, r.Sync = make([]byte, size), true
	_, err = ch.Append(t.Context(), r)
	check(err)
	holds(2)
}
