package transporttest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Benchmark measures appends of 1 KiB and 256 KiB events on one chain and on four at once, and reading them.
func Benchmark(b *testing.B, open func(t testing.TB) transport.Broker) {
	for _, size := range []int{1 << 10, 256 << 10} {
		for _, chains := range []int{1, 4} {
			b.Run(fmt.Sprintf("append/%dKiB/chains=%d", size>>10, chains), func(b *testing.B) { benchAppend(b, open, size, chains) })
		}
		b.Run(fmt.Sprintf("read/%dKiB", size>>10), func(b *testing.B) { benchRead(b, open, size) })
		b.Run(fmt.Sprintf("follow/%dKiB", size>>10), func(b *testing.B) { benchFollow(b, open, size) })
	}
}

func benchLog(b *testing.B, open func(t testing.TB) transport.Broker) transport.Log {
	broker := open(b)
	b.Cleanup(func() { closeBroker(b, broker) })
	log, err := broker.Log(b.Context(), transport.LogConfig{Pipeline: "bench", Stage: "s"})
	if err != nil {
		b.Fatal(err)
	}
	return log
}

func benchAppend(b *testing.B, open func(t testing.TB) transport.Broker, size, chains int) {
	log := benchLog(b, open)
	b.SetBytes(int64(size))
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range chains {
		n := b.N / chains
		if i == 0 {
			n = b.N - n*(chains-1)
		}
		wg.Go(func() { benchWrite(b, log, i, n, size) })
	}
	wg.Wait()
}

func benchWrite(b *testing.B, log transport.Log, job, n, size int) {
	id := schemas.ChainID{Job: schemas.NewJobID(fmt.Sprint(job)), Stage: "s"}
	ch, _, err := log.Open(b.Context(), id)
	if err != nil {
		b.Error(err)
		return
	}
	data := noise(1, size)
	for i := range uint64(n) {
		if _, err := ch.Append(b.Context(), transport.Record{Kind: transport.Out, Event: event(id, i+1, data)}); err != nil {
			b.Error(err)
			return
		}
	}
}

func benchRead(b *testing.B, open func(t testing.TB) transport.Broker, size int) {
	log := benchLog(b, open)
	benchWrite(b, log, 0, b.N, size)
	b.SetBytes(int64(size))
	b.ResetTimer()
	benchFollower(b, log, b.N)
}

// benchFollow reads while the events are written: the usual case between two stages.
func benchFollow(b *testing.B, open func(t testing.TB) transport.Broker, size int) {
	log := benchLog(b, open)
	b.SetBytes(int64(size))
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() { benchWrite(b, log, 0, b.N, size) })
	benchFollower(b, log, b.N)
	wg.Wait()
}

func benchFollower(b *testing.B, log transport.Log, n int) {
	r, err := log.Read(b.Context(), schemas.ChainID{Job: schemas.NewJobID("0"), Stage: "s"}, 0)
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}
