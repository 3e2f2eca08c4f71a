package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// An Operation is a command over many jobs or dead letters. It runs on the server, whoever ordered it may go away.
type Operation struct {
	ID         string     `json:"id"`                // empty for a dry run
	Kind       string     `json:"kind"`              // redrive, purge, resume, cancel
	State      string     `json:"state"`             // planned (a dry run), running, done, stopped
	DryRun     bool       `json:"dry_run,omitempty"` // nothing was touched
	Matching   int        `json:"matching"`          // of the filter
	Total      int        `json:"total"`             // of those, what can take the command
	Done       int        `json:"done"`              // what has taken it
	Failed     int        `json:"failed"`            // what has failed to
	Superseded int        `json:"superseded"`        // of a redrive: dead letters passed over, since a next generation takes their inputs anew
	Refused    []string   `json:"refused"`           // dead letters that were named and cannot take it: why
	Names      []string   `json:"names"`             // of what can take it, at most 1000
	Stages     []string   `json:"stages"`            // where that lies
	Errors     []string   `json:"errors"`            // of the first ten that failed
	Started    time.Time  `json:"started"`
	Ended      *time.Time `json:"ended"`
}

// step is one job or dead letter of an operation.
type step struct {
	name, stage string
	do          func(context.Context) error
}

const (
	maxNames      = 1000
	maxErrors     = 10
	maxOperations = 50 // remembered
	maxWait       = 30 * time.Second
)

// operations remembers the last ones, newest first.
type operations struct {
	now func() time.Time

	mu      sync.Mutex
	count   int
	list    []*running
	changed chan struct{} // closed and replaced at each change
}

type running struct {
	Operation
	stop context.CancelFunc
}

func newOperations(now func() time.Time) *operations {
	return &operations{now: now, changed: make(chan struct{})}
}

// operate starts an operation, or says what it would do if op is a dry run.
func (s *Server) operate(op Operation, steps []step) Operation {
	op.State, op.Total, op.Started, op.Names, op.Stages, op.Errors = "planned", len(steps), s.c.Now().UTC(), []string{}, []string{}, []string{}
	if op.Refused == nil {
		op.Refused = []string{}
	}
	for _, st := range steps {
		if len(op.Names) < maxNames {
			op.Names = append(op.Names, st.name)
		}
		if !slices.Contains(op.Stages, st.stage) {
			op.Stages = append(op.Stages, st.stage)
		}
	}
	if op.DryRun {
		return op
	}
	ctx, cancel := context.WithCancel(s.closing)
	r := s.operations.add(op, cancel)
	s.work.Go(func() {
		defer cancel()
		s.operations.run(ctx, s.closing, r, steps)
	})
	return s.operations.look(r)
}

func (o *operations) add(op Operation, stop context.CancelFunc) *running {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	op.ID, op.State = fmt.Sprintf("op-%d", o.count), "running"
	r := &running{Operation: op, stop: stop}
	o.list = append([]*running{r}, o.list...)
	o.list = o.list[:min(len(o.list), maxOperations)]
	o.signal()
	return r
}

// run does the steps in order, until stopped: between two steps by ctx, within one only by the server's end.
func (o *operations) run(ctx, closing context.Context, r *running, steps []step) {
	for _, st := range steps {
		if ctx.Err() != nil {
			break
		}
		err := st.do(closing)
		o.update(func() { r.record(st, err) })
	}
	o.update(func() {
		r.Ended, r.State = instant(o.now()), "done"
		if r.Done+r.Failed < r.Total {
			r.State = "stopped"
		}
	})
}

func (r *running) record(st step, err error) {
	if err == nil {
		r.Done++
		return
	}
	r.Failed++
	if len(r.Errors) < maxErrors {
		r.Errors = append(r.Errors, st.name+": "+err.Error())
	}
}

func (o *operations) update(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	o.signal()
}

// signal wakes whoever waits for a change; o.mu is held.
func (o *operations) signal() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *operations) look(r *running) Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return r.copy()
}

func (r *running) copy() Operation {
	op := r.Operation
	op.Errors = slices.Clone(op.Errors)
	return op
}

// find returns the operation and what is closed at its next change; false if there is none of that id.
func (o *operations) find(id string) (*running, Operation, <-chan struct{}, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.list {
		if r.ID == id {
			return r, r.copy(), o.changed, true
		}
	}
	return nil, Operation{}, nil, false
}

func (s *Server) operationList(context.Context, query) (any, error) {
	o := s.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	list := []Operation{}
	for _, r := range o.list {
		list = append(list, r.copy())
	}
	return map[string][]Operation{"operations": list}, nil
}

// operation waits up to ?wait= for the operation to end.
func (s *Server) operation(ctx context.Context, q query) (any, error) {
	wait, err := q.duration("wait")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(wait, maxWait))
	defer cancel()
	for {
		_, op, changed, ok := s.operations.find(q.Get("operation"))
		if !ok {
			return nil, notFound("no operation %q", q.Get("operation"))
		}
		if op.Ended != nil {
			return op, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return op, nil
		}
	}
}

// cancelOperation stops it between two steps; what is done stays done.
func (s *Server) cancelOperation(_ context.Context, q query, _ json.RawMessage) (any, error) {
	r, op, _, ok := s.operations.find(q.Get("operation"))
	if !ok {
		return nil, notFound("no operation %q", q.Get("operation"))
	}
	if op.Ended == nil {
		r.stop()
	}
	return s.operations.look(r), nil
}

// byNewest orders by time, newest first, and by name where that is the same.
func byNewest(a, b time.Time, nameA, nameB string) int {
	return cmp.Or(b.Compare(a), cmp.Compare(nameA, nameB))
}
