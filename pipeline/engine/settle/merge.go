package settle

import "github.com/milepost-dev/milepost/schemas"

// maxGaps is how often an edge is read again for the same missing event before it is given up: the first readings may meet a
// reader that another purge overtook, a log that lost an event never gives it.
const maxGaps = 4

// A queue holds the events of one edge that wait to be taken, in order of sequence without a gap.
type queue struct {
	events  []Event
	head    int
	last    uint64 // sequence of the last queued or taken
	from    schemas.Position
	reading uint64
	gaps    int
}

// reset forgets all events; the next one is the one behind c.
func (q *queue) reset(c schemas.EdgeCursor) {
	*q = queue{events: q.events[:0], last: c.Sequence, from: c.Position}
}

func (q *queue) push(e Event) {
	if q.head > 0 && len(q.events) == cap(q.events) {
		q.events = q.events[:copy(q.events, q.events[q.head:])]
		q.head = 0
	}
	q.events = append(q.events, e)
	q.last, q.from, q.gaps = e.Sequence, e.Position, 0
}

func (q *queue) peek() *Event {
	if q.head == len(q.events) {
		return nil
	}
	return &q.events[q.head]
}

func (q *queue) pop() {
	if q.head++; q.head == len(q.events) {
		q.events, q.head = q.events[:0], 0
	}
}

// arrive queues an event: the next one only. A smaller one was taken before and is dropped; a larger one means that the
// reader lost something, so the edge is read again by position.
func (i *Instance) arrive(e Event) {
	if e.Edge < 0 || e.Edge >= len(i.queues) || i.queues[e.Edge].reading != e.Reading {
		return
	}
	q := &i.queues[e.Edge]
	switch next := q.last + 1; {
	case e.Sequence < next:
		if TakeTwice.on() && e.Sequence+1 == next && e.Sequence > 0 {
			q.push(e)
		}
	case e.Sequence == next || TakeGap.on():
		q.push(e)
	default:
		i.gap(e.Edge, q)
	}
}

func (i *Instance) gap(edge int, q *queue) {
	if q.gaps++; q.gaps > maxGaps {
		i.lack(edge, "an edge's log lacks an event")
		return
	}
	i.read(edge, q)
}

func (i *Instance) gone(e *Event, reason string) {
	if e.Edge < len(i.queues) && i.queues[e.Edge].reading == e.Reading && e.Reading > 0 {
		i.lack(e.Edge, reason)
	}
}

// lack: an event that this holder needs is gone. Either another holder has settled it, and it was trimmed: then opening the
// chain again shows that; or it is lacking still afterwards, and somebody has removed it (a retention, for one): the job halts.
func (i *Instance) lack(edge int, reason string) {
	missing := inputKey{edge, i.queues[edge].last + 1}
	if i.lacking == missing {
		i.lost = reason
	}
	i.lacking = missing
	i.reopen()
}

// lacks halts the job for good, unless another holder has taken meanwhile what this one lacks.
func (i *Instance) lacks() bool {
	reason := i.lost
	i.lost = ""
	if at := &i.base.edges[i.lacking.edge]; at.Ended || at.Sequence >= i.lacking.sequence {
		return true
	}
	return i.control(decideHalt, Write{Control: schemas.ControlHalt, Reason: reason})
}

func (i *Instance) read(edge int, q *queue) {
	i.reading++
	q.reading = i.reading
	i.do(Action{Do: Read, Edge: edge, Position: q.from, Sequence: q.last, Reading: q.reading})
}

// next is the input to take next, nil when one has to be waited for. Of several edges the earliest head is taken, of equal
// times that of the earlier edge; as each edge's order is fixed, so is the merge's, and the cursor is all its state.
func (i *Instance) next() *Event {
	if i.cfg.Role == Reader {
		at := &i.at.edges[0]
		i.virtual = Event{Sequence: at.Sequence + 1, Position: schemas.Position(at.Sequence + 1)}
		return &i.virtual
	}
	var first *Event
	for k := range i.queues {
		if i.at.edges[k].Ended {
			continue
		}
		e := i.queues[k].peek()
		if e == nil {
			if MergeImpatient.on() {
				continue
			}
			return nil
		}
		if first == nil || e.Time < first.Time {
			first = e
		}
	}
	return first
}
