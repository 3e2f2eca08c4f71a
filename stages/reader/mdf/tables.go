package mdf

import (
	"math"
	"slices"
	"sort"
)

// smallTable is up to how many rows a table is searched one by one.
const smallTable = 16

// ranges finds the first row of a range table that holds a value, however the rows overlap. The bounds cut the
// numbers into cells: cell 2k is the point bounds[k], cell 2k+1 what lies between it and the next bound. Without it a
// table of 20,000 rows would be walked for each sample.
type ranges struct {
	bounds []float64
	rows   [2][]int32 // row of each cell, -1 for none; [1] for integers, whose ranges include the upper bound
}

// newRanges prepares a table whose row i reaches from v[i*width] to v[i*width+1].
func newRanges(v []float64, n, width int) *ranges {
	r := &ranges{}
	for i := range n {
		r.bounds = append(r.bounds, v[i*width], v[i*width+1])
	}
	r.bounds = slices.DeleteFunc(r.bounds, func(x float64) bool { return math.IsNaN(x) })
	slices.Sort(r.bounds)
	r.bounds = slices.Compact(r.bounds)
	for mode := range r.rows {
		r.rows[mode] = r.paint(v, n, width, mode == 1)
	}
	return r
}

// paint gives each cell its first row. Painted cells are skipped in one step by links to the next free one.
func (r *ranges) paint(v []float64, n, width int, integers bool) []int32 {
	cells := make([]int32, 2*len(r.bounds))
	free := make([]int, len(cells)+1)
	for i := range cells {
		cells[i] = -1
	}
	for i := range free {
		free[i] = i
	}
	next := func(i int) int {
		for free[i] != i {
			free[i] = free[free[i]]
			i = free[i]
		}
		return i
	}
	for row := range n {
		lower, upper := v[row*width], v[row*width+1]
		if !(lower <= upper) {
			continue
		}
		last := 2 * sort.SearchFloat64s(r.bounds, upper)
		if !integers && lower != upper {
			last--
		}
		for c := next(2 * sort.SearchFloat64s(r.bounds, lower)); c <= last; c = next(c) {
			cells[c] = int32(row)
			free[c] = c + 1
		}
	}
	return cells
}

// find returns the row that holds x, n for none.
func (r *ranges) find(x float64, integers bool, n int) int {
	i := sort.SearchFloat64s(r.bounds, x)
	mode := 0
	if integers {
		mode = 1
	}
	cell := 2*i - 1
	if i < len(r.bounds) && r.bounds[i] == x {
		cell = 2 * i
	}
	if x != x || cell < 0 || cell >= len(r.rows[mode])-1 || r.rows[mode][cell] < 0 {
		return n
	}
	return int(r.rows[mode][cell])
}

// indexTables prepares large tables for searching.
func (c *Conversion) indexTables() {
	n := len(c.Values)
	switch {
	case n <= smallTable:
	case c.Type == RangeToText:
		c.ranges = newRanges(c.Values, n/2, 2)
	case c.Type == RangeToValue:
		c.ranges = newRanges(c.Values, n/3, 3)
	case c.Type == ValueToText:
		c.keys = make(map[float64]int, n)
		for i, v := range c.Values {
			if _, dup := c.keys[v]; !dup {
				c.keys[v] = i
			}
		}
	}
}
