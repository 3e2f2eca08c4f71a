package settle

import (
	"crypto/sha256"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Phase is where an Instance stands; for logs and tests.
type Phase uint8

// The phases.
const (
	Opening Phase = iota
	Restoring
	Rerunning // stored outputs or records lie ahead
	Live
	Deciding
	Waiting // in a join for the slower edge, for the next event, or between tries
	Halting // halted
	Closing
	Closed
)

// String is the phase in lower case.
func (p Phase) String() string {
	return [...]string{"opening", "restoring", "re-running", "live", "deciding", "waiting", "halted", "closing", "closed"}[p]
}

// counting says of which steps an attempt record is to be stored first.
type counting uint8

const (
	countNone counting = iota
	countOnce          // the holder's first step: nothing was stored before it
	countEach          // each, until something newer is stored
)

// A decision is the append in flight that decides something, or none.
type decision uint8

const (
	outputs decision = iota // nothing is decided
	decideAttempt
	decideOpening
	decideLetter
	decideResume
	decideCancel
	decideHalt // non-deterministic
	decideEndEvent
	decideEnd
)

// An Instance is one holder's view of one (job, stage). One goroutine uses it. The zero value is of no use: New.
type Instance struct {
	cfg     Config
	waits   Op       // what is awaited, none when nothing
	intent  decision // of the append in flight, or of the sink's commit before it
	closed  bool
	actions []Action

	// what the chain holds
	base   place // of the last checkpoint
	point  *transport.Checkpoint
	stored uint64   // sequence of the last stored out event
	outs   []Output // the out events base.out+1 to stored
	ledger ledger
	halt   *Record        // what halts the job
	store  schemas.Cursor // of a sink: what its store holds
	epoch  uint64         // of that store
	end    *schemas.End   // the end event is stored

	// the checkpoint, or the store's cursor, that is being saved
	saving   *transport.Checkpoint
	storing  schemas.Cursor
	newEpoch uint64

	// the stage's instance
	restored bool    // it is at place at
	dirty    bool    // a failed call left it in between
	failed   Failure // of opening it
	unsaved  int     // how often in a row its state could not be taken
	at       place
	ran      Event // the last input before at that was not skipped, since the stage was restored; its sequence is 0 if there is none
	before   place // it
	queues   []queue
	virtual  Event // a reader's next input

	// the step in hand
	input    Event
	skipping bool // it is skipped
	held     []Output
	kept     int   // of held, how many are stored
	write    Write // the append in flight, or the one that waits behind the fence of a sink's store
	again    bool  // the log was full: write goes on

	// this holder
	known    bool    // the chain is open and was looked at
	opened   bool    // it was before, in this hold
	reopened bool    // so this holder saw others write meanwhile
	half     Failure // of a mutant
	opened0  State   // of a mutant
	count    counting
	careful  bool // each step's outputs are to be stored before the next one begins
	opens    int  // how often in a row the stage was opened and nothing came of it, as the chain tells
	opensOf  bool // this holder is among them
	untried  bool // and nobody before this holder has stored more than that
	claimed  bool // of a sink: an attempt was stored since the chain was opened
	stales   int
	fails    int // in a row, of broker and store
	reading  uint64
	lacking  inputKey // what was not there when it was read
	lost     string   // why it is not there, when it was looked for again
	since    struct{ inputs, bytes uint64 }
	want     struct {
		checkpoint, drain, cancel, resume bool
		of                                Request
	}
}

// New makes the instance of a job that this process was handed.
func New(c Config) *Instance {
	c = c.withDefaults()
	return &Instance{cfg: c, queues: make([]queue, len(c.Edges)), actions: make([]Action, 0, 4)}
}

// Handle takes what happened and returns what to do, valid until the next Handle. See Do for the order and the answers.
func (i *Instance) Handle(in Input) []Action {
	i.actions = i.actions[:0]
	if i.closed {
		return nil
	}
	i.happen(&in)
	for i.waits == none && !i.closed && i.advance() {
	}
	return i.actions
}

func (i *Instance) happen(in *Input) {
	switch in.Op {
	case Start:
		i.reopen()
	case Arrived:
		i.arrive(in.Event)
	case Gone:
		i.gone(&in.Event, in.Reason)
	case Command:
		i.command(in.Command)
	case i.waits:
		i.waits = none
		i.answer(in)
	}
}

func (i *Instance) answer(in *Input) {
	switch in.Op {
	case Loaded:
		i.loaded(in)
	case Opened:
		i.open(in)
	case Restored:
		i.restored, i.dirty, i.failed = true, false, in.Failure
	case Stepped:
		i.stepped(in)
	case Appended:
		i.appended(in)
	case Saved:
		i.saved(in)
	}
}

// Phase is where the instance stands.
func (i *Instance) Phase() Phase {
	switch {
	case i.closed:
		return Closed
	case i.waits == Loaded || i.waits == Opened:
		return Opening
	case i.waits == Restored:
		return Restoring
	case i.intent == decideEndEvent || i.intent == decideEnd:
		return Closing
	case i.intent != outputs:
		return Deciding
	case i.halt != nil:
		return Halting
	case i.waits == none || i.waits == Waited:
		return Waiting
	case i.lies():
		return Rerunning
	}
	return Live
}

// advance does the next thing that needs no answer first; false when there is nothing to do but wait for events.
func (i *Instance) advance() bool {
	switch {
	case i.want.drain && i.fails > 0:
		return i.leave(Drained, "")
	case !i.known:
		return i.reopen()
	case i.want.cancel && i.end == nil:
		return i.cancel()
	case i.again:
		i.again = false
		return i.append(i.intent, i.write)
	case i.end != nil:
		return i.control(decideEnd, Write{Control: schemas.ControlEnd, End: i.end})
	case i.halt != nil:
		return i.halted()
	case i.lost != "":
		return i.lacks()
	case i.want.drain:
		return i.drain()
	case (i.dirty || !i.restored) && i.opensUncounted():
		return i.attempt(i.ledger.find(keyOf(&i.input)))
	case (i.dirty || !i.restored) && i.countsOpening():
		return i.opening()
	case i.dirty || !i.restored:
		return i.restore()
	case i.survived():
		return i.control(decideOpening, Write{Control: schemas.ControlAttempt})
	case i.due() && i.clean():
		return i.save()
	case i.at.ended():
		return i.close()
	}
	e := i.next()
	return e != nil && i.take(e)
}

// command notes what is wanted; advance sees to it between two steps.
func (i *Instance) command(r Request) {
	switch r.Want {
	case WantCheckpoint:
		i.want.checkpoint = true
	case WantDrain:
		i.want.drain = true
	case WantCancel:
		i.want.cancel = true
	case WantResume:
		// One that was resumed before what halts the job now may come again behind the one that is about that.
		if older := i.want.resume && r.Letter != 0 && r.Letter < i.want.of.Letter; !older || ResumeOlder.on() {
			i.want.resume, i.want.of = true, r
		}
	}
	if i.waits == Waited && r.Want != WantCheckpoint {
		i.waits = none
	}
}

// do adds an action; ask adds one that awaits an answer. As the last call of a function whose result advance returns, each
// says that there may be more to do.
func (i *Instance) do(a Action) { i.actions = append(i.actions, a) }

func (i *Instance) ask(answer Op, a Action) bool {
	i.waits = answer
	i.do(a)
	return true
}

// leave ends it for this holder.
func (i *Instance) leave(e Ending, reason string) bool {
	i.closed, i.waits = true, none
	i.do(Action{Do: Drop})
	i.do(Action{Do: Leave, Ending: e, Reason: reason})
	return true
}

// pause waits before the next try of whatever advance finds to do. Who is to leave tries nothing more.
func (i *Instance) pause(fails int) bool {
	if i.want.drain {
		return true
	}
	return i.ask(Waited, Action{Do: Wait, After: i.cfg.backoff(fails)})
}

// fold adds an input's content hash to a running hash.
func fold(running schemas.Hash, h *schemas.Hash) schemas.Hash {
	var both [2 * len(schemas.Hash{})]byte
	copy(both[:], running[:])
	copy(both[len(running):], h[:])
	return sha256.Sum256(both[:])
}
