package schemas

import (
	"encoding/json"
	"time"
)

// JobState is where a job stands.
type JobState string

// The states of a job (design.md §2). Finished, failed, cancelled and expired are ends; a failed job may be resumed.
const (
	JobDeferred  JobState = "deferred"  // waits for the jobs it depends on
	JobScheduled JobState = "scheduled" // waits for its time
	JobQueued    JobState = "queued"    // waits for its turn
	JobStarted   JobState = "started"   // its stages work on it
	JobFinished  JobState = "finished"  // every stage has ended it
	JobFailed    JobState = "failed"    // a stage gave up an input and halted
	JobCancelled JobState = "cancelled" // given up on request, or because another job stopped the run
	JobExpired   JobState = "expired"   // was queued for longer than its ttl
)

// Over says whether nothing more happens to the job by itself.
func (s JobState) Over() bool {
	return s == JobFinished || s == JobFailed || s == JobCancelled || s == JobExpired
}

// A JobEvent is the data of a TypeJob event, an out event of the chain (job, "job") in the jobs log: one change of state.
// Stages hear of it through their durable consumer; tables of jobs are folds over these events.
type JobEvent struct {
	State    JobState        `json:"state"`
	Item     json.RawMessage `json:"item,omitempty"`     // pipeline.Item; with the first event
	Run      string          `json:"run,omitempty"`      // with the first event
	Priority int             `json:"priority,omitempty"` // smaller first; with the first event
	Version  string          `json:"version,omitempty"`  // of the pipeline's configuration: stages of another one leave the job alone; with the first event
	Upstream JobID           `json:"upstream,omitempty"` // the job whose events this one reads, of a `from:` pipeline; with the first event
	After    []JobID         `json:"after,omitempty"`    // jobs of the same item that were submitted before, whose results it replaces: the last MaxAfter; with the first event
	Resume   *ResumeOrder    `json:"resume,omitempty"`   // with started, after a failure
	Again    bool            `json:"again,omitempty"`    // with started: it was before, and an owner that opened the jobs says so once more
	Stage    string          `json:"stage,omitempty"`    // with failed: where, empty when the upstream job failed; with cancelled: what stopped the run
	Error    string          `json:"error,omitempty"`
	At       time.Time       `json:"at"` // wall clock, informative
}

// MaxAfter is how many jobs a JobEvent names that came before it.
const MaxAfter = 64

// A ResumeOrder tells a halted stage to take an input again.
type ResumeOrder struct {
	Stage  string   `json:"stage"`
	Input  InputRef `json:"input"`
	Letter Position `json:"letter"` // of the record that halted the job, in the stage's log: older halts are void by this order
}
