package settle

import (
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Do names an action.
type Do uint8

// The actions, in the order that Handle returns them. At most one of a Handle's actions awaits an answer, and it is the last
// but for Read.
const (
	// Load reads the sink's cursor from its store. Answer: Loaded.
	Load Do = iota + 1
	// Open opens the chain, and forgets the one open before. Answer: Opened. A sink's chain is opened after its store is read.
	Open
	// Drop closes the stage's instance, if there is one, and all readers, and forgets the events they read.
	Drop
	// Restore opens a new instance of the stage and restores Checkpoint's snapshot; nil: as it is when fresh.
	// Answer: Restored. Never asked of a sink.
	Restore
	// Read starts reading Edge behind Position and hands each event in as Arrived with Reading; it replaces the edge's reader.
	Read
	// Step runs one input through the stage, as Step says. Answer: Stepped.
	Step
	// Append stores records, as Append says. Answer: Appended.
	Append
	// SaveCheckpoint takes the instance's snapshot, appends its new pages and commits Checkpoint with them. The shell sets
	// Checkpoint's Snapshot (all of it) and Pages, as a later Restore may hand the same one back. Answer: Saved.
	SaveCheckpoint
	// CommitStore commits the sink's store from cursor From to cursor To. Answer: Saved.
	CommitStore
	// Wait waits for After, or less when a command comes. Answer: Waited; it may be left out after a Command.
	Wait
	// Leave ends it: Outcome says what becomes of the delivery. The instance is dropped already. No action follows.
	Leave
)

// An Action is one thing that the shell is to do. Only the fields that its Do names are set. It is valid until the next
// Handle, but for Checkpoint and cursors, which stay.
type Action struct {
	Do         Do
	Edge       int
	Position   schemas.Position
	Sequence   uint64 // of Read: of the event at Position
	Reading    uint64
	Checkpoint *transport.Checkpoint
	Kept       bool // of SaveCheckpoint: there is no instance, and Checkpoint has the snapshot already, nil for a fresh one
	Step       Call
	Append     Write
	From, To   schemas.Cursor
	After      time.Duration
	Ending     Ending
	Reason     string
}

// Method is what of the stage a step calls.
type Method uint8

// The methods.
const (
	CallProcess Method = iota // Processor.Process with the input
	CallRead                  // Reader.Read
	CallWrite                 // Sink.Write with the input
	CallFinish                // Processor.Finish; the input is the last edge's end event
	CallNothing               // no call: the step is there for its progress event
)

// A Call is one step.
type Call struct {
	Method   Method
	Event    Event  // the input; a reader's has only a sequence
	First    uint64 // sequence of the step's first output
	Progress bool   // a step that emits nothing emits one progress event, with the input's time
}

// WriteKind is what an append stores.
type WriteKind uint8

// The kinds.
const (
	WriteOutputs WriteKind = iota // outputs From to To of the last step
	WriteEnd                      // the end event: Sequence and End
	WriteLetter                   // a dead letter: Input, Decision, Attempts, Cursor, Permanent, Killed
	WriteControl                  // a control record: Control, Input, Attempts, End, Cursor, Reason
)

// A Write is one append: outputs, or exactly one record of another kind.
type Write struct {
	Kind      WriteKind
	From, To  int
	Sync      bool // of outputs: Appended is answered when they are stored, on a broker too that stores many at once, later
	Sequence  uint64
	Input     schemas.InputRef
	Event     Event // the input itself, with a dead letter
	Decision  schemas.Decision
	Control   schemas.ControlKind
	Attempts  int
	Permanent bool
	Killed    bool // the input was given up because its workers died; there is no error to tell
	End       *schemas.End
	Cursor    *schemas.Cursor
	Reason    string
}

// Ending is how it ended for this holder of the job.
type Ending uint8

// The endings. The first four are stored: ack the delivery.
const (
	Ended     Ending = iota + 1 // the end control is stored
	Halted                      // waits for a resume
	Stopped                     // as Halted, and the whole run ends
	Cancelled                   //
	Drained                     // hand the delivery back
	Lost                        // another holds the job: leave the delivery alone, it comes again when the other dies
	Broken                      // the log lacks what is needed, or the chain makes no sense: report Reason, hand the delivery back later
)

// Settled says whether the ending is stored and the delivery can be acked.
func (e Ending) Settled() bool { return e >= Ended && e <= Cancelled }
