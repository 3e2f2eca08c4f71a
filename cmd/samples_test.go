package cmd

import (
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// 0.3-0.2 is more than 0.1 in binary64: a raster of 0.1 s has no gaps of more than that.
func TestRoundedTimesAreNoGaps(t *testing.T) {
	c := clock{limit: 0.1, fixed: true}
	for i := range 100_000 {
		c.add(float64(i) * 0.1)
	}
	if len(c.gaps) > 0 {
		t.Fatalf("%v", c.gaps[0])
	}
	if c.add(c.last + 0.1001); len(c.gaps) != 1 {
		t.Error("a gap of 100.1 ms is none")
	}
}

func TestCellsOfArrays(t *testing.T) {
	number := &mdf.Conversion{Type: mdf.TextToValue, Values: []float64{1, 2}, Refs: []mdf.ConversionRef{{Text: "a"}}}
	for want, c := range map[string]*mdf.Column{
		"3 4":     {Kind: mdf.Numbers, Width: 2, Values: []float64{1, 2, 3, 4}, Channel: &mdf.Channel{}},
		"c d":     {Kind: mdf.Texts, Width: 2, Offsets: []uint32{0, 1, 2, 3, 4}, Bytes: []byte("abcd"), Channel: &mdf.Channel{}},
		"63 6465": {Kind: mdf.ByteStrings, Width: 2, Offsets: []uint32{0, 1, 2, 3, 5}, Bytes: []byte("abcde"), Channel: &mdf.Channel{}},
		"1.5 2":   {Kind: mdf.Texts, Width: 2, Offsets: []uint32{0, 1, 2, 3, 4}, Bytes: []byte("abcd"), Values: []float64{0, 0, 1.5, 2}, Channel: &mdf.Channel{Conversion: number}},
		"b":       {Kind: mdf.Text, Offsets: []uint32{0, 1, 2}, Bytes: []byte("ab"), Channel: &mdf.Channel{}},
		"7":       {Kind: mdf.Number, Width: 1, Values: []float64{6, 7}, Channel: &mdf.Channel{}},
		"":        {Kind: mdf.Numbers, Width: 2, Values: []float64{1, 2, 3, 4}, Valid: []bool{true, false}, Channel: &mdf.Channel{}},
	} {
		if got := cell(c, 1); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
