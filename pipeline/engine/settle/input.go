package settle

import (
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Op names an input of Handle.
type Op uint8

// The inputs. All but Start, Arrived, Gone and Command answer the one action that awaits an answer; an answer to nothing is
// ignored.
const (
	none     Op = iota
	Start       // first of all, once
	Loaded      // answers Load: Cursor, Outcome
	Opened      // answers Open: State, Outcome
	Restored    // answers Restore: Failure
	Arrived     // an event was read from an edge: Event
	Gone        // a reader returned transport.ErrGone, or what is no event: Event's Edge and Reading, Reason
	Stepped     // answers Step: Outputs, EOF, Failure
	Appended    // answers Append: N, Outcome
	Saved       // answers SaveCheckpoint and CommitStore: Outcome, and Failure when it is the stage that gave no state
	Waited      // answers Wait
	Command     // the user or the shell wants something: Command
)

// An Input is one thing that happened. Only the fields that its Op names are read. Nothing of it is kept but State's
// checkpoint and cursors.
type Input struct {
	Op      Op
	State   State
	Cursor  schemas.Cursor
	Event   Event
	Outputs []Output // what the step emitted, in order; First of the Step numbers them
	EOF     bool     // of a reader's step: there was nothing more to read; outputs are of stages chained to it
	Failure Failure  // of a step, of opening and restoring an instance, or of taking its state
	Outcome Outcome
	N       int // how many records of the append are known to be stored
	Command Request
	Reason  string // informative
}

// EventKind is what an event is to the core.
type EventKind uint8

// The kinds of input events.
const (
	Data     EventKind = iota
	Progress           // schemas.TypeProgress
	End                // schemas.TypeEnd
)

// An Event is all that the core knows of an input: the shell keeps the event itself until the input is settled.
type Event struct {
	Edge     int    // index in Config.Edges
	Reading  uint64 // of the Read action whose reader found it
	Kind     EventKind
	Sequence uint64
	Position schemas.Position
	Time     int64 // recording time in nanoseconds; orders a join's edges. 0 is earliest
	Bytes    int
	Hash     schemas.Hash
}

// EventOf describes a stored out event to the core.
func EventOf(edge int, reading uint64, s *transport.Stored) Event {
	e := Event{Edge: edge, Reading: reading, Sequence: s.Event.Sequence, Position: s.Position, Bytes: s.Bytes, Hash: s.Event.Hash()}
	if !s.Event.Time.IsZero() {
		e.Time = s.Event.Time.UnixNano()
	}
	switch s.Event.Type {
	case schemas.TypeProgress:
		e.Kind = Progress
	case schemas.TypeEnd:
		e.Kind = End
	}
	return e
}

// An Output is one event that a step emitted.
type Output struct {
	Hash  schemas.Hash // content hash, as Event.Hash makes it
	Bytes int          // of its data
}

// Failure says how a step, or opening an instance, went wrong.
type Failure uint8

// The failures.
const (
	OK          Failure = iota
	Temporary           // another try may help; a timeout too
	Permanent           // pipeline.Permanent: no try will help
	NotBegun            // the shell did not call the stage, because a command came while it waited for room
	Interrupted         // the shell broke the call off, because a command came; counts as no try
)

// Outcome says how an action on a broker or a store went.
type Outcome uint8

// The outcomes.
const (
	Done     Outcome = iota
	Stale            // transport.ErrStale, pipeline.ErrStale
	Unknown          // transport.ErrUnknown
	Full             // transport.ErrFull
	Failed           // any other error: the store, the broker, a snapshot
	Withheld         // of an attempt record's append: not done, because a command came while the shell waited for room
)

// Want is what a command asks for.
type Want uint8

// The commands.
const (
	WantCheckpoint Want = iota // idle, or half of the window is not covered: write a checkpoint when the next input is settled
	WantDrain                  // leave after what is in flight, with a checkpoint
	WantCancel                 // the job is over
	WantResume                 // take the halted input again
)

// A Request is a command. A resume names what it resumes, so that one delivered twice does nothing the second time.
type Request struct {
	Want  Want
	Input schemas.InputRef // of a resume: the halted input; the zero value resumes whatever halts the job
	// Letter is, of a resume, the position of the dead letter or control that halted the job; 0 is any.
	Letter schemas.Position
}
