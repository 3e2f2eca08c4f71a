//go:build kafka

package mirror_test

import (
	"bytes"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
	"github.com/milepost-dev/milepost/transport/mirror"
)

// TestCopyToKafka: chains that were trimmed are copied to a real Kafka broker, back from there, and gone on with there.
func TestCopyToKafka(t *testing.T) {
	server, err := kafkatest.Start(t.Context(), kafkatest.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, server.Stop()) })
	there, err := kafka.Connect(t.Context(), kafka.Config{Seeds: []string{server.Address}, Partitions: 1})
	must(t, err)
	t.Cleanup(func() { must(t, there.Close()) })
	s := newSource(t)
	s.fill()
	thereAndBack(t, s, there)
	k := s.open("j-one", "kpi")
	_, err = k.Append(t.Context(), out(k.ID(), 4))
	must(t, err)
	must(t, s.logs["kpi"].Commit(t.Context(), map[transport.Chain]transport.Checkpoint{k: {Cursor: s.cursor("j-one", 6), Out: 4, Inputs: 6, Snapshot: bytes.Repeat([]byte("x"), 30)}}))
	_, err = mirror.Copy(t.Context(), mirror.Settings{From: s, To: there, Logs: logs})
	must(t, err)
	same(t, content(t, there), content(t, s))
	read, err := there.Log(t.Context(), logs[1])
	must(t, err)
	id := schemas.ChainID{Job: "j-one", Stage: "read"}
	r, err := read.Read(t.Context(), id, 0)
	must(t, err)
	defer r.Close()
	if e, err := r.Next(t.Context()); err != nil || e.Event.Sequence != 4 {
		t.Errorf("reading from the start begins with event %d, %v; want 4, those before were trimmed", e.Event.Sequence, err)
	}
}
