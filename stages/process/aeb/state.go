package aeb

import (
	"encoding/binary"
	"errors"
	"math"
)

// stateVersion is the first byte of a snapshot.
const stateVersion = 1

var errState = errors.New("corrupt state of the AEB function")

// Snapshot returns the whole state, little-endian, floats by their bits so that infinities survive. The same history gives
// the same bytes.
func (f *Function) Snapshot() []byte {
	w := codec{data: []byte{stateVersion}}
	f.state.code(&w)
	return w.data
}

// Restore replaces the state by that of a Snapshot; the parameters are those of New.
func (f *Function) Restore(data []byte) error {
	if len(data) == 0 || data[0] != stateVersion {
		return errState
	}
	r := codec{data: data[1:], reading: true}
	var s state
	s.code(&r)
	if r.bad || len(r.data) != 0 {
		return errState
	}
	f.state = s
	return nil
}

// codec writes values or reads them back, so that both directions are one list and cannot differ.
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

// length codes the length of a list whose elements take at least one word each.
func (c *codec) length(have int) int {
	n := c.word(uint64(have))
	if c.reading && n > uint64(len(c.data)/8) {
		c.bad = true
		return 0
	}
	return int(n)
}

func (s *state) code(c *codec) {
	c.int64s(&s.consumed, &s.next)
	c.bools(&s.started)
	s.ego.code(c)
	s.yaw.code(c)
	s.brake.code(c)
	list(c, &s.slots, (*slot).code)
	s.m.code(c)
	list(c, &s.held.ok, (*Tick).code)
	c.int64s(&s.held.lost, &s.counts.ego, &s.counts.yaw, &s.counts.brake, &s.counts.late, &s.counts.notFinite)
}

func list[T any](c *codec, l *[]T, code func(*T, *codec)) {
	n := c.length(len(*l))
	if c.reading && n > 0 {
		*l = make([]T, n)
	}
	for i := range *l {
		code(&(*l)[i], c)
	}
}

func (n *newest) code(c *codec) {
	c.bools(&n.seen)
	c.int64s(&n.t)
	c.floats(&n.v)
}

func (s *slot) code(c *codec) {
	c.ints(&s.number)
	c.bools(&s.seen, &s.moved)
	c.int64s(&s.t, &s.n, &s.count)
	c.floats(&s.x, &s.y, &s.r)
}

func (m *motion) code(c *codec) {
	c.bools(&m.primed, &m.warned)
	c.floats(&m.vPrev, &m.ae, &m.kappa, &m.voPrev, &m.ao)
	c.ints(&m.slot, &m.stage, &m.release, &m.armed[0], &m.armed[1], &m.armed[2], &m.armed[3])
	c.int64s(&m.tWarn)
}

func (t *Tick) code(c *codec) {
	c.int64s(&t.T)
	c.bools(&t.OK, &t.Driver, &t.Hard, &t.Closing)
	c.ints(&t.Stage, &t.Slot)
	c.floats(&t.V, &t.AE, &t.Kappa, &t.X, &t.Y, &t.C, &t.VO, &t.AO, &t.TTC, &t.ETTC, &t.AReq, &t.RSS, &t.THW)
}
