package transport

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/milepost-dev/milepost/schemas"
)

func drawCursor(t *rapid.T) schemas.Cursor {
	var c schemas.Cursor
	for i := range rapid.IntRange(0, 3).Draw(t, "edges") {
		c.Edges = append(c.Edges, schemas.EdgeCursor{Stage: fmt.Sprint("s", i), Sequence: rapid.Uint64().Draw(t, "sequence"), Ended: rapid.Bool().Draw(t, "ended")})
	}
	if n := rapid.SampledFrom([]int{0, 10, 20_000}).Draw(t, "merge"); n > 0 {
		c.Merge = bytes.Repeat([]byte{7}, n)
	}
	return c
}

func drawRecord(t *rapid.T, id schemas.ChainID) Record {
	r := Record{Kind: rapid.SampledFrom([]Kind{Out, DeadLetter, Control}).Draw(t, "kind")}
	r.Event = schemas.Event{
		Chain: id, Sequence: rapid.Uint64().Draw(t, "n"), Pipeline: "p", Item: rapid.String().Draw(t, "item"), Type: "x.v1",
		Time: time.Unix(0, 5).UTC(), DataRef: rapid.StringMatching(`[!-~]*`).Draw(t, "dataref"), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
	}
	if rapid.Bool().Draw(t, "with cursor") {
		c := drawCursor(t)
		r.Cursor = &c
	}
	return r
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := schemas.ChainID{Job: schemas.JobID("j" + rapid.StringMatching(`[^/]*`).Draw(t, "job")), Stage: rapid.StringN(1, 9, -1).Draw(t, "stage")}
		r := drawRecord(t, id)
		headers := map[string]string{}
		body, err := r.Encode(NewPrefix("ce-"), func(n, v string) { headers[n] = v })
		if err != nil {
			t.Fatal(err)
		}
		m := Message{Chain: id, Pipeline: "p", Kind: r.Kind, Header: func(n string) string { return headers[n] }, Body: body, Size: len(body)}
		got, err := m.Decode(NewPrefix("ce-"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Event.Hash() != r.Event.Hash() || got.Event.Chain != id || got.Bytes != len(r.Event.Data) || !reflect.DeepEqual(got.Cursor, r.Cursor) {
			t.Fatalf("got %+v with cursor %+v, want %+v", got, got.Cursor, r)
		}
		m.Body, m.Headers = nil, true
		got, err = m.Decode(NewPrefix("ce-"))
		if long := headers[HeaderCursorBytes] != ""; errors.Is(err, ErrNeedsBody) != long || got.Bytes != len(r.Event.Data) {
			t.Fatalf("from headers alone: %+v, %v", got, err)
		}
	})
}

func TestCheckpointRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Checkpoint{Cursor: drawCursor(t), Out: rapid.Uint64().Draw(t, "out"), OutBytes: 9, Inputs: 4, InputHash: []byte{1, 2}}
		if rapid.Bool().Draw(t, "paged") {
			c.Pages = []PageHash{{1}, {2}, {1}}
		} else if s := rapid.SliceOf(rapid.Byte()).Draw(t, "snapshot"); len(s) > 0 {
			c.Snapshot = s
		}
		headers := map[string]string{}
		body, err := c.Encode(func(n, v string) { headers[n] = v })
		if err != nil {
			t.Fatal(err)
		}
		id := schemas.ChainID{Job: "j-1", Stage: "s"}
		m := Message{Chain: id, Pipeline: "p", Kind: Snapshot, Header: func(n string) string { return headers[n] }, Body: body, Size: len(body)}
		got, err := m.Decode(NewPrefix("ce-"))
		if err != nil || !reflect.DeepEqual(*got.Checkpoint, c) {
			t.Fatalf("got %+v, want %+v (%v)", got.Checkpoint, c, err)
		}
	})
}

// FuzzMessage hands Decode whatever a broker may hold: an error or a record, never a panic.
func FuzzMessage(f *testing.F) {
	f.Add(uint8(Snapshot), `{"pages":1}`, "", []byte("short"))
	f.Add(uint8(Snapshot), `{"pages":-1}`, "", bytes.Repeat([]byte{1}, 64))
	f.Add(uint8(DeadLetter), "", "3", []byte(`{}`))
	f.Add(uint8(Out), `{"edges":null}`, "-1", []byte(nil))
	f.Fuzz(func(t *testing.T, kind uint8, cursor, cursorBytes string, body []byte) {
		e := schemas.Event{Chain: schemas.ChainID{Job: "j-1", Stage: "s"}, Pipeline: "p", Type: "x.v1"}
		h := map[string]string{HeaderCursor: cursor, HeaderCursorBytes: cursorBytes}
		e.Attributes(func(n, v string) { h["ce-"+n] = v })
		m := Message{Chain: e.Chain, Kind: Kind(kind) % (Snapshot + 1), Header: func(n string) string { return h[n] }, Body: body, Size: len(body)}
		if s, err := m.Decode(NewPrefix("ce-")); err == nil && s.Bytes > len(body) {
			t.Fatalf("%d bytes of data in %d", s.Bytes, len(body))
		}
	})
}
