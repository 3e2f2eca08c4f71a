package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/milepost-dev/milepost/transport"
)

// TestNoLagIsLeft: when all is acked the group stands at the end of the topic, behind what ends the last transaction: KEDA counts
// offsets up to there, and starts a worker for one that is left.
func TestNoLagIsLeft(t *testing.T) {
	_, l, id := aheadChain(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	consumer, err := l.Subscribe(ctx, transport.Subscription{Durable: "d", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ch, _, err := l.Open(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) { // a transaction each
		r := outEvent(id, n+1)
		r.Sync = true
		if _, err := ch.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
		d, err := consumer.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(ctx); err != nil {
			t.Fatal(err)
		}
	}
	log := l.(*log)
	topic, group, admin := log.topics[outTopic], log.group("d"), log.broker.admin
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	if end.Offset != 6 {
		t.Fatalf("the topic ends at %d, want three events and three markers", end.Offset)
	}
	for {
		offsets, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			t.Fatalf("%v; the group stands at %v, the topic ends at %d", err, standing(offsets, topic), end.Offset)
		}
		if standing(offsets, topic) == end.Offset {
			return
		}
	}
}

func standing(all kadm.OffsetResponses, topic string) int64 {
	o, _ := all.Lookup(topic, 0)
	return o.At
}
