package settle

import (
	"github.com/milepost-dev/milepost/schemas"
)

// A ledger holds what is known of inputs that are not settled: what records say, the last one about an input winning, and
// how often it failed in this process.
type ledger struct {
	entries map[inputKey]*entry
	ahead   int // entries with a record, of inputs not yet passed
}

type inputKey struct {
	edge     int
	sequence uint64
}

type entry struct {
	recorded bool // the chain holds a record about it
	skip     bool // the last one is a dead letter that skips it
	attempt  int  // the last attempt record's count, 0 after a resume
	mine     bool // that attempt is of this holder
	errs     int  // failed tries of this holder
	doomed   bool // of a sink: it is to be given up once its store is clean again
	fatal    bool // the last failure was permanent
}

func keyOf(e *Event) inputKey { return inputKey{e.Edge, e.Sequence} }

// find returns the input's entry, nil when nothing is known.
func (l *ledger) find(k inputKey) *entry {
	if len(l.entries) == 0 {
		return nil
	}
	return l.entries[k]
}

// at returns the input's entry, a new one when nothing is known.
func (l *ledger) at(k inputKey) *entry {
	if e := l.find(k); e != nil {
		return e
	}
	if l.entries == nil {
		l.entries = map[inputKey]*entry{}
	}
	e := &entry{}
	l.entries[k] = e
	return e
}

// record notes that a record about the input, which lies ahead, was stored.
func (l *ledger) record(e *entry) {
	if !e.recorded {
		e.recorded = true
		l.ahead++
	}
}

// pass notes that the cursor moved behind the input.
func (l *ledger) pass(k inputKey) {
	if e := l.find(k); e != nil && e.recorded {
		l.ahead--
	}
}

// othersAhead says whether records lie ahead about other inputs than e's.
func (l *ledger) othersAhead(e *entry) bool {
	return l.ahead > 1 || l.ahead == 1 && (e == nil || !e.recorded)
}

// forget drops what the chain said, and keeps what this process has seen.
func (l *ledger) forget() {
	for k, e := range l.entries {
		if e.errs == 0 && !e.mine {
			delete(l.entries, k)
			continue
		}
		*e = entry{errs: e.errs, mine: e.mine, doomed: e.doomed, fatal: e.fatal}
	}
	l.ahead = 0
}

// settle drops all entries at or before the place, and counts those behind it anew.
func (l *ledger) settle(p *place) {
	l.ahead = 0
	for k, e := range l.entries {
		switch {
		case k.sequence <= p.edges[k.edge].Sequence:
			delete(l.entries, k)
		case e.recorded:
			l.ahead++
		}
	}
}

// edge is the index of an edge's name, -1 when there is none.
func (c *Config) edge(name string) int {
	for k, n := range c.Edges {
		if n == name {
			return k
		}
	}
	return -1
}

func (c *Config) ref(e *Event) schemas.InputRef {
	return schemas.InputRef{Edge: c.Edges[e.Edge], Sequence: e.Sequence}
}
