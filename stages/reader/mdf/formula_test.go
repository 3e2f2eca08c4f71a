package mdf

import (
	"math"
	"strings"
	"testing"
)

func TestFormulas(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		formula string
		x, want float64
	}{
		{"X", 3, 3}, {"x1", 3, 3}, {"X1*2+1", 3, 7}, {"(1+X)*2", 3, 8}, {"10/4", 0, 2.5}, {"1/X", 0, inf}, {"1e3+2.5E-1", 0, 1000.25}, {"0x1F", 0, 31},
		{"10 - 2 - 3", 0, 5}, {"2+3*4", 0, 14}, {"8/4/2", 0, 1},
		// powers bind stronger than signs, from the right
		{"2^3^2", 0, 512}, {"2**3", 0, 8}, {"-X^2", 3, -9}, {"2^-X", 1, 0.5}, {"2*-X", 3, -6}, {"- - X", 3, 3}, {"+X", 3, 3},
		// remainders have the sign of the dividend
		{"7%4", 0, 3}, {"X mod 4", -7, -3}, {"X MOD 4 + 1", 7, 4}, {"mod(X, 4)", 7.5, 3.5}, {"fmod(X,4)", 7.5, 3.5},
		{"X > 2 && X < 4", 3, 1}, {"X > 2 and X < 4", 5, 0}, {"X == 3 || X == 4", 3, 1}, {"X==3 OR X==4", 5, 0}, {"1 or 0 and 0", 0, 1},
		{"!X", 3, 0}, {"not X", 0, 1}, {"NOT(X) + 1", 0, 2}, {"X >= 3", 3, 1}, {"X <= 2", 3, 0}, {"X != 3", 3, 0}, {"X != 3", nan, 1}, {"1 < 2 == 1", 0, 1},
		// integers of 64 bits
		{"6 & X", 3, 2}, {"6 | 1", 0, 7}, {"6 xor X", 3, 5}, {"1 | 2 XOR 2 & 2", 0, 1}, {"~0", 0, -1}, {"~X & 0xFF", 0x0F, 0xF0}, {"X & 0xFF", -1, 255}, {"X & 3 == 3", 7, 1},
		{"X | 0", math.MaxUint64, math.MaxUint64}, {"X | 0", -math.MaxFloat64, math.MinInt64}, {"X & 1", nan, nan}, {"X & 1.9", 3.9, 1},
		{"1 << 4", 0, 16}, {"X << 8 + 1", 1, 512}, {"X >> 4", 255, 15}, {"X >> 1", -3, -2}, {"X << 60", 255, 255 * (1 << 60)}, {"X << 1e9", 1, inf}, {"X >> 1e9", -1, -1}, {"X << nan", 1, nan},
		// choices, from the right
		{"X>0 ? 1 : 0", 3, 1}, {"X>0 ? 1 : 0", -3, 0}, {"X<1 ? 10 : X<2 ? 20 : 30", 1.5, 20}, {"X ? X>1 ? 1 : 2 : 3", 1, 2}, {"(X>1 ? 2 : 4)*X", 3, 6}, {"if(X>1, 2, 4)*X", 0.5, 2}, {"0 || X ? 5 : 6", 1, 5},
		{"sgn(X)", -0.1, -1}, {"sgn(X)", 0, 0}, {"sgn(X)", 9, 1}, {"sgn(X)", nan, nan}, {"sign(X)*2", 9, 2}, {"abs(-X)", 3, 3},
		{"sqrt(X+13)", 3, 4}, {"pow(X, 2)", 3, 9}, {"cbrt(27)", 0, 3}, {"exp(0)", 0, 1}, {"ln(exp(1))", 0, 1}, {"log(exp(1))", 0, 1}, {"log10(1000)", 0, 3}, {"log2(8)", 0, 3},
		{"sin(pi/2)", 0, 1}, {"cos(0)", 0, 1}, {"tan(X)", 0, 0}, {"arcsin(1)*2", 0, math.Pi}, {"asin(2)", 0, nan}, {"arccos(1)", 0, 0}, {"atan(1)*4", 0, math.Pi}, {"atan2(1,-1)", 0, 3 * math.Pi / 4},
		{"sinh(0)", 0, 0}, {"cosh(0)", 0, 1}, {"tanh(0)", 0, 0}, {"asinh(0)", 0, 0}, {"acosh(1)", 0, 0}, {"atanh(0)", 0, 0},
		{"floor(X)", -1.5, -2}, {"ceil(X)", -1.5, -1}, {"trunc(X)", -1.5, -1}, {"int(X)", 2.7, 2}, {"round(2.6)", 0, 3}, {"max(X,5)", 3, 5}, {"MIN(X, 2, 1, 4)", 3, 1},
	} {
		p, err := parseFormula(c.formula)
		if err != nil {
			t.Errorf("%s: %v", c.formula, err)
			continue
		}
		if got := p.eval(c.x); math.Abs(got-c.want) > 1e-12 || (got != got) != (c.want != c.want) || math.IsInf(c.want, 0) && got != c.want {
			t.Errorf("%s of %v is %v, want %v", c.formula, c.x, got, c.want)
		}
	}
}

// Each operation is rounded by itself: a fused one would give another last bit.
func TestFormulasAreNotFused(t *testing.T) {
	x, y, z := 0.1, 0.1, -0.01
	p, err := parseFormula("X*0.1-0.01")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.eval(x), float64(x*y)+z; got != want || want == math.FMA(x, y, z) {
		t.Errorf("%v, want %v and not %v", got, want, math.FMA(x, y, z))
	}
}

func TestFormulasThatCannotBeSayWhichTokenIsWrong(t *testing.T) {
	for s, token := range map[string]string{
		"": "ends too early", "(": "ends too early", "X+": "ends too early", "foo(1)": `unknown function "foo"`, "1 2": `unexpected "2"`, "pow(1)": "function pow",
		"1..2": "1..2", "X1X": `unknown name "X1X"`, "sin 3": `unknown name "sin"`, ")": `unexpected ")"`, "0x": `"0x"`, "X1+X2": `argument "X2"`, "x10 ": `argument "x10"`,
		"sysc(K)": `unknown function "sysc"`, "X ? 1": "without its :", "X ? : 1": `unexpected ": 1"`, "if(X,1)": "function if", "pow(1,2,3)": "not closed", "X implies 3": `"implies 3"`,
		"X # 2": `"# 2"`, "(X": "not closed", "X and": "ends too early", "min(X)": "function min", "X ! 3": `"! 3"`,
	} {
		if _, err := parseFormula(s); err == nil || !strings.Contains(err.Error(), token) {
			t.Errorf("%q: error %v does not say %s", s, err, token)
		}
	}
}

func TestFormulasAreBounded(t *testing.T) {
	for _, unit := range []string{"(", "-", "not ", "X?", "X?1:", "2^", "if(", "min(1,", "1+(", "sin("} {
		if _, err := parseFormula(strings.Repeat(unit, maxFormula/len(unit))); err == nil || !strings.Contains(err.Error(), "too deep") {
			t.Errorf("%s again and again: %v", unit, err)
		}
	}
	if _, err := parseFormula(strings.Repeat("X+", maxFormula/2) + "X"); err == nil {
		t.Error("a formula of any length is taken")
	}
	long := strings.Repeat("X+", maxFormula/2-1) + "X"
	if p, err := parseFormula(long); err != nil || p.eval(1) != maxFormula/2 {
		t.Errorf("a long sum: %v", err)
	}
}

func BenchmarkFormula(b *testing.B) {
	for _, s := range []string{"X*0.1+3", "X>0 ? sqrt(X) : -1", "((((((((X+1)*2)+(1*(2+(3*(4+(5*(6+(7*(8+X))))))))))))))"} {
		p, err := parseFormula(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				p.eval(float64(i))
			}
		})
	}
}
