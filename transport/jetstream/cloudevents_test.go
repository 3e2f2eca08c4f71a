package jetstream

import (
	"bytes"
	"testing"
	"time"

	natsce "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// TestPlainCloudEvents reads an edge with the CloudEvents SDK and the NATS client alone.
func TestPlainCloudEvents(t *testing.T) {
	b := openDir(t, t.TempDir(), SyncAlways)
	defer b.Close()
	_, ch, _, err := openCrash(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	e := schemas.Event{
		Chain: crashID, Sequence: 1, Pipeline: "p", Item: "Köln 7.mf4", Type: schemas.Signals, Time: time.Unix(1_700_000_000, 5).UTC(),
		ContentType: schemas.ContentTables, Tables: 2, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: []byte{0, 1, 0xff},
	}
	if _, err := ch.Append(t.Context(), transport.Record{Kind: transport.Out, Event: e}); err != nil {
		t.Fatal(err)
	}
	s, err := b.js.Stream(t.Context(), "MP_p_s")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), "mp.p.s.j-crash.out")
	if err != nil {
		t.Fatal(err)
	}
	got, err := binding.ToEvent(t.Context(), natsce.NewMessage(message(m)))
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Fatal(err)
	}
	if got.ID() != "j-crash/s/1" || got.Source() != "/milepost/p/s" || got.Type() != schemas.Signals || got.Subject() != "K%C3%B6ln%207.mf4" ||
		!got.Time().Equal(e.Time) || got.DataContentType() != schemas.ContentTables || got.DataSchema() != "urn:milepost:schema:"+schemas.Signals || !bytes.Equal(got.Data(), e.Data) {
		t.Fatalf("the SDK reads %s", got)
	}
	want := map[string]any{"sequence": "00000000000000000001", "partitionkey": "j-crash", "traceparent": e.TraceParent, "tables": "2"}
	for name, value := range want {
		if got.Extensions()[name] != value {
			t.Errorf("extension %s is %v, want %v", name, got.Extensions()[name], value)
		}
	}
	if len(got.Extensions()) != len(want) {
		t.Errorf("extensions are %v", got.Extensions())
	}
}

func message(m *jetstream.RawStreamMsg) *nats.Msg {
	return &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
}
