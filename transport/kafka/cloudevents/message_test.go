package cloudevents_test

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	kafkasarama "github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	sdk "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/transport/kafka/cloudevents"
)

func events() map[string]event.Event {
	full := sdk.NewEvent()
	full.SetID("j-1/aeb/7")
	full.SetSource("/milepost/drives/aeb")
	full.SetType("aeb.v1")
	full.SetSubject("drive%207.mf4")
	full.SetTime(time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC))
	full.SetDataSchema("https://x.test/aeb.json")
	full.SetExtension("sequence", "00000000000000000007")
	full.SetExtension("partitionkey", "j-1")
	full.SetExtension("tables", 2)
	if err := full.SetData("application/vnd.apache.arrow.stream", []byte{0, 1, 2, 255}); err != nil {
		panic(err)
	}
	bare := sdk.NewEvent()
	bare.SetID("1")
	bare.SetSource("/x")
	bare.SetType("y")
	return map[string]event.Event{"full": full, "bare": bare}
}

// modes are the content modes that a message can be written in.
var modes = map[string]func(*testing.T, *event.Event) binding.Message{
	"binary": func(_ *testing.T, e *event.Event) binding.Message { return binding.ToMessage(e) },
	"structured": func(t *testing.T, e *event.Event) binding.Message {
		data, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return cloudevents.NewMessage(&kgo.Record{Value: data, Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json")}}})
	},
}

func same(t *testing.T, m binding.Message, want event.Event) {
	t.Helper()
	got, err := binding.ToEvent(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kafkaoffset", "kafkapartition", "kafkatopic"} { // the SDK adds where it read
		got.SetExtension(name, nil)
	}
	a, _ := got.MarshalJSON()
	b, _ := want.MarshalJSON()
	if d := cmp.Diff(got.Data(), want.Data()); d != "" {
		t.Error(d)
	}
	if got.Context.String() != want.Context.String() {
		t.Errorf("got\n%s\nwant\n%s\n(%s\n%s)", got.Context, want.Context, a, b)
	}
}

// TestOursReadsTheSDKs: what the SDK's binding for sarama writes, ours reads.
func TestOursReadsTheSDKs(t *testing.T) {
	for name, e := range events() {
		for mode, message := range modes {
			t.Run(name+" "+mode, func(t *testing.T) {
				var p sarama.ProducerMessage
				if err := kafkasarama.WriteProducerMessage(t.Context(), message(t, &e), &p); err != nil {
					t.Fatal(err)
				}
				r := &kgo.Record{}
				if p.Value != nil {
					r.Value, _ = p.Value.Encode()
				}
				for _, h := range p.Headers {
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(h.Key), Value: h.Value})
				}
				same(t, cloudevents.NewMessage(r), e)
			})
		}
	}
}

// TestTheSDKReadsOurs: what ours writes, the SDK's reads.
func TestTheSDKReadsOurs(t *testing.T) {
	for name, e := range events() {
		for mode, message := range modes {
			t.Run(name+" "+mode, func(t *testing.T) {
				var r kgo.Record
				if err := cloudevents.WriteRecord(t.Context(), message(t, &e), &r); err != nil {
					t.Fatal(err)
				}
				c := &sarama.ConsumerMessage{Value: r.Value, Key: r.Key}
				for _, h := range r.Headers {
					c.Headers = append(c.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
				}
				same(t, kafkasarama.NewMessageFromConsumerMessage(c), e)
				if want := e.Extensions()["partitionkey"]; mode == "binary" && want != nil && string(r.Key) != want {
					t.Errorf("key is %q, want %q", r.Key, want)
				}
			})
		}
	}
}

// TestMetadata: transformers of the SDK look at attributes through the message.
func TestMetadata(t *testing.T) {
	e := events()["full"]
	var r kgo.Record
	if err := cloudevents.WriteRecord(t.Context(), binding.ToMessage(&e), &r); err != nil {
		t.Fatal(err)
	}
	m := cloudevents.NewMessage(&r)
	if m.ReadEncoding() != binding.EncodingBinary || m.GetExtension("sequence") != "00000000000000000007" || m.GetExtension("none") != nil {
		t.Errorf("encoding %s, sequence %v", m.ReadEncoding(), m.GetExtension("sequence"))
	}
	if other := cloudevents.NewMessage(&kgo.Record{Value: []byte("x")}); other.ReadEncoding() != binding.EncodingUnknown {
		t.Errorf("a record that is no event has encoding %s", other.ReadEncoding())
	}
}
