package schemas

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAttributesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Event{
			Chain:       ChainID{Job: NewJobID(rapid.String().Draw(t, "part")), Stage: rapid.StringMatching(`[a-z][a-z0-9@-]{0,9}`).Draw(t, "stage")},
			Sequence:    rapid.Uint64().Draw(t, "sequence"),
			Pipeline:    rapid.StringMatching(`[a-z][a-z0-9-]{0,9}`).Draw(t, "pipeline"),
			Item:        rapid.String().Draw(t, "item"),
			Type:        "x.v1",
			Time:        time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "time")).UTC(),
			ContentType: rapid.SampledFrom([]string{"", ContentJSON, ContentTables}).Draw(t, "content"),
			Tables:      rapid.IntRange(0, 9).Draw(t, "tables"),
		}
		headers := map[string]string{}
		e.Attributes(func(name, value string) { headers[name] = value })
		got, err := ParseAttributes(func(name string) string { return headers[name] })
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != e.Hash() || got.ID() != e.ID() || got.Item != e.Item {
			t.Fatalf("got %+v, want %+v", got, e)
		}
	})
}

func TestParseAttributesRefuses(t *testing.T) {
	whole := func() map[string]string {
		e := Event{Chain: ChainID{Job: "j-1", Stage: "aeb"}, Sequence: 7, Pipeline: "p", Type: "x.v1", Time: time.Unix(1, 0), Tables: 2}
		h := map[string]string{}
		e.Attributes(func(name, value string) { h[name] = value })
		return h
	}
	for name, bad := range map[string]string{
		AttrSpecVersion: "0.3", AttrID: "7", AttrSource: "/other/p/aeb", AttrType: "", ExtSequence: "7", AttrTime: "noon", ExtTables: "-1",
	} {
		h := whole()
		h[name] = bad
		if _, err := ParseAttributes(func(n string) string { return h[n] }); err == nil {
			t.Errorf("%s = %q was taken", name, bad)
		}
	}
}
