package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

func connectFake(t testing.TB, seeds []string) *Broker {
	t.Helper()
	b, err := Connect(context.Background(), Config{Seeds: seeds})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBasics holds the driver to what doc.go says it does: no consumers, no watch over partitions, no trimming.
func TestBasics(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	transporttest.Run(t, func(t testing.TB) transport.Broker { return connectFake(t, c.ListenAddrs()) }, transporttest.Features{
		Client: func(t testing.TB, _ transport.Broker) transport.Broker { return connectFake(t, c.ListenAddrs()) },
		Full:   true,
		Doubt:  true, // when another takes the epoch in the middle of a transaction
	})
}

// TestWatchOrder: what a watch reads of a partition's topics is in the order of its numbers, whatever the time says, and however
// records of other partitions lie between.
func TestWatchOrder(t *testing.T) {
	from := func(topic string, partition int32, records ...[2]int64) *source {
		s := &source{topic: topic, n: partition}
		for _, r := range records {
			k := &kgo.Record{Topic: topic, Partition: partition, Timestamp: time.UnixMilli(r[1])}
			add(k, headerNumber, strconv.FormatInt(r[0], 10))
			s.records = append(s.records, k)
		}
		return s
	}
	sources := []*source{
		from("dlq", 0, [2]int64{3, 12}, [2]int64{6, 12}),
		from("out", 1, [2]int64{1, 11}, [2]int64{2, 13}),
		from("out", 0, [2]int64{4, 10}, [2]int64{5, 10}, [2]int64{7, 14}),
	}
	var got []string
	for len(sources) > 0 {
		s := earliest(sources)
		got = append(got, fmt.Sprintf("%d/%d", s.n, number(s.records[0])))
		if s.records = s.records[1:]; len(s.records) == 0 {
			sources = slices.DeleteFunc(sources, func(o *source) bool { return o == s })
		}
	}
	if want := "1/1 0/3 0/4 0/5 0/6 1/2 0/7"; strings.Join(got, " ") != want {
		t.Errorf("order is %s, want %s", strings.Join(got, " "), want)
	}
}

func TestUnreachable(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	seeds := c.ListenAddrs()
	c.Close()
	_, err = Connect(t.Context(), Config{Seeds: seeds, Timeout: time.Second})
	if !errors.Is(err, transport.ErrUnreachable) {
		t.Fatal(err)
	}
}

// aheadChain is the chain of a log made with Ahead, on a fake cluster.
func aheadChain(t *testing.T) (*kfake.Cluster, transport.Log, schemas.ChainID) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: 1, AheadInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s", Ahead: true})
	if err != nil {
		t.Fatal(err)
	}
	return c, l, schemas.ChainID{Job: "j-1", Stage: "s"}
}

func outEvent(id schemas.ChainID, n uint64) transport.Record {
	return transport.Record{Kind: transport.Out, Event: schemas.Event{Chain: id, Sequence: n, Pipeline: "p", Item: "i", Type: "x.v1", Data: []byte("x")}}
}

// TestGather: while a transaction is on its way, appends ahead go on, and are stored by the next one.
func TestGather(t *testing.T) {
	c, l, id := aheadChain(t)
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ending, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(ending) })
	c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		once()
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	for n := uint64(1); n <= 3; n++ {
		if _, err := ch.Append(t.Context(), outEvent(id, n)); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			<-ending
		}
	}
	close(release)
	last := outEvent(id, 4)
	last.Sync = true
	if _, err := ch.Append(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, s, err := l.Open(t.Context(), id); err != nil || s.Out != 4 || len(s.Behind) != 4 {
		t.Errorf("state is %+v, %v; want four events", s, err)
	}
}

// TestGatheredInVain: what was gathered behind a transaction that is not stored is not stored either, and its holder is told.
func TestGatheredInVain(t *testing.T) {
	c, l, id := aheadChain(t)
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ending, release := make(chan struct{}), make(chan struct{})
	c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		close(ending)
		c.SleepControl(func() { <-release })
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.InvalidProducerEpoch.Code
		return resp, nil, true
	})
	for n := uint64(1); n <= 2; n++ {
		if _, err := ch.Append(t.Context(), outEvent(id, n)); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			<-ending
		}
	}
	close(release)
	last := outEvent(id, 3)
	last.Sync = true
	if _, err := ch.Append(t.Context(), last); !errors.Is(err, transport.ErrUnknown) && !errors.Is(err, transport.ErrStale) {
		t.Fatalf("an append behind what was lost says %v", err)
	}
	again, s, err := l.Open(t.Context(), id)
	if err != nil || s.Out != 0 {
		t.Fatalf("state is %+v, %v; want nothing", s, err)
	}
	for n := uint64(1); n <= 3; n++ {
		r := outEvent(id, n)
		r.Sync = n == 3
		if _, err := again.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, s, err := l.Open(t.Context(), id); err != nil || s.Out != 3 {
		t.Errorf("state is %+v, %v; want three events", s, err)
	}
}

// TestAppendEnds: an append ends with its context while the brokers take nothing, however large it is; and its chain is written
// on once they do.
func TestAppendEnds(t *testing.T) {
	c, l, id := aheadChain(t)
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	var large []transport.Record
	for n := range uint64(24) {
		r := outEvent(id, n+1)
		r.Event.Data = make([]byte, 900_000)
		large = append(large, r)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := ch.Append(ctx, large...)
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-time.After(time.Minute): // for it has no end
		t.Error("the append does not end with its context")
		close(release)
		return
	}
	close(release)
	if err == nil {
		t.Error("an append that the brokers did not answer says that it is stored")
	}
	appendSync(t, l, id)
}

// TestCloseTogether: the partitions of a broker that is closed do not wait for each other, who may be waiting for brokers that
// are away.
func TestCloseTogether(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	open := func() (*Broker, transport.Log) {
		b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: 2, AheadInterval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s", Ahead: true})
		if err != nil {
			t.Fatal(err)
		}
		return b, l
	}
	b, l := open()
	var ids []schemas.ChainID // one in each partition
	for n := range int32(2) {
		id := schemas.ChainID{Stage: "s"}
		for i := 0; id.Job == "" || place(id.Job, 2) != n; i++ {
			id.Job = schemas.NewJobID(fmt.Sprint(i))
		}
		ids = append(ids, id)
		ch, _, err := l.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Append(t.Context(), outEvent(id, 1)); err != nil {
			t.Fatal(err)
		}
	}
	requests, both := 0, make(chan struct{}) // that the second is on its way is what the first waits for
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if requests++; requests == 2 {
			close(both)
		}
		c.SleepControl(func() { <-both })
		return nil, nil, false
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, l = open()
	defer b.Close()
	for _, id := range ids {
		if _, s, err := l.Open(t.Context(), id); err != nil || s.Out != 1 {
			t.Errorf("chain %s holds %d events, %v; want what was appended before the close", id, s.Out, err)
		}
	}
}
