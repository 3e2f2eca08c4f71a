//go:build e2e && kafka

package kill

import (
	"fmt"
	"testing"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// kafkaServer is a real Kafka broker.
type kafkaServer struct{ *kafkatest.Broker }

func startKafka(t *testing.T) kafkaServer {
	t.Helper()
	b, err := kafkatest.Start(t.Context(), kafkatest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return kafkaServer{b}
}

func (s kafkaServer) start(t *testing.T) {
	t.Helper()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s kafkaServer) kill(t *testing.T) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (s kafkaServer) url() string { return "kafka://" + s.Address }

func (s kafkaServer) connect(t *testing.T) transport.Broker {
	t.Helper()
	b, err := kafka.Connect(t.Context(), kafka.Config{Seeds: []string{s.Address}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSamplesOnKafka: with a worker and the broker killed, every event, result and row is that of embedded JetStream.
func TestSamplesOnKafka(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	p.drawn(t, startKafka(t), want)
}

// TestRoadlogsOnKafka is the same over the shared recordings.
func TestRoadlogsOnKafka(t *testing.T) {
	p := roadlogs(t)
	want, _ := p.undisturbed(t)
	p.drawn(t, startKafka(t), want)
}

// running is a broker that is up already.
type running struct{ kafkaServer }

func (running) start(*testing.T) {}

// TestSameBytesOnKafka is TestSameBytes on Kafka: the same file with another --transport, undisturbed.
func TestSameBytesOnKafka(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	p.same(t, place{"Kafka", func(t *testing.T) server { return running{startKafka(t)} }, nil}, want)
}

// TestFailoverOnKafka is TestFailover on Kafka: the broker is killed, and started again at once.
func TestFailoverOnKafka(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	s := startKafka(t)
	p.failover(t, s, want, fmt.Sprintf("transport: { kafka: { brokers: [%q] } }", s.Address), func() {
		s.kill(t)
		s.start(t)
	})
}

// TestMirrorKilledOnKafka is TestMirrorKilled with a Kafka broker to mirror to.
func TestMirrorKilledOnKafka(t *testing.T) { mirrorKilled(t, startKafka(t)) }
