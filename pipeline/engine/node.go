package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// ackWait is how long a worker may be silent before its jobs go to another one.
const ackWait = 4 * time.Second

// A node is one stage of a pipeline, or one sink behind one stage, as this process runs it.
type node struct {
	e           *Engine
	pipeline    string
	name        string // the stage's name; of a sink, "<sink>@<stage>"
	info        pipeline.Info
	parts       pipeline.Parts
	members     []*member // of a group of chained stages, in order; nil for a stage of its own
	settings    spec.Settings
	when        *spec.Condition
	inputs      []*node // in the order of `from`; none for a reader
	consumers   []*node // everything that reads its out events, in any pipeline of the file
	feedsJoin   bool    // a consumer has several inputs
	leadsToJoin bool    // over however many stages: steps that emit nothing make progress events
	out         transport.Log
	floorMu     sync.Mutex
	floors      transport.Log // of a sink: see floorLog
	jobs        transport.Log // of its pipeline
	hidden      bool          // not of the file: the result store
	alias       string        // what the file calls it all the same: the sink that stands for the result store
	keeps       bool          // a pipeline that is not run here reads it: nothing is trimmed
	slots       chan struct{} // one token a worker
	log         *slog.Logger
	hung        hangs
	full        alarm
	meter       *Meter
	reach       *reaches
	line        *line
	held        *held
}

// work is one job at one node.
type work struct {
	id       schemas.JobID
	upstream schemas.JobID // the job whose events it reads; differs from id at the first stage of a `from:` pipeline
	item     pipeline.Item
	version  string          // of the configuration that the job was made with
	after    []schemas.JobID // jobs of the same item that were submitted before
}

// key names the node in the whole file.
func (n *node) key() string { return n.pipeline + "/" + n.name }

// run takes the node's jobs until ctx ends, and waits for what it started.
func (n *node) run(ctx context.Context) error {
	kept, stop := context.WithCancel(context.WithoutCancel(ctx)) // what is being finished is still this process's
	var keeper sync.WaitGroup
	keeper.Go(func() { n.held.keepAlive(kept) })
	ctx, drain := context.WithCancel(ctx)
	err := n.takeJobs(ctx)
	drain()
	n.held.wg.Wait()
	stop()
	keeper.Wait()
	return err
}

// durable names the consumer that spreads the node's jobs over all workers with this configuration. Each configuration has its
// own: what one makes nothing of is then not held back from another one, nor handed to this one again and again.
func (n *node) durable() string { return Durable(n.line.spec, n.name) }

// Durable is the name of the consumer of the pipeline's jobs that a stage's workers share, for those who scale by its lag. Another
// name is another consumer, which the broker hands the newest event of every job there is.
func Durable(p *spec.Pipeline, stage string) string {
	return schemas.Version(p.Identity()) + "-" + stage
}

// takeJobs takes deliveries until ctx ends or the broker is closed. A consumer that breaks later is made anew.
func (n *node) takeJobs(ctx context.Context) error {
	for first := true; ; first = false {
		c, err := n.jobs.Subscribe(ctx, transport.Subscription{Durable: n.durable(), AckWait: ackWait, Newest: true})
		if err == nil {
			err = n.held.takeAll(ctx, c)
		} else if first {
			return n.over(ctx, fmt.Errorf("subscribe: %w", err))
		}
		if ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
			return n.over(ctx, err)
		}
		n.log.Warn("taking jobs was interrupted", "error", err)
		rest(ctx, brokerBackoff)
	}
}

// takeAll returns why it could go no further.
func (h *held) takeAll(ctx context.Context, c transport.Consumer) error {
	defer c.Close()
	for {
		d, err := c.Next(ctx)
		if err != nil {
			return err
		}
		h.take(ctx, d)
	}
}

// over makes nothing of an error that only says that ctx ended.
func (n *node) over(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("take the jobs of %s: %w", n.key(), err)
}

// held are the jobs that this process works on for one node, with the deliveries that say so.
type held struct {
	n    *node
	wg   sync.WaitGroup
	mu   sync.Mutex
	jobs map[schemas.JobID]*holding
	over map[schemas.JobID]transport.Delivery // of finished jobs that are to be trimmed
	trim bool                                 // somebody is at it
}

func newHeld(n *node) *held {
	return &held{n: n, jobs: map[schemas.JobID]*holding{}, over: map[schemas.JobID]transport.Delivery{}}
}

// A holding is one job in work: every delivery about it so far, and what its instance has yet to be told.
type holding struct {
	deliveries []transport.Delivery
	orders     []order
	wake       chan struct{} // has a token when there are orders, or the job failed
	event      uint64        // sequence of the newest event of the job that was heard of
	failed     bool          // which says that it is failed
	cancelled  chan struct{} // closed by an order to cancel
	gone       bool          // it is closed
	late       bool          // that the job is failed was all that was heard of it
}

func newHolding() *holding {
	return &holding{wake: make(chan struct{}, 1), cancelled: make(chan struct{})}
}

// hears notes an event of the job; h.mu is held.
func (w *holding) hears(event uint64, state schemas.JobState) {
	if event > w.event {
		w.event, w.failed = event, state == schemas.JobFailed
	}
	if state == schemas.JobCancelled && !w.gone {
		w.gone = true
		close(w.cancelled)
	}
}

// keep notes a delivery; one that comes again takes the other's place. h.mu is held.
func (w *holding) keep(d transport.Delivery) {
	k := slices.IndexFunc(w.deliveries, func(o transport.Delivery) bool { return o.Event().Position == d.Event().Position })
	if k < 0 {
		w.deliveries = append(w.deliveries, d)
		return
	}
	w.deliveries[k] = d
}

// poke wakes the instance; h.mu is held.
func (w *holding) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// poke wakes the job's instance, if there is one.
func (h *held) poke(id schemas.JobID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.jobs[id]; w != nil {
		w.poke()
	}
}

// pokeAll wakes every instance of the node that waits.
func (h *held) pokeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.jobs {
		w.poke()
	}
}

// order is what a job's event asks of a stage that works on it; the zero order asks nothing but to work.
type order struct {
	cancel bool
	resume *schemas.ResumeOrder
}

// take hands one event of a job to whom it concerns.
func (h *held) take(ctx context.Context, d transport.Delivery) {
	var e schemas.JobEvent
	s := d.Event()
	if err := json.Unmarshal(s.Event.Data, &e); err != nil {
		h.n.log.Error("a job's event cannot be read", "job", s.Chain.Job, "error", err)
		h.settle(ctx, d)
		return
	}
	switch e.State {
	case schemas.JobStarted:
		o := order{}
		if e.Resume != nil && e.Resume.Stage == h.n.name {
			o.resume = e.Resume
		}
		h.tell(ctx, d, e.State, o)
	case schemas.JobCancelled:
		h.tell(ctx, d, e.State, order{cancel: true})
	case schemas.JobFinished:
		h.finished(ctx, d)
	case schemas.JobFailed:
		h.failed(ctx, d)
	default:
		h.settle(ctx, d)
	}
}

func (h *held) giveBack(ctx context.Context, d transport.Delivery, after time.Duration) {
	if err := d.Nak(ctx, after); err != nil {
		h.n.log.Debug("a nak was not taken", "error", err)
	}
}

func (h *held) settle(ctx context.Context, d transport.Delivery) {
	if err := d.Ack(ctx); err != nil && ctx.Err() == nil {
		h.n.log.Debug("an ack was not taken", "error", err)
	}
}

// tell gives an order to the job's instance; without one here, it makes one.
func (h *held) tell(ctx context.Context, d transport.Delivery, state schemas.JobState, o order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := d.Event().Chain.Job
	w := h.jobs[id]
	if w == nil {
		w = h.begin(ctx, id)
	}
	w.hears(d.Event().Event.Sequence, state)
	w.keep(d)
	w.orders = append(w.orders, o)
	w.poke()
}

// begin makes the job's instance; h.mu is held.
func (h *held) begin(ctx context.Context, id schemas.JobID) *holding {
	w := newHolding()
	w.hears(h.n.line.failedAt(id), schemas.JobFailed)
	h.jobs[id] = w
	h.wg.Go(func() { h.work(ctx, id, w) })
	return w
}

// failed is for a worker that comes late: a consumer that is new is handed only the newest event of each job, and there may be
// inputs of a failed one that nobody has taken. Else the event asks nothing.
func (h *held) failed(ctx context.Context, d transport.Delivery) {
	h.mu.Lock()
	id := d.Event().Chain.Job
	known := h.jobs[id] != nil
	if !known {
		w := h.begin(ctx, id)
		w.late = true
		w.hears(d.Event().Event.Sequence, schemas.JobFailed)
		w.keep(d)
	}
	h.mu.Unlock()
	if known {
		h.settle(ctx, d)
	}
}

// hear tells the job's instance, if there is one, of an event whose delivery may have gone to another process.
func (h *held) hear(id schemas.JobID, event uint64, state schemas.JobState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.jobs[id]
	if w == nil {
		return
	}
	w.hears(event, state)
	if state == schemas.JobCancelled {
		w.orders = append(w.orders, order{cancel: true})
	}
	w.poke()
}

// orders takes what the instance of w has not been told yet.
func (h *held) orders(w *holding) []order {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-w.wake: // all that it was for is seen now; one that is left would end the next wait too early
	default:
	}
	o := w.orders
	w.orders = nil
	return o
}

// isFailed says whether the newest event of w's job says that it is failed.
func (h *held) isFailed(w *holding) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.failed
}

// work runs the job's instance until it is closed, halted or given back, then settles every delivery about it. Orders that
// came too late come again: their deliveries are given back too.
func (h *held) work(ctx context.Context, id schemas.JobID, w *holding) {
	what := h.perform(ctx, id, w)
	h.mu.Lock()
	delete(h.jobs, id)
	switch {
	case what == foreign && !w.gone:
		what = settled
	case len(w.orders) > 0 || what == parked && !w.failed || what == foreign:
		what = giveBack
	case what == parked:
		what = settled
	}
	cancelled := w.gone && what == settled
	h.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if cancelled {
		if err := h.n.discarded(ctx, id); err != nil {
			h.n.log.Warn("trimming a cancelled job", "job", id, "error", err)
		}
	}
	for _, d := range w.deliveries {
		switch what {
		case settled:
			h.settle(ctx, d)
		case giveBack:
			h.giveBack(ctx, d, 0)
		}
	}
}

// jobOf is this node's job for a job of one of its inputs.
func (n *node) jobOf(producer *node, job schemas.JobID) schemas.JobID {
	if producer.pipeline == n.pipeline {
		return job
	}
	return n.e.pipelines[n.pipeline].derive(job)
}

// keepAlive keeps the deliveries of all jobs in work from going to another worker.
func (h *held) keepAlive(ctx context.Context) {
	t := time.NewTicker(ackWait / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			h.extend(ctx)
		}
	}
}

func (h *held) extend(ctx context.Context) {
	for _, d := range h.deliveries() {
		if err := d.InProgress(ctx); err != nil {
			h.n.log.Debug("a delivery was not kept", "error", err)
		}
	}
}

func (h *held) deliveries() (all []transport.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.jobs {
		all = append(all, w.deliveries...)
	}
	return slices.AppendSeq(all, maps.Values(h.over))
}

// lastControl is the kind of a job's last control record, "" when it has none.
func (n *node) lastControl(ctx context.Context, job schemas.JobID) (schemas.ControlKind, error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	w, err := n.out.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Chain: &id, Newest: true, Drain: true})
	if err != nil {
		return "", err
	}
	defer w.Close()
	s, err := w.Next(ctx)
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	var c schemas.Control
	if err == nil {
		err = json.Unmarshal(s.Event.Data, &c)
	}
	return c.Kind, err
}
