package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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

// TestBasics holds the driver to what doc.go says it does: no consumers, no watch over partitions, no trimming, no limits.
func TestBasics(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	transporttest.Run(t, func(t testing.TB) transport.Broker { return connectFake(t, c.ListenAddrs()) }, transporttest.Features{
		Client: func(t testing.TB, _ transport.Broker) transport.Broker { return connectFake(t, c.ListenAddrs()) },
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
