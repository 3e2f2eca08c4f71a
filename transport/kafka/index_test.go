package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

func letter(id schemas.ChainID) transport.Record {
	return transport.Record{Kind: transport.DeadLetter, Cursor: &schemas.Cursor{}, Event: schemas.Event{Chain: id, Sequence: 1, Pipeline: "p", Type: schemas.TypeDeadLetter, Data: []byte("{}")}}
}

// appendSync opens the chain and stores an out event, and more records behind it.
func appendSync(t *testing.T, l transport.Log, id schemas.ChainID, more ...transport.Record) {
	t.Helper()
	ch, s, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r := outEvent(id, s.Out+1)
	r.Sync = true
	if _, err := ch.Append(t.Context(), append([]transport.Record{r}, more...)...); err != nil {
		t.Fatal(err)
	}
}

// TestAppendWhileIndexIsRead: whoever reads the state topic may be waiting for the end of a transaction of this very process,
// which therefore must not wait for the reader.
func TestAppendWhileIndexIsRead(t *testing.T) {
	c, l, id := aheadChain(t)
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r := outEvent(id, 1)
	r.Sync = true
	if _, err := ch.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	reading, stored := make(chan struct{}), make(chan struct{})
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.DropControl()
		close(reading)
		c.SleepControl(func() { <-stored })
		return nil, nil, false
	})
	opened := make(chan error)
	go func() {
		_, _, err := l.Open(t.Context(), schemas.ChainID{Job: "j-2", Stage: "s"})
		opened <- err
	}()
	<-reading
	r = outEvent(id, 2)
	r.Sync = true
	if _, err := ch.Append(t.Context(), r); err != nil {
		t.Errorf("append while the index is read: %v", err)
	}
	close(stored)
	if err := <-opened; err != nil {
		t.Errorf("open while another chain was written: %v", err)
	}
}

// holdState leaves a transaction open in the state topic, so that nothing behind it is read there: as when the markers of one
// that is committed have come to some of its topics only.
func holdState(t *testing.T, c *kfake.Cluster, l *log) {
	t.Helper()
	foreign, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.TransactionalID("foreign"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(foreign.Close)
	if err := foreign.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := foreign.ProduceSync(t.Context(), &kgo.Record{Topic: l.topics[stateTopic], Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestIncompleteIndex: what is committed in a topic is found there though its head cannot be read yet.
func TestIncompleteIndex(t *testing.T) {
	c, l, first := aheadChain(t)
	appendSync(t, l, first)
	holdState(t, c, l.(*log))
	id := schemas.ChainID{Job: "j-2", Stage: "s"}
	appendSync(t, l, id, letter(id))

	other, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	seen, err := other.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Second) // of waiting for what does not come
	defer cancel()
	r, err := seen.Read(limited, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if s, err := r.Next(limited); err != nil || s.Chain != id || s.Event.Sequence != 1 {
		t.Errorf("read %+v, %v; want the first event of %s", s, err, id)
	}
	var letters []schemas.ChainID
	err = transport.Each(t.Context(), seen, transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}, Newest: true, Drain: true}, func(s *transport.Stored) error {
		letters = append(letters, s.Chain)
		return nil
	})
	if err != nil || len(letters) != 1 || letters[0] != id {
		t.Errorf("dead letters of %v, %v; want that of %s", letters, err, id)
	}
	if _, _, err := seen.Open(t.Context(), first); err != nil {
		t.Fatal(err)
	}
}
