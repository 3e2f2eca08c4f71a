package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// attributePrefix stands before attribute names in headers (CloudEvents NATS binding 1.0.2, 3.1.3.1).
var attributePrefix = transport.NewPrefix("ce-")

// A chain is the writing end of one chain: what it knows of the last record is the fence.
type chain struct {
	log    *log
	id     schemas.ChainID
	prefix string // of subjects, with the dot
	last   schemas.Position
	before before
	pages  transport.PageSet
	broken error // after which it takes nothing more
}

// ID names the chain.
func (ch *chain) ID() schemas.ChainID { return ch.id }

// Append is transport.Chain.Append. Each record waits for the answer to the one before, since its expectation is the
// position in that answer: other chains' records come between, so it cannot be told beforehand.
func (ch *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	if err := ch.usable(ctx); err != nil {
		return 0, err
	}
	if err := transport.CheckAll(ch.id, ch.before.out, records); err != nil {
		return 0, ch.note(err)
	}
	for i := range records {
		if err := ch.append(ctx, &records[i]); err != nil {
			return i, ch.note(fmt.Errorf("append to %s: %w", ch.id, err))
		}
	}
	return len(records), nil
}

func (ch *chain) append(ctx context.Context, r *transport.Record) error {
	h := newHeaders()
	body, err := r.Encode(attributePrefix, h.put)
	if err != nil {
		return err
	}
	if r.Kind == transport.Page {
		if err := ch.publish(ctx, "page."+r.Page.Hash.String(), h, body); err != nil {
			return err
		}
		ch.pages.Add(r.Page.Hash)
		return nil
	}
	if r.Kind == transport.Out {
		if err := ch.log.room(ctx, int64(len(body))+messageOverhead); err != nil {
			return err
		}
	}
	if err := ch.publish(ctx, r.Kind.String(), h, body); err != nil {
		return err
	}
	ch.before = ch.before.after(&transport.Stored{Kind: r.Kind, Event: r.Event, Position: ch.last, Bytes: len(r.Event.Data)})
	return nil
}

// Commit is transport.Log.Commit: an append of its own for each, in order of the chains' names.
func (l *log) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	chains, err := transport.Sorted[*chain](checkpoints)
	if err != nil {
		return err
	}
	var first error
	for _, ch := range chains {
		if err := ch.commit(ctx, checkpoints[ch]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (ch *chain) commit(ctx context.Context, c transport.Checkpoint) error {
	if err := ch.usable(ctx); err != nil {
		return err
	}
	if err := ch.pages.Check(ch.id, &c); err != nil {
		return ch.note(err)
	}
	h := newHeaders()
	body, err := c.Encode(h.put)
	if err != nil {
		return err
	}
	if err := ch.publish(ctx, transport.Snapshot.String(), h, body); err != nil {
		return ch.note(fmt.Errorf("checkpoint of %s: %w", ch.id, err))
	}
	ch.pages.Reset(&c)
	return nil
}

// messageOverhead is about what a message's headers and the store's own fields take.
const messageOverhead = 700

// publish stores one message behind the chain's last record and notes its position.
func (ch *chain) publish(ctx context.Context, kind string, h *headers, body []byte) error {
	h.put(headerBefore, ch.before.String())
	h.put(jetstream.ExpectedStreamHeader, ch.log.stream)
	h.put(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(uint64(ch.last), 10))
	h.put(jetstream.ExpectedLastSubjSeqSubjHeader, ch.prefix+">")
	led, done := ch.log.led(ctx)
	defer done()
	at, err := ch.log.broker.publish(led, &nats.Msg{Subject: ch.prefix + kind, Header: h.Header, Data: body})
	if err != nil {
		return err
	}
	ch.last = at
	ch.log.grew(int64(len(body))+messageOverhead, place{at, ch.prefix + kind})
	return nil
}

// publish sends a message and waits for the stream's answer. It is sent again only when it is certain that it was not stored.
func (b *Broker) publish(ctx context.Context, m *nats.Msg) (schemas.Position, error) {
	limited, cancel := b.limit(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		at, err := b.send(limited, m)
		if !mayResend(err) || !b.pause(limited, attempt) {
			return at, err
		}
	}
}

// mayResend says whether the message was certainly not stored and might be at the next try. Either nobody heard it: the
// stream has no leader now, or is so new that this server does not know of it. Or another append with the same expectation
// is still on its way to replicas: that one may be our own, which was answered a moment before the leader took it off its
// list (seen on nats-server 2.15), and if it is not, the next try says so.
func mayResend(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, nats.ErrNoResponders) || errors.As(err, &refused) && refused.ErrorCode == codeWrongLastConstant
}

func (b *Broker) send(ctx context.Context, m *nats.Msg) (schemas.Position, error) {
	if !b.connected(ctx) {
		return 0, fmt.Errorf("%w: not connected to %s", transport.ErrUnknown, b.address)
	}
	answer, err := b.request(ctx, m)
	if err != nil {
		return 0, sendError(err)
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("%w: answer %q (%w)", transport.ErrUnknown, answer.Data, err)
	}
	if ack.Error != nil {
		return 0, appendError(ack.Error)
	}
	if ack.Seq == 0 {
		return 0, fmt.Errorf("%w: answer %q", transport.ErrUnknown, answer.Data)
	}
	return schemas.Position(ack.Seq), nil
}

// connected waits until there is a connection: an append that is not sent needs no look afterwards.
func (b *Broker) connected(ctx context.Context) bool {
	for attempt := 1; !b.nc.IsConnected(); attempt++ {
		if b.nc.IsClosed() || !b.pause(ctx, min(attempt, 4)) {
			return false
		}
	}
	return true
}

// usable refuses a chain that has had an error.
func (ch *chain) usable(ctx context.Context) error {
	if ch.broken != nil {
		return fmt.Errorf("chain %s is of no more use: %w", ch.id, ch.broken)
	}
	return ch.log.broker.check(ctx)
}

// note remembers an error that ends the chain's use; a full log does not.
func (ch *chain) note(err error) error {
	if !transport.MayGoOn(err) {
		ch.broken = err
	}
	return err
}

// headers are a message's, with their values in one piece of memory.
type headers struct {
	nats.Header
	values []string
}

func newHeaders() *headers {
	const usual = 20
	return &headers{make(nats.Header, usual), make([]string, 0, usual)}
}

func (h *headers) put(name, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.Header[name] = h.values[n-1 : n : n]
}
