package aebkpi

import (
	"encoding/binary"
	"errors"
	"math"
)

var errState = errors.New("corrupt state of the AEB evaluation")

// stateVersion is in the last byte of a snapshot.
const stateVersion = 1

// trailerBytes are the length of the ledger's stone and the version.
const trailerBytes = 9

// snapshot returns the whole state: the ledger's full chunks first, since they never change and pages of them need not be
// written again, then all the rest. The same history gives the same bytes.
func (e *Evaluation) snapshot() []byte {
	w := codec{data: append(make([]byte, 0, len(e.lists.stone)+1<<16), e.lists.stone...)}
	e.code(&w)
	w.data = binary.LittleEndian.AppendUint64(w.data, uint64(len(e.lists.stone)))
	return append(w.data, stateVersion)
}

// restore replaces the state by that of a snapshot.
func (e *Evaluation) restore(data []byte) error {
	n := len(data) - trailerBytes
	if n < 0 || data[len(data)-1] != stateVersion {
		return errState
	}
	stone := binary.LittleEndian.Uint64(data[n:])
	if stone > uint64(n) || stone%chunkBytes != 0 {
		return errState
	}
	fresh := Evaluation{cf: e.cf, lists: ledger{stone: append([]byte(nil), data[:stone]...)}}
	r := codec{data: data[stone:n], reading: true}
	fresh.code(&r)
	if r.bad || len(r.data) != 0 || fresh.settled < 0 || fresh.settled > len(fresh.events) {
		return errState
	}
	*e = fresh
	return nil
}

func (e *Evaluation) code(c *codec) {
	c.int64s(&e.ticks, &e.okTicks, &e.targetTicks, &e.last, &e.ttcNone, &e.rssTicks, &e.hardWithTarget)
	c.ints(&e.settled)
	c.floats(&e.sumV, &e.maxV, &e.minA)
	for _, x := range []*extreme{&e.minTTC, &e.minETTC, &e.maxAReq} {
		x.code(c)
	}
	for i := range e.ttcHist {
		c.int64s(&e.ttcHist[i])
	}
	for i := range e.areqHist {
		c.int64s(&e.areqHist[i])
	}
	e.driver.code(c)
	e.hard.code(c)
	list(c, &e.recent, func(t *int64, c *codec) { c.int64s(t) })
	list(c, &e.missed, func(s *span, c *codec) { c.int64s(&s.start, &s.end) })
	list(c, &e.events, codeEvent)
	for i := range e.lists.tails {
		list(c, &e.lists.tails[i], func(v *float64, c *codec) { c.floats(v) })
	}
}

func (x *extreme) code(c *codec) {
	c.bools(&x.seen)
	c.floats(&x.v)
	c.int64s(&x.t)
}

func (p *episode) code(c *codec) {
	c.int64s(&p.count, &p.at.start, &p.at.end)
	c.bools(&p.open, &p.closing)
}

func codeEvent(p **event, c *codec) {
	if *p == nil {
		*p = &event{}
	}
	e := *p
	c.int64s(&e.start, &e.end, &e.partial, &e.full, &e.driver)
	c.bools(&e.ended, &e.openEnd, &e.contact, &e.confirm)
	c.ints(&e.maxStage, &e.slot, &e.brakeSlot)
	c.floats(&e.v, &e.x, &e.c, &e.minTTC, &e.minETTC, &e.maxAReq, &e.minGap)
	estimating := e.cf != nil
	if c.bools(&estimating); !estimating {
		return
	}
	if e.cf == nil {
		e.cf = &estimate{}
	}
	e.cf.code(c)
}

func (e *estimate) code(c *codec) {
	c.ints(&e.state, &e.slot)
	c.bools(&e.lost)
	c.floats(&e.vStart, &e.v, &e.vo, &e.d, &e.gap, &e.minGap)
	list(c, &e.stages, func(s *byte, c *codec) { *s = byte(c.word(uint64(*s))) })
}

// codec writes values, 8 bytes each, little-endian, floats by their bits, or reads them back: one list for both directions.
type codec struct {
	data    []byte
	reading bool
	bad     bool
}

func (c *codec) word(v uint64) uint64 {
	if !c.reading {
		c.data = binary.LittleEndian.AppendUint64(c.data, v)
		return v
	}
	if len(c.data) < 8 {
		c.bad = true
		return 0
	}
	v = binary.LittleEndian.Uint64(c.data)
	c.data = c.data[8:]
	return v
}

func (c *codec) int64s(values ...*int64) {
	for _, v := range values {
		*v = int64(c.word(uint64(*v)))
	}
}

func (c *codec) ints(values ...*int) {
	for _, v := range values {
		*v = int(c.word(uint64(*v)))
	}
}

func (c *codec) floats(values ...*float64) {
	for _, v := range values {
		*v = math.Float64frombits(c.word(math.Float64bits(*v)))
	}
}

func (c *codec) bools(values ...*bool) {
	for _, v := range values {
		var b uint64
		if *v {
			b = 1
		}
		*v = c.word(b) != 0
	}
}

func list[T any](c *codec, l *[]T, code func(*T, *codec)) {
	n := c.word(uint64(len(*l)))
	if c.reading && n > uint64(len(c.data)/8) {
		c.bad = true
		return
	}
	if c.reading && n > 0 {
		*l = make([]T, n)
	}
	for i := range *l {
		code(&(*l)[i], c)
	}
}
