package jetstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// DefaultMaxPending is how many deliveries of one durable consumer are out at once where the subscription does not say.
const DefaultMaxPending = 1024

// idle is how long the server keeps a durable consumer that nobody uses: those of pipelines that are configured otherwise by now
// go. Who comes back after that is handed everything again.
const idle = 14 * 24 * time.Hour

// A consumer is this process's share in a durable consumer. It asks for one event at a time and only when Next is called,
// so that no event lies in a process that is busy.
type consumer struct {
	log    *log
	config jetstream.ConsumerConfig

	mu       sync.Mutex
	messages *puller
	closed   bool
}

// Subscribe is transport.Log.Subscribe.
func (l *log) Subscribe(ctx context.Context, s transport.Subscription) (transport.Consumer, error) {
	if err := l.broker.check(ctx); err != nil {
		return nil, err
	}
	if s.Durable == "" || s.AckWait <= 0 {
		return nil, fmt.Errorf("subscribe to stream %s: durable %q with ack wait %s", l.stream, s.Durable, s.AckWait)
	}
	if s.MaxPending == 0 {
		s.MaxPending = DefaultMaxPending
	}
	from := jetstream.DeliverAllPolicy
	if s.Newest {
		from = jetstream.DeliverLastPerSubjectPolicy // each chain's out events have a subject of their own
	}
	c := &consumer{log: l, config: jetstream.ConsumerConfig{
		Durable: encode(s.Durable), FilterSubject: l.everyChain(transport.Out), DeliverPolicy: from,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.AckWait, MaxAckPending: s.MaxPending, InactiveThreshold: idle,
		MaxDeliver: -1, // a limit would park the event for ever and say so once; giving up is the engine's decision
	}}
	if _, err := c.iterator(ctx); err != nil {
		return nil, fmt.Errorf("subscribe %s to stream %s: %w", s.Durable, l.stream, l.broker.apiError(ctx, err))
	}
	return c, nil
}

// iterator returns the stream of deliveries, made anew after it failed.
func (c *consumer) iterator(ctx context.Context) (*puller, error) {
	c.mu.Lock()
	messages, closed := c.messages, c.closed
	c.mu.Unlock()
	if closed {
		return nil, transport.ErrClosed
	}
	if messages != nil {
		return messages, nil
	}
	limited, done := c.log.broker.limitAPI(ctx, c.log.stream)
	defer done()
	if _, err := c.log.broker.js.CreateOrUpdateConsumer(limited, c.log.stream, c.config); err != nil {
		return nil, whyEnded(limited, err)
	}
	messages, err := c.log.broker.newPuller(c.log.stream, c.config.Durable, 1, 0)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = messages
	if c.closed {
		messages.close()
		return nil, transport.ErrClosed
	}
	return messages, nil
}

// Next is transport.Consumer.Next.
func (c *consumer) Next(ctx context.Context) (transport.Delivery, error) {
	for attempt := 1; ; attempt++ {
		if err := c.check(ctx); err != nil {
			return nil, err
		}
		d, err := c.take(ctx)
		if err == nil {
			return d, nil
		}
		if c.check(ctx) == nil {
			c.log.broker.slog.Debug("consumer begins anew", "stream", c.log.stream, "durable", c.config.Durable, "error", err)
			c.stop()
			if streamGone(err) {
				c.log.remake(ctx)
			}
			c.log.broker.pause(ctx, attempt)
		}
	}
}

func (c *consumer) check(ctx context.Context) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return transport.ErrClosed
	}
	return c.log.broker.check(ctx)
}

// take waits for one delivery. One that cannot be read stays with this worker until its time is over, and is said.
func (c *consumer) take(ctx context.Context) (*delivery, error) {
	messages, err := c.iterator(ctx)
	if err != nil {
		return nil, err
	}
	m, err := messages.next(ctx)
	if err != nil {
		return nil, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	s, err := c.log.decode(&raw{header: m.Header, data: m.Data, subject: m.Subject, at: schemas.Position(meta.Sequence.Stream), time: meta.Timestamp}, false)
	if err != nil {
		c.log.broker.slog.Error("event that cannot be read", "stream", c.log.stream, "error", err)
		return nil, err
	}
	return &delivery{broker: c.log.broker, reply: m.Reply, event: s}, nil
}

func (c *consumer) stop() {
	c.mu.Lock()
	messages := c.messages
	c.messages = nil
	c.mu.Unlock()
	if messages != nil {
		messages.close()
	}
}

// Close ends this process's share; the durable stays.
func (c *consumer) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	return nil
}

// A delivery is a message that was handed out. How it is settled is in ADR-15 of nats-architecture-and-design.
type delivery struct {
	broker *Broker
	reply  string // where to say what became of it
	event  transport.Stored
}

// Event is the event.
func (d *delivery) Event() transport.Stored { return d.event }

// Ack waits for the server to say that it has it; even so it may be forgotten in a kill.
func (d *delivery) Ack(ctx context.Context) error {
	limited, cancel := d.broker.limit(ctx)
	defer cancel()
	_, err := d.broker.request(limited, &nats.Msg{Subject: d.reply, Data: []byte("+ACK")})
	return d.settled(ctx, "ack", err)
}

// Nak hands the event out again after the delay.
func (d *delivery) Nak(ctx context.Context, delay time.Duration) error {
	body := "-NAK"
	if delay > 0 {
		body = fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds())
	}
	return d.settled(ctx, "nak", d.broker.nc.Publish(d.reply, []byte(body)))
}

// InProgress starts the wait for an ack anew.
func (d *delivery) InProgress(ctx context.Context) error {
	return d.settled(ctx, "in progress", d.broker.nc.Publish(d.reply, []byte("+WPI")))
}

func (d *delivery) settled(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of event %s: %w", what, d.event.Event.ID(), d.broker.apiError(ctx, err))
}
