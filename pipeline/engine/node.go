package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// ackWait is how long a worker may be silent before its jobs go to another one.
const ackWait = 4 * time.Second

// A node is one stage of a pipeline, or one sink behind one stage, as this process runs it.
type node struct {
	e         *Engine
	pipeline  string
	name      string // the stage's name; of a sink, "<sink>@<stage>"
	info      pipeline.Info
	parts     pipeline.Parts
	settings  spec.Settings
	when      *spec.Condition
	inputs    []*node // in the order of `from`; none for a reader
	consumers []*node // everything that reads its out events, in any pipeline of the file
	feedsJoin bool    // a consumer has several inputs: steps that emit nothing make progress events
	out       transport.Log
	jobs      transport.Log // of its pipeline
	hidden    bool          // not of the file: the result store
	slots     chan struct{} // one token a worker
	log       *slog.Logger
	meter     *Meter
}

// work is one job at one node.
type work struct {
	id       schemas.JobID
	upstream schemas.JobID // the job whose events it reads; differs from id at the first stage of a `from:` pipeline
	item     pipeline.Item
}

// key names the node in the whole file.
func (n *node) key() string { return n.pipeline + "/" + n.name }

// accepts says whether the stage wants events of a type.
func (n *node) accepts(eventType string) bool {
	return slices.Contains(n.info.Accepts, pipeline.Any) || slices.Contains(n.info.Accepts, eventType)
}

// run takes the node's jobs until ctx ends, and waits for what it started.
func (n *node) run(ctx context.Context) error {
	c, err := n.jobs.Subscribe(ctx, transport.Subscription{Durable: n.name, AckWait: ackWait})
	if err != nil {
		return n.over(ctx, fmt.Errorf("subscribe: %w", err))
	}
	defer c.Close()
	h := &held{n: n, jobs: map[schemas.JobID]*holding{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.keepAlive(ctx) })
	for {
		d, err := c.Next(ctx)
		if err != nil {
			h.wg.Wait()
			return errors.Join(g.Wait(), n.over(ctx, err))
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
}

// A holding is one job in work: every delivery about it so far, and what its instance has yet to be told.
type holding struct {
	deliveries []transport.Delivery
	orders     []order
	wake       chan struct{} // has a token when there are orders
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
	if e.State.Over() {
		h.n.e.progress.Delete(s.Chain.Job)
	}
	switch e.State {
	case schemas.JobStarted:
		o := order{}
		if e.Resume != nil && e.Resume.Stage == h.n.name {
			o.resume = e.Resume
		}
		h.tell(ctx, d, o)
	case schemas.JobCancelled:
		h.tell(ctx, d, order{cancel: true})
	case schemas.JobFinished:
		h.n.forget(ctx, s.Chain.Job)
		h.settle(ctx, d)
	default:
		h.settle(ctx, d)
	}
}

func (h *held) settle(ctx context.Context, d transport.Delivery) {
	if err := d.Ack(ctx); err != nil && ctx.Err() == nil {
		h.n.log.Debug("an ack was not taken", "error", err)
	}
}

// tell gives an order to the job's instance; without one here, it makes one.
func (h *held) tell(ctx context.Context, d transport.Delivery, o order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := d.Event().Chain.Job
	w := h.jobs[id]
	if w == nil {
		w = &holding{wake: make(chan struct{}, 1)}
		h.jobs[id] = w
		h.wg.Add(1)
		go func() {
			defer h.wg.Done()
			h.work(ctx, id, w)
		}()
	}
	w.deliveries, w.orders = append(w.deliveries, d), append(w.orders, o)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// orders takes what the instance of w has not been told yet.
func (h *held) orders(w *holding) []order {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := w.orders
	w.orders = nil
	return o
}

// work runs the job's instance until it is closed, halted or given back, then settles every delivery about it. Orders that
// came too late come again: their deliveries are given back too.
func (h *held) work(ctx context.Context, id schemas.JobID, w *holding) {
	what := h.n.perform(ctx, id, func() []order { return h.orders(w) }, w.wake)
	h.mu.Lock()
	delete(h.jobs, id)
	if len(w.orders) > 0 {
		what = giveBack
	}
	h.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	for _, d := range w.deliveries {
		switch what {
		case settled:
			h.settle(ctx, d)
		case giveBack:
			if err := d.Nak(ctx, 0); err != nil {
				h.n.log.Debug("a nak was not taken", "error", err)
			}
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
func (h *held) keepAlive(ctx context.Context) error {
	t := time.NewTicker(ackWait / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
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
	return all
}

// forget trims what the chain of a finished job holds and nobody needs any more, and what the chains of other pipelines hold
// that only waited for this one.
func (n *node) forget(ctx context.Context, job schemas.JobID) {
	if n.e.retain {
		return
	}
	ctx = context.WithoutCancel(ctx) // a process that stops finishes this
	err := n.trimRead(ctx, job)
	for _, in := range n.inputs {
		if in.pipeline == n.pipeline || err != nil {
			continue
		}
		var w work
		if w, err = n.look(ctx, job); err == nil {
			err = in.trimRead(ctx, w.upstream)
		}
	}
	if err != nil {
		n.log.Warn("trimming a finished job", "job", job, "error", err)
	}
}

// trimRead removes the out events of a job when every consumer has ended it.
func (n *node) trimRead(ctx context.Context, job schemas.JobID) error {
	for _, c := range n.consumers {
		if ended, err := c.hasEnded(ctx, c.jobOf(n, job)); err != nil || !ended {
			return err
		}
	}
	if len(n.consumers) == 0 {
		return nil // the only copy
	}
	return n.out.Trim(ctx, schemas.ChainID{Job: job, Stage: n.name}, ^schemas.Position(0))
}

// hasEnded says whether the node has closed a job.
func (n *node) hasEnded(ctx context.Context, job schemas.JobID) (bool, error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	w, err := n.out.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Control}, Chain: &id, Newest: true, Drain: true})
	if err != nil {
		return false, err
	}
	defer w.Close()
	s, err := w.Next(ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	var c schemas.Control
	if err == nil {
		err = json.Unmarshal(s.Event.Data, &c)
	}
	return c.Kind == schemas.ControlEnd, err
}
