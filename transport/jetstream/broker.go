package jetstream

import (
	"context"
	"crypto/tls"
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

	refused refusals

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
	Login    Login         // who we are; the zero value is nobody
	TLS      *tls.Config   // nil: only where the server wants it, with the system's authorities
	Replicas int           // copies of each stream that this process makes; 0 is one
	Timeout  time.Duration // how long one request to the server may take; 0 is 10 s
	Name     string        // of the connection, as the server's monitoring shows it; "" is milepost
	Role     Role          // whose inbox answers come to, so that no other role can listen (Inbox); "" is RoleRun
	Options  []nats.Option // more of the client's own
	Log      *slog.Logger  // connection lost and found; nil is slog.Default
}

// Connect connects to a NATS server. When it cannot be reached within the context, does not let us in, is too old or has no
// JetStream, the error is ErrUnreachable, names the address and says what to change. A connection that is lost later comes back
// by itself, however long it takes, also where the server refuses the login for a while.
func Connect(ctx context.Context, c Config) (*Broker, error) {
	b := newBroker(c.Log, c.Timeout)
	b.address, b.replicas = redact(c.URL), c.Replicas
	if c.Name == "" {
		c.Name = "milepost"
	}
	options, err := c.Login.options()
	if err != nil {
		return nil, err
	}
	options = append(append(b.options(ctx), nats.Name(c.Name), nats.CustomInboxPrefix(c.Role.Inbox())), options...)
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	if err := b.connect(ctx, c.URL, append(options, c.Options...)); err != nil {
		if errors.Is(err, transport.ErrDenied) {
			return nil, fmt.Errorf("connect to NATS at %s: %w", b.address, err)
		}
		return nil, fmt.Errorf("connect to NATS at %s: %w (%w)%s", b.address, transport.ErrUnreachable, err, advice(err, &c))
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
		nats.ReconnectBufSize(-1),   // a publish while disconnected fails at once instead of coming late
		nats.IgnoreAuthErrorAbort(), // an account that is locked may be open again later; only the first login has to succeed
		nats.LameDuckModeHandler(b.leave),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.refused.lost()
			if err != nil && b.ctx.Err() == nil {
				b.slog.Warn("connection to NATS lost", "address", b.address, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.slog.Info("connection to NATS found again", "address", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if denied := deniedBy(err); denied != nil {
				if b.refused.tell(denied, time.Now()) {
					b.slog.Warn("no permission: it is tried again", "to", denied.Verb, "subject", denied.Subject, "address", b.address, "next", denied.next())
				}
				return
			}
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
	if err = checkVersion(b.nc.ConnectedServerVersion()); err == nil {
		b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(b.timeout))
	}
	if err == nil {
		limited, done := b.limitAPI(ctx, "")
		defer done()
		err = b.answers(limited)
		err = whyEnded(limited, err)
	}
	if err != nil {
		b.nc.Close()
	}
	return err
}

// answerWithin is how long JetStream is waited for before it is asked again: in a cluster's first seconds nobody may have heard.
const answerWithin = 2 * time.Second

// answers asks JetStream about the account until it answers, however long a cluster takes to agree on a leader.
func (b *Broker) answers(ctx context.Context) (err error) {
	for attempt := 1; ; attempt++ {
		short, cancel := context.WithTimeout(ctx, answerWithin)
		_, again := b.js.AccountInfo(short)
		cancel()
		if err == nil || ctx.Err() == nil {
			err = again // the last that does not only say that time is over
		}
		var refused *jetstream.APIError
		leaderless := errors.As(again, &refused) && refused.ErrorCode == codeNoLeader
		if again == nil || ctx.Err() != nil || !leaderless && !errors.Is(again, context.DeadlineExceeded) || !b.pause(ctx, attempt) {
			return err
		}
	}
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
		nc, err := connectOnce(ctx, url, append(options[:len(options):len(options)], nats.SetCustomDialer(d)))
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

// connectOnce is nats.Connect that is given up when ctx is cancelled. The end of its time is not waited for here but in the options,
// whose error says more.
func connectOnce(ctx context.Context, url string, options []nats.Option) (*nats.Conn, error) {
	type connected struct {
		nc  *nats.Conn
		err error
	}
	over := make(chan connected, 1)
	go func() {
		nc, err := nats.Connect(url, options...)
		over <- connected{nc, err}
	}()
	select {
	case c := <-over:
		return c.nc, c.err
	case <-ctx.Done():
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		c := <-over
		return c.nc, c.err
	}
	go func() {
		if c := <-over; c.nc != nil {
			c.nc.Close()
		}
	}()
	return nil, ctx.Err()
}

// dialTimeout is what the options say of the time that one connection may take.
func dialTimeout(options []nats.Option) time.Duration {
	o := nats.GetDefaultOptions()
	for _, option := range options {
		_ = option(&o) // what is wrong with one is told by Connect
	}
	return o.Timeout
}

// leave goes to another server when this one says that it is about to shut down (lame duck mode), each client after a time of its
// own. Requests on their way are lost with the connection, as they would be a little later; who made them looks what was stored.
// The only server there is, is stayed with: it cuts the connection when it goes.
func (b *Broker) leave(nc *nats.Conn) {
	others := b.others()
	b.slog.Info("the NATS server is about to shut down", "address", nc.ConnectedUrlRedacted(), "others", others)
	if !others {
		return
	}
	b.run(func(ctx context.Context) {
		t := time.NewTimer(rand.N(leaveWithin))
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
			if err := nc.ForceReconnect(); err != nil {
				b.slog.Warn("leaving a NATS server", "error", err)
			}
		}
	})
}

// others says whether another server is known to go to.
func (b *Broker) others() bool { return len(b.nc.Servers()) > 1 }

// leaveWithin is how long the clients of a server that shuts down take to leave it; its own grace is 10 s.
const leaveWithin = 2 * time.Second

// Connected says whether there is a connection now.
func (b *Broker) Connected() bool { return b.nc.IsConnected() }

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
