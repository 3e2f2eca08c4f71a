package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// kafkaParts is how many partitions each topic has: fewer than there are jobs, so that some share one. A server that was killed
// looks through all of them when it starts.
const kafkaParts = 4

// A kafkaServer is one Kafka broker in a process of its own, with a small disk of its own. Workers know the address of a proxy,
// and the broker tells them that one, too. Its clock is the machine's: one that can be set is built into Go programs alone.
type kafkaServer struct {
	dir    string
	disk   *disk
	way    *proxy // of the workers
	broker *kafkatest.Broker
	life   context.Context // of the round: longer than that of a blow which starts the server again
	killed int
}

func newKafka(_ tools, dir string) (system, error) {
	s := &kafkaServer{dir: filepath.Join(dir, "server")}
	var err error
	if s.disk, err = mountDisk(s.dir); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *kafkaServer) start(ctx context.Context) (err error) {
	s.life = ctx
	ways := newProxies()
	s.broker, err = kafkatest.Start(ctx, kafkatest.Options{
		Dir: filepath.Join(s.dir, "kafka"), Heap: "256m", Listeners: map[string]string{"WORKERS": "PLAINTEXT"},
		Advertise: func(listener, address string) (string, error) {
			var err error
			if s.way, err = ways.to(listener, address); err != nil {
				return "", err
			}
			return s.way.Listen, nil
		},
	})
	return err
}

// ready waits until the server answers, past the proxy.
func (s *kafkaServer) ready(ctx context.Context) error {
	err := until(ctx, "Kafka does not answer", comeUp, func(ctx context.Context) error {
		b, err := s.connect(ctx)
		if err != nil {
			return err
		}
		return b.Close()
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w\nit said last:\n%s", err, s.broker.Log())
	}
	return err
}

func (s *kafkaServer) connect(ctx context.Context) (*kafka.Broker, error) {
	return kafka.Connect(ctx, kafka.Config{Seeds: []string{s.broker.Address}, Partitions: kafkaParts, Log: slog.New(slog.DiscardHandler)})
}

func (s *kafkaServer) transport() string {
	return fmt.Sprintf("{ kafka: { brokers: [%q], partitions: %d } }", s.way.Listen, kafkaParts)
}

func (s *kafkaServer) shared() bool { return true }

// tempo: the server is up again after some seconds; its group notices a death after 6 s, and has no members until all know of it.
func (s *kafkaServer) tempo() tempo { return tempo{attacked: time.Minute, deaths: 7 * time.Second} }

func (s *kafkaServer) clocked() bool { return false }

func (s *kafkaServer) open(ctx context.Context) (transport.Broker, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	b, err := s.connect(ctx)
	if err != nil { // not a nil *kafka.Broker in an interface
		return nil, err
	}
	return b, nil
}

func (s *kafkaServer) allows() linear.Allowance {
	return linear.Allowance{Ahead: true, Neighbour: true, Compact: true}
}

func (s *kafkaServer) kills() int { return s.killed }

func (s *kafkaServer) blows() []blow {
	return append(cuts([]*proxy{s.way}),
		blow{"a server is killed", 16, func(ctx context.Context, rng *rand.Rand) error {
			return s.kill(ctx, between(rng, 0, 1500*time.Millisecond))
		}},
		blow{"a server is frozen", 2, func(ctx context.Context, rng *rand.Rand) error {
			if err := s.broker.Freeze(); err != nil {
				return err
			}
			err := pause(ctx, between(rng, 500*time.Millisecond, 6*time.Second))
			return errors.Join(err, s.broker.Thaw())
		}},
		blow{"a server's disk is full", 1, s.diskFull})
}

// kill kills the server, and starts it again after a while.
func (s *kafkaServer) kill(ctx context.Context, after time.Duration) error {
	s.killed++
	if err := s.broker.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, after); err != nil {
		return err
	}
	return s.broker.Restart(s.life)
}

// diskFull takes all room on the server's disk. Kafka gives up a folder that it could not write to, with it itself: whoever runs
// it makes room and starts it again.
func (s *kafkaServer) diskFull(ctx context.Context, rng *rand.Rand) error {
	err := s.disk.fill()
	if err == nil {
		err = pause(ctx, between(rng, 500*time.Millisecond, 2*time.Second))
	}
	if err = errors.Join(err, s.disk.free()); err != nil {
		return err
	}
	if err := s.broker.Kill(); err != nil {
		return err
	}
	return s.broker.Restart(s.life)
}

// heal is called when nothing strikes any more; whatever was interrupted is made good.
func (s *kafkaServer) heal(ctx context.Context) error {
	errs := []error{s.disk.free(), s.way.join()}
	if s.broker.Running() {
		errs = append(errs, s.broker.Thaw(), s.ready(ctx))
	} else {
		errs = append(errs, s.broker.Restart(ctx))
	}
	return errors.Join(errs...)
}

func (s *kafkaServer) stop() {
	if s.broker != nil {
		_ = s.broker.Kill() // it is ours, and goes with this process at the latest
	}
	if s.way != nil {
		s.way.Stop()
	}
	_ = s.disk.unmount()
}
