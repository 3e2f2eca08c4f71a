package schemas

import (
	"encoding/json"
	"fmt"
	"time"
)

// Decision says what a dead letter does to its job.
type Decision string

// The three decisions, from `on_error`: fail, skip, stop.
const (
	Halt Decision = "halt" // the job waits before the input until it is resumed
	Skip Decision = "skip" // as if the input had never come
	Stop Decision = "stop" // ends the whole run
)

// A DeadLetter is the data of a TypeDeadLetter event: an input given up, and what follows from it.
type DeadLetter struct {
	Decision  Decision        `json:"decision"`
	Input     InputRef        `json:"input"`
	Stage     string          `json:"stage,omitempty"` // of chained stages, which are one for settlement: the one that failed
	Error     string          `json:"error"`
	Permanent bool            `json:"permanent,omitempty"`
	Attempts  int             `json:"attempts"`
	First     time.Time       `json:"first"` // wall clock of the first and of the last attempt
	Last      time.Time       `json:"last"`
	Event     json.RawMessage `json:"event,omitempty"` // the input as structured CloudEvents JSON, untouched; a reader has none
	Left      *EventPlace     `json:"left,omitempty"`  // where the input's data lies, when the broker takes no record as large as one with it: Event is without it
}

// An EventPlace says where an event lies. Whether it still does is up to its log: behind a letter that halts its job it stays.
type EventPlace struct {
	Pipeline string   `json:"pipeline"`
	ID       string   `json:"id"` // <job>/<stage>/<sequence>
	Position Position `json:"position"`
	Bytes    int      `json:"bytes"` // of its data
}

// String says it for users.
func (p EventPlace) String() string {
	return fmt.Sprintf("the event's %d bytes of data are too many for a dead letter, they lie where the event does: %s in pipeline %s, position %d of its stage's log",
		p.Bytes, p.ID, p.Pipeline, p.Position)
}

// An InputRef names one input of a stage: the event Sequence of upstream stage Edge. For a reader, Edge is empty and
// Sequence counts its reads from 1.
type InputRef struct {
	Edge     string `json:"edge"`
	Sequence uint64 `json:"sequence"`
}

// ControlKind says what a control record decides.
type ControlKind string

// Control records; each holds from the moment it is stored.
const (
	ControlAttempt ControlKind = "attempt" // after a takeover: the input is tried for the Nth time
	ControlResume  ControlKind = "resume"  // a halted input is taken again
	ControlCancel  ControlKind = "cancel"  // the job is over for this stage, without an end event
	ControlEnd     ControlKind = "end"     // the out events are complete; End says how many
	ControlHalt    ControlKind = "halt"    // without an input: the stage was found to be non-deterministic
)

// NonDeterministic begins the reason of a ControlHalt of a stage whose events came out differently when they were computed again.
const NonDeterministic = "non-deterministic: "

// A Control is the data of a TypeControl event.
type Control struct {
	Kind    ControlKind `json:"kind"`
	Input   InputRef    `json:"input"`
	Attempt int         `json:"attempt,omitempty"`
	Reason  string      `json:"reason,omitempty"`
	End     *End        `json:"end,omitempty"`
	At      time.Time   `json:"at"` // wall clock, informative
}

// An End is the data of a TypeEnd event and of an end control: an incomplete result can never look complete.
type End struct {
	Out      uint64 `json:"out"`      // number of out events, the end event included
	Consumed uint64 `json:"consumed"` // number of inputs
	Hash     string `json:"hash"`     // over the content hashes of the inputs, hexadecimal
}
