package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Version  string                   // of its configuration: jobs of another one are shown and left alone
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

	// Whoever has the token in turn may write; it is held while the broker is asked, so that mu never is: the table can be
	// read however long the broker takes.
	turn   chan struct{}
	chains map[schemas.JobID]transport.Chain // of jobs that are not over; of whoever has the turn

	mu      sync.Mutex
	table   *table
	changed chan struct{}               // closed and replaced at each change
	stopped map[string]schemas.JobEvent // runs that a dead letter with decision stop ended: what becomes of their other jobs

	upstream *Manager // of the pipeline whose events this one reads; nil: it reads items of its own
	reads    []string // the stages of upstream that are read
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
	t, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	return &Manager{c: c, turn: make(chan struct{}, 1), chains: map[schemas.JobID]transport.Chain{}, table: t,
		changed: make(chan struct{}), stopped: map[string]schemas.JobEvent{}}, nil
}

func decisions() []transport.Kind { return []transport.Kind{transport.DeadLetter, transport.Control} }

// Run admits queued jobs and follows the stages until ctx ends. It returns nil then. After a loss of one of the logs it begins
// anew, as if the process had.
func (m *Manager) Run(ctx context.Context) error {
	for {
		err := m.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, transport.ErrLost) {
			return err
		}
		m.c.Log.Warn("what the log lost, as in a power cut of its server, is looked for", "pipeline", m.c.Pipeline, "error", err)
		m.relearn(ctx)
	}
}

// run is Run until a log is found to have lost something: ErrLost.
func (m *Manager) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	follow := func(log transport.Log, c transport.WatchConfig, fold func(*transport.Stored) error) {
		g.Go(func() error { return m.follow(ctx, log, c, fold) })
	}
	follow(m.c.Jobs, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Newest: true}, m.jobChanged)
	for stage, log := range m.c.Logs {
		follow(log, transport.WatchConfig{Kinds: decisions(), Newest: true}, func(s *transport.Stored) error { return m.stageDecided(stage, s) })
	}
	g.Go(func() error { return m.advance(ctx) })
	return g.Wait()
}

// follow folds a log as it grows; a watch that breaks is begun again, which the folds bear, unless by a loss: what was folded
// rests on records that are not there any more.
func (m *Manager) follow(ctx context.Context, log transport.Log, c transport.WatchConfig, fold func(*transport.Stored) error) error {
	for ctx.Err() == nil {
		err := transport.Each(ctx, log, c, fold)
		if errors.Is(err, transport.ErrLost) {
			return err
		}
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

func (m *Manager) jobChanged(s *transport.Stored) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.table.changed(*s)
	m.signal()
	return err
}

func (m *Manager) stageDecided(stage string, s *transport.Stored) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.table.decided(stage, *s)
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
	for _, id := range m.forsaken() {
		m.sayAgain(ctx, id)
	}
	for {
		changed, above := m.Changed(), m.changedAbove()
		for m.step(ctx) {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-above:
		}
	}
}

// take waits for the turn to write.
func (m *Manager) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) release() { <-m.turn }

// errNothing: a job is not any more what a change of it supposed.
var errNothing = errors.New("nothing is to be changed")

// step makes one transition and says whether there may be more.
func (m *Manager) step(ctx context.Context) bool {
	if m.take(ctx) != nil {
		return false
	}
	id, ok := m.due()
	if !ok || ctx.Err() != nil {
		m.release()
		return false
	}
	err := m.append(ctx, id, m.next)
	m.release()
	if err != nil && !errors.Is(err, errNothing) && ctx.Err() == nil {
		m.c.Log.Warn("a job's change was not stored; trying again", "pipeline", m.c.Pipeline, "job", id, "error", err)
		wait(ctx, 200*time.Millisecond)
	}
	return true
}

// due is a job whose state has to change.
func (m *Manager) due() (schemas.JobID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, jobs := range []map[schemas.JobID]*Job{m.table.started, m.table.bereft} {
		for id, j := range jobs {
			if _, err := m.next(j); err == nil {
				return id, true
			}
		}
	}
	j := m.table.next()
	if j == nil {
		return "", false
	}
	_, err := m.next(j)
	return j.ID, err == nil
}

// next is the change that is due of a job, errNothing when none is; m.mu is held.
func (m *Manager) next(j *Job) (schemas.JobEvent, error) {
	stopped, isStopped := m.stopped[j.Run]
	up, isLost := m.lost(j)
	switch {
	case j.State == schemas.JobStarted:
		return m.outcome(j)
	case j.Bereft() && !isLost:
		return schemas.JobEvent{State: schemas.JobStarted}, nil
	case j.State != schemas.JobQueued:
		return schemas.JobEvent{}, errNothing
	case isStopped:
		return stopped, nil
	case isLost:
		return m.bereave(up), nil
	case m.busy() >= m.c.Active:
		return schemas.JobEvent{}, errNothing
	}
	return schemas.JobEvent{State: schemas.JobStarted}, nil
}

// outcome says what the stages made of a started job; m.mu is held.
func (m *Manager) outcome(j *Job) (schemas.JobEvent, error) {
	if stage, o, ok := j.halted(m.c.Stages); ok {
		if e, asked := j.again(stage, o); asked {
			return e, nil
		}
		if _, is := m.stopped[j.Run]; o.halt.Decision == schemas.Stop && !is {
			m.stopped[j.Run] = schemas.JobEvent{State: schemas.JobCancelled, Stage: stage,
				Error: fmt.Sprintf("%s of %s stopped the run: %s", stage, j.Item, o.reason)}
		}
		j.Letter = o.at
		return schemas.JobEvent{State: schemas.JobFailed, Stage: stage, Error: o.reason}, nil
	}
	if j.complete(m.c.Stages) {
		return schemas.JobEvent{State: schemas.JobFinished}, nil
	}
	if stopped, is := m.stopped[j.Run]; is {
		return stopped, nil
	}
	if up, is := m.lost(j); is {
		return m.bereave(up), nil
	}
	return schemas.JobEvent{}, errNothing
}

// append stores the change that next makes of a job as its chain says it is, and folds it in. The caller has the turn; next
// is called with m.mu held. After an error the table is what the chain says.
func (m *Manager) append(ctx context.Context, id schemas.JobID, next func(*Job) (schemas.JobEvent, error)) error {
	chain, err := m.chain(ctx, id)
	if err != nil {
		return err
	}
	event, state, err := m.event(chain.ID(), next)
	if err != nil {
		return err
	}
	if _, err := chain.Append(ctx, transport.Record{Kind: transport.Out, Event: event}); err != nil {
		delete(m.chains, id)
		return fmt.Errorf("append %s to job %s: %w", state, id, err)
	}
	if state.Over() {
		delete(m.chains, id)
	}
	return m.jobChanged(&transport.Stored{Chain: chain.ID(), Kind: transport.Out, Event: event})
}

// event makes the next event of a job's chain.
func (m *Manager) event(id schemas.ChainID, next func(*Job) (schemas.JobEvent, error)) (schemas.Event, schemas.JobState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.table.job(id.Job)
	e, err := next(j)
	if err != nil {
		return schemas.Event{}, "", err
	}
	e.At = m.c.Now().UTC()
	data, err := json.Marshal(e)
	return schemas.Event{Chain: id, Sequence: j.events + 1, Pipeline: m.c.Pipeline, Item: j.Item,
		Type: schemas.TypeJob, Time: e.At, ContentType: schemas.ContentJSON, Data: data}, e.State, err
}

// chain opens the job's chain, and folds in what another manager wrote; the caller has the turn.
func (m *Manager) chain(ctx context.Context, id schemas.JobID) (transport.Chain, error) {
	if c := m.chains[id]; c != nil {
		return c, nil
	}
	c, state, err := m.c.Jobs.Open(ctx, schemas.ChainID{Job: id, Stage: transport.JobStage})
	if err != nil {
		return nil, fmt.Errorf("open the chain of job %s: %w", id, err)
	}
	for k := range state.Behind {
		s := &state.Behind[k]
		if s.Kind != transport.Out {
			continue
		}
		if err := m.jobChanged(s); err != nil {
			return nil, err
		}
	}
	m.chains[id] = c
	return c, nil
}

// write changes a job as next says. What another manager did meanwhile is looked at, and next asked again.
func (m *Manager) write(ctx context.Context, id schemas.JobID, next func(*Job) (schemas.JobEvent, error)) error {
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.release()
	for {
		err := m.append(ctx, id, next)
		if !errors.Is(err, transport.ErrStale) {
			return err
		}
	}
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
	err := m.write(ctx, s.ID, m.queued(s))
	if errors.Is(err, errNothing) {
		err = nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table.job(s.ID).row(), err
}

// queued is the first change of a job.
func (m *Manager) queued(s Submission) func(*Job) (schemas.JobEvent, error) {
	return func(j *Job) (schemas.JobEvent, error) {
		if j.State != "" {
			return schemas.JobEvent{}, errNothing
		}
		j.Item = s.Item
		return schemas.JobEvent{State: schemas.JobQueued, Item: s.Source, Run: s.Run, Priority: s.Priority, Version: m.c.Version, Upstream: s.Upstream,
			After: m.table.before(s.Item)}, nil
	}
}

// Resume lets a failed job go on at the input that halted it, and with it its run when that was stopped. ErrNotFailed: it is
// in another state. ErrNoFunction: no input halted it, its stage was found to be non-deterministic. ErrForeign: it was made with
// another configuration, so nobody would work on it.
func (m *Manager) Resume(ctx context.Context, id schemas.JobID) error {
	if _, ok := m.Job(id); !ok {
		return fmt.Errorf("%s: %w", id, ErrNoJob)
	}
	return m.write(ctx, id, func(j *Job) (schemas.JobEvent, error) {
		if j.Foreign {
			return schemas.JobEvent{}, fmt.Errorf("%s: %w", id, ErrForeign)
		}
		stage, o, halted := j.halted(m.c.Stages)
		if j.State != schemas.JobFailed || !halted {
			return schemas.JobEvent{}, fmt.Errorf("%s is %s: %w", id, j.State, ErrNotFailed)
		}
		if j.NonDeterministic() {
			return schemas.JobEvent{}, fmt.Errorf("%s: %w", id, ErrNoFunction)
		}
		delete(m.stopped, j.Run)
		return schemas.JobEvent{State: schemas.JobStarted, Resume: &schemas.ResumeOrder{Stage: stage, Input: o.halt.Input, Letter: o.at}}, nil
	})
}

// Cancel ends jobs that are not over. ErrOver: one was; the others are cancelled all the same.
func (m *Manager) Cancel(ctx context.Context, ids ...schemas.JobID) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, m.cancel(ctx, id))
	}
	return errors.Join(errs...)
}

func (m *Manager) cancel(ctx context.Context, id schemas.JobID) error {
	if _, ok := m.Job(id); !ok {
		return fmt.Errorf("%s: %w", id, ErrNoJob)
	}
	return m.write(ctx, id, func(j *Job) (schemas.JobEvent, error) {
		if j.State.Over() && j.State != schemas.JobFailed {
			return schemas.JobEvent{}, fmt.Errorf("%s is %s: %w", id, j.State, ErrOver)
		}
		return schemas.JobEvent{State: schemas.JobCancelled, Error: "cancelled on request"}, nil
	})
}

// Jobs lists all jobs in the order of submission.
func (m *Manager) Jobs() []Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copied(m.table.list())
}

// Since lists the jobs that have changed since so many changes, 0 all, in order of submission, and says how many changes there
// were by now. Some may not have changed.
func (m *Manager) Since(seen uint64) (changed []Job, now uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copied(m.table.since(seen)), m.table.now()
}

func copied(rows []*Job) []Job {
	jobs := make([]Job, len(rows))
	for i, j := range rows {
		jobs[i] = j.row()
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
	return j.row(), true
}

// Proceed lets a run that a job stopped go on: jobs that are submitted for it from now on are not cancelled.
func (m *Manager) Proceed(run string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.stopped, run)
}

// Wait returns when all of the jobs are over and none is about to go on, or with ctx's error.
func (m *Manager) Wait(ctx context.Context, ids []schemas.JobID) error {
	for {
		changed := m.Changed()
		over := !slices.ContainsFunc(ids, func(id schemas.JobID) bool {
			return !m.over(id)
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

// over says whether nothing more happens to a job by itself: a failed one may be about to follow its upstream job.
func (m *Manager) over(id schemas.JobID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.table.jobs[id]
	if !ok || !j.State.Over() {
		return false
	}
	_, err := m.next(j)
	return err != nil
}
