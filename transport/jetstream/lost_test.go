package jetstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream/jetstreamtest"
)

// connectedLog opens the log when the connection has come back.
func connectedLog(t *testing.T, ctx context.Context, b *Broker) transport.Log {
	t.Helper()
	for {
		log, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: "s"})
		if err == nil {
			return log
		}
		if !errors.Is(err, transport.ErrUnreachable) || ctx.Err() != nil || !b.pause(ctx, 1) {
			t.Fatal(err)
		}
	}
}

// putEvents appends events and, at last, a control to a chain, whatever it holds.
func putEvents(t *testing.T, b *Broker, job schemas.JobID, events int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := connectedLog(t, ctx, b)
	id := schemas.ChainID{Job: job, Stage: "s"}
	ch, state, err := log.Open(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for n := range events {
		r := crashEvent(state.Out + uint64(n) + 1)
		r.Event.Chain = id
		if _, err := ch.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	r := crashEvent(0)
	r.Kind, r.Event.Chain, r.Cursor = transport.Control, id, &schemas.Cursor{}
	if _, err := ch.Append(ctx, r); err != nil {
		t.Fatal(err)
	}
}

// TestAWatchOfAServerThatForgets: the record that a watch handed out last is gone, and with it those before, some of which may be there
// again as others. It says so whether the stream is shorter than it was, or has grown again; where nothing was lost it goes on.
func TestAWatchOfAServerThatForgets(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]int{"shorter": 0, "as long": 9, "longer": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := jetstreamtest.Start(t)
			b := connectTo(t, f.URL())
			defer b.Close()
			putEvents(t, b, "j-kept", 3)
			kept := f.Keep()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			log := connectedLog(t, ctx, b)
			w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Newest: true})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			next := func(w transport.Watcher, job schemas.JobID) {
				t.Helper()
				if s, err := w.Next(ctx); err != nil || s.Chain.Job != job {
					t.Fatalf("the watch hands out %s of %s (%v), want that of %s", s.Kind, s.Chain, err, job)
				}
			}
			next(w, "j-kept")
			f.Keep() // the server is started again, and has forgotten nothing
			putEvents(t, b, "j-lost", 9)
			next(w, "j-lost")
			f.Stop()
			f.Forget(kept)
			if events > 0 { // before anybody else sees it
				first := openDir(t, f.Dir(), SyncAlways)
				putEvents(t, first, "j-other", events)
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
			}
			f.Start()
			for range 2 {
				if s, err := w.Next(ctx); !errors.Is(err, transport.ErrLost) {
					t.Fatalf("the watch hands out %s of %s (%v)", s.Kind, s.Chain, err)
				}
			}
			again, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Newest: true})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			next(again, "j-kept")
			if events > 0 {
				next(again, "j-other")
			}
		})
	}
}

// TestReadersOfAServerThatForgets: one has read what is gone and waits for more, the other one's chain is whole and gets events at
// positions that were taken before. Nobody else writes, so nobody but the tail can wake them.
func TestReadersOfAServerThatForgets(t *testing.T) {
	t.Parallel()
	f := jetstreamtest.Start(t)
	b := connectTo(t, f.URL())
	defer b.Close()
	putEvents(t, b, "j-lost", 1)
	putEvents(t, b, "j-kept", 2)
	kept := f.Keep()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := connectedLog(t, ctx, b)
	reader := func(job schemas.JobID, events uint64) transport.EventReader {
		t.Helper()
		r, err := log.Read(ctx, schemas.ChainID{Job: job, Stage: "s"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range events {
			if s, err := r.Next(ctx); err != nil || s.Event.Sequence != n+1 {
				t.Fatalf("event %d is %s (%v)", n+1, s.Event.ID(), err)
			}
		}
		return r
	}
	putEvents(t, b, "j-lost", 20)
	lost, whole := reader("j-lost", 21), reader("j-kept", 2)
	defer lost.Close()
	defer whole.Close()
	f.Stop()
	f.Forget(kept)
	f.Start()
	if s, err := lost.Next(ctx); !errors.Is(err, transport.ErrLost) {
		t.Errorf("the reader of what is gone has %s (%v)", s.Event.ID(), err)
	}
	for n := range uint64(3) {
		putEvents(t, b, "j-kept", 1)
		if s, err := whole.Next(ctx); err != nil || s.Event.Sequence != n+3 {
			t.Errorf("event %d is %s (%v)", n+3, s.Event.ID(), err)
		}
	}
}

// TestAServerForgetsALog: not even the stream is there any more. Whoever uses it hears of the loss, and can go on.
func TestAServerForgetsALog(t *testing.T) {
	t.Parallel()
	f := jetstreamtest.Start(t)
	kept := f.Keep()
	b := connectTo(t, f.URL())
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := connectedLog(t, ctx, b)
	putEvents(t, b, "j-lost", 2)
	w, err := log.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r, err := log.Read(ctx, schemas.ChainID{Job: "j-lost", Stage: "s"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := log.Subscribe(ctx, transport.Subscription{Durable: "d", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := w.Next(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := r.Next(ctx)
		if _, taken := c.Next(ctx); err != nil || taken != nil {
			t.Fatal(err, taken)
		}
	}
	f.Stop()
	f.Forget(kept)
	f.Start()
	if _, err := w.Next(ctx); !errors.Is(err, transport.ErrLost) {
		t.Errorf("the watch says %v", err)
	}
	if _, err := r.Next(ctx); !errors.Is(err, transport.ErrLost) {
		t.Errorf("the reader says %v", err)
	}
	_, state, err := log.Open(ctx, schemas.ChainID{Job: "j-lost", Stage: "s"})
	if err != nil || state.Out != 0 || len(state.Behind) != 0 {
		t.Fatalf("the chain holds %+v (%v)", state, err)
	}
	putEvents(t, b, "j-lost", 1)
	if d, err := c.Next(ctx); err != nil || d.Event().Event.Sequence != 1 {
		t.Errorf("the consumer is handed %+v (%v)", d, err)
	}
}
