package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/transport"
)

// headerRoom is what a message's headers may take of the largest payload: the server's own limit.
const headerRoom = 64 << 10

// A Broker is a connection to a NATS server with JetStream. Its methods may be called concurrently.
type Broker struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	server   *server.Server // embedded; nil: elsewhere
	address  string         // for users
	replicas int            // of new streams
	timeout  time.Duration  // of one request
	slog     *slog.Logger

	ctx    context.Context // ends with the Broker
	cancel context.CancelFunc
	wg     sync.WaitGroup // of goroutines that tails and readers run
	mu     sync.Mutex
	logs   map[names]*log
	closed bool
}

var _ transport.Broker = (*Broker)(nil)

// A Config names a NATS server.
type Config struct {
	URL      string        // nats://host:port, several with commas; user and password or token may stand in it
	Replicas int           // copies of each stream that this process makes; 0 is one
	Timeout  time.Duration // how long one request to the server may take; 0 is 10 s
	Name     string        // of the connection, as the server's monitoring shows it; "" is milepost
	Options  []nats.Option // more of the client's own, such as credentials and TLS
	Log      *slog.Logger  // connection lost and found; nil is slog.Default
}

// Connect connects to a NATS server. When it cannot be reached within the context, or has no JetStream, the error is
// ErrUnreachable and names the address. A connection that is lost later comes back by itself, however long it takes.
func Connect(ctx context.Context, c Config) (*Broker, error) {
	b := newBroker(c.Log, c.Timeout)
	b.address, b.replicas = c.URL, c.Replicas
	if c.Name == "" {
		c.Name = "milepost"
	}
	options := append(b.options(ctx), nats.Name(c.Name))
	if err := b.connect(ctx, c.URL, append(options, c.Options...)); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w (%w)", c.URL, transport.ErrUnreachable, err)
	}
	b.address = b.nc.ConnectedUrlRedacted()
	return b, nil
}

func newBroker(l *slog.Logger, timeout time.Duration) *Broker {
	if l == nil {
		l = slog.Default()
	}
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	b := &Broker{logs: map[names]*log{}, slog: l, timeout: timeout}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// queueLen is what a subscription of ours can hold: several times what one request asks for, since answers to one that was given
// up may lie before the next one's. The client's default, 64 Ki entries, is half a megabyte for each of hundreds of subscriptions.
const queueLen = 8 * max(windowMessages, watchMessages)

// options are the client's settings that both kinds of Broker share.
func (b *Broker) options(ctx context.Context) []nats.Option {
	wait := b.timeout
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(end), time.Millisecond))
	}
	return []nats.Option{
		nats.Timeout(wait),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(backoff),
		nats.SyncQueueLen(queueLen),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails at once instead of coming late
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && b.ctx.Err() == nil {
				b.slog.Warn("connection to NATS lost", "address", b.address, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.slog.Info("connection to NATS found again", "address", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.slog.Warn("error on the connection to NATS", "address", b.address, "error", err)
		}),
	}
}

// backoff is the pause before the nth try in a row: 20 ms doubling to 5 s, with jitter so that many clients do not come at once.
func backoff(attempt int) time.Duration {
	d := min(20*time.Millisecond<<min(max(attempt-1, 0), 10), 5*time.Second)
	return d/2 + rand.N(d/2+1)
}

// connect dials and makes sure that JetStream answers.
func (b *Broker) connect(ctx context.Context, url string, options []nats.Option) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.nc, err = dial(ctx, url, options); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(b.timeout)); err == nil {
		ctx, cancel := b.limit(ctx)
		defer cancel()
		_, err = b.js.AccountInfo(ctx)
	}
	if err != nil {
		b.nc.Close()
	}
	return err
}

// dialTries is how often a server that is not there is dialled: one that is being started answers within seconds.
const dialTries = 3

// A dialer remembers why the last connection was not made: the client only says that no server was left.
type dialer struct {
	net.Dialer
	last error
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, address)
	if err != nil {
		d.last = err
	}
	return c, err
}

// dial connects, in several tries. The error is the network's, with the number of tries.
func dial(ctx context.Context, url string, options []nats.Option) (*nats.Conn, error) {
	began := time.Now()
	for try := 1; ; try++ {
		d := &dialer{Dialer: net.Dialer{Timeout: dialTimeout(options)}}
		nc, err := nats.Connect(url, append(options[:len(options):len(options)], nats.SetCustomDialer(d))...)
		if err == nil || !errors.Is(err, nats.ErrNoServers) {
			return nc, err
		}
		if d.last != nil {
			err = d.last
		}
		pause := time.NewTimer(time.Duration(try) * 500 * time.Millisecond)
		if try == dialTries {
			return nil, fmt.Errorf("%w, tried %d times in %.1f s", err, try, time.Since(began).Seconds())
		}
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf("%w, tried %d times: %w", err, try, ctx.Err())
		case <-pause.C:
		}
	}
}

// dialTimeout is what the options say of the time that one connection may take.
func dialTimeout(options []nats.Option) time.Duration {
	o := nats.GetDefaultOptions()
	for _, option := range options {
		_ = option(&o) // what is wrong with one is told by Connect
	}
	return o.Timeout
}

// limit is the context of one request.
func (b *Broker) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.timeout)
}

// Describe names the server. MaxEvent follows from its max_payload.
func (b *Broker) Describe() transport.Description {
	return transport.Description{Kind: "nats", Address: b.address, Version: b.nc.ConnectedServerVersion(), MaxEvent: int(b.nc.MaxPayload()) - headerRoom}
}

// Close ends everything that was opened through this Broker with ErrClosed, and stops the server inside.
func (b *Broker) Close() error {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	if was {
		return nil
	}
	b.cancel()
	b.wg.Wait()
	b.nc.Close()
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return nil
}

// run starts a goroutine that Close waits for, with a context that ends with the Broker; false when that has happened.
func (b *Broker) run(f func(ctx context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Go(func() { f(b.ctx) })
	return true
}

// check says whether the call may go on.
func (b *Broker) check(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return transport.ErrClosed
	}
	return ctx.Err()
}

// pause waits before another try; false when ctx or the Broker has ended.
func (b *Broker) pause(ctx context.Context, attempt int) bool {
	t := time.NewTimer(backoff(attempt))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
	return false
}

// ended turns the error of a call into the one that its end by ctx or Close should have.
func (b *Broker) ended(ctx context.Context, err error) error {
	if e := b.check(ctx); e != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(e, transport.ErrClosed)) {
		return e
	}
	return err
}
