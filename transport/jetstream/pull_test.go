package jetstream

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/transport"
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
	p.refused, p.forget = b.refused.wait(b.ctx, &waiter{subject: p.subject})
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

// TestWatchTakesAgainWhatCameTooLate has a record arrive for a request that the watcher has lost patience with, as on a machine that
// stood still for a second. The consumer keeps nothing and has nothing more to send.
func TestWatchTakesAgainWhatCameTooLate(t *testing.T) {
	t.Parallel()
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	ctx := t.Context()
	opened, chain, _, err := openCrash(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Append(ctx, crashEvent(1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []transport.WatchConfig{{Drain: true}, {Drain: true, Newest: true}, {}} {
		c.Kinds, c.Chain = []transport.Kind{transport.Out}, &crashID
		got, err := opened.Watch(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		w := got.(*watcher)
		consumer, err := b.js.Consumer(ctx, w.log.stream, w.consumer)
		if err != nil {
			t.Fatal(err)
		}
		for info := consumer.CachedInfo(); info.Delivered.Consumer == 0; {
			if info, err = consumer.Info(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.messages.again(); err != nil {
			t.Fatal(err)
		}
		s, err := w.Next(ctx)
		if err != nil || s.Event.Sequence != 1 {
			t.Fatalf("%+v: record %+v, error %v", c, s, err)
		}
		if c.Drain {
			if _, err := w.Next(ctx); !errors.Is(err, io.EOF) {
				t.Fatalf("%+v: error %v, want %v", c, err, io.EOF)
			}
		}
		w.Close()
	}
}
