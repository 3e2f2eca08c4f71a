package jetstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lost makes a stream with one message and a durable consumer whose first request never reached the server.
func lost(t *testing.T, b *Broker) *puller {
	t.Helper()
	ctx := t.Context()
	if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(ctx, "s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	p := &puller{nc: b.nc, subject: "$JS.API.CONSUMER.MSG.NEXT.S.d", batch: 1, patience: minPatience, request: 1, left: 1}
	if err := p.subscribe(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestLostRequestIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	p := lost(t, b)
	m, err := p.next(t.Context())
	if err != nil || string(m.Data) != "x" {
		t.Fatalf("message %v, error %v", m, err)
	}
	if p.request != 2 {
		t.Fatalf("%d requests, want the lost one and one more", p.request)
	}
}

func TestConsumerGone(t *testing.T) {
	t.Parallel()
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	p := lost(t, b)
	if err := b.js.DeleteConsumer(context.Background(), "S", "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.next(t.Context()); !errors.Is(err, nats.ErrNoResponders) {
		t.Fatalf("error %v, want %v", err, nats.ErrNoResponders)
	}
}

// TestSilentConsumer asks somebody who takes requests and never answers.
func TestSilentConsumer(t *testing.T) {
	t.Parallel()
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	p := lost(t, b)
	p.subject, p.patience = "deaf", time.Millisecond
	heard, err := b.nc.SubscribeSync("deaf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.next(t.Context()); !errors.Is(err, errSilent) {
		t.Fatalf("error %v, want %v", err, errSilent)
	}
	for range pullRetries {
		if _, err := heard.NextMsgWithContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
