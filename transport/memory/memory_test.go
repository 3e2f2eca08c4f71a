package memory

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// setup returns a broker on a manual clock and a chain that holds n out events.
func setup(t *testing.T, n int) (*Broker, *ManualClock, transport.Log, transport.Chain) {
	t.Helper()
	b, clock := New(), NewManualClock(time.Unix(1000, 0))
	b.UseClock(clock)
	log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	ch, _, err := log.Open(t.Context(), schemas.ChainID{Job: "j-1", Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := ch.Append(t.Context(), out(uint64(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	return b, clock, log, ch
}

func out(sequence uint64) transport.Record {
	e := schemas.Event{Chain: schemas.ChainID{Job: "j-1", Stage: "s"}, Sequence: sequence, Pipeline: "p", Type: "x.v1", Data: []byte("data")}
	return transport.Record{Kind: transport.Out, Event: e}
}

func TestLostAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  Fault
		stored uint64
	}{{"of an append that was stored", LoseAnswer, 1}, {"of an append that was not", LoseAppend, 0}} {
		t.Run(c.name, func(t *testing.T) {
			b, _, log, ch := setup(t, 0)
			b.OnAppend(func(Append) Fault { return c.fault })
			if _, err := ch.Append(t.Context(), out(1)); !errors.Is(err, transport.ErrUnknown) {
				t.Fatal(err)
			}
			b.OnAppend(nil)
			if _, err := ch.Append(t.Context(), out(1)); !errors.Is(err, transport.ErrUnknown) {
				t.Fatalf("the chain went on: %v", err)
			}
			_, state, err := log.Open(t.Context(), ch.ID())
			if err != nil || state.Out != c.stored {
				t.Fatalf("%d events stored, want %d (%v)", state.Out, c.stored, err)
			}
		})
	}
}

func TestForgottenAckComesAgain(t *testing.T) {
	b, clock, log, _ := setup(t, 1)
	c, err := log.Subscribe(t.Context(), transport.Subscription{Durable: "d", AckWait: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, holds := range []bool{false, true} {
		b.OnAck(func(transport.Stored) bool { return holds })
		d, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.Advance(30 * time.Second)
	}
	if d := now(t, c); d != nil {
		t.Fatalf("an acked event came again: %+v", d.Event())
	}
	b.Redeliver("p", "s", "d")
	if d := now(t, c); d == nil {
		t.Fatal("Redeliver brought nothing")
	}
}

// now is a delivery that is there already, or nil.
func now(t *testing.T, c transport.Consumer) transport.Delivery {
	t.Helper()
	d, _, stop := c.(*consumer).poll()
	if d == nil {
		stop()
		return nil
	}
	return &delivery{consumer: c.(*consumer), event: d.Stored}
}

func TestCloseEndsWaiting(t *testing.T) {
	b, _, log, _ := setup(t, 0)
	r, err := log.Read(t.Context(), schemas.ChainID{Job: "j-1", Stage: "s"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	go func() {
		_, err := r.Next(context.Background())
		errs <- err
	}()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, transport.ErrClosed) {
		t.Fatal(err)
	}
}
