package job

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

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A Config is what a Manager works with.
type Config struct {
	Pipeline string
	Stages   []string                 // names of the nodes; a job is finished when all have ended it
	Active   int                      // jobs started at once, at least 1
	Jobs     transport.Log            // the pipeline's jobs log
	Logs     map[string]transport.Log // the stages' logs by node name
	Log      *slog.Logger
	Now      func() time.Time // the clock of the informative times; nil is time.Now
}

// A Manager owns the jobs of one pipeline. Its methods may be called concurrently.
type Manager struct {
	c Config

	mu      sync.Mutex
	table   *table
	chains  map[schemas.JobID]transport.Chain // of jobs that are not over
	changed chan struct{}                     // closed and replaced at each change
	stopped error                             // a dead letter with decision stop ended the run
}

// A Submission is a job to be made.
type Submission struct {
	ID       schemas.JobID
	Item     string          // name
	Source   json.RawMessage // pipeline.Item
	Run      string
	Priority int
	Upstream schemas.JobID // of a pipeline that reads another one's events
}

// Open folds the logs into a table. It returns when everything stored before the call is known.
func Open(ctx context.Context, c Config) (*Manager, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Active = max(c.Active, 1)
	m := &Manager{c: c, table: newTable(), chains: map[schemas.JobID]transport.Chain{}, changed: make(chan struct{})}
	if err := m.replay(ctx, c.Jobs, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true}, m.jobChanged); err != nil {
		return nil, fmt.Errorf("read the jobs of %s: %w", c.Pipeline, err)
	}
	for stage, log := range c.Logs {
		w := transport.WatchConfig{Kinds: decisions(), Newest: true, Drain: true}
		err := m.replay(ctx, log, w, func(s transport.Stored) error { return m.stageDecided(stage, s) })
		if err != nil {
			return nil, fmt.Errorf("read the decisions of %s/%s: %w", c.Pipeline, stage, err)
		}
	}
	return m, nil
}

func decisions() []transport.Kind { return []transport.Kind{transport.DeadLetter, transport.Control} }

func (m *Manager) replay(ctx context.Context, log transport.Log, c transport.WatchConfig, fold func(transport.Stored) error) error {
	w, err := log.Watch(ctx, c)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fold(s)
		}
		if err != nil {
			return err
		}
	}
}

// Run admits queued jobs and follows the stages until ctx ends. It returns nil then.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	follow := func(log transport.Log, c transport.WatchConfig, fold func(transport.Stored) error) {
		g.Go(func() error { return m.follow(ctx, log, c, fold) })
	}
	follow(m.c.Jobs, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Newest: true}, m.jobChanged)
	for stage, log := range m.c.Logs {
		follow(log, transport.WatchConfig{Kinds: decisions(), Newest: true}, func(s transport.Stored) error { return m.stageDecided(stage, s) })
	}
	g.Go(func() error { return m.advance(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// follow folds a log as it grows; a watch that breaks is begun again, which the folds bear.
func (m *Manager) follow(ctx context.Context, log transport.Log, c transport.WatchConfig, fold func(transport.Stored) error) error {
	for ctx.Err() == nil {
		err := m.replay(ctx, log, c, fold)
		if err != nil && ctx.Err() == nil {
			m.c.Log.Warn("following a log was interrupted", "pipeline", m.c.Pipeline, "error", err)
			wait(ctx, time.Second)
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (m *Manager) jobChanged(s transport.Stored) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.table.changed(s)
	m.signal()
	return err
}

func (m *Manager) stageDecided(stage string, s transport.Stored) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.table.decided(stage, s)
	m.signal()
	return err
}

// signal wakes whoever waits for a change; m.mu is held.
func (m *Manager) signal() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of any job.
func (m *Manager) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// advance makes every transition that is due, again and again as the table changes.
func (m *Manager) advance(ctx context.Context) error {
	for {
		changed := m.Changed()
		for m.step(ctx) {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// step makes one transition and says whether there may be more.
func (m *Manager) step(ctx context.Context) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, e := m.due()
	if j == nil || ctx.Err() != nil {
		return false
	}
	if err := m.append(ctx, j, e); err != nil {
		if ctx.Err() == nil {
			m.c.Log.Warn("a job's change was not stored; trying again", "pipeline", m.c.Pipeline, "job", j.ID, "error", err)
			m.mu.Unlock()
			wait(ctx, 200*time.Millisecond)
			m.mu.Lock()
		}
	}
	return true
}

// due returns a job whose state has to change, and the change; m.mu is held.
func (m *Manager) due() (*Job, schemas.JobEvent) {
	for _, j := range m.table.started {
		if e, ok := m.outcome(j); ok {
			return j, e
		}
	}
	next := m.table.next()
	switch {
	case next == nil:
		return nil, schemas.JobEvent{}
	case m.stopped != nil:
		return next, schemas.JobEvent{State: schemas.JobCancelled, Error: m.stopped.Error()}
	case len(m.table.started) >= m.c.Active:
		return nil, schemas.JobEvent{}
	}
	return next, schemas.JobEvent{State: schemas.JobStarted}
}

// outcome says what the stages made of a started job.
func (m *Manager) outcome(j *Job) (schemas.JobEvent, bool) {
	if stage, o, ok := j.halted(m.c.Stages); ok {
		if o.halt.Decision == schemas.Stop && m.stopped == nil {
			m.stopped = fmt.Errorf("%s of %s stopped the run: %s", stage, j.Item, o.reason)
		}
		j.Letter = o.at
		return schemas.JobEvent{State: schemas.JobFailed, Stage: stage, Error: o.reason}, true
	}
	if j.complete(m.c.Stages) {
		return schemas.JobEvent{State: schemas.JobFinished}, true
	}
	if m.stopped != nil {
		return schemas.JobEvent{State: schemas.JobCancelled, Error: m.stopped.Error()}, true
	}
	return schemas.JobEvent{}, false
}

// append stores a change of one job and folds it in; m.mu is held. After an error the table is what the chain says.
func (m *Manager) append(ctx context.Context, j *Job, e schemas.JobEvent) error {
	chain, err := m.chain(ctx, j.ID)
	if err != nil {
		return err
	}
	e.At = m.c.Now().UTC()
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	event := schemas.Event{Chain: chain.ID(), Sequence: j.events + 1, Pipeline: m.c.Pipeline, Item: j.Item,
		Type: schemas.TypeJob, Time: e.At, ContentType: schemas.ContentJSON, Data: data}
	if _, err := chain.Append(ctx, transport.Record{Kind: transport.Out, Event: event}); err != nil {
		delete(m.chains, j.ID)
		return fmt.Errorf("append %s to job %s: %w", e.State, j.ID, err)
	}
	_, err = m.table.changed(transport.Stored{Chain: chain.ID(), Kind: transport.Out, Event: event})
	if j.State.Over() {
		delete(m.chains, j.ID)
	}
	m.signal()
	return err
}

// chain opens the job's chain, and folds in what another manager wrote; m.mu is held.
func (m *Manager) chain(ctx context.Context, id schemas.JobID) (transport.Chain, error) {
	if c := m.chains[id]; c != nil {
		return c, nil
	}
	c, state, err := m.c.Jobs.Open(ctx, schemas.ChainID{Job: id, Stage: transport.JobStage})
	if err != nil {
		return nil, fmt.Errorf("open the chain of job %s: %w", id, err)
	}
	for _, s := range state.Behind {
		if s.Kind != transport.Out {
			continue
		}
		if _, err := m.table.changed(s); err != nil {
			return nil, err
		}
	}
	m.chains[id] = c
	return c, nil
}

// Submit queues jobs that are not there yet; one that is, whatever its state, is left as it is. It returns the jobs in the
// order given.
func (m *Manager) Submit(ctx context.Context, submissions ...Submission) ([]Job, error) {
	jobs := make([]Job, 0, len(submissions))
	for _, s := range submissions {
		j, err := m.submit(ctx, s)
		if err != nil {
			return jobs, fmt.Errorf("submit %s: %w", s.Item, err)
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func (m *Manager) submit(ctx context.Context, s Submission) (Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.table.job(s.ID)
	for j.State == "" {
		if _, err := m.chain(ctx, s.ID); err != nil {
			return *j, err
		}
		if j.State != "" {
			break
		}
		j.Item = s.Item
		e := schemas.JobEvent{State: schemas.JobQueued, Item: s.Source, Run: s.Run, Priority: s.Priority, Upstream: s.Upstream}
		if err := m.append(ctx, j, e); err != nil && !errors.Is(err, transport.ErrStale) {
			return *j, err
		}
	}
	return *j, nil
}

// Resume lets a failed job go on at the input that halted it. ErrNotFailed: it is in another state.
func (m *Manager) Resume(ctx context.Context, id schemas.JobID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.table.jobs[id]
	if !ok || j.State == "" {
		return fmt.Errorf("%s: %w", id, ErrNoJob)
	}
	stage, o, halted := j.halted(m.c.Stages)
	if j.State != schemas.JobFailed || !halted {
		return fmt.Errorf("%s is %s: %w", id, j.State, ErrNotFailed)
	}
	order := &schemas.ResumeOrder{Stage: stage, Input: o.halt.Input, Letter: o.at}
	m.stopped = nil
	return m.append(ctx, j, schemas.JobEvent{State: schemas.JobStarted, Resume: order})
}

// Cancel ends jobs that are not over. ErrOver: one was; the others are cancelled all the same.
func (m *Manager) Cancel(ctx context.Context, ids ...schemas.JobID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, id := range ids {
		j, ok := m.table.jobs[id]
		switch {
		case !ok || j.State == "":
			errs = append(errs, fmt.Errorf("%s: %w", id, ErrNoJob))
		case j.State.Over() && j.State != schemas.JobFailed:
			errs = append(errs, fmt.Errorf("%s is %s: %w", id, j.State, ErrOver))
		default:
			errs = append(errs, m.append(ctx, j, schemas.JobEvent{State: schemas.JobCancelled, Error: "cancelled on request"}))
		}
	}
	return errors.Join(errs...)
}

// Jobs lists all jobs in the order of submission.
func (m *Manager) Jobs() []Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := m.table.list()
	jobs := make([]Job, len(rows))
	for i, j := range rows {
		jobs[i] = *j
	}
	return jobs
}

// Job returns one job; false when there is none of that id.
func (m *Manager) Job(id schemas.JobID) (Job, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.table.jobs[id]
	if !ok || j.State == "" {
		return Job{}, false
	}
	return *j, true
}

// Wait returns when all of the jobs are over, or with ctx's error.
func (m *Manager) Wait(ctx context.Context, ids []schemas.JobID) error {
	for {
		changed := m.Changed()
		over := !slices.ContainsFunc(ids, func(id schemas.JobID) bool {
			j, ok := m.Job(id)
			return !ok || !j.State.Over()
		})
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
