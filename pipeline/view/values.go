package view

import (
	"math"
	"strconv"
)

// Values are numbers with gaps. In JSON a gap is null and numbers have the seven digits that the overview holds.
type Values []float64

// MarshalJSON writes NaN and infinite values as null.
func (v Values) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 2+10*len(v))
	out = append(out, '[')
	for i, x := range v {
		if i > 0 {
			out = append(out, ',')
		}
		if x-x != 0 {
			out = append(out, "null"...)
		} else {
			out = strconv.AppendFloat(out, x, 'g', -1, 32)
		}
	}
	return append(out, ']'), nil
}

func gaps(n int) Values {
	v := make(Values, n)
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}
