package job

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A Job is one row of the table.
type Job struct {
	ID       schemas.JobID
	Item     string          // name of the item
	Source   json.RawMessage // the pipeline.Item as submitted
	Run      string
	State    schemas.JobState
	Priority int
	Order    uint64 // of submission, as this table heard of it
	Queued   time.Time
	Started  time.Time
	Ended    time.Time
	Stage    string // of a failed job: where, empty when it was its upstream job that failed; of a cancelled one: what stopped the run
	Error    string
	Letter   schemas.Position // of a failed job: position of the record that halted it, in the stage's log
	Resumed  int              // how often it was resumed
	Worked   time.Duration    // of a job that is over: from start to end, without the pauses before it was resumed; see Restarts
	Restarts int              // how often an owner took it up again: then Worked begins there, since nobody noted when the one before left
	Attempts int              // of a failed job: tries of the input that halted it; 0 when no input did
	Version  string           // of the configuration that it was made with
	Upstream schemas.JobID    // the job whose events it reads; empty where it reads an item
	Foreign  bool             // made with another configuration than the manager's: nobody here works on it

	since  time.Time                      // of a started job: when that began of which Worked knows nothing yet
	ends   map[string]StageEnd            // of the stages that have ended it; replaced, never changed: copies of the row share it
	events uint64                         // sequence of its last event
	voided map[string]schemas.Position    // per stage: halts at or below are void
	asked  map[string]schemas.ResumeOrder // per stage: the last resume that was asked for, whether or not the log still has it; replaced, never changed
	stages map[string]outcome
}

// A StageEnd is what a stage has made of a job in all, as its end control says.
type StageEnd struct {
	Out   uint64               // number of its out events, the end event included; 0 of a sink
	Edges []schemas.EdgeCursor // what it has taken of each of its inputs; none of a reader
}

// End says what a stage has made of the job; false while it has not ended it.
func (j Job) End(stage string) (StageEnd, bool) {
	e, ok := j.ends[stage]
	return e, ok
}

// LeftBehind says whether the job waits for work that no process with the manager's configuration does: it was made with
// another one, and is not over.
func (j Job) LeftBehind() bool { return j.Foreign && !j.State.Over() }

// NonDeterministic says whether the job failed since a stage's events came out differently when they were computed again.
func (j *Job) NonDeterministic() bool {
	return j.State == schemas.JobFailed && strings.HasPrefix(j.Error, schemas.NonDeterministic)
}

// outcome is what one stage last said of a job.
type outcome struct {
	ended, cancelled bool
	end              StageEnd
	halt             *schemas.DeadLetter
	reason           string
	at               schemas.Position
}

// table is the fold of the jobs log and of the stages' decisions. Not safe for concurrent use.
type table struct {
	version string // of the configuration whose jobs go on here
	jobs    map[schemas.JobID]*Job
	started map[schemas.JobID]*Job
	bereft  map[schemas.JobID]*Job // failed, because their upstream job did not go on
	queue   queue                  // may hold jobs that are not queued any more
	heard   uint64

	items map[string][]schemas.JobID // the jobs of each item, in order of submission

	listed []*Job          // those with a state, in order of submission; nil when it has to be made anew
	folds  []schemas.JobID // whom the last changes were about, in order
	missed uint64          // how many changes came before those
}

// foldsKept is how many changes since can tell apart: who is further behind gets all jobs.
const foldsKept = 1 << 14

func newTable(version string) *table {
	return &table{version: version, jobs: map[schemas.JobID]*Job{}, started: map[schemas.JobID]*Job{}, bereft: map[schemas.JobID]*Job{}, items: map[string][]schemas.JobID{}}
}

// A queue is a heap of jobs by priority, then by submission.
type queue []*Job

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*Job)) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].Priority, q[j].Priority), compareOrder(q[i], q[j])) < 0
}

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// job returns the row, an empty one with no state if nothing is known of it yet: a stage's decision may be read before the
// job's first event.
func (t *table) job(id schemas.JobID) *Job {
	j := t.jobs[id]
	if j == nil {
		j = &Job{ID: id, stages: map[string]outcome{}, voided: map[string]schemas.Position{}}
		t.jobs[id] = j
	}
	return j
}

// changed folds in one event of a job's own chain; an event that is known already changes nothing.
func (t *table) changed(s transport.Stored) (*Job, error) {
	j := t.job(s.Chain.Job)
	if s.Event.Sequence <= j.events {
		return j, nil
	}
	var e schemas.JobEvent
	if err := json.Unmarshal(s.Event.Data, &e); err != nil {
		return nil, fmt.Errorf("event %s: %w", s.Event.ID(), err)
	}
	if j.State == "" || e.Item != nil {
		t.listed = nil
	}
	j.events, j.State = s.Event.Sequence, e.State
	if e.Item != nil {
		t.heard++
		j.Item, j.Source, j.Run, j.Priority, j.Order, j.Queued = s.Event.Item, e.Item, e.Run, e.Priority, t.heard, e.At
		j.Upstream, j.Version, j.Foreign = e.Upstream, e.Version, e.Version != t.version
		t.items[j.Item] = append(t.items[j.Item], j.ID)
	}
	delete(t.started, j.ID)
	delete(t.bereft, j.ID)
	ours := !j.Foreign
	switch {
	case e.State == schemas.JobStarted:
		if j.start(e); ours {
			t.started[j.ID] = j
		}
	case e.State == schemas.JobQueued:
		if ours {
			heap.Push(&t.queue, j)
		}
	case e.State.Over():
		j.Ended, j.Stage, j.Error = e.At, e.Stage, e.Error
		j.rest(e.At)
		if j.Bereft() && ours {
			t.bereft[j.ID] = j
		}
	}
	t.note(j)
	return j, nil
}

// note keeps in mind that the job has changed.
func (t *table) note(j *Job) {
	if len(t.folds) == foldsKept {
		half := foldsKept / 2
		t.folds, t.missed = append(t.folds[:0], t.folds[half:]...), t.missed+uint64(half)
	}
	t.folds = append(t.folds, j.ID)
}

// before are the jobs of an item that there are, the last ones if there are many.
func (t *table) before(item string) []schemas.JobID {
	all := t.items[item]
	return slices.Clone(all[max(0, len(all)-schemas.MaxAfter):])
}

// now is the number of changes so far.
func (t *table) now() uint64 { return t.missed + uint64(len(t.folds)) }

// since is every job that has changed after so many changes, in order of submission, or all of them.
func (t *table) since(seen uint64) (jobs []*Job) {
	if seen < t.missed {
		return t.list()
	}
	met := map[schemas.JobID]bool{}
	for _, id := range t.folds[min(seen, t.now())-t.missed:] {
		if j := t.jobs[id]; !met[id] && j.State != "" {
			jobs = append(jobs, j)
		}
		met[id] = true
	}
	slices.SortFunc(jobs, compareOrder)
	return jobs
}

// Bereft says whether the job failed because its upstream job did: it goes on with that one, not by itself.
func (j *Job) Bereft() bool { return j.State == schemas.JobFailed && j.Upstream != "" && j.Stage == "" }

// Stopped says whether the job was cancelled because another one stopped the run, not on request.
func (j *Job) Stopped() bool { return j.State == schemas.JobCancelled && j.Stage != "" }

func (j *Job) start(e schemas.JobEvent) {
	switch {
	case e.Resume != nil:
		j.voided[e.Resume.Stage] = max(j.voided[e.Resume.Stage], e.Resume.Letter)
		j.ask(*e.Resume)
		j.Resumed++
	case e.Again:
		j.Restarts++
		j.Worked = 0
	default:
		j.Started = e.At
	}
	j.since = e.At
	j.Ended, j.Stage, j.Error, j.Letter = time.Time{}, "", "", 0
}

// rest notes that nobody works on the job from now on.
func (j *Job) rest(at time.Time) {
	if !j.since.IsZero() {
		j.Worked += max(0, at.Sub(j.since)) // the clock may have been set back
	}
	j.since = time.Time{}
}

// ask notes that the job was resumed.
func (j *Job) ask(r schemas.ResumeOrder) {
	asked := map[string]schemas.ResumeOrder{r.Stage: r}
	for stage, other := range j.asked {
		if stage != r.Stage {
			asked[stage] = other
		}
	}
	j.asked = asked
}

// again is the resume of a halt that was asked for before, and that the logs know nothing of any more: the event was lost, or where the
// dead letter lay is another one by now.
func (j *Job) again(stage string, o outcome) (schemas.JobEvent, bool) {
	r, ok := j.asked[stage]
	if !ok || o.at > r.Letter || o.halt.Input != r.Input || strings.HasPrefix(o.reason, schemas.NonDeterministic) {
		return schemas.JobEvent{}, false
	}
	r.Letter = o.at
	return schemas.JobEvent{State: schemas.JobStarted, Resume: &r}, true
}

// bare drops what resumes void in logs that end before: those were lost there, as in a power cut, and what comes to lie at their positions
// is something new.
func (t *table) bare() {
	for _, j := range t.jobs {
		for stage, letter := range j.voided {
			if j.stages[stage].at < letter {
				delete(j.voided, stage)
			}
		}
	}
}

// decided folds in a control record or dead letter of one of the stages; the last one in log order wins.
func (t *table) decided(stage string, s transport.Stored) (*Job, error) {
	j := t.job(s.Chain.Job)
	o := j.stages[stage]
	if s.Position <= o.at {
		return j, nil
	}
	next, relevant, err := read(s)
	if err != nil || !relevant {
		return j, err
	}
	next.at = s.Position
	j.stages[stage] = next
	if next.ended {
		ends := maps.Clone(j.ends)
		if ends == nil {
			ends = map[string]StageEnd{}
		}
		ends[stage] = next.end
		j.ends = ends
	}
	t.note(j)
	return j, nil
}

func read(s transport.Stored) (outcome, bool, error) {
	if s.Kind == transport.DeadLetter {
		var d schemas.DeadLetter
		if err := json.Unmarshal(s.Event.Data, &d); err != nil {
			return outcome{}, false, fmt.Errorf("dead letter %s: %w", s.Event.ID(), err)
		}
		d.Event = nil // it may be large, and the job stay failed for long
		return outcome{halt: &d, reason: d.Error}, d.Decision != schemas.Skip, nil
	}
	var c schemas.Control
	if err := json.Unmarshal(s.Event.Data, &c); err != nil {
		return outcome{}, false, fmt.Errorf("control %s: %w", s.Event.ID(), err)
	}
	switch c.Kind {
	case schemas.ControlEnd:
		return outcome{ended: true, end: endOf(c, s.Cursor)}, true, nil
	case schemas.ControlCancel:
		return outcome{cancelled: true}, true, nil
	case schemas.ControlHalt:
		return outcome{halt: &schemas.DeadLetter{Decision: schemas.Halt, Input: c.Input, Error: c.Reason}, reason: c.Reason}, true, nil
	case schemas.ControlResume:
		return outcome{}, true, nil
	}
	return outcome{}, false, nil
}

func endOf(c schemas.Control, at *schemas.Cursor) (e StageEnd) {
	if c.End != nil {
		e.Out = c.End.Out
	}
	if at != nil {
		e.Edges = at.Edges
	}
	return e
}

// halted returns the stage that holds the job up and what it said; false when none does.
func (j *Job) halted(stages []string) (string, outcome, bool) {
	for _, s := range stages {
		if o := j.stages[s]; o.halt != nil && o.at > j.voided[s] {
			return s, o, true
		}
	}
	return "", outcome{}, false
}

// Events is the number of events that the stages that have ended the job stored of it, end events included.
func (j Job) Events() (n uint64) {
	for _, e := range j.ends {
		n += e.Out
	}
	return n
}

// row is a copy for others.
func (j *Job) row() Job {
	r := *j
	if o := j.stages[j.Stage]; j.State == schemas.JobFailed && o.halt != nil {
		r.Attempts = o.halt.Attempts
	}
	return r
}

// complete says whether every stage has ended the job.
func (j *Job) complete(stages []string) bool { return len(j.lacking(stages)) == 0 }

// lacking are the stages that have not ended it, as far as the logs say.
func (j *Job) lacking(stages []string) (list []string) {
	for _, s := range stages {
		if !j.stages[s].ended {
			list = append(list, s)
		}
	}
	return list
}

// next is the job that is queued before all others; nil when none is.
func (t *table) next() *Job {
	for len(t.queue) > 0 {
		if j := t.queue[0]; j.State == schemas.JobQueued {
			return j
		}
		heap.Pop(&t.queue)
	}
	return nil
}

// list is every job in order of submission. It is not to be changed.
func (t *table) list() []*Job {
	if t.listed != nil {
		return t.listed
	}
	jobs := make([]*Job, 0, len(t.jobs))
	for _, j := range t.jobs {
		if j.State != "" {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, compareOrder)
	t.listed = jobs
	return jobs
}

func compareOrder(a, b *Job) int { return cmp.Compare(a.Order, b.Order) }
