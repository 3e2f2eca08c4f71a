package settle

import (
	"strings"

	"github.com/milepost-dev/milepost/schemas"
)

// tries notes what the holder's death will be blamed on: the last input that was tried first.
func (h *holder) tries(k inputKey) {
	if l := &h.core.ledger; !l.othersAhead(l.find(k)) {
		h.current = h.node.key(k.edge, k.sequence)
	}
}

// put appends; from then on an attempt counts.
func (h *holder) put(known *schemas.Position, r stored, fenced bool) bool {
	if !h.w.append(h.chain, known, r, fenced) {
		return false
	}
	h.openings(&r)
	if t := r.rec.Control; t != nil && t.Kind == schemas.ControlAttempt {
		h.tries(inputKey{h.node.edge(t.Input.Edge), t.Input.Sequence})
		if h.late { // its writer has gone on, or is dead
			h.w.trouble[h.node.key(h.node.edge(t.Input.Edge), t.Input.Sequence)]++
		}
	}
	return true
}

// openings looks at what a stored record means for the count of openings: that begins anew with whatever came of one, and must not
// halt the job for holders who did get through.
func (h *holder) openings(r *stored) {
	n, c := h.node, r.rec.Control
	switch through := h.w.through[n.index]; {
	case r.check != nil, c == nil && r.rec.Letter == nil, c != nil && c.Kind == schemas.ControlResume,
		c != nil && c.Kind == schemas.ControlAttempt && c.Input == (schemas.InputRef{}) && c.Attempt == 0:
		h.w.through[n.index] = 0
	case c != nil && c.Kind == schemas.ControlHalt && strings.HasPrefix(c.Reason, "the worker died") && through > 0:
		h.w.fault("%s: halted, and %d of its workers had opened it: %s", names[n.index], through, c.Reason)
	}
}

// gotThrough notes that the holder waits for events, with all that is stored computed again, and that his opening is counted still:
// only the first one need not say so.
func (h *holder) gotThrough() {
	c := h.core
	if !h.through && c.restored && c.waits == none && !c.closed && c.at.out >= c.stored && c.opensOf && c.opens >= min(2, h.node.cfg.Attempts) {
		h.through = true
		h.w.through[h.node.index]++
	}
}

// append stores one record a call, so that others come in between.
func (h *holder) append(a *Write) {
	if h.useless && !h.w.ahead { // else he may not know
		h.w.fault("a useless chain was appended to")
	}
	if a.Kind == WriteControl && a.Control == schemas.ControlAttempt {
		h.w.stats.attempts++
	}
	if a.Kind == WriteOutputs && a.From == a.To {
		h.reply(Input{Op: Appended, N: 0})
		return
	}
	r := h.record(a)
	if h.w.ahead && a.Kind == WriteOutputs && !a.Sync && !h.node.cfg.Nondeterministic {
		h.ahead = append(h.ahead, r)
		if a.From++; a.From == a.To {
			h.check(a)
			h.reply(Input{Op: Appended, N: 1})
		}
		return
	}
	if outcome := h.store(r, a.Kind == WriteLetter && LetterApart.on()); outcome != Done {
		h.reply(Input{Op: Appended, N: a.From - h.core.write.From, Outcome: outcome})
		return
	}
	if a.Kind == WriteOutputs {
		if a.From++; a.From < a.To {
			return
		}
	}
	h.check(a)
	h.reply(Input{Op: Appended, N: 1})
}

func (h *holder) record(a *Write) stored {
	var r stored
	switch a.Kind {
	case WriteOutputs:
		r.ev = h.events[a.From]
		r.rec.Sequence, r.rec.Hash, r.rec.Bytes = r.ev.seq, r.ev.hash(), 1
	case WriteEnd:
		r.ev = ev{kind: End, seq: a.Sequence, time: 1 << 40, val: mix(a.End.Consumed), end: a.End}
		r.rec.Sequence, r.rec.Hash, r.rec.End = a.Sequence, r.ev.hash(), a.End
	case WriteLetter:
		r.rec.Letter = &schemas.DeadLetter{Decision: a.Decision, Input: a.Input, Attempts: a.Attempts, Permanent: a.Permanent}
		r.rec.Cursor = a.Cursor
	case WriteControl:
		r.rec.Control = &schemas.Control{Kind: a.Control, Input: a.Input, Attempt: a.Attempts, Reason: a.Reason, End: a.End}
		r.rec.Cursor = a.Cursor
	}
	return r
}

// flush stores what was answered before; false when it is lost, which the next append is told.
func (h *holder) flush() bool {
	for _, r := range h.ahead {
		if h.useless || !h.put(&h.known, r, true) {
			h.useless = true
			break
		}
	}
	h.ahead = h.ahead[:0]
	return !h.useless
}

// store appends one record with the faults of a broker.
func (h *holder) store(r stored, apart bool) Outcome {
	w := h.w
	if !h.flush() {
		w.stats.stale++
		return Stale
	}
	if w.faults > 0 && w.chance(1, 40) {
		w.faults--
		w.stats.unknown++
		return h.mishap(r)
	}
	if !h.put(&h.known, r, !apart) {
		h.useless = true
		w.stats.stale++
		return Stale
	}
	return Done
}

func (h *holder) mishap(r stored) Outcome {
	w, known := h.w, h.known
	switch w.draw(4) {
	case 0:
		return Full
	case 1:
		h.put(&known, r, true)
	case 2:
		h.late = true
		w.late = append(w.late, func() { h.put(&known, r, true) })
	}
	h.useless = true
	return Unknown
}

// strays says whether he computed something else than what is stored. Who is ahead of what is stored may not know yet that
// others have written since: what he stores will be refused.
func (h *holder) strays() bool { return h.differs && (!h.w.ahead || h.known == h.chain.last()) }

// check: who computed something else than what is stored may not store more of it.
func (h *holder) check(a *Write) {
	if h.strays() && (a.Kind == WriteOutputs || a.Kind == WriteEnd) && !h.node.cfg.Naive {
		h.w.fault("%s went on though its events differ from the stored ones", names[h.node.index])
	}
	if a.Kind == WriteLetter {
		h.w.judge(h, a)
	}
}

func (h *holder) save() {
	c := *h.todo.Checkpoint
	if !h.todo.Kept {
		h.todo.Checkpoint.Snapshot = h.memory.bytes()
	}
	c.Snapshot = h.todo.Checkpoint.Snapshot
	r := stored{check: &c}
	if CheckpointApart.on() {
		h.w.appendApart(h.chain, r)
		h.reply(Input{Op: Saved})
		return
	}
	if h.strays() && !h.node.cfg.Naive {
		h.w.fault("%s saved a state that differs", names[h.node.index])
	}
	h.reply(Input{Op: Saved, Outcome: h.store(r, false)})
}

// appendApart is what a store of checkpoints beside the chain does: the last writer wins.
func (w *world) appendApart(c *chain, r stored) {
	last := c.last()
	known := last
	w.append(c, &known, r, false)
	c.records[len(c.records)-1].rec.Position = last
}

func (h *holder) commitStore() {
	w, c, a := h.w, h.chain, h.todo
	rows := h.rows
	outcome := Done
	switch {
	case w.faults > 0 && w.chance(1, 30):
		w.faults--
		w.stats.unknown++
		outcome = Unknown
		if w.chance(1, 2) {
			c.commitStore(a.From, a.To, rows)
		}
	case !c.commitStore(a.From, a.To, rows):
		outcome = Stale
	}
	h.rows = nil
	h.reply(Input{Op: Saved, Outcome: outcome})
}
