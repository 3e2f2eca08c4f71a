package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

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
