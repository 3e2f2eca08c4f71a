package settle

import "fmt"

// take runs the next input, or passes it where nothing is to be run.
func (i *Instance) take(e *Event) bool {
	i.input, i.held = *e, i.held[:0]
	known := i.ledger.find(keyOf(e))
	i.skipping = known != nil && known.skip
	call := i.call()
	switch {
	case i.skipping && (!call.Progress || SkipSilent.on()):
		return i.settle()
	case i.failed != OK && !i.skipping && !PassUnopened.on(): // even where nothing is called: without an instance there is no state
		return i.fail(i.failed)
	case call.Method == CallNothing && !call.Progress:
		return i.settle()
	case i.cfg.Nondeterministic && i.at.out < i.stored && !RunStored.on():
		return i.settleStored()
	case known != nil && known.doomed:
		return i.giveUp(known)
	case i.counts(known, &call):
		return i.attempt(known)
	}
	return i.ask(Stepped, Action{Do: Step, Step: call})
}

// call says what of the stage the input calls. Whether a step that emits nothing ends in a progress event depends on the
// cursor and on nothing else. A skipped input counts there: a join must not wait for a stage that skips all it gets.
func (i *Instance) call() Call {
	last := i.last()
	c := Call{Event: i.input, First: i.at.out + 1, Method: i.method(last)}
	k, n := i.cfg.ProgressEvery, i.at.taken()+1
	if ProgressByTime.on() {
		n = i.since.inputs + 1
	}
	c.Progress = k > 0 && i.cfg.Role != Sink && !last && (i.input.Kind != Data || n%k == 0)
	return c
}

func (i *Instance) method(last bool) Method {
	switch {
	case i.skipping:
		return CallNothing
	case i.cfg.Role == Reader:
		return CallRead
	case i.cfg.Role == Sink && i.input.Kind == Data:
		return CallWrite
	case i.cfg.Role == Sink:
		return CallNothing
	case i.input.Kind == Data:
		return CallProcess
	case last && !i.cfg.Nondeterministic:
		return CallFinish
	}
	return CallNothing
}

// last says whether the input ends the last edge.
func (i *Instance) last() bool {
	if i.input.Kind != End {
		return false
	}
	for k := range i.at.edges {
		if k != i.input.Edge && !i.at.edges[k].Ended {
			return false
		}
	}
	return true
}

// stepped takes what a call returned. Until it returned without error nothing of it is stored.
func (i *Instance) stepped(in *Input) bool {
	switch in.Failure {
	case NotBegun:
		return true
	case Interrupted:
		i.dirty = true
		return true
	case Temporary, Permanent:
		if HalfSteps.on() && len(in.Outputs) > 0 {
			i.half, i.held, i.kept = in.Failure, append(i.held[:0], in.Outputs...), 0
			return i.compare()
		}
		i.dirty = true
		return i.fail(in.Failure)
	}
	if in.EOF {
		if len(in.Outputs) == 0 {
			i.at.edges[0].Ended = true
			return true
		}
		i.input.Kind = End // behind it the reader's edge has ended
	}
	i.held, i.kept = append(i.held[:0], in.Outputs...), 0
	if i.cfg.Naive {
		return i.emit()
	}
	return i.compare()
}

// compare checks the outputs that are stored already, byte for byte by their hashes, and appends the others.
func (i *Instance) compare() bool {
	first := i.at.out - i.base.out
	for ; i.kept < len(i.held) && i.at.out+uint64(i.kept) < i.stored; i.kept++ {
		if NoCompare.on() {
			continue
		}
		if i.outs[first+uint64(i.kept)].Hash != i.held[i.kept].Hash {
			i.dirty = true
			return i.nondeterministic(fmt.Sprintf("event %d came out differently when it was computed again, of %s", i.at.out+uint64(i.kept)+1, i.inHand()))
		}
	}
	if AppendRegenerated.on() {
		i.kept = 0
	}
	return i.emit()
}

func (i *Instance) emit() bool {
	if i.kept == len(i.held) {
		return i.settle()
	}
	return i.append(outputs, Write{Kind: WriteOutputs, From: i.kept, To: len(i.held), Sync: i.careful && !CarelessAhead.on()})
}

// emitted notes that n more of the held outputs are stored.
func (i *Instance) emitted(n int) {
	i.outs = append(i.outs, i.held[i.kept:i.kept+n]...)
	i.stored += uint64(n)
	i.kept += n
}

// settleStored passes an input of a non-deterministic stage whose one event is stored.
func (i *Instance) settleStored() bool {
	i.held = append(i.held[:0], i.outs[i.at.out-i.base.out])
	return i.settle()
}

// settle moves the place behind the input in hand, whose outputs are all stored.
func (i *Instance) settle() bool {
	if f := i.half; f != OK {
		i.half = OK
		return i.fail(f)
	}
	for k := range i.held {
		i.at.outBytes += uint64(i.held[k].Bytes)
	}
	i.at.out += uint64(len(i.held))
	if i.skipping && !SkipCounts.on() {
		return i.pass()
	}
	if i.cfg.Role == Reader { // what a read consumed is what it returned
		for k := range i.held {
			i.at.hash = fold(i.at.hash, &i.held[k].Hash)
		}
		i.at.inputs++
	} else {
		i.at.count(&i.input.Hash)
	}
	return i.pass()
}

// pass moves the cursor behind the input in hand. A skipped one is not counted: it is as if it had never come.
func (i *Instance) pass() bool {
	if !i.skipping {
		i.ran = i.input
		i.before.set(&i.at)
	}
	i.at.pass(&i.input)
	i.ledger.pass(keyOf(&i.input))
	if i.cfg.Role != Reader {
		i.queues[i.input.Edge].pop()
	}
	i.since.inputs++
	i.since.bytes += uint64(i.input.Bytes)
	return true
}
