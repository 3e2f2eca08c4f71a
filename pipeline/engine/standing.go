package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A Standing is how far one node is with a set of jobs, whichever processes worked on them: what its chains and those of its
// inputs hold, not what this process has done.
type Standing struct {
	In, Out int64 // events taken and stored, without the end events
	Lag     int64 // events that its inputs have stored of jobs in work, and that it has not taken
	Open    int   // jobs in work that it has not ended
	Halted  int   // failed jobs that it has not ended
	Ended   int   // jobs that it has ended
}

// Standings says how far every node is, by "<pipeline>/<stage>", with these jobs of each pipeline as its owner has them. What
// other processes do is as old as the last Look.
func (e *Engine) Standings(jobs map[string][]job.Job) map[string]Standing {
	upstream := map[schemas.JobID]job.Job{}
	for _, list := range jobs {
		for _, j := range list {
			upstream[j.ID] = j
		}
	}
	all := map[string]Standing{}
	for _, n := range e.nodes {
		var s Standing
		for _, j := range jobs[n.pipeline] {
			n.count(&s, j, upstream)
		}
		all[n.key()] = s
	}
	return all
}

// count adds one job. A node that has ended it has taken all there is.
func (n *node) count(s *Standing, j job.Job, jobs map[schemas.JobID]job.Job) {
	at, ended := n.at(j)
	s.Out += plain(at.out, ended && at.out > 0)
	for k, in := range n.inputs {
		taken := at.in(k)
		s.In += plain(taken.sequence, taken.ended)
		if !ended && j.State == schemas.JobStarted {
			up, _ := in.at(jobs[upstreamOf(j, in, n)])
			s.Lag += int64(max(up.out, taken.sequence) - taken.sequence)
		}
	}
	switch {
	case ended:
		s.Ended++
	case j.State == schemas.JobStarted:
		s.Open++
	case j.State == schemas.JobFailed:
		s.Halted++
	}
}

// plain is a number of events without the end event, which is the last one.
func plain(sequence uint64, ended bool) int64 {
	if ended {
		sequence--
	}
	return int64(sequence)
}

func upstreamOf(j job.Job, in, n *node) schemas.JobID {
	if in.pipeline != n.pipeline {
		return j.Upstream
	}
	return j.ID
}

// at is how far the node is with a job, as far as this process knows.
func (n *node) at(j job.Job) (r reach, ended bool) {
	end, ended := j.End(n.name)
	if !ended {
		return n.reach.of(j.ID), false
	}
	r.out = end.Out
	for _, e := range end.Edges {
		r.edges = append(r.edges, taken{e.Sequence, e.Ended})
	}
	return r, true
}

// Look reads how far other processes are with jobs in work: of each node that has not ended one and does not hold it here, the
// last checkpoint, or floor, and the last out event. It costs the broker a few reads for each.
func (e *Engine) Look(ctx context.Context, jobs map[string][]job.Job) error {
	progress := map[schemas.JobID]float64{}
	for _, n := range e.nodes {
		for _, j := range jobs[n.pipeline] {
			_, ended := j.End(n.name)
			if j.Foreign || ended && n.info.Role != pipeline.RoleReader || j.State != schemas.JobStarted && j.State != schemas.JobFailed || n.held.has(j.ID) {
				continue
			}
			if ended {
				progress[j.ID] = 1
				continue
			}
			share, err := n.lookAt(ctx, j)
			if err != nil {
				return fmt.Errorf("look how far %s is: %w", n.key(), err)
			}
			if share > 0 {
				progress[j.ID] = share
			}
		}
	}
	e.elsewhere.Store(&progress)
	return nil
}

// lookAt notes how far a job's chain at the node is, and returns what its checkpoint says of a reader's progress. A failed job
// that is known already stands still.
func (n *node) lookAt(ctx context.Context, j job.Job) (progress float64, err error) {
	if j.State == schemas.JobFailed && n.reach.knows(j.ID, j.Resumed) {
		return n.reach.of(j.ID).progress, nil
	}
	cursor, progress, err := n.lookUp(ctx, j.ID)
	if err != nil {
		return 0, err
	}
	last, err := uint64(0), error(nil)
	if n.info.Role != pipeline.RoleSink {
		if last, err = n.lastOut(ctx, j.ID); err != nil {
			return 0, err
		}
	}
	n.reach.saw(j.ID, cursor, last, progress, j.Resumed)
	return progress, nil
}

func (h *held) has(id schemas.JobID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.jobs[id] != nil
}

// reach is how far a node has come with one job.
type reach struct {
	out      uint64 // sequence of the last out event
	edges    []taken
	progress float64 // of a reader elsewhere
	seen     int     // how often the job had been resumed when it was looked at, plus one; 0: it was not
}

// taken is the last input of one edge.
type taken struct {
	sequence uint64
	ended    bool
}

func (r reach) in(edge int) taken {
	if edge < len(r.edges) {
		return r.edges[edge]
	}
	return taken{}
}

// reaches remembers how far a node has come with each job, here or elsewhere: figures only ever grow.
type reaches struct {
	n  *node
	mu sync.Mutex
	at map[schemas.JobID]*reach

	farIn, farOut int64 // what saw added
}

func newReaches(n *node) *reaches { return &reaches{n: n, at: map[schemas.JobID]*reach{}} }

// job makes the entry; r.mu is held.
func (r *reaches) job(id schemas.JobID) *reach {
	a := r.at[id]
	if a == nil {
		a = &reach{edges: make([]taken, len(r.n.inputs))}
		r.at[id] = a
	}
	return a
}

func (r *reaches) of(id schemas.JobID) reach {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.at[id]; a != nil {
		c := *a
		c.edges = slices.Clone(a.edges)
		return c
	}
	return reach{}
}

func (r *reaches) took(id schemas.JobID, edge int, sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.job(id)
	a.edges[edge].sequence = max(a.edges[edge].sequence, sequence)
}

// tookAll books a cursor.
func (r *reaches) tookAll(id schemas.JobID, c schemas.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.book(r.job(id), c)
}

// book returns how many inputs that adds; r.mu is held.
func (r *reaches) book(a *reach, c schemas.Cursor) (added uint64) {
	for k := range min(len(c.Edges), len(a.edges)) {
		e, to := &a.edges[k], c.Edges[k]
		if to.Sequence > e.sequence {
			added += to.Sequence - e.sequence
			e.sequence = to.Sequence
		}
		e.ended = e.ended || to.Ended
	}
	return added
}

func (r *reaches) emitted(id schemas.JobID, sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.job(id)
	a.out = max(a.out, sequence)
}

// saw books what a look at the stored chain found. What is found at the first look was not done between two of them.
func (r *reaches) saw(id schemas.JobID, c schemas.Cursor, out uint64, progress float64, resumed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.job(id)
	first, before := a.seen == 0, a.out
	in := r.book(a, c)
	a.out, a.progress, a.seen = max(a.out, out), progress, resumed+1
	if !first {
		r.farIn += int64(in)
		r.farOut += int64(a.out - before)
	}
}

// knows says whether a job was looked at after it was resumed for the last time, or taken here.
func (r *reaches) knows(id schemas.JobID, resumed int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.at[id]
	return a != nil && a.seen == resumed+1
}

func (r *reaches) far() (in, out int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.farIn, r.farOut
}

func (r *reaches) forget(id schemas.JobID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.at, id)
}

// lookUp is how far the node's last checkpoint, floor or end of a job reaches, and what it says of the progress.
func (n *node) lookUp(ctx context.Context, job schemas.JobID) (last schemas.Cursor, progress float64, err error) {
	log, id, err := n.cursorLog(ctx, job)
	if err != nil {
		return last, 0, err
	}
	take := func(s *transport.Stored) {
		if s.Checkpoint != nil {
			progress = max(progress, s.Checkpoint.Progress)
		}
		last = n.furthest(last, s)
	}
	return last, progress, newest(ctx, log, id, take, transport.Snapshot, transport.Control)
}

// cursorLog is where the node's checkpoints of a job lie: of a sink, its floors.
func (n *node) cursorLog(ctx context.Context, job schemas.JobID) (transport.Log, schemas.ChainID, error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	if n.info.Role != pipeline.RoleSink {
		return n.out, id, nil
	}
	id.Stage = n.floorStage()
	log, err := n.floorLog(ctx)
	return log, id, err
}
