package schemas_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/milepost-dev/milepost/schemas"
)

const contentTypeHeader = "content-type"

// A headerMessage is an event in binary content mode over headers with a prefix, as the NATS ("ce-") and Kafka ("ce_")
// bindings lay it out; the SDK reads it and writes it without any of our code.
type headerMessage struct {
	prefix  string
	headers map[string]string
	body    []byte
}

func (m *headerMessage) ReadEncoding() binding.Encoding { return binding.EncodingBinary }
func (m *headerMessage) Finish(error) error             { return nil }

func (m *headerMessage) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *headerMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	versions := spec.WithPrefix(m.prefix)
	version := versions.Version(m.headers[versions.PrefixedSpecVersionName()])
	for name, value := range m.headers {
		var err error
		attribute := version.Attribute(name)
		switch {
		case name == contentTypeHeader:
			err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), value)
		case attribute != nil:
			err = w.SetAttribute(attribute, value)
		default:
			err = w.SetExtension(strings.TrimPrefix(name, m.prefix), value)
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.body))
}

func (m *headerMessage) GetAttribute(k spec.Kind) (spec.Attribute, any) {
	attribute := spec.WithPrefix(m.prefix).Version(schemas.SpecVersion).AttributeFromKind(k)
	if k == spec.DataContentType {
		return attribute, m.headers[contentTypeHeader]
	}
	return attribute, m.headers[m.prefix+attribute.Name()]
}

func (m *headerMessage) GetExtension(name string) any { return m.headers[m.prefix+name] }

func (m *headerMessage) Start(context.Context) error { return nil }
func (m *headerMessage) End(context.Context) error   { return nil }

func (m *headerMessage) SetData(data io.Reader) (err error) {
	m.body, err = io.ReadAll(data)
	return err
}

func (m *headerMessage) SetAttribute(attribute spec.Attribute, value any) error {
	if attribute.Kind() == spec.DataContentType {
		return m.set(contentTypeHeader, value)
	}
	return m.set(m.prefix+attribute.Name(), value)
}

func (m *headerMessage) SetExtension(name string, value any) error {
	return m.set(m.prefix+name, value)
}

func (m *headerMessage) set(header string, value any) error {
	text, err := types.Format(value)
	if value != nil && err == nil {
		m.headers[header] = text
	}
	return err
}

func (m *headerMessage) get(name string) string {
	if name == schemas.AttrContentType {
		return m.headers[contentTypeHeader]
	}
	return m.headers[m.prefix+name]
}

func ours(e *schemas.Event, prefix string) *headerMessage {
	m := &headerMessage{prefix: prefix, headers: map[string]string{}, body: e.Data}
	e.Attributes(func(name, value string) {
		if name == schemas.AttrContentType {
			m.headers[contentTypeHeader] = value
			return
		}
		m.headers[prefix+name] = value
	})
	return m
}

func example(item string) schemas.Event {
	return schemas.Event{
		Chain: schemas.ChainID{Job: schemas.NewJobID("x"), Stage: "read"}, Sequence: 42, Pipeline: "aeb-replay", Item: item,
		Type: schemas.Signals, Time: time.Date(2026, 10, 3, 8, 12, 44, 50_000_001, time.UTC), ContentType: schemas.ContentTables,
		Tables: 19, TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", DataRef: "page/ab12", Data: []byte{1, 2, 3},
	}
}

func TestSDKReadsOurEvents(t *testing.T) {
	for _, prefix := range []string{"ce-", "ce_"} {
		for _, item := range []string{"drive_0038.mf4", "Fahrt München 100%.mf4"} {
			e := example(item)
			got, err := binding.ToEvent(t.Context(), ours(&e, prefix))
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Validate(); err != nil {
				t.Errorf("the SDK finds the event invalid: %v", err)
			}
			want := map[string][2]string{
				"id": {got.ID(), e.ID()}, "source": {got.Source(), "/milepost/aeb-replay/read"}, "type": {got.Type(), "signal.batch.v1"},
				"subject": {schemas.DecodeAttribute(got.Subject()), item}, "time": {got.Time().Format(time.RFC3339Nano), "2026-10-03T08:12:44.050000001Z"},
				"dataschema": {got.DataSchema(), "urn:milepost:schema:signal.batch.v1"}, "contenttype": {got.DataContentType(), "application/vnd.milepost.tables"},
				"sequence": {extension(t, got, "sequence"), "00000000000000000042"}, "partitionkey": {extension(t, got, "partitionkey"), string(e.Chain.Job)},
				"traceparent": {extension(t, got, "traceparent"), e.TraceParent}, "tables": {extension(t, got, "tables"), "19"},
				"dataref": {extension(t, got, "dataref"), "page/ab12"}, "data": {string(got.Data()), "\x01\x02\x03"}, "specversion": {got.SpecVersion(), "1.0"},
			}
			for name, v := range want {
				if v[0] != v[1] {
					t.Errorf("%s: the SDK reads %q, want %q", name, v[0], v[1])
				}
			}
			if len(got.Extensions()) != 5 {
				t.Errorf("extensions %v", got.Extensions())
			}
		}
	}
}

func extension(t *testing.T, e *event.Event, name string) string {
	t.Helper()
	s, err := types.Format(e.Extensions()[name])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWeReadSDKEvents(t *testing.T) {
	want := example("drive_0038.mf4")
	e := event.New()
	e.SetID(want.ID())
	e.SetSource(want.Source())
	e.SetType(want.Type)
	e.SetSubject(want.Item)
	e.SetTime(want.Time.In(time.FixedZone("CEST", 7200))) // another zone, the same instant
	e.SetDataSchema(want.DataSchema())
	e.SetExtension("sequence", schemas.FormatSequence(want.Sequence))
	e.SetExtension("partitionkey", string(want.Chain.Job))
	e.SetExtension("traceparent", want.TraceParent)
	e.SetExtension("tables", want.Tables) // an integer, as CloudEvents has it
	e.SetExtension("dataref", want.DataRef)
	if err := e.SetData(want.ContentType, want.Data); err != nil {
		t.Fatal(err)
	}
	m := &headerMessage{prefix: "ce_", headers: map[string]string{}}
	if _, err := binding.Write(t.Context(), binding.ToMessage(&e), nil, m); err != nil {
		t.Fatal(err)
	}
	got, err := schemas.ParseAttributes(m.get)
	if err != nil {
		t.Fatal(err)
	}
	got.Data = m.body
	if got.Hash() != want.Hash() || got.ID() != want.ID() || !got.Time.Equal(want.Time) || got.TraceParent != want.TraceParent {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if n, err := strconv.Atoi(m.headers["ce_tables"]); err != nil || n != got.Tables {
		t.Fatalf("tables header %q", m.headers["ce_tables"])
	}
}

func TestDocsThroughTheSDK(t *testing.T) {
	e := example("x")
	e.Tables, e.Type = 0, schemas.AEBActivation
	e.Data, e.ContentType = schemas.EncodeDocs([]json.RawMessage{[]byte(`{"stage":2}`)})
	got, err := binding.ToEvent(t.Context(), ours(&e, "ce-"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Stage int }
	if err := got.DataAs(&doc); err != nil || doc.Stage != 2 {
		t.Fatalf("document %+v (%v)", doc, err)
	}
}
