package settle

import (
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// lies says whether stored outputs or records lie ahead of the cursor.
func (i *Instance) lies() bool { return i.at.out < i.stored || i.ledger.ahead > 0 }

// fail counts a failed try of the input in hand, and tries again from the last checkpoint or gives it up. While anything that
// is stored lies ahead nothing is given up: what was computed once can be computed again, or the stage is no function of its
// inputs.
func (i *Instance) fail(f Failure) bool {
	e := i.ledger.at(keyOf(&i.input))
	e.errs++
	e.fatal = f == Permanent
	ahead := (i.at.out < i.stored || i.ledger.othersAhead(e)) && !DecideAhead.on()
	switch {
	case ahead && e.errs >= i.cfg.Attempts:
		return i.nondeterministic(i.inHand() + " was computed once, and fails now")
	case !ahead && (e.fatal || i.tries(e) >= i.cfg.Attempts):
		return i.giveUp(e)
	}
	i.dirty = true
	i.do(Action{Do: Drop})
	return i.pause(e.errs)
}

// tries is how often the input was tried, by all holders that are known of.
func (i *Instance) tries(e *entry) int { return e.errs + max(0, e.attempt-1) }

// counts says whether the step is to be counted by an attempt record before it begins. Inputs before one that a record is
// about have passed once; a sink's holder says that it is there before it writes first.
func (i *Instance) counts(known *entry, c *Call) bool {
	switch {
	case c.Method == CallNothing || i.cfg.Naive || i.at.out < i.stored:
		return false
	case i.cfg.Role == Sink && !i.claimed && !NoClaim.on() && !ChainBeforeStore.on():
		return true
	}
	return i.uncounted(known)
}

func (i *Instance) uncounted(known *entry) bool {
	return i.count != countNone && (known == nil || !known.mine) && !i.ledger.othersAhead(known)
}

// opensUncounted says whether opening a reader is to be counted as a try of its next read, which then is the input in hand:
// a file that kills its worker does so when it is opened.
func (i *Instance) opensUncounted() bool {
	if i.cfg.Role != Reader || i.cfg.Naive || i.base.out < i.stored || i.base.ended() || OpenUncounted.on() {
		return false
	}
	i.at.set(&i.base)
	i.ledger.settle(&i.base)
	i.input = *i.next()
	return i.uncounted(i.ledger.find(keyOf(&i.input)))
}

// countsOpening says whether opening the stage, and computing again what is stored, is to be counted before it begins: what
// kills its worker there leaves no other trace. Once for each holder; of a reader that has read all that is stored, the next
// read is counted in its place.
func (i *Instance) countsOpening() bool {
	return i.cfg.Role != Sink && !i.cfg.Naive && !i.opensOf && !OpeningUncounted.on()
}

// opening stores that the stage is opened for the n-th time with nothing stored since, or halts the job when that was too
// often: no input is to blame. As with an input, the first holder only leaves a trace.
func (i *Instance) opening() bool {
	n := i.opens
	if i.count != countOnce && (n == 0 || !i.reopened) {
		n++
	}
	if n > i.cfg.Attempts {
		return i.control(decideHalt, Write{Control: schemas.ControlHalt,
			Reason: fmt.Sprintf("the worker died %d times while it opened the stage or computed again what is stored", n-1)})
	}
	return i.control(decideOpening, Write{Control: schemas.ControlAttempt, Attempts: n})
}

// survived says whether it is to be stored that the stage was opened and all that is stored was computed again: otherwise
// workers that are killed for other reasons, while they wait for events, would add up.
func (i *Instance) survived() bool {
	return i.opens >= min(2, i.cfg.Attempts) && i.opensOf && i.at.out >= i.stored && !SurvivedSilent.on()
}

// attempt stores that the input in hand is tried for the n-th time, or gives it up when its workers have died too often.
func (i *Instance) attempt(known *entry) bool {
	fresh := i.uncounted(known)
	e := i.ledger.at(keyOf(&i.input))
	n := e.attempt
	switch {
	case !fresh || i.count == countOnce || i.untried && n == 0: // the first holder only leaves a trace: what follows it in silence may be to blame
	case n == 0 || !i.reopened: // what another stored since this holder has the job does not tell that he died
		n++
	}
	if n > i.cfg.Attempts {
		return i.giveUp(e)
	}
	return i.control(decideAttempt, Write{Control: schemas.ControlAttempt, Input: i.cfg.ref(&i.input), Attempts: n})
}

// giveUp makes the dead letter of the input in hand. A sink's goes on only when nothing half written is in its store: the
// store is opened again, the inputs before are written again, and committed with a new epoch, so that no zombie can write
// the input that is given up.
func (i *Instance) giveUp(e *entry) bool {
	if i.cfg.Role == Sink && i.dirty {
		e.doomed = true
		return i.reopen()
	}
	killed, decision := e.errs == 0, i.cfg.OnError
	if i.failed != OK && decision == schemas.Skip { // the input is not to blame when the stage cannot be opened
		decision = schemas.Halt
	}
	w := Write{Kind: WriteLetter, Input: i.cfg.ref(&i.input), Event: i.input, Decision: decision,
		Attempts: max(i.tries(e), e.attempt), Permanent: e.fatal, Killed: killed}
	if killed {
		w.Attempts = e.attempt
	}
	behind := i.at.cursor()
	if w.Decision == schemas.Skip {
		after := place{edges: behind.Edges}
		after.pass(&i.input)
	}
	w.Cursor = &behind
	if LetterCursor.on() {
		c := i.base.cursor()
		w.Cursor = &c
	}
	if LetterUnstored.on() && w.Decision == schemas.Skip {
		i.write = w
		return i.lettered()
	}
	return i.decide(decideLetter, w)
}

// unsavable counts that the stage's state could not be taken, and tries it again from the last checkpoint, or gives up the
// input behind which it was to be taken. Its outputs are stored, so it cannot be skipped.
func (i *Instance) unsavable(f Failure) bool {
	i.dirty = true
	i.unsaved++
	switch {
	case i.want.drain:
		return i.leave(Drained, "")
	case f != Permanent && i.unsaved < i.cfg.Attempts:
		i.want.checkpoint = true
		i.do(Action{Do: Drop})
		return i.pause(i.unsaved)
	}
	if i.ran.Sequence == 0 { // nothing but skipped inputs since the last checkpoint
		return i.control(decideHalt, Write{Control: schemas.ControlHalt, Reason: "the stage's state cannot be taken"})
	}
	w := Write{Kind: WriteLetter, Input: i.cfg.ref(&i.ran), Event: i.ran, Decision: schemas.Halt, Attempts: i.unsaved, Permanent: f == Permanent}
	if i.cfg.OnError == schemas.Stop {
		w.Decision = schemas.Stop
	}
	before := i.before.cursor()
	w.Cursor = &before
	return i.decide(decideLetter, w)
}

// nondeterministic halts the job without an input: to try once more changes nothing.
func (i *Instance) nondeterministic(reason string) bool {
	const next = "\n  next: the stage's results must depend on its inputs and state alone (no clock, no random numbers, no order of a map): mend it, then milepost run --again"
	return i.control(decideHalt, Write{Control: schemas.ControlHalt, Reason: schemas.NonDeterministic + reason + next})
}

// inHand names the input in hand.
func (i *Instance) inHand() string {
	ref := i.cfg.ref(&i.input)
	if ref.Edge == "" {
		return fmt.Sprintf("read %d", ref.Sequence)
	}
	return fmt.Sprintf("input %d of %s", ref.Sequence, ref.Edge)
}

func (i *Instance) cancel() bool {
	if i.cfg.Role == Sink && i.dirty {
		return i.reopen()
	}
	i.again = false
	if CancelUnstored.on() {
		return i.leave(Cancelled, "")
	}
	return i.decide(decideCancel, i.controlOf(Write{Control: schemas.ControlCancel}))
}

// decide appends a decision; a sink's store is fenced first.
func (i *Instance) decide(d decision, w Write) bool {
	if i.cfg.Role != Sink || NoStoreFence.on() {
		return i.append(d, w)
	}
	i.intent, i.write = d, w
	return i.commitStore(i.epoch + 1)
}

// halted waits for nothing: a halted job is left, unless a resume came with it.
func (i *Instance) halted() bool {
	ref := schemas.InputRef{}
	ending := Halted
	if TwoRecords.on() {
		ref = i.halt.Control.Input
	}
	if l := i.halt.Letter; l != nil {
		ref = l.Input
		if l.Decision == schemas.Stop {
			ending = Stopped
		}
	}
	if i.want.resume && i.want.of.names(ref, i.halt.Position) {
		return i.control(decideResume, Write{Control: schemas.ControlResume, Input: ref})
	}
	return i.leave(ending, "")
}

// names says whether the resume is about what halts the job: one that comes again later is about something else.
func (r *Request) names(input schemas.InputRef, at schemas.Position) bool {
	return ResumeTwice.on() || (r.Input == (schemas.InputRef{}) || r.Input == input) && (r.Letter == 0 || r.Letter == at)
}

// control appends a control record. Its cursor is what the last checkpoint covers, and of an end all: what producers read
// there says which of their events nobody needs again.
func (i *Instance) control(d decision, w Write) bool { return i.append(d, i.controlOf(w)) }

func (i *Instance) controlOf(w Write) Write {
	at := &i.base
	if w.Control == schemas.ControlEnd && i.restored {
		at = &i.at
	}
	c := at.cursor()
	w.Kind, w.Cursor = WriteControl, &c
	return w
}

func (i *Instance) append(d decision, w Write) bool {
	i.intent, i.write = d, w
	return i.ask(Appended, Action{Do: Append, Append: w})
}

func (i *Instance) appended(in *Input) bool {
	switch {
	case in.Outcome == Unknown && UnknownIsStored.on(), in.Outcome == Stale && StaleGoesOn.on():
		return i.holds()
	case in.Outcome == Unknown && UnknownAgain.on():
		i.again = true
		return i.ask(Opened, Action{Do: Open})
	}
	switch in.Outcome {
	case Done:
		i.fails = 0
		return i.holds()
	case Withheld:
		i.intent = outputs
		return true
	case Full:
		if i.write.Kind == WriteOutputs {
			i.emitted(in.N)
			i.write.From = i.kept
		}
		i.again = true
		return i.failing()
	}
	switch {
	case i.cfg.Naive: // once more, whatever it was
		i.again = true
		return i.ask(Opened, Action{Do: Open})
	case in.Outcome == Stale:
		return i.refused()
	}
	return i.doubt()
}

// refused opens the chain again, to see what another wrote; the second time the job is left to him.
func (i *Instance) refused() bool {
	if i.stales++; i.stales > 1 {
		return i.leave(Lost, "")
	}
	return i.reopen()
}

// doubt opens the chain again, to see whether it was stored.
func (i *Instance) doubt() bool {
	i.known, i.again = false, false
	if i.fails++; i.fails > 1 {
		i.lose()
		return i.pause(i.fails - 1)
	}
	return i.reopen()
}

// holds acts on a record that is stored: from now on it holds.
func (i *Instance) holds() bool {
	d := i.intent
	i.intent, i.claimed = outputs, true
	switch d {
	case outputs:
		i.opens = 0
		i.emitted(len(i.held) - i.kept)
		i.count = countNone
		return i.settle()
	case decideAttempt:
		return i.attempted()
	case decideOpening:
		i.opens, i.opensOf = i.write.Attempts, true
		if i.count == countOnce {
			i.count = countNone
		}
		return true
	case decideLetter:
		return i.lettered()
	case decideResume:
		return i.resumed()
	case decideCancel:
		return i.leave(Cancelled, "")
	case decideHalt:
		return i.stop(Halted, i.write.Reason)
	case decideEndEvent:
		i.stored++
		i.end = i.write.End
		return true
	}
	return i.leave(Ended, "")
}

func (i *Instance) attempted() bool {
	e := i.ledger.at(keyOf(&i.input))
	e.attempt, e.mine = i.write.Attempts, true
	i.opensOf = i.opensOf || i.cfg.Role == Reader && !i.restored // its opening is counted with its next read
	i.ledger.record(e)
	if i.count == countOnce || CountFirstOnly.on() {
		i.count = countNone
	}
	return true
}

func (i *Instance) lettered() bool {
	switch {
	case i.write.Decision == schemas.Skip:
	case TwoRecords.on():
		return i.control(decideHalt, Write{Control: schemas.ControlHalt, Input: i.write.Input})
	}
	switch i.write.Decision {
	case schemas.Halt:
		return i.stop(Halted, "")
	case schemas.Stop:
		return i.stop(Stopped, "")
	}
	e := i.ledger.at(keyOf(&i.input))
	e.skip, e.doomed = true, false
	i.dirty = i.dirty && !SkipKeepsState.on()
	i.ledger.record(e)
	return true
}

// stop leaves a job that was halted just now, unless it was cancelled while the record was stored, or a resume is here already:
// whoever sent that has read the record before its append was answered. Only the chain says whether it is about this one.
func (i *Instance) stop(e Ending, reason string) bool {
	if i.want.cancel && !CancelOvertaken.on() {
		return true
	}
	if i.want.resume && !ResumeOvertaken.on() {
		return i.reopen()
	}
	return i.leave(e, reason)
}

func (i *Instance) resumed() bool {
	i.halt, i.want.resume, i.opens, i.unsaved = nil, false, 0, 0
	for _, e := range i.ledger.entries {
		e.errs, e.doomed = 0, false
	}
	if i.write.Input == (schemas.InputRef{}) {
		return true
	}
	e := i.ledger.at(inputKey{i.cfg.edge(i.write.Input.Edge), i.write.Input.Sequence})
	*e = entry{recorded: true, skip: ResumeBehind.on()}
	return true
}
