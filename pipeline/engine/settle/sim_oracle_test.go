package settle

import (
	"fmt"
	"strings"

	"github.com/milepost-dev/milepost/schemas"
)

// An oracle computes what a stage has to store from what its inputs hold, without transport, faults or retries.
type oracle struct {
	w      *world
	n      *node
	memory memory
	out    []ev
	inputs uint64
	hash   schemas.Hash
	ended  bool
	rows   map[uint64]uint64
	at     []int
}

// verdict compares all that is stored with the oracle's, stage by stage; each stage's inputs are taken as they are stored,
// having been judged before.
func (w *world) verdict() string {
	for _, n := range w.stages {
		o := oracle{w: w, n: n}
		if n.cfg.Role == Sink {
			o.rows = map[uint64]uint64{}
		}
		o.compute()
		if s := o.compare(); s != "" {
			return names[n.index] + ": " + s
		}
		if s := w.orderly(n); s != "" {
			return names[n.index] + ": " + s
		}
	}
	return ""
}

func (o *oracle) compute() {
	if o.n.cfg.Role == Reader {
		o.read()
		return
	}
	o.at = make([]int, len(o.n.from))
	var last int64
	for {
		edge, e := o.earliest()
		if e == nil {
			return
		}
		o.at[edge]++
		last = e.time
		if e.kind == End && o.allEnded() {
			o.finish(edge, e, last)
			return
		}
		switch k := o.n.cfg.ProgressEvery; {
		case !o.skipped(edge, e.seq):
			o.take(edge, e)
		case o.n.cfg.Role != Sink && k > 0 && (e.kind != Data || o.taken()%k == 0):
			o.out = append(o.out, ev{kind: Progress, time: e.time})
		}
	}
}

// earliest is the next input of a merge by (time, edge); nil when an edge that has not ended has nothing more.
func (o *oracle) earliest() (edge int, first *ev) {
	for k, f := range o.n.from {
		a := o.w.chains[f].archive
		switch {
		case o.at[k] < len(a):
			if e := &a[o.at[k]]; first == nil || e.time < first.time {
				edge, first = k, e
			}
		case len(a) == 0 || a[len(a)-1].kind != End:
			return 0, nil
		}
	}
	return edge, first
}

func (o *oracle) allEnded() bool {
	for k, f := range o.n.from {
		a := o.w.chains[f].archive
		if o.at[k] < len(a) || len(a) == 0 || a[len(a)-1].kind != End {
			return false
		}
	}
	return true
}

func (o *oracle) take(edge int, e *ev) {
	o.count(e)
	before := len(o.out)
	if e.kind == Data {
		switch {
		case o.n.cfg.Role == Sink:
			o.rows[e.seq] = e.val
		case o.n.cfg.Nondeterministic:
			o.out = append(o.out, ev{time: e.time, src: e.val})
		default:
			o.out = o.n.process(&o.memory, edge, e, o.out)
		}
	}
	k := o.n.cfg.ProgressEvery
	if o.n.cfg.Role != Sink && k > 0 && len(o.out) == before && (e.kind != Data || o.taken()%k == 0) {
		o.out = append(o.out, ev{kind: Progress, time: e.time})
	}
}

func (o *oracle) taken() (n uint64) {
	for _, k := range o.at {
		n += uint64(k)
	}
	return n
}

func (o *oracle) count(e *ev) {
	h := e.hash()
	o.inputs++
	o.hash = fold(o.hash, &h)
}

func (o *oracle) finish(edge int, e *ev, last int64) {
	if !o.skipped(edge, e.seq) {
		o.count(e)
		if o.n.cfg.Role == Processor && !o.n.cfg.Nondeterministic {
			o.out = o.n.finish(&o.memory, last, o.out)
		}
	}
	o.end()
}

func (o *oracle) end() {
	o.ended = true
	if o.n.cfg.Role != Sink {
		o.out = append(o.out, ev{kind: End, time: 1 << 40, val: mix(o.inputs)})
	}
}

func (o *oracle) read() {
	for k := uint64(1); k <= o.n.reads; k++ {
		before := len(o.out)
		o.out = o.n.read(&o.memory, k, o.out)
		if p := o.n.cfg.ProgressEvery; p > 0 && len(o.out) == before && k%p == 0 {
			o.out = append(o.out, ev{kind: Progress, time: int64(k)})
		}
		o.countRead(before)
	}
	if before := len(o.out); o.n.tail {
		if o.out = o.n.finish(&o.memory, int64(o.n.reads+1), o.out); len(o.out) > before {
			o.countRead(before)
		}
	}
	o.end()
}

// countRead counts a read, whose content is what came out.
func (o *oracle) countRead(before int) {
	o.inputs++
	for j := before; j < len(o.out); j++ {
		o.out[j].seq = uint64(j + 1)
		h := o.out[j].hash()
		o.hash = fold(o.hash, &h)
	}
}

// skipped says whether a stored dead letter skips the input; whether rightly so was judged when it was stored.
func (o *oracle) skipped(edge int, seq uint64) bool {
	for k := range o.w.chains[o.n.index].records {
		l := o.w.chains[o.n.index].records[k].rec.Letter
		if l != nil && l.Decision == schemas.Skip && l.Input.Sequence == seq && l.Input.Edge == o.n.cfg.Edges[edge] {
			return true
		}
	}
	return false
}

func (o *oracle) compare() string {
	c := o.w.chains[o.n.index]
	if o.n.flaky {
		return o.contiguous(c)
	}
	for k := range c.archive {
		got := &c.archive[k]
		if k >= len(o.out) {
			return fmt.Sprintf("event %d is one too many", k+1)
		}
		want := o.out[k]
		want.seq = uint64(k + 1)
		if o.n.cfg.Nondeterministic && want.kind == Data && got.src == want.src {
			want.val = got.val
		}
		if got.hash() != want.hash() {
			return fmt.Sprintf("event %d is %+v, not %+v", k+1, *got, want)
		}
	}
	return o.complete(c)
}

func (o *oracle) contiguous(c *chain) string {
	for k := range c.archive {
		if c.archive[k].seq != uint64(k+1) {
			return fmt.Sprintf("event %d stands at %d", c.archive[k].seq, k+1)
		}
	}
	return ""
}

func (o *oracle) complete(c *chain) string {
	if s := o.stored(c); s != "" {
		return s
	}
	if c.has(schemas.ControlEnd) == 0 {
		return o.excuse(c)
	}
	switch end := c.end(); {
	case !o.ended:
		return "ended before its inputs"
	case o.n.cfg.Role != Sink && len(c.archive) != len(o.out):
		return fmt.Sprintf("ended after %d of %d events", len(c.archive), len(o.out))
	case end.Consumed != o.inputs || end.Hash != hexOf(o.hash) || end.Out != uint64(len(o.out)):
		return fmt.Sprintf("the end says %+v, not %d inputs %s", *end, o.inputs, hexOf(o.hash))
	}
	return ""
}

func (c *chain) end() *schemas.End {
	for k := range c.records {
		if t := c.records[k].rec.Control; t != nil && t.Kind == schemas.ControlEnd {
			return t.End
		}
	}
	return nil
}

// stored compares a sink's rows: all up to its cursor, none behind.
func (o *oracle) stored(c *chain) string {
	if o.n.cfg.Role != Sink {
		return ""
	}
	var upto uint64
	if len(c.cursor.Edges) > 0 {
		upto = c.cursor.Edges[0].Sequence
	}
	want := 0
	for k, v := range o.rows {
		if k > upto {
			continue
		}
		want++
		if c.rows[k] != v {
			return fmt.Sprintf("row %d is %x, not %x", k, c.rows[k], v)
		}
	}
	if len(c.rows) != want {
		return fmt.Sprintf("%d rows, not %d", len(c.rows), want)
	}
	if c.has(schemas.ControlEnd) > 0 && (len(c.cursor.Edges) == 0 || !c.cursor.Edges[0].Ended) {
		return "ended before its store"
	}
	return ""
}

// excuse says why a stage need not have ended.
func (o *oracle) excuse(c *chain) string {
	h := c.halted()
	switch {
	case c.has(schemas.ControlCancel) > 0:
		if !o.w.cancelled {
			return "cancelled by nobody"
		}
	case o.w.cancelled:
		return "not cancelled"
	case h != nil && h.Control != nil && strings.HasPrefix(h.Control.Reason, "the worker died"):
		switch n := o.w.openings[o.n.index]; {
		case n <= o.n.cfg.Attempts:
			return fmt.Sprintf("halted after %d openings: %s", n, h.Control.Reason)
		case o.w.patient:
			return "halted, though the user resumes"
		}
	case h != nil && h.Control != nil:
		if !o.n.flaky && o.w.unsaved == 0 {
			return "halted as non-deterministic: " + h.Control.Reason
		}
	case h != nil:
		if o.w.patient {
			return "halted, though the user resumes"
		}
	case o.ended && !o.w.held():
		return "never ended"
	}
	return ""
}

// orderly checks the chain's own order: nothing after its end, one dead letter for one giving up, no resume unasked.
func (w *world) orderly(n *node) string {
	over, asked := false, 0
	letters := map[schemas.InputRef]bool{}
	for _, d := range w.inbox {
		if d.node == n && d.command != nil && d.command.Want == WantResume {
			asked++
		}
	}
	for k := range w.chains[n.index].records {
		r := &w.chains[n.index].records[k].rec
		if over {
			return "a record behind the end"
		}
		switch {
		case r.Letter != nil:
			if letters[r.Letter.Input] {
				return fmt.Sprintf("input %v given up twice", r.Letter.Input)
			}
			letters[r.Letter.Input] = true
		case r.Control == nil:
		case r.Control.Kind == schemas.ControlResume:
			asked--
			delete(letters, r.Control.Input)
		case r.Control.Kind == schemas.ControlEnd || r.Control.Kind == schemas.ControlCancel:
			over = true
		}
	}
	if asked < 0 {
		return "resumed more often than asked"
	}
	return ""
}

// judge looks at a dead letter when it is stored: an input is given up when it fails for good, or was tried often enough.
func (w *world) judge(h *holder, a *Write) {
	w.stats.letters++
	n := h.node
	edge := n.edge(a.Input.Edge)
	if k := n.key(edge, a.Input.Sequence); !w.planned(n, edge, a.Input.Sequence) && w.trouble[k]+w.unopened+w.unsaved < n.cfg.Attempts && (w.unopened+w.unsaved == 0 || !a.Permanent) {
		w.fault("%s: input %v was given up after %d tries", names[n.index], a.Input, w.trouble[k])
	}
	stands := a.Input.Sequence - 1
	if a.Decision == schemas.Skip {
		stands++
	}
	if c := a.Cursor; c == nil || c.Edges[edge].Sequence != stands {
		w.fault("%s: the dead letter of %v stands at %+v", names[n.index], a.Input, c)
	}
}

// held says whether a stage is halted for good: those before it may run out of room.
func (w *world) held() bool {
	for _, c := range w.chains {
		if c.halted() != nil {
			return true
		}
	}
	return false
}
