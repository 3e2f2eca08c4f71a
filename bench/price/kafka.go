package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// partitions of every topic, those of the loop too.
const partitions = 4

// realKafka is a Kafka broker in a process of its own.
type realKafka struct {
	server *kafkatest.Broker
	client *kgo.Client
	admin  *kadm.Client
}

func newKafka(ctx context.Context, dir string) (system, error) {
	server, err := kafkatest.Start(ctx, kafkatest.Options{Dir: filepath.Join(dir, "kafka"), Java: []string{"-XX:TieredStopAtLevel=4"}})
	if err != nil {
		return nil, err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(server.Address))
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &realKafka{server: server, client: c, admin: kadm.NewClient(c)}, nil
}

func (k *realKafka) pid() int { return k.server.Pid() }

func (k *realKafka) name() string { return "Kafka " + kafkatest.Version }

// broker is a new client as a milepost process has it.
func (k *realKafka) broker(ctx context.Context) (transport.Broker, error) {
	return kafka.Connect(ctx, kafka.Config{Seeds: []string{k.server.Address}, Partitions: partitions, Log: slog.New(slog.DiscardHandler)})
}

func (k *realKafka) close() error {
	k.client.Close()
	return k.server.Stop()
}

// remove takes all topics away.
func (k *realKafka) remove(ctx context.Context, _ *round) error {
	topics, err := k.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	gone, err := k.admin.DeleteTopics(ctx, topics.Names()...)
	return errors.Join(err, gone.Error())
}

// loop reads, processes and writes in transactions that hold the offsets too, as long as a stage's.
func (k *realKafka) loop(ctx context.Context, r *round) (time.Duration, error) {
	source, target, group := "mp."+r.name+".read", "plain."+r.name, "plain-"+r.name
	limit := fmt.Sprint(kafka.DefaultMaxMessageBytes)
	if _, err := k.admin.CreateTopic(ctx, partitions, 1, map[string]*string{"max.message.bytes": &limit}, target); err != nil {
		return 0, err
	}
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(k.server.Address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(source),
		kgo.TransactionalID(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(kafka.DefaultMaxMessageBytes), kgo.FetchMaxBytes(32<<20), kgo.FetchMaxPartitionBytes(8<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var first time.Time
	for moved := 0; moved < r.events(); {
		fetches := s.PollRecords(ctx, 2000)
		if err := errors.Join(ctx.Err(), fetches.Err0()); err != nil {
			return 0, err
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if first.IsZero() {
			first = time.Now()
		}
		n, err := r.transact(ctx, s, fetches, target, r.events()-moved)
		if err != nil {
			return 0, err
		}
		moved += n
	}
	return time.Since(first), nil
}

// transact moves what was fetched, and what comes meanwhile, in one transaction.
func (r *round) transact(ctx context.Context, s *kgo.GroupTransactSession, fetches kgo.Fetches, target string, most int) (n int, err error) {
	if err := s.Begin(); err != nil {
		return 0, err
	}
	var failed kgo.FirstErrPromise
	for end := time.Now().Add(kafka.DefaultAheadInterval); ; {
		fetches.EachRecord(func(k *kgo.Record) {
			n++
			data, err := r.work(k.Value)
			if err != nil {
				failed.Promise()(nil, err)
				return
			}
			s.Produce(ctx, &kgo.Record{Topic: target, Partition: k.Partition, Key: k.Key, Value: data, Headers: k.Headers}, failed.Promise())
		})
		left := time.Until(end)
		if left <= 0 || n >= most {
			break
		}
		limited, cancel := context.WithTimeout(ctx, left)
		fetches = s.PollRecords(limited, 2000)
		cancel()
	}
	ok, err := s.End(ctx, kgo.TransactionEndTry(failed.Err() == nil))
	if err == nil && !ok {
		err = errors.Join(errors.New("the transaction was given up"), failed.Err())
	}
	return n, err
}

// freePort is one of loopback where nobody listens now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
