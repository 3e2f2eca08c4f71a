package mf4

import (
	"fmt"
	"math/bits"
	"strings"
)

// A busChoice is the bus that a binding names, if it does.
type busChoice struct {
	bus   uint8
	given bool
}

// choose takes what the binding package has checked.
func choose(bus *int) busChoice {
	if bus == nil {
		return busChoice{}
	}
	return busChoice{uint8(*bus), true}
}

// has says whether frames of a bus are meant.
func (c busChoice) has(bus uint8) bool { return !c.given || c.bus == bus }

// pointer is nil where none is given.
func (c busChoice) pointer() *uint8 {
	if !c.given {
		return nil
	}
	return &c.bus
}

func (c busChoice) String() string {
	if !c.given {
		return "any bus"
	}
	return fmt.Sprintf("bus %d", c.bus)
}

// buses is a set of them.
type buses [4]uint64

func (b *buses) add(bus uint8) { b[bus/64] |= 1 << (bus % 64) }

func (b *buses) has(bus uint8) bool { return b[bus/64]>>(bus%64)&1 != 0 }

func (b *buses) len() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// list writes them in ascending order: "bus 0, bus 1 and bus 4".
func (b *buses) list(format, last string) string {
	var all []string
	for i := range 256 {
		if b.has(uint8(i)) {
			all = append(all, fmt.Sprintf(format, i))
		}
	}
	if n := len(all); n > 1 {
		return strings.Join(all[:n-1], ", ") + last + all[n-1]
	}
	return strings.Join(all, "")
}

// String is for sentences.
func (b *buses) String() string { return b.list("bus %d", " and ") }

// ambiguous are the messages of a binding that names no bus for them, and whose frames came from several: a signal made of both
// would be neither.
func ambiguous(all []*message) (found []*message) {
	for _, m := range all {
		if m.on.len() > 1 {
			found = append(found, m)
		}
	}
	return found
}
