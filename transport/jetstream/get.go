package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A raw is a stored message with its place.
type raw struct {
	header  nats.Header
	data    []byte
	subject string
	at      schemas.Position
	time    time.Time
}

// get asks for the last message of a subject (wildcards allowed), nil when there is none. With replicas it asks the leader.
func (l *log) get(ctx context.Context, subject string) (*raw, error) {
	if l.isAlone() {
		return l.direct(ctx, map[string]any{"last_by_subj": subject})
	}
	return l.leader(ctx, map[string]any{"last_by_subj": subject})
}

func (l *log) isAlone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone
}

// direct asks any replica for one message. ADR-31 of nats-architecture-and-design.
func (l *log) direct(ctx context.Context, what map[string]any) (*raw, error) {
	m, err := l.ask(ctx, "$JS.API.DIRECT.GET."+l.stream, what)
	if err != nil {
		return nil, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return parseDirect(m)
	case "404":
		return nil, nil
	default:
		return nil, fmt.Errorf("get from stream %s: status %s %s", l.stream, status, m.Header.Get("Description"))
	}
}

// leader asks the stream's leader for one message.
func (l *log) leader(ctx context.Context, what map[string]any) (*raw, error) {
	m, err := l.ask(ctx, "$JS.API.STREAM.MSG.GET."+l.stream, what)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("get from stream %s: %w", l.stream, err)
	}
	if answer.Error != nil {
		if answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, nil
		}
		return nil, fmt.Errorf("get from stream %s: %w", l.stream, answer.Error)
	}
	r := &raw{data: answer.Message.Data, subject: answer.Message.Subject, at: schemas.Position(answer.Message.Seq), time: answer.Message.Time}
	if len(answer.Message.Header) > 0 {
		r.header, err = nats.DecodeHeadersMsg(answer.Message.Header)
	}
	return r, err
}

// ask sends a request that reads, again while the server does not answer, until ctx or its own limit ends.
func (l *log) ask(ctx context.Context, subject string, what map[string]any) (*nats.Msg, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		short, done := context.WithTimeoutCause(limited, patience(attempt), nats.ErrTimeout)
		m, err := l.broker.request(short, &nats.Msg{Subject: subject, Data: body})
		done()
		if err == nil {
			return m, nil
		}
		if limited.Err() != nil || !passing(err) || !l.broker.pause(limited, attempt) {
			return nil, fmt.Errorf("ask stream %s: %w", l.stream, l.broker.unreachable(ctx, err))
		}
		if errors.Is(err, nats.ErrNoResponders) {
			l.remake(limited)
		}
	}
}

// patience is how long the nth request in a row that only reads is waited for: the server that was to answer it may be gone.
func patience(attempt int) time.Duration { return answerWithin << min(attempt-1, 4) }

// passing says whether an error may be gone at the next try: the connection is lost, or the stream has no leader now.
func passing(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrStaleConnection)
}

// parseDirect reads a direct get's answer: the message with its place in more headers.
func parseDirect(m *nats.Msg) (*raw, error) {
	at, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("answer of a direct get: sequence: %w", err)
	}
	t, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return nil, fmt.Errorf("answer of a direct get: time: %w", err)
	}
	return &raw{header: m.Header, data: m.Data, subject: m.Header.Get("Nats-Subject"), at: schemas.Position(at), time: t}, nil
}

// headerBefore is the header mp-chain: what of the chain's out events came before the record.
const headerBefore = "mp-chain"

// before is how far a chain's out events had come: the last one's sequence and position, and the data bytes of all.
type before struct {
	out   uint64
	at    schemas.Position
	bytes uint64
}

func (b before) String() string { return fmt.Sprintf("%d %d %d", b.out, b.at, b.bytes) }

func parseBefore(h nats.Header) (b before, err error) {
	if _, err := fmt.Sscanf(h.Get(headerBefore), "%d %d %d", &b.out, &b.at, &b.bytes); err != nil {
		return b, fmt.Errorf("header %s is %q: %w", headerBefore, h.Get(headerBefore), err)
	}
	return b, nil
}

// after is before as the next record has it.
func (b before) after(s *transport.Stored) before {
	if s.Kind != transport.Out {
		return b
	}
	return before{out: s.Event.Sequence, at: s.Position, bytes: b.bytes + uint64(s.Bytes)}
}

// decode reads a message back; with headers, the data was not asked for and size says how long it is.
func (l *log) decode(r *raw, headers bool) (transport.Stored, error) {
	id, kind, err := l.parse(r.subject)
	if err != nil {
		return transport.Stored{}, err
	}
	m := transport.Message{Chain: id, Pipeline: l.config.Pipeline, Kind: kind, Header: r.header.Get, Body: r.data, Size: len(r.data), Headers: headers}
	if headers {
		if m.Size, err = strconv.Atoi(r.header.Get("Nats-Msg-Size")); err != nil {
			return transport.Stored{}, fmt.Errorf("record at %d of stream %s: size: %w", r.at, l.stream, err)
		}
	}
	s, err := m.Decode(attributePrefix)
	s.Position, s.At = r.at, r.time
	if err != nil {
		return s, fmt.Errorf("record at %d of stream %s: %w", r.at, l.stream, err)
	}
	return s, nil
}
