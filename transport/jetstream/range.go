package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/schemas"
)

// A reader holds at most so much that was not taken yet, and asks for half of it at a time.
const (
	windowBytes    = 4 << 20
	windowMessages = 512
)

// errRangeEnd says that the stream has no more messages of the subject now.
var errRangeEnd = errors.New("end of the stream")

// A span reads a subject's messages by position, stretch after stretch, with batched direct gets (ADR-31 of
// nats-architecture-and-design, 2.11). The server keeps nothing about it. One goroutine uses it.
type span struct {
	log     *log
	subject string
	from    schemas.Position // everything up to it was handed out
	inbox   string
	sub     *nats.Subscription
	request int
}

func (l *log) newRange(subject string, from schemas.Position) (*span, error) {
	inbox := l.broker.nc.NewInbox()
	sub, err := l.broker.nc.SubscribeSync(inbox + ".*")
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", l.stream, err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // what is asked for is limited already
		return nil, fmt.Errorf("read stream %s: %w", l.stream, err)
	}
	return &span{log: l, subject: subject, from: from, inbox: inbox, sub: sub}, nil
}

func (r *span) close() { _ = r.sub.Unsubscribe() } // it can only fail when the connection is closed

// fetch asks for the next messages, at least one and else not more than that many and about so many bytes, and hands each
// to f as it arrives. errRangeEnd says that there were none left behind them. An answer that does not come is asked for
// again, from where the last one was taken.
func (r *span) fetch(ctx context.Context, bytes, messages int, f func(*raw) error) error {
	for attempt := 1; ; attempt++ {
		err := r.try(ctx, patience(attempt), bytes, messages, f)
		if err == nil || ctx.Err() != nil || !passing(err) && !errors.Is(err, errMissed) {
			return err
		}
		if !r.log.broker.pause(ctx, attempt) {
			return err
		}
	}
}

// errMissed says that one of the answers did not arrive.
var errMissed = errors.New("an answer was missed")

func (r *span) try(ctx context.Context, patience time.Duration, bytes, messages int, f func(*raw) error) error {
	r.request++
	token := "." + strconv.Itoa(r.request)
	body, err := json.Marshal(map[string]any{"seq": r.from + 1, "next_by_subj": r.subject, "batch": messages, "max_bytes": bytes})
	if err != nil {
		return err
	}
	subject := "$JS.API.DIRECT.GET." + r.log.stream
	ctx, done := r.log.broker.refused.wait(ctx, &waiter{subject: subject, once: true})
	defer done()
	if err := r.log.broker.nc.PublishRequest(subject, r.inbox+token, body); err != nil {
		return err
	}
	var previous string
	for {
		m, err := r.answer(ctx, patience, token)
		if err != nil {
			return whyEnded(ctx, err)
		}
		if end, err := r.end(m, previous); end || err != nil {
			return err
		}
		if m.Header.Get("Nats-Last-Sequence") != previousOrZero(previous) {
			return errMissed
		}
		previous = m.Header.Get("Nats-Sequence")
		got, err := parseDirect(m)
		if err != nil {
			return err
		}
		if err := f(got); err != nil {
			return err
		}
		r.from = got.at
	}
}

func previousOrZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// answer is the next message of this request; those of one that was given up are dropped.
func (r *span) answer(ctx context.Context, patience time.Duration, token string) (*nats.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		m, err := r.sub.NextMsgWithContext(limited)
		if err != nil && ctx.Err() == nil && limited.Err() != nil {
			return nil, nats.ErrTimeout
		}
		if err != nil || strings.HasSuffix(m.Subject, token) {
			return m, err
		}
	}
}

// end says whether a message closes the batch, after the message at a position.
func (r *span) end(m *nats.Msg, previous string) (bool, error) {
	switch status := m.Header.Get("Status"); status {
	case "":
		return false, nil
	case "204": // end of batch
		if m.Header.Get("Nats-Last-Sequence") != previousOrZero(previous) {
			return true, errMissed
		}
		if m.Header.Get("Nats-Num-Pending") == "0" {
			return true, errRangeEnd
		}
		return true, nil
	case "404":
		return true, errRangeEnd
	case "503":
		return true, nats.ErrNoResponders
	default:
		return true, fmt.Errorf("read stream %s: status %s %s", r.log.stream, status, m.Header.Get("Description"))
	}
}
