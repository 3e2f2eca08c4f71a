package history

import (
	"context"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Broker is a broker whose opens, appends, commits and deliveries are recorded.
func Broker(b transport.Broker, r *Recorder) transport.Broker { return recorded{b, r} }

type recorded struct {
	transport.Broker
	r *Recorder
}

// Log is transport.Broker.Log.
func (b recorded) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := b.Broker.Log(ctx, c)
	if err != nil {
		return nil, err
	}
	return &log{l, b.r, c}, nil
}

type log struct {
	transport.Log
	r      *Recorder
	config transport.LogConfig
}

// Open is transport.Log.Open.
func (l *log) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	n := l.r.call(Line{Op: Open, Pipeline: l.config.Pipeline, Chain: id})
	c, s, err := l.Log.Open(ctx, id)
	a := Line{Op: Answer, Call: n, Out: s.Out, Outcome: Done}
	if err != nil {
		a.Outcome = Failed
	}
	l.r.note(a)
	if err != nil {
		return nil, s, err
	}
	return &chain{c, l, n}, s, nil
}

// Commit is transport.Log.Commit.
func (l *log) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	inner := make(map[transport.Chain]transport.Checkpoint, len(checkpoints))
	var calls []uint64
	for c, p := range checkpoints {
		own, ok := c.(*chain)
		if !ok {
			return fmt.Errorf("chain %s is of another broker", c.ID())
		}
		inner[own.Chain] = p
		calls = append(calls, l.r.call(Line{Op: Commit, Handle: own.handle, Pipeline: l.config.Pipeline, Chain: c.ID(), Records: []string{CheckpointFingerprint(&p)}}))
	}
	err := l.Log.Commit(ctx, inner)
	outcome := outcomeOf(err)
	if err != nil && len(calls) > 1 { // the error is that of the first that failed
		outcome = Unknown
	}
	for _, n := range calls {
		a := Line{Op: Answer, Call: n, Outcome: outcome}
		if outcome == Done {
			a.Stored = 1
		}
		l.r.note(a)
	}
	return err
}

// Subscribe is transport.Log.Subscribe.
func (l *log) Subscribe(ctx context.Context, s transport.Subscription) (transport.Consumer, error) {
	c, err := l.Log.Subscribe(ctx, s)
	if err != nil {
		return nil, err
	}
	return &consumer{c, l, s.Durable}, nil
}

type chain struct {
	transport.Chain
	log    *log
	handle uint64
}

// Append is transport.Chain.Append.
func (c *chain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	l := Line{Op: Append, Handle: c.handle, Pipeline: c.log.config.Pipeline, Chain: c.ID(), Ahead: c.log.config.Ahead}
	for k := range records {
		l.Ahead = l.Ahead && records[k].Cursor == nil && !records[k].Sync
		l.Records = append(l.Records, Fingerprint(records[k].Kind, &records[k].Event, records[k].Page))
	}
	call := c.log.r.call(l)
	n, err := c.Chain.Append(ctx, records...)
	c.log.r.note(Line{Op: Answer, Call: call, Stored: n, Outcome: outcomeOf(err)})
	return n, err
}

type consumer struct {
	transport.Consumer
	log     *log
	durable string
}

// Next is transport.Consumer.Next.
func (c *consumer) Next(ctx context.Context) (transport.Delivery, error) {
	d, err := c.Consumer.Next(ctx)
	if err == nil {
		s := d.Event()
		c.log.r.note(Line{Op: Deliver, Pipeline: c.log.config.Pipeline, Chain: s.Chain, Durable: c.durable, Sequence: s.Event.Sequence})
	}
	return d, err
}
