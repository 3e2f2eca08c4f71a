package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// How a process knows that a request for messages still stands: the server gives a sign of life for it, and a request without
// one for some signs is made again. A link that is slower than that, or a server that is busy, is given more patience each time.
const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 250 * time.Millisecond
	minPatience   = 3 * pullHeartbeat
	maxPatience   = 10 * time.Second
	pullRetries   = 3 // requests in a row without an answer, after which the consumer is made anew
)

// errSilent says that the consumer does not answer: it is gone, or its server.
var errSilent = errors.New("no sign of life of the consumer")

// A puller asks a consumer for messages, one request at a time (ADR-13 of nats-architecture-and-design). It takes the place of
// the client's MessagesContext, which may leave out a request when the answer to the one before is faster than the client's
// goroutine that sent it (pullSubscription.checkPending against fetchInProgress, nats.go 1.55), and then waits for nothing.
// One goroutine calls next; any may call close.
type puller struct {
	nc       *nats.Conn
	subject  string          // of requests
	refused  context.Context // whose cause is the server's refusal of the subject
	forget   func()          // ends it
	batch    int
	bytes    int // 0: no limit
	patience time.Duration

	// idle is told the number of the consumer's last message whenever the server says that it has no more. What came for a request
	// that was given up is lost to a consumer that keeps nothing, and only this number says so.
	idle func(last uint64) error

	request int  // number of the newest
	left    int  // what it may still bring; 0: it is over
	brought bool // it brought something

	mu     sync.Mutex
	sub    *nats.Subscription
	inbox  string
	closed bool
}

// newPuller sends the first request.
func (b *Broker) newPuller(stream, consumer string, batch, bytes int) (*puller, error) {
	p := &puller{nc: b.nc, subject: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer, batch: batch, bytes: bytes, patience: minPatience}
	p.refused, p.forget = b.refused.wait(b.ctx, &waiter{subject: p.subject})
	err := p.subscribe()
	if err == nil {
		err = p.ask()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// subscribe listens at a new place. The server drops the requests whose place nobody listens at, so that what was asked for
// before does not come as well.
func (p *puller) subscribe() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nats.ErrBadSubscription
	}
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // it can only fail when the connection is closed
	}
	p.inbox = p.nc.NewInbox()
	sub, err := p.nc.SubscribeSync(p.inbox + ".*")
	if err != nil {
		return err
	}
	p.sub = sub
	return sub.SetPendingLimits(-1, -1) // what is asked for is limited already
}

func (p *puller) ask() error {
	body, err := json.Marshal(map[string]any{"expires": pullExpires, "batch": p.batch, "max_bytes": p.bytes, "idle_heartbeat": pullHeartbeat})
	if err != nil {
		return err
	}
	p.request++
	p.left, p.brought = p.batch, false
	return p.nc.PublishRequest(p.subject, p.inbox+p.token(), body)
}

func (p *puller) token() string { return "." + strconv.Itoa(p.request) }

// next waits for the next message. After an error the puller is of no more use, except when ctx has ended.
func (p *puller) next(ctx context.Context) (*nats.Msg, error) {
	for silent := 0; ; {
		if p.left == 0 {
			if err := p.ask(); err != nil {
				return nil, err
			}
		}
		m, err := p.receive(ctx)
		switch {
		case errors.Is(err, errSilent) && p.refused.Err() != nil:
			return nil, whyEnded(p.refused, err)
		case errors.Is(err, errSilent) && silent < pullRetries:
			silent++
			err = p.again()
		case err == nil && m.Reply != "": // only what is to be acknowledged or counted has one
			p.left, p.brought = max(p.left-1, 0), true
			return m, nil
		case err == nil:
			silent = 0
			err = p.status(m)
		}
		if err != nil {
			return nil, err
		}
	}
}

// receive waits for whatever comes, as long as patience lasts.
func (p *puller) receive(ctx context.Context) (*nats.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	m, err := p.sub.NextMsgWithContext(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return nil, errSilent
	}
	return m, err
}

// again gives up the request that nothing was heard of, and has more patience with the next.
func (p *puller) again() error {
	p.patience = min(2*p.patience, maxPatience)
	if err := p.subscribe(); err != nil {
		return err
	}
	return p.ask()
}

// status is what a message about a request says of it: nothing, that it is over, or that the consumer is.
func (p *puller) status(m *nats.Msg) error {
	if !strings.HasSuffix(m.Subject, p.token()) {
		return nil // of a request that is over
	}
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case code == "100":
		last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Consumer"), 10, 64)
		if p.idle == nil || err != nil {
			return nil // the consumer keeps what it sends, or the server does not say
		}
		return p.idle(last)
	case code == "404" || code == "408", code == "409" && p.brought && isFull(text):
		p.left = 0
		return nil
	case code == "503":
		return nats.ErrNoResponders
	}
	return fmt.Errorf("request for messages: status %s %s", code, text)
}

// isFull says whether a request is over because it brought as many bytes as it may.
func isFull(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "maxbytes") || strings.Contains(text, "batch completed")
}

func (p *puller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.forget()
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // it can only fail when the connection is closed
	}
}
