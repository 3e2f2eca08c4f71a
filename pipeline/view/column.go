package view

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// asFloats copies a column of integers or truth values; nil for one of text. Nulls are NaN.
func asFloats(c arrow.Array) []float64 {
	values := make([]float64, c.Len())
	for i := range values {
		switch c := c.(type) {
		case *array.Int64:
			values[i] = float64(c.Value(i))
		case *array.Boolean:
			if c.Value(i) {
				values[i] = 1
			}
		default:
			return nil
		}
		if c.IsNull(i) {
			values[i] = math.NaN()
		}
	}
	return values
}
