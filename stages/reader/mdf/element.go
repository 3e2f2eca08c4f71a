package mdf

import (
	"fmt"
	"strconv"
	"strings"
)

// Element returns one element of an array as a channel by itself, named x[1][2], or of a member of an array of structures
// pos[1].x, if that is called pos.x. There is an index for each of Array.Dims. It can be read like the channels of the group,
// together with them, but is not one of these: its Index is that of the array.
func (c *Channel) Element(index ...int) (*Channel, error) {
	if c.Array == nil || len(index) != len(c.Array.Dims) {
		return nil, fmt.Errorf("channel %q of group %d: %d indices of an array of %d dimensions", c.Name, c.Group.Index, len(index), c.Dimensions())
	}
	e := *c
	number, suffix := 0, ""
	for k, i := range index {
		n := c.Array.Dims[k]
		if i < 0 || i >= n {
			return nil, fmt.Errorf("channel %q of group %d: index %d of dimension %d, which has %d", c.Name, c.Group.Index, i, k, n)
		}
		number = number*n + i
		suffix += fmt.Sprintf("[%d]", i)
	}
	e.Name, e.Array = c.elementName(suffix), nil
	if c.err != nil {
		return &e, nil
	}
	e.ByteOffset = uint32(int(c.ByteOffset) + c.Array.offset(number))
	e.InvalBit += uint32(c.Array.distance(number, c.Array.invals))
	if s := c.size; s != nil && s.isArray() {
		size, err := s.Element(index...)
		if err != nil {
			return nil, err
		}
		e.size = size
	}
	return &e, nil
}

// Dimensions is how many indices an element has, 0 for a scalar.
func (c *Channel) Dimensions() int {
	if c.Array == nil {
		return 0
	}
	return len(c.Array.Dims)
}

// elementName puts the indices behind the name of the array of structures that the name of the member begins with, else at its end.
func (c *Channel) elementName(suffix string) string {
	for p := c.Parent; p != nil; p = p.Parent {
		if rest, ok := strings.CutPrefix(c.Name, p.Name); ok && p.Name != "" && p.Array != nil && p.Dimensions() == c.Dimensions() {
			return p.Name + suffix + rest
		}
	}
	return c.Name + suffix
}

// ElementIndex takes the name of an element apart, wherever in it the indices stand: pos.x and 1 of pos[1].x, x and 1, 2 of x[1][2]. Of
// a name without indices it is not ok.
func ElementIndex(name string) (array string, index []int, ok bool) {
	for rest := name; ; {
		before, behind, found := strings.Cut(rest, "[")
		array += before
		if !found {
			return array, index, len(index) > 0
		}
		digits, after, closed := strings.Cut(behind, "]")
		i, err := strconv.Atoi(digits)
		if !closed || err != nil || i < 0 {
			return name, nil, false
		}
		index, rest = append(index, i), after
	}
}
