package memory_test

import (
	"testing"
	"time"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

func TestBroker(t *testing.T) {
	clock := memory.NewManualClock(time.Unix(1_700_000_000, 0))
	open := func(testing.TB) transport.Broker {
		b := memory.New()
		b.UseClock(clock)
		return b
	}
	other := func(_ testing.TB, b transport.Broker) transport.Broker { return b.(*memory.Broker).Client() }
	transporttest.Run(t, open, transporttest.Features{
		Client: other, Reopen: other, Consumers: true, Watch: true, Full: true, Trim: true,
		Advance: func(_ transport.Broker, d time.Duration) { clock.Advance(d) },
	})
}

func BenchmarkBroker(b *testing.B) {
	transporttest.Benchmark(b, func(testing.TB) transport.Broker { return memory.New() })
}
