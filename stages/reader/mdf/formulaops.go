package mdf

import "math"

type binaryOp struct {
	name  string
	level int
	right bool
	f     func(a, b float64) float64
}

// Levels of operators, from the one that binds weakest; the choice c ? a : b binds weaker than all.
const (
	orLevel = iota + 1
	andLevel
	bitOrLevel
	bitXorLevel
	bitAndLevel
	equalLevel
	orderLevel
	shiftLevel
	sumLevel
	productLevel
	prefixLevel // of -, !, ~ and NOT
	powerLevel  // -X^2 is -(X^2)
)

// binaryOps in the order they are tried: longer names first.
var binaryOps = []binaryOp{
	{"||", orLevel, false, or},
	{"&&", andLevel, false, and},
	{"==", equalLevel, false, func(a, b float64) float64 { return truth(a == b) }},
	{"!=", equalLevel, false, func(a, b float64) float64 { return truth(a != b) }},
	{"<<", shiftLevel, false, shift},
	{">>", shiftLevel, false, func(a, b float64) float64 { return shift(a, -b) }},
	{"<=", orderLevel, false, func(a, b float64) float64 { return truth(a <= b) }},
	{">=", orderLevel, false, func(a, b float64) float64 { return truth(a >= b) }},
	{"**", powerLevel, true, math.Pow},
	{"<", orderLevel, false, func(a, b float64) float64 { return truth(a < b) }},
	{">", orderLevel, false, func(a, b float64) float64 { return truth(a > b) }},
	{"|", bitOrLevel, false, bitwise(func(a, b uint64) uint64 { return a | b })},
	{"&", bitAndLevel, false, bitwise(func(a, b uint64) uint64 { return a & b })},
	{"+", sumLevel, false, func(a, b float64) float64 { return a + b }},
	{"-", sumLevel, false, func(a, b float64) float64 { return a - b }},
	{"*", productLevel, false, func(a, b float64) float64 { return a * b }},
	{"/", productLevel, false, func(a, b float64) float64 { return a / b }},
	{"%", productLevel, false, math.Mod},
	{"^", powerLevel, true, math.Pow},
}

// wordOps are operators whose names are words; ^ is the power, so the exclusive or has no other.
var wordOps = map[string]binaryOp{
	"or":  {"or", orLevel, false, or},
	"and": {"and", andLevel, false, and},
	"xor": {"xor", bitXorLevel, false, bitwise(func(a, b uint64) uint64 { return a ^ b })},
	"mod": {"mod", productLevel, false, math.Mod},
}

var formulaConstants = map[string]float64{"pi": math.Pi, "true": 1, "false": 0, "inf": math.Inf(1), "nan": math.NaN()}

var unaryFunctions = map[string]func(float64) float64{
	"sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos, "atan": math.Atan,
	"arcsin": math.Asin, "arccos": math.Acos, "arctan": math.Atan, "sinh": math.Sinh, "cosh": math.Cosh,
	"tanh": math.Tanh, "asinh": math.Asinh, "acosh": math.Acosh, "atanh": math.Atanh, "exp": math.Exp, "ln": math.Log,
	"log": math.Log, "log10": math.Log10, "log2": math.Log2, "sqrt": math.Sqrt, "cbrt": math.Cbrt, "abs": math.Abs,
	"floor": math.Floor, "ceil": math.Ceil, "round": math.RoundToEven, "trunc": math.Trunc, "int": math.Trunc,
	"sgn": sign, "sign": sign,
}

var binaryFunctions = map[string]func(a, b float64) float64{
	"pow": math.Pow, "atan2": math.Atan2, "min": math.Min, "max": math.Max, "mod": math.Mod, "fmod": math.Mod,
}

var manyArguments = map[string]bool{"min": true, "max": true}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func or(a, b float64) float64  { return truth(a != 0 || b != 0) }
func and(a, b float64) float64 { return truth(a != 0 && b != 0) }
func not(a float64) float64    { return truth(a == 0) }

// sign is -1, 0 or 1, of NaN NaN.
func sign(a float64) float64 {
	switch {
	case a > 0:
		return 1
	case a < 0:
		return -1
	}
	return a
}

// shift is the integer part of a times a power of two, rounded down: nothing is lost above, as it would be in a word.
func shift(a, by float64) float64 {
	if by != by {
		return by
	}
	const least, most = -1074, 1100 // beyond them all is the sign or infinite
	return math.Floor(math.Ldexp(math.Trunc(a), int(min(max(by, least), most))))
}

// complement has all bits of the integer part turned round.
func complement(a float64) float64 {
	if a != a {
		return a
	}
	return float64(int64(^word(a)))
}

// bitwise makes an operator on integer parts of one on words; where both are positive the word has no sign.
func bitwise(f func(a, b uint64) uint64) func(a, b float64) float64 {
	return func(a, b float64) float64 {
		switch r := f(word(a), word(b)); {
		case a != a || b != b:
			return math.NaN()
		case a < 0 || b < 0:
			return float64(int64(r))
		default:
			return float64(r)
		}
	}
}

// word is the integer part in 64 bits, of a negative number its complement to two; what does not fit becomes what is nearest.
func word(a float64) uint64 {
	switch {
	case a != a:
		return 0
	case a <= math.MinInt64:
		return 1 << 63
	case a < 0:
		return uint64(int64(a))
	case a >= math.MaxUint64:
		return math.MaxUint64
	}
	return uint64(a)
}
