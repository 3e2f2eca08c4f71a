// Package transporttest is the suite that every transport.Broker passes: each sentence of the interfaces' comments is a
// case. A driver's test is one call of Run.
//
// No case asserts a time. Where a broker's own clock has to move on, the suite waits for what that brings, or lets the
// driver's test turn the clock (Features.Advance).
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Features says what a driver's broker can beyond the basics, and how a test gets at it. A case whose feature is missing
// is not run at all, and so does not show as passed.
type Features struct {
	// Client is another process's broker on the same store, closed by the test; nil: one process only.
	Client func(t testing.TB, b transport.Broker) transport.Broker
	// Reopen is the store of b, which was closed, opened again; nil: the store does not outlive the broker.
	Reopen func(t testing.TB, b transport.Broker) transport.Broker
	// Advance lets time pass on the broker; nil: its clock is the real one.
	Advance func(b transport.Broker, d time.Duration)
	// Doubt: who loses a race to append may be told ErrUnknown instead of ErrStale, and has to look.
	Doubt bool
	// Consumers: durable consumers with single acks.
	Consumers bool
	// Watch: records of many chains.
	Watch bool
	// Partitioned: positions are of one partition, and of out events, decisions or checkpoints alone. A chain has an order,
	// the log as a whole has none that a watch could keep to.
	Partitioned bool
	// Lag: a watch of the newest records may begin a moment behind, and have newer ones follow.
	Lag bool
	// Full: a log keeps to MaxBytes and Reserve, and knows its size.
	Full bool
	// Trim: the broker removes single records, so that what is trimmed is gone at once.
	Trim bool
}

// limit is how long a case waits for what must come.
const limit = 60 * time.Second

// A bundle is what a case gets: a broker, a log of its own, and a chain in it.
type bundle struct {
	*testing.T
	f      Features
	open   func(t testing.TB) transport.Broker
	ctx    context.Context
	broker transport.Broker
	config transport.LogConfig
	log    transport.Log
	id     schemas.ChainID
}

type testCase struct {
	name string
	run  func(b *bundle)
}

// Run holds the broker that open makes (empty, closed by the suite) to every case that its features allow.
func Run(t *testing.T, open func(t testing.TB) transport.Broker, f Features) {
	broker := open(t)
	t.Cleanup(func() { closeBroker(t, broker) })
	cases := append(append(append([]testCase{}, fenceCases...), stateCases...), readCases...)
	cases = append(append(append(cases, limitCases...), aheadCases...), adoptCases...)
	if f.Watch {
		cases = append(cases, watchCases...)
	}
	if f.Full {
		cases = append(cases, fullCases...)
	}
	cases = append(cases, overCases...)
	if f.Trim {
		cases = append(cases, trimCases...)
	}
	if f.Consumers {
		cases = append(cases, consumerCases...)
	}
	if f.Reopen != nil {
		cases = append(cases, reopenCases...)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(newBundle(t, open, broker, f, fmt.Sprintf("s%d", i))) })
	}
}

func newBundle(t *testing.T, open func(t testing.TB) transport.Broker, broker transport.Broker, f Features, stage string) *bundle {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	b := &bundle{T: t, f: f, open: open, ctx: ctx, broker: broker}
	b.use(transport.LogConfig{Pipeline: "suite", Stage: stage})
	return b
}

// use has the case go on with the log of that configuration.
func (b *bundle) use(c transport.LogConfig) {
	b.Helper()
	b.config, b.id = c, schemas.ChainID{Job: "j-0123456789abcdef", Stage: c.Stage}
	b.log = b.on(b.broker)
}

// on is the case's log as another broker sees it.
func (b *bundle) on(broker transport.Broker) transport.Log {
	b.Helper()
	log, err := broker.Log(b.ctx, b.config)
	b.must(err)
	return log
}

// client is the case's log as another process sees it; the same process where the driver has no other.
func (b *bundle) client() transport.Log {
	b.Helper()
	if b.f.Client == nil {
		return b.on(b.broker)
	}
	c := b.f.Client(b, b.broker)
	b.Cleanup(func() { closeBroker(b, c) })
	return b.on(c)
}

func closeBroker(t testing.TB, b transport.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func (b *bundle) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// want fails the case unless err is the sentinel.
func (b *bundle) want(err, sentinel error) {
	b.Helper()
	if !errors.Is(err, sentinel) {
		b.Fatalf("error is %v, want %v", err, sentinel)
	}
}

// job is another chain of the case's log.
func (b *bundle) job(i int) schemas.ChainID {
	return schemas.ChainID{Job: schemas.NewJobID(fmt.Sprint(i)), Stage: b.config.Stage}
}

func (b *bundle) openChain(log transport.Log, id schemas.ChainID) (transport.Chain, transport.State) {
	b.Helper()
	ch, state, err := log.Open(b.ctx, id)
	b.must(err)
	return ch, state
}

// chain is the case's chain, opened.
func (b *bundle) chain() transport.Chain {
	b.Helper()
	ch, _ := b.openChain(b.log, b.id)
	return ch
}

func (b *bundle) state() transport.State {
	b.Helper()
	_, s := b.openChain(b.log, b.id)
	return s
}

func (b *bundle) append(ch transport.Chain, records ...transport.Record) {
	b.Helper()
	n, err := ch.Append(b.ctx, records...)
	b.must(err)
	if n != len(records) {
		b.Fatalf("%d of %d records stored without an error", n, len(records))
	}
}

func (b *bundle) commit(ch transport.Chain, c transport.Checkpoint) {
	b.Helper()
	b.must(b.log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{ch: c}))
}

func event(id schemas.ChainID, sequence uint64, data []byte) schemas.Event {
	return schemas.Event{
		Chain: id, Sequence: sequence, Pipeline: "suite", Item: "drive " + string(id.Job), Type: "suite.v1",
		Time: time.Unix(1_700_000_000, int64(sequence)).UTC(), ContentType: schemas.ContentArrow, Tables: 1, Data: data,
	}
}

// out is an out event whose data says what it is.
func out(id schemas.ChainID, sequence uint64) transport.Record {
	return transport.Record{Kind: transport.Out, Event: event(id, sequence, fmt.Appendf(nil, "%s %d", id, sequence))}
}

// outs are n out events from a sequence on.
func outs(id schemas.ChainID, from uint64, n int) []transport.Record {
	var all []transport.Record
	for i := range n {
		all = append(all, out(id, from+uint64(i)))
	}
	return all
}

// decision is a dead letter or control.
func decision(id schemas.ChainID, k transport.Kind, c schemas.Cursor) transport.Record {
	e := event(id, 7, []byte(`{"decision":"halt"}`))
	e.Type, e.ContentType, e.Tables = schemas.TypeDeadLetter, schemas.ContentJSON, 0
	return transport.Record{Kind: k, Cursor: &c, Event: e}
}

func page(data []byte) transport.Record {
	p := transport.SplitPages(data)[0]
	return transport.Record{Kind: transport.Page, Page: &p}
}

func cursor(sequence uint64) schemas.Cursor {
	return schemas.Cursor{Edges: []schemas.EdgeCursor{{Stage: "upstream", Sequence: sequence, Position: schemas.Position(10 * sequence)}}}
}

// same fails the case unless got is the stored form of want.
func (b *bundle) same(got transport.Stored, want transport.Record) {
	b.Helper()
	if got.Kind != want.Kind || got.Event.ID() != want.Event.ID() || got.Event.Hash() != want.Event.Hash() || got.Event.TraceParent != want.Event.TraceParent {
		b.Fatalf("got %s %+v, want %s %+v", got.Kind, brief(got.Event), want.Kind, brief(want.Event))
	}
	if got.Chain != want.Event.Chain || got.Bytes != len(want.Event.Data) || !bytes.Equal(got.Event.Data, want.Event.Data) {
		b.Fatalf("got chain %s with %d bytes, want %s with %d", got.Chain, got.Bytes, want.Event.Chain, len(want.Event.Data))
	}
	if got.Position == 0 || got.At.IsZero() {
		b.Fatalf("%s was stored at position %d, time %s", got.Event.ID(), got.Position, got.At)
	}
	if (got.Cursor == nil) != (want.Cursor == nil) || got.Cursor != nil && !sameCursor(*got.Cursor, *want.Cursor) {
		b.Fatalf("cursor of %s is %+v, want %+v", got.Event.ID(), got.Cursor, want.Cursor)
	}
}

func sameCursor(a, b schemas.Cursor) bool {
	if !a.SameInput(b) {
		return false
	}
	for i := range a.Edges {
		if a.Edges[i].Position != b.Edges[i].Position {
			return false
		}
	}
	return true
}

func brief(e schemas.Event) schemas.Event {
	e.Data = e.Data[:min(len(e.Data), 40)]
	return e
}

// read reads n events behind a position and returns them.
func (b *bundle) read(log transport.Log, id schemas.ChainID, from schemas.Position, n int) []transport.Stored {
	b.Helper()
	r, err := log.Read(b.ctx, id, from)
	b.must(err)
	defer r.Close()
	var all []transport.Stored
	for range n {
		s, err := r.Next(b.ctx)
		b.must(err)
		all = append(all, s)
	}
	return all
}

// written fails the case unless the chain's out events are those records.
func (b *bundle) written(id schemas.ChainID, want []transport.Record) []transport.Stored {
	b.Helper()
	got := b.read(b.log, id, 0, len(want))
	for i, s := range got {
		b.same(s, want[i])
		if i > 0 && s.Position <= got[i-1].Position {
			b.Fatalf("position %d comes after %d", s.Position, got[i-1].Position)
		}
	}
	return got
}
