package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/milepost-dev/milepost/transport"
)

// Defaults of a Config.
const (
	DefaultPartitions      = 8
	DefaultMaxMessageBytes = 1 << 20 // the brokers' own default of message.max.bytes, and 12 bytes less
	DefaultAheadEvents     = 10_000
	DefaultAheadInterval   = 50 * time.Millisecond
)

const (
	headerRoom  = 64 << 10 // of a message, that its event's data cannot have
	aheadBytes  = 8 << 20  // a transaction that holds so much is ended
	sessionTime = 6 * time.Second
)

// A Config names a Kafka cluster, and how topics are made there.
type Config struct {
	Seeds           []string      // host:port of some brokers
	Prefix          string        // of the names of topics, groups and transactional ids; empty is "mp."
	Partitions      int           // of every topic; 0 is DefaultPartitions
	Replication     int           // copies of every topic; 0 is one
	Retention       time.Duration // of out events that nobody trimmed; 0 is for ever
	MaxMessageBytes int           // of every topic; 0 is DefaultMaxMessageBytes
	MaxBytes        int64         // of a log whose LogConfig does not say; 0 is no limit
	AheadEvents     int           // out events in one transaction of a log made with Ahead; 0 is DefaultAheadEvents
	AheadInterval   time.Duration // the longest such a transaction is open; 0 is DefaultAheadInterval
	Timeout         time.Duration // of one request or transaction; 0 is 10 s
	TLS             *tls.Config
	SASL            sasl.Mechanism
	Options         []kgo.Opt // more of the client's own
	Log             *slog.Logger
}

// A Broker is a client of a Kafka cluster. Its methods may be called concurrently.
type Broker struct {
	config Config
	client *kgo.Client // for administration and for fetching by offset
	admin  *kadm.Client
	layout layout

	ctx    context.Context // ends with the Broker
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	logs   map[string]*log // by topic
	plain  *kgo.Client     // for records outside of any chain
}

var _ transport.Broker = (*Broker)(nil)

// Connect connects to a cluster. When none of the seeds answers within ctx, does not let us in, or is not to be trusted, the error is
// ErrUnreachable, names them and says what to change.
func Connect(ctx context.Context, c Config) (*Broker, error) {
	c.defaults()
	b := &Broker{config: c, logs: map[string]*log{}}
	var err error
	if b.client, err = b.newClient(); err != nil {
		return nil, fmt.Errorf("connect to Kafka at %s: %w", b.address(), err)
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := b.client.Ping(limited); err != nil {
		b.client.Close()
		return nil, b.connectError(err)
	}
	b.admin = kadm.NewClient(b.client)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

func (c *Config) defaults() {
	set := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	if c.Prefix == "" {
		c.Prefix = "mp."
	}
	set(&c.Partitions, DefaultPartitions)
	set(&c.Replication, 1)
	set(&c.MaxMessageBytes, DefaultMaxMessageBytes)
	set(&c.AheadEvents, DefaultAheadEvents)
	if c.AheadInterval == 0 {
		c.AheadInterval = DefaultAheadInterval
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// connectError says why there is no connection and, where that is known, what to change.
func (b *Broker) connectError(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var remote *net.OpError // crypto/tls tells an alert so
	next := ""
	switch {
	case errors.As(err, &unknown):
		next = "its certificate is of another authority: set transport.kafka.tls.ca to the file of the one that signed it"
	case errors.As(err, &name):
		next = "its certificate is for another name: set transport.kafka.tls.server_name, or an address that the certificate names"
	case errors.As(err, &cert):
		next = "its certificate is not valid (its time may be over, or the clock here wrong): renew it"
	case errors.As(err, &record):
		next = "it does not speak TLS there: leave out transport.kafka.tls, or name the port of its TLS listener"
	case errors.As(err, &remote) && remote.Op == "remote error":
		next = "it refused our certificate: set transport.kafka.tls.cert and key to one that it knows"
	}
	if next != "" {
		next = "\n  next: " + next
	}
	return fmt.Errorf("connect to Kafka at %s: %w (%w)%s", b.address(), transport.ErrUnreachable, err, cmp.Or(next, b.advice(err)))
}

func (b *Broker) newClient(options ...kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{kgo.SeedBrokers(b.config.Seeds...), kgo.ClientID("milepost"), kgo.DisableClientMetrics(),
		kgo.RetryTimeout(b.config.Timeout), kgo.MetadataMinAge(100 * time.Millisecond), kgo.ConcurrentTransactionsBackoff(2 * time.Millisecond)}
	if b.config.TLS != nil {
		all = append(all, kgo.DialTLSConfig(b.config.TLS))
	}
	if b.config.SASL != nil {
		all = append(all, kgo.SASL(b.config.SASL))
	}
	return kgo.NewClient(append(append(all, b.config.Options...), options...)...)
}

func (b *Broker) address() string { return strings.Join(b.config.Seeds, ",") }

// Describe names the seeds.
func (b *Broker) Describe() transport.Description {
	return transport.Description{Kind: "kafka", Address: b.address(), MaxEvent: b.config.MaxMessageBytes - headerRoom}
}

// Close ends everything that was opened through this Broker with ErrClosed. What was appended ahead is committed before.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	logs, plain := b.logs, b.plain
	b.mu.Unlock()
	var closing sync.WaitGroup // together: each may wait until it is told that the brokers are away
	for _, l := range logs {
		for _, p := range l.parts {
			closing.Go(p.close)
		}
	}
	closing.Wait()
	b.cancel()
	b.wg.Wait()
	if plain != nil {
		plain.Close()
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

// both is a context that ends with ctx and with the Broker.
func (b *Broker) both(ctx context.Context) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ctx, cancel)
	return c, func() { stop(); cancel() }
}

// plainClient is the producer of records that belong to no transaction.
func (b *Broker) plainClient() (*kgo.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.plain == nil && !b.closed {
		var err error
		if b.plain, err = b.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)); err != nil {
			return nil, err
		}
	}
	if b.closed {
		return nil, transport.ErrClosed
	}
	return b.plain, nil
}
