//go:build kafka

package kafka

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

// server is the broker that all tests of this file share.
var server *kafkatest.Broker

func TestMain(m *testing.M) {
	var err error
	if server, err = kafkatest.Start(context.Background(), kafkatest.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func connect(t testing.TB, c Config) *Broker {
	t.Helper()
	c.Seeds = []string{server.Address}
	b, err := Connect(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stores gives every broker that the suite opens for itself a prefix of topics of its own.
var stores atomic.Int64

func suite(t *testing.T, partitions int) {
	config := func() Config {
		return Config{Partitions: partitions, Prefix: fmt.Sprintf("s%d.", stores.Add(1))}
	}
	again := func(t testing.TB, b transport.Broker) transport.Broker { return connect(t, b.(*Broker).config) }
	transporttest.Run(t, func(t testing.TB) transport.Broker { return connect(t, config()) }, transporttest.Features{
		Client: again, Reopen: again, Doubt: true, Consumers: true, Watch: true, Partitioned: true, Full: true,
	})
}

func TestSuite(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d partitions", partitions), func(t *testing.T) { suite(t, partitions) })
	}
}
