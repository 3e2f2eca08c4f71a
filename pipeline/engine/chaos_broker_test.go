package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// faults are what goes wrong between one process and its broker, until calm.
type faults struct {
	mu     sync.Mutex
	rng    *rand.Rand
	frozen chan struct{}      // closed when the process may write again
	full   map[string]bool    // logs without room for out events, by stage
	deaf   string             // the stage that this process is told nothing for
	chance map[string]float64 // of a fault, by what it is
}

func newFaults(seed uint64) *faults {
	return &faults{rng: rand.New(rand.NewPCG(seed, 7)), full: map[string]bool{}, chance: map[string]float64{}}
}

func (f *faults) happens(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.Float64() < f.chance[what]
}

func (f *faults) set(what string, chance float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chance[what] = chance
}

// freeze holds up all that the process writes, until thaw.
func (f *faults) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen == nil {
		f.frozen = make(chan struct{})
	}
}

func (f *faults) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen != nil {
		close(f.frozen)
		f.frozen = nil
	}
}

// hush has the process told nothing more for a stage, whatever it is about to be told included.
func (f *faults) hush(stage string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = stage
}

func (f *faults) isDeaf(durable string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deaf != "" && strings.HasSuffix(durable, "-"+f.deaf)
}

func (f *faults) fill(stage string, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full[stage] = full
}

// calm ends all faults.
func (f *faults) calm() {
	f.thaw()
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.full)
	clear(f.chance)
}

func (f *faults) gate() {
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (f *faults) isFull(stage string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full[stage]
}

var errCut = errors.New("the connection was cut")

// shaky is a broker as a process with faults sees it.
type shaky struct {
	transport.Broker
	f *faults
}

func (s shaky) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := s.Broker.Log(ctx, c)
	if err != nil {
		return nil, err
	}
	return &shakyLog{l, s.f, c.Stage}, nil
}

type shakyLog struct {
	transport.Log
	f     *faults
	stage string
}

func (l *shakyLog) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	if l.f.happens("open") {
		return nil, transport.State{}, errCut
	}
	c, s, err := l.Log.Open(ctx, id)
	if err != nil {
		return nil, s, err
	}
	return &shakyChain{c, l.f, l.stage}, s, nil
}

func (l *shakyLog) Commit(ctx context.Context, checkpoints map[transport.Chain]transport.Checkpoint) error {
	l.f.gate()
	all := map[transport.Chain]transport.Checkpoint{}
	for c, p := range checkpoints {
		all[c.(*shakyChain).Chain] = p
	}
	return l.Log.Commit(ctx, all)
}

func (l *shakyLog) Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (transport.EventReader, error) {
	if l.f.happens("read") {
		return nil, errCut
	}
	r, err := l.Log.Read(ctx, id, from)
	if err != nil {
		return nil, err
	}
	return &shakyReader{r, l.f}, nil
}

func (l *shakyLog) Subscribe(ctx context.Context, s transport.Subscription) (transport.Consumer, error) {
	c, err := l.Log.Subscribe(ctx, s)
	if err != nil {
		return nil, err
	}
	return &shakyConsumer{c, l.f, s.Durable}, nil
}

type shakyChain struct {
	transport.Chain
	f     *faults
	stage string
}

func (c *shakyChain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	c.f.gate()
	if len(records) > 0 && records[0].Kind == transport.Out && c.f.isFull(c.stage) {
		n, err := c.Chain.Append(ctx, records[:len(records)/2]...)
		if err == nil {
			err = transport.ErrFull
		}
		return n, err
	}
	return c.Chain.Append(ctx, records...)
}

type shakyReader struct {
	transport.EventReader
	f *faults
}

func (r *shakyReader) Next(ctx context.Context) (transport.Stored, error) {
	if r.f.happens("next") {
		return transport.Stored{}, errCut
	}
	return r.EventReader.Next(ctx)
}

type shakyConsumer struct {
	transport.Consumer
	f       *faults
	durable string
}

func (c *shakyConsumer) Next(ctx context.Context) (transport.Delivery, error) {
	if c.f.happens("consume") {
		return nil, errCut
	}
	var d transport.Delivery
	var err error
	if !c.f.isDeaf(c.durable) {
		if d, err = c.Consumer.Next(ctx); err != nil {
			return nil, err
		}
	}
	if c.f.isDeaf(c.durable) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.f.gate()
	return shakyDelivery{d, c.f}, nil
}

type shakyDelivery struct {
	transport.Delivery
	f *faults
}

func (d shakyDelivery) Ack(ctx context.Context) error {
	d.f.gate()
	return d.Delivery.Ack(ctx)
}

func (d shakyDelivery) InProgress(ctx context.Context) error {
	d.f.gate()
	return d.Delivery.InProgress(ctx)
}
