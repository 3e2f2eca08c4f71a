package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// ErrUnsupported is the error of what this driver does not do yet.
var ErrUnsupported = errors.New("the Kafka driver does not do this yet")

const (
	// DefaultParts is how many partitions a log gets where its configuration does not say.
	DefaultParts = 4
	// maxEvent and maxBatch: the broker's default message.max.bytes is 1 MiB and covers a batch with its headers.
	maxEvent = 1<<20 - 64<<10
	maxBatch = 1 << 20
)

// A Config names a Kafka cluster.
type Config struct {
	Seeds   []string      // host:port of some brokers
	Timeout time.Duration // of one request or transaction; 0 is 10 s
	Options []kgo.Opt     // more of the client's own, such as SASL and TLS
}

// A Broker is a client of a Kafka cluster. Its methods may be called concurrently.
type Broker struct {
	config Config
	client *kgo.Client // for metadata and administration
	admin  *kadm.Client

	ctx    context.Context // ends with the Broker
	cancel context.CancelFunc
	mu     sync.Mutex
	logs   map[string]*log // by topic
}

var _ transport.Broker = (*Broker)(nil)

// Connect connects to a cluster; the error is ErrUnreachable, with the seeds, when none of them answers within ctx.
func Connect(ctx context.Context, c Config) (*Broker, error) {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	b := &Broker{config: c, logs: map[string]*log{}}
	var err error
	if b.client, err = b.newClient(); err != nil {
		return nil, fmt.Errorf("connect to Kafka at %s: %w", b.address(), err)
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := b.client.Ping(limited); err != nil {
		b.client.Close()
		return nil, fmt.Errorf("connect to Kafka at %s: %w (%w)", b.address(), transport.ErrUnreachable, err)
	}
	b.admin = kadm.NewClient(b.client)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

func (b *Broker) newClient(options ...kgo.Opt) (*kgo.Client, error) {
	all := append([]kgo.Opt{kgo.SeedBrokers(b.config.Seeds...), kgo.ClientID("milepost")}, b.config.Options...)
	return kgo.NewClient(append(all, options...)...)
}

func (b *Broker) address() string { return strings.Join(b.config.Seeds, ",") }

// Describe names the seeds.
func (b *Broker) Describe() transport.Description {
	return transport.Description{Kind: "kafka", Address: b.address(), MaxEvent: maxEvent}
}

// Close ends everything that was opened through this Broker with ErrClosed.
func (b *Broker) Close() error {
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.logs {
		for _, w := range l.writers {
			w.close()
		}
	}
	b.client.Close()
	return nil
}

func (b *Broker) check(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return transport.ErrClosed
	}
	return ctx.Err()
}

// limit is the context of one request: it ends with ctx, with the Broker, and in time.
func (b *Broker) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	limited, cancel := context.WithTimeout(ctx, b.config.Timeout)
	stop := context.AfterFunc(b.ctx, cancel)
	return limited, func() { stop(); cancel() }
}

// A log is the two topics of a stage, at places dataTopic and stateTopic.
type log struct {
	broker  *Broker
	config  transport.LogConfig
	topics  [2]string
	writers []*writer // one a partition
}

const (
	dataTopic = iota
	stateTopic
)

// Log makes the topics if they are missing. A topic that is there keeps its number of partitions, since chains would move.
func (b *Broker) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	if c.Pipeline == "" || c.Stage == "" {
		return nil, fmt.Errorf("log %q of pipeline %q: no name", c.Stage, c.Pipeline)
	}
	name := "mp." + encode(c.Pipeline) + "." + encode(c.Stage)
	ctx, cancel := b.limit(ctx)
	defer cancel()
	parts, err := b.create(ctx, name, c)
	if err != nil {
		return nil, fmt.Errorf("log %s/%s: %w", c.Pipeline, c.Stage, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[name]
	if l == nil {
		l = &log{broker: b, config: c, topics: [2]string{name, name + ".state"}}
		for p := range parts {
			l.writers = append(l.writers, &writer{log: l, partition: int32(p)})
		}
		b.logs[name] = l
	}
	return l, nil
}

// create makes both topics and returns their number of partitions.
func (b *Broker) create(ctx context.Context, name string, c transport.LogConfig) (int, error) {
	parts, replicas := int32(c.Parts), int16(max(c.Replicas, 1))
	if parts == 0 {
		parts = DefaultParts
	}
	keep, compact, largest := "-1", "compact", fmt.Sprint(maxBatch)
	settings := map[string]map[string]*string{
		name:            {"retention.ms": &keep, "retention.bytes": &keep, "max.message.bytes": &largest},
		name + ".state": {"cleanup.policy": &compact, "max.message.bytes": &largest},
	}
	for _, topic := range slices.Sorted(maps.Keys(settings)) {
		if _, err := b.admin.CreateTopic(ctx, parts, replicas, settings[topic], topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return 0, fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	topics, err := b.admin.ListTopics(ctx, name, name+".state")
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return 0, err
	}
	n := len(topics[name].Partitions)
	if n == 0 || len(topics[name+".state"].Partitions) != n {
		return 0, fmt.Errorf("topics %s and %s.state differ in partitions", name, name)
	}
	return n, nil
}

// encode makes a name part of a topic's: a-z, 0-9 and "-" stay, any other byte becomes "_" and two hexadecimal digits.
func encode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// partition is where a job's chain lies: FNV-1a of its name, never to be changed.
func (l *log) partition(job schemas.JobID) *writer {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	return l.writers[h.Sum32()%uint32(len(l.writers))]
}

func (l *log) checkChain(ctx context.Context, id schemas.ChainID) error {
	if id.Stage != l.config.Stage || id.Job == "" {
		return fmt.Errorf("chain %q is not of log %s/%s", id, l.config.Pipeline, l.config.Stage)
	}
	return l.broker.check(ctx)
}

// Subscribe is not there yet.
func (l *log) Subscribe(context.Context, transport.Subscription) (transport.Consumer, error) {
	return nil, fmt.Errorf("subscribe to topic %s: %w", l.topics[dataTopic], ErrUnsupported)
}

// Trim removes nothing yet.
func (l *log) Trim(ctx context.Context, id schemas.ChainID, _ schemas.Position) error {
	return l.checkChain(ctx, id)
}

// Purge is transport.Log.Purge; dead letters cannot be removed one by one yet.
func (l *log) Purge(ctx context.Context, id schemas.ChainID, _ []schemas.Position) (int, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("purge dead letters of %s: %w", id, ErrUnsupported)
}

// Stats counts offsets, transaction markers among them; bytes are not known yet.
func (l *log) Stats(ctx context.Context) (transport.Stats, error) {
	if err := l.broker.check(ctx); err != nil {
		return transport.Stats{}, err
	}
	ctx, cancel := l.broker.limit(ctx)
	defer cancel()
	var s transport.Stats
	ends, err := l.broker.admin.ListCommittedOffsets(ctx, l.topics[:]...)
	if err == nil {
		err = ends.Error()
	}
	ends.Each(func(o kadm.ListedOffset) { s.Records += uint64(max(o.Offset, 0)) })
	return s, err
}
