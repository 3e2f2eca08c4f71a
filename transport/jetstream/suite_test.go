package jetstream

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

// embedded opens a server in a folder of its own, which is the broker's address.
func embedded(sync Sync) func(t testing.TB) transport.Broker {
	return func(t testing.TB) transport.Broker { return openDir(t, t.TempDir(), sync) }
}

func openDir(t testing.TB, dir string, sync Sync) *Broker {
	t.Helper()
	b, err := Embedded(context.Background(), EmbeddedConfig{Dir: dir, Sync: sync})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// join is another connection to the server of an embedded broker, as another process has one to a server elsewhere.
func join(t testing.TB, of *Broker) *Broker {
	t.Helper()
	b := newBroker(nil, 0)
	b.address = of.address
	if err := b.connect(context.Background(), "", append(b.options(context.Background()), nats.InProcessServer(of.server))); err != nil {
		t.Fatal(err)
	}
	return b
}

func features() transporttest.Features {
	return transporttest.Features{
		Client: func(t testing.TB, b transport.Broker) transport.Broker { return join(t, b.(*Broker)) },
		Reopen: func(t testing.TB, b transport.Broker) transport.Broker {
			return openDir(t, b.Describe().Address, SyncAlways)
		},
		Consumers: true, Watch: true, Full: true, Trim: true,
	}
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, embedded(SyncAlways), features())
}

func BenchmarkSyncAlways(b *testing.B) { transporttest.Benchmark(b, embedded(SyncAlways)) }

func BenchmarkSyncLater(b *testing.B) { transporttest.Benchmark(b, embedded(SyncLater)) }
