package mdf

import (
	"fmt"
	"slices"
	"testing"
)

func TestElementsAreChannels(t *testing.T) {
	b := structFile(func(b *builder, members, inner []cn) int64 {
		members[0].name, members[2].comp = "points.x", caBlock(b, 0, 1, 0, 2)
		members[4].comp = b.channels(inner...)[0]
		ca := caBlock(b, b.channels(members...)[0], 16, 0, 2)
		b.b[ca+headerSize+8+12] = 1 // invalidation bits
		return b.channels(cn{name: "t", dt: UintLE, bits: 8}, cn{name: "points", dt: ByteArray, off: 4, bits: 16 * 8, comp: ca})[0]
	})
	g := mustOpen(t, &b.memory).Groups[0]
	for _, c := range []struct {
		array  string
		index  []int
		name   string
		values []float64
		texts  []string
		valid  []bool
	}{
		{"points.x", []int{0}, "points[0].x", []float64{100, 110}, nil, []bool{true, true}},
		{"points.x", []int{1}, "points[1].x", []float64{101, 111}, nil, []bool{true, false}},
		{"pair", []int{1, 0}, "pair[1][0]", []float64{1, 11}, nil, nil},
		{"flag", []int{1}, "flag[1]", []float64{1, 1}, nil, nil},
		{"name", []int{1}, "name[1]", nil, []string{"n01", "n11"}, nil},
	} {
		e, err := g.Channel(c.array, 0).Element(c.index...)
		if err != nil {
			t.Fatal(err)
		}
		if array, index, ok := ElementIndex(c.name); e.Name != c.name || array != c.array || !slices.Equal(index, c.index) || !ok {
			t.Errorf("%s, taken apart %s %v", e.Name, array, index)
		}
		for _, only := range []bool{false, true} {
			got, err := readAll(g, ReadOptions{ColumnsOnly: only}, e, g.Channels[0])
			if err != nil || !slices.Equal(got.values[0], c.values) || !slices.Equal(got.texts[0], c.texts) || !slices.Equal(got.valid[0], c.valid) {
				t.Errorf("%s: %v %q %v, %v", c.name, got.values[0], got.texts[0], got.valid[0], err)
			}
		}
	}
	for _, index := range [][]int{nil, {2}, {-1}, {0, 0}} {
		if _, err := g.Channel("flag", 0).Element(index...); err == nil {
			t.Errorf("element %v of 2", index)
		}
	}
	if _, err := g.Channels[0].Element(0); err == nil {
		t.Error("element of a scalar")
	}
	for _, name := range []string{"x", "x[", "x[a]", "x[-1]", "x[1"} {
		if array, index, ok := ElementIndex(name); ok {
			t.Errorf("%s is %s", name, fmt.Sprint(array, index))
		}
	}
}
