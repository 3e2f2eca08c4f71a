//go:build kafka

package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka/cloudevents"
)

// lab is a broker with topics of its own, and a client as anybody has one.
type lab struct {
	*testing.T
	ctx    context.Context
	broker *Broker
	admin  *kadm.Client
}

func newLab(t *testing.T, c Config) *lab {
	t.Helper()
	c.Prefix, c.Timeout = fmt.Sprintf("lab%d.", stores.Add(1)), time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	l := &lab{T: t, ctx: ctx, broker: connect(t, c)}
	plain, err := kgo.NewClient(kgo.SeedBrokers(server.Address))
	l.must(err)
	l.admin = kadm.NewClient(plain)
	t.Cleanup(func() {
		plain.Close()
		l.must(l.broker.Close())
	})
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) topic() string { return l.broker.config.Prefix + "p.s" }

func (l *lab) log(c transport.LogConfig) *log {
	l.Helper()
	c.Pipeline, c.Stage = "p", "s"
	got, err := l.broker.Log(l.ctx, c)
	l.must(err)
	return got.(*log)
}

func job(n int) schemas.ChainID {
	return schemas.ChainID{Job: schemas.NewJobID(fmt.Sprint(n)), Stage: "s"}
}

// append opens the chain and appends n out events behind what it has.
func (l *lab) append(log *log, id schemas.ChainID, n int) {
	l.Helper()
	ch, s, err := log.Open(l.ctx, id)
	l.must(err)
	for i := range uint64(n) {
		sequence := s.Out + i + 1
		_, err := ch.Append(l.ctx, transport.Record{Kind: transport.Out, Event: schemas.Event{Chain: id, Sequence: sequence, Pipeline: "p", Item: "a b.mf4",
			Type: "x.v1", Time: time.Unix(1, 0).UTC(), ContentType: schemas.ContentJSON, Data: fmt.Appendf(nil, `{"n":%d}`, sequence)}})
		l.must(err)
	}
	l.must(log.Commit(l.ctx, map[transport.Chain]transport.Checkpoint{ch: {Out: s.Out + uint64(n)}}))
}

func (l *lab) refused(want ...string) {
	l.Helper()
	_, err := l.broker.Log(l.ctx, transport.LogConfig{Pipeline: "p", Stage: "s"})
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			l.Fatalf("error is %v, and should say %q", err, text)
		}
	}
}

// made makes the out topic as an administrator would, once it is not there.
func (l *lab) made(partitions int32, settings map[string]string) {
	l.Helper()
	values := map[string]*string{}
	for k, v := range settings {
		values[k] = &v
	}
	for {
		_, err := l.admin.CreateTopic(l.ctx, partitions, 1, values, l.topic())
		if !errors.Is(err, kerr.TopicAlreadyExists) { // being deleted
			l.must(err)
			break
		}
	}
	for !l.shows(settings) {
	}
}

// shows says whether the broker knows of the topic's settings, rather than of those of one that was deleted a moment ago.
func (l *lab) shows(settings map[string]string) bool {
	l.Helper()
	described, err := l.admin.DescribeTopicConfigs(l.ctx, l.topic())
	l.must(err)
	r, err := described.On(l.topic(), nil)
	l.must(err)
	for _, c := range r.Configs {
		if want, ok := settings[c.Key]; ok && (c.Value == nil || *c.Value != want) {
			return false
		}
	}
	return r.Err == nil
}

// TestTopicsThatDoNotFit: each is told what to change, and is taken when that is done.
func TestTopicsThatDoNotFit(t *testing.T) {
	t.Run("too few partitions", func(t *testing.T) {
		l := newLab(t, Config{Partitions: 4})
		l.made(2, l.broker.config.settings(outTopic, 1))
		l.refused("has 2 partitions, not 4", "next: set transport.kafka.partitions to 2")
		l.broker.config.Partitions = 2
		l.log(transport.LogConfig{})
	})
	t.Run("retention, compaction and size", func(t *testing.T) {
		l := newLab(t, Config{Partitions: 1})
		l.made(1, map[string]string{"retention.ms": "60000", "max.message.bytes": "100000"})
		l.refused("kafka-configs.sh --alter --topic "+l.topic(), "retention.ms=-1", "max.message.bytes=1048576")
		_, err := l.admin.DeleteTopics(l.ctx, l.topic())
		l.must(err)
		l.made(1, l.broker.config.settings(outTopic, 1))
		l.append(l.log(transport.LogConfig{}), job(1), 2)
	})
	t.Run("more copies than brokers", func(t *testing.T) {
		newLab(t, Config{Replication: 3}).refused("transport.kafka.replication")
	})
}

// giveUp has the brokers hold the open batch and forget its transaction.
func (p *part) giveUp(l *lab) {
	l.Helper()
	p.turn.Lock()
	defer p.turn.Unlock()
	l.must(p.producer.BeginTransaction())
	for _, r := range p.open.records {
		p.produce(l.ctx, p.open, r)
	}
	l.must(p.wait(l.ctx, p.open))
	p.abort(l.ctx, transport.ErrUnknown)
	p.drop(transport.ErrUnknown)
}

// TestForeignConsumer: any client that reads what is committed sees each CloudEvent of the out topic once, and nothing else,
// though transactions were given up on the way.
func TestForeignConsumer(t *testing.T) {
	l := newLab(t, Config{Partitions: 2, AheadInterval: time.Minute}) // nothing is stored before it is asked for
	log := l.log(transport.LogConfig{Ahead: true})
	const jobs, events = 3, 20
	for n := range jobs {
		l.append(log, job(n), events/2)
		ch, s, err := log.Open(l.ctx, job(n))
		l.must(err)
		_, err = ch.Append(l.ctx, transport.Record{Kind: transport.Out, Event: schemas.Event{Chain: job(n), Sequence: s.Out + 1, Pipeline: "p", Type: "lost", Data: []byte("{}")}})
		l.must(err)
		log.partition(job(n).Job).giveUp(l)
		l.append(log, job(n), events/2)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(server.Address), kgo.ConsumeTopics(l.topic()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	l.must(err)
	defer c.Close()
	seen := map[string]int{}
	for total := 0; total < jobs*events; {
		fetches := c.PollFetches(l.ctx)
		l.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			e, err := binding.ToEvent(l.ctx, cloudevents.NewMessage(r))
			l.must(err)
			l.must(e.Validate())
			if e.Type() != "x.v1" || string(r.Key) != e.Extensions()["partitionkey"] {
				t.Errorf("event %s of type %s with key %s", e.ID(), e.Type(), r.Key)
			}
			seen[e.ID()]++
			total++
		})
	}
	for n := range jobs {
		for i := range uint64(events) {
			if id := job(n).EventID(i + 1); seen[id] != 1 {
				t.Errorf("%s was seen %d times", id, seen[id])
			}
		}
	}
}

// TestTrim: what no chain of the partition needs goes, what one needs stays, and a chain that comes later is read whole.
func TestTrim(t *testing.T) {
	l := newLab(t, Config{Partitions: 1})
	log := l.log(transport.LogConfig{})
	l.append(log, job(1), 5)
	l.append(log, job(2), 5)
	start := func() int64 {
		starts, err := log.starts(l.ctx, l.topic())
		l.must(err)
		return starts[0]
	}
	l.must(log.Trim(l.ctx, job(2), ^schemas.Position(0)))
	if at := start(); at != 0 {
		t.Fatalf("the topic begins at %d, though the first chain needs it all", at)
	}
	l.must(log.Trim(l.ctx, job(1), ^schemas.Position(0)))
	if at := start(); at < 10 {
		t.Fatalf("the topic begins at %d, though nobody needs its first 10 events", at)
	}
	r, err := log.Read(l.ctx, job(1), 1)
	l.must(err)
	if _, err = r.Next(l.ctx); !errors.Is(err, transport.ErrGone) {
		t.Errorf("reading on at a position that was removed: %v", err)
	}
	l.must(r.Close())
	l.append(log, job(3), 2)
	l.append(log, job(1), 1)
	for n, want := range map[int][]uint64{3: {1, 2}, 1: {6}} {
		from := schemas.Position(0)
		if n == 1 {
			from = 20 // behind what it had
		}
		other := connect(t, l.broker.config)
		there, err := other.Log(l.ctx, transport.LogConfig{Pipeline: "p", Stage: "s"})
		l.must(err)
		r, err := there.Read(l.ctx, job(n), from)
		l.must(err)
		for _, sequence := range want {
			s, err := r.Next(l.ctx)
			l.must(err)
			if s.Event.Sequence != sequence {
				t.Errorf("job %d: event %d, want %d", n, s.Event.Sequence, sequence)
			}
		}
		l.must(r.Close())
		l.must(other.Close())
	}
}

// TestPositionGone: what somebody else removed is missed with words, not skipped.
func TestPositionGone(t *testing.T) {
	l := newLab(t, Config{Partitions: 1})
	log := l.log(transport.LogConfig{})
	l.append(log, job(1), 5)
	l.append(log, job(2), 5)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: l.topic(), At: 4, LeaderEpoch: -1})
	_, err := l.admin.DeleteRecords(l.ctx, offsets)
	l.must(err)
	r, err := log.Read(l.ctx, job(1), 0)
	l.must(err)
	defer r.Close()
	if _, err := r.Next(l.ctx); !errors.Is(err, transport.ErrGone) || !strings.Contains(err.Error(), "retention.ms=-1") {
		t.Fatalf("error is %v", err)
	}
	other, err := log.Read(l.ctx, job(2), 0)
	l.must(err)
	defer other.Close()
	for i := range uint64(5) {
		s, err := other.Next(l.ctx)
		l.must(err)
		if s.Event.Sequence != i+1 {
			t.Fatalf("event %d, want %d", s.Event.Sequence, i+1)
		}
	}
}

// TestPurge: purged letters are not seen any more, by anybody.
func TestPurge(t *testing.T) {
	l := newLab(t, Config{Partitions: 1})
	log := l.log(transport.LogConfig{})
	ch, _, err := log.Open(l.ctx, job(1))
	l.must(err)
	record := func(k transport.Kind) transport.Record {
		return transport.Record{Kind: k, Cursor: &schemas.Cursor{}, Event: schemas.Event{Chain: job(1), Sequence: 1, Pipeline: "p", Type: schemas.TypeDeadLetter, Data: []byte("{}")}}
	}
	_, err = ch.Append(l.ctx, record(transport.DeadLetter), record(transport.DeadLetter), record(transport.Control), record(transport.DeadLetter))
	l.must(err)
	letters := func() (at []schemas.Position) {
		w, err := log.Watch(l.ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}, Drain: true})
		l.must(err)
		defer w.Close()
		for {
			s, err := w.Next(l.ctx)
			if err != nil {
				return at
			}
			at = append(at, s.Position)
		}
	}
	all := letters()
	if len(all) != 3 {
		t.Fatalf("%d letters, want 3", len(all))
	}
	for _, want := range []int{1, 0} {
		n, err := log.Purge(l.ctx, job(1), []schemas.Position{all[0], all[2]}) // the last record of the chain stays
		l.must(err)
		if n != want {
			t.Errorf("%d letters purged, want %d", n, want)
		}
	}
	if left := letters(); len(left) != 2 || left[0] != all[1] {
		t.Errorf("letters left at %v of %v", left, all)
	}
}
