package mdf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A formula is an expression in X (MDF 4.2, 5.14.4: the syntax of ASAM MCD-2 MC) in postfix order.
type formula struct {
	code []formulaOp
}

type formulaOp struct {
	op    opcode
	value float64
	f1    func(float64) float64
	f2    func(float64, float64) float64
}

type opcode uint8

const (
	opPush opcode = iota
	opX
	opUnary
	opBinary
)

const (
	maxFormula      = 4096 // characters
	maxFormulaDepth = 64   // of parentheses, and of the stack
)

func (p *formula) eval(x float64) float64 {
	var stack [maxFormulaDepth * 4]float64
	n := 0
	for i := range p.code {
		switch o := &p.code[i]; o.op {
		case opPush:
			stack[n] = o.value
			n++
		case opX:
			stack[n] = x
			n++
		case opUnary:
			stack[n-1] = o.f1(stack[n-1])
		case opBinary:
			n--
			stack[n-1] = o.f2(stack[n-1], stack[n])
		}
	}
	return stack[0]
}

type binaryOp struct {
	name  string
	level int
	right bool
	f     func(a, b float64) float64
}

// binaryOps in the order they are tried: longer names first.
var binaryOps = []binaryOp{
	{"||", 1, false, func(a, b float64) float64 { return truth(a != 0 || b != 0) }},
	{"&&", 2, false, func(a, b float64) float64 { return truth(a != 0 && b != 0) }},
	{"==", 5, false, func(a, b float64) float64 { return truth(a == b) }},
	{"!=", 5, false, func(a, b float64) float64 { return truth(a != b) }},
	{"<<", 7, false, func(a, b float64) float64 { return float64(int64(a) << (uint64(b) & 63)) }},
	{">>", 7, false, func(a, b float64) float64 { return float64(int64(a) >> (uint64(b) & 63)) }},
	{"<=", 6, false, func(a, b float64) float64 { return truth(a <= b) }},
	{">=", 6, false, func(a, b float64) float64 { return truth(a >= b) }},
	{"**", 11, true, math.Pow},
	{"<", 6, false, func(a, b float64) float64 { return truth(a < b) }},
	{">", 6, false, func(a, b float64) float64 { return truth(a > b) }},
	{"|", 3, false, func(a, b float64) float64 { return float64(int64(a) | int64(b)) }},
	{"&", 4, false, func(a, b float64) float64 { return float64(int64(a) & int64(b)) }},
	{"+", 8, false, func(a, b float64) float64 { return a + b }},
	{"-", 8, false, func(a, b float64) float64 { return a - b }},
	{"*", 9, false, func(a, b float64) float64 { return a * b }},
	{"/", 9, false, func(a, b float64) float64 { return a / b }},
	{"%", 9, false, math.Mod},
	{"^", 11, true, math.Pow},
}

var unaryFunctions = map[string]func(float64) float64{
	"sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos, "atan": math.Atan,
	"arcsin": math.Asin, "arccos": math.Acos, "arctan": math.Atan, "sinh": math.Sinh, "cosh": math.Cosh,
	"tanh": math.Tanh, "exp": math.Exp, "ln": math.Log, "log": math.Log, "log10": math.Log10, "sqrt": math.Sqrt,
	"abs": math.Abs, "floor": math.Floor, "ceil": math.Ceil, "round": math.RoundToEven,
}

var binaryFunctions = map[string]func(a, b float64) float64{
	"pow": math.Pow, "atan2": math.Atan2, "min": math.Min, "max": math.Max, "mod": math.Mod,
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// formulaParser parses by precedence climbing and checks the depth of the stack as it emits.
type formulaParser struct {
	s     string
	out   formula
	stack int
	nest  int
}

func parseFormula(s string) (*formula, error) {
	if len(s) > maxFormula {
		return nil, fmt.Errorf("longer than %d characters", maxFormula)
	}
	p := &formulaParser{s: s}
	if err := p.expression(0); err != nil {
		return nil, err
	}
	if p.skip(); p.s != "" {
		return nil, fmt.Errorf("unexpected %q", p.s)
	}
	return &p.out, nil
}

func (p *formulaParser) skip() { p.s = strings.TrimLeft(p.s, " \t\r\n") }

func (p *formulaParser) emit(o formulaOp, change int) error {
	if p.stack += change; p.stack > maxFormulaDepth*4 {
		return fmt.Errorf("nested too deep")
	}
	p.out.code = append(p.out.code, o)
	return nil
}

func (p *formulaParser) operator(level int) (binaryOp, bool) {
	p.skip()
	for _, o := range binaryOps {
		if strings.HasPrefix(p.s, o.name) {
			return o, o.level >= level
		}
	}
	return binaryOp{}, false
}

func (p *formulaParser) expression(level int) error {
	if p.nest++; p.nest > maxFormulaDepth {
		return fmt.Errorf("nested too deep")
	}
	defer func() { p.nest-- }()
	if err := p.operand(); err != nil {
		return err
	}
	for {
		o, ok := p.operator(level)
		if !ok {
			return nil
		}
		p.s = p.s[len(o.name):]
		next := o.level + 1
		if o.right {
			next = o.level
		}
		if err := p.expression(next); err != nil {
			return err
		}
		if err := p.emit(formulaOp{op: opBinary, f2: o.f}, -1); err != nil {
			return err
		}
	}
}

func (p *formulaParser) operand() error {
	p.skip()
	if p.s == "" {
		return fmt.Errorf("ends too early")
	}
	switch c := p.s[0]; {
	case c == '(':
		p.s = p.s[1:]
		return p.closed(func() error { return p.expression(0) })
	case c == '+':
		p.s = p.s[1:]
		return p.expression(10)
	case c == '-':
		return p.prefix(func(a float64) float64 { return -a })
	case c == '!':
		return p.prefix(func(a float64) float64 { return truth(a == 0) })
	case c == '~':
		return p.prefix(func(a float64) float64 { return float64(^int64(a)) })
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	}
	return p.name()
}

// prefix is an operator that binds weaker than the power, stronger than the product.
func (p *formulaParser) prefix(f func(float64) float64) error {
	p.s = p.s[1:]
	if err := p.expression(10); err != nil {
		return err
	}
	return p.emit(formulaOp{op: opUnary, f1: f}, 0)
}

func (p *formulaParser) closed(inner func() error) error {
	if err := inner(); err != nil {
		return err
	}
	if p.skip(); !strings.HasPrefix(p.s, ")") {
		return fmt.Errorf("a parenthesis is not closed")
	}
	p.s = p.s[1:]
	return nil
}

func (p *formulaParser) number() error {
	i := 0
	for i < len(p.s) && (strings.IndexByte("0123456789.", p.s[i]) >= 0 ||
		(p.s[i] == 'e' || p.s[i] == 'E') && i+1 < len(p.s) ||
		(p.s[i] == '+' || p.s[i] == '-') && i > 0 && (p.s[i-1] == 'e' || p.s[i-1] == 'E')) {
		i++
	}
	if strings.HasPrefix(p.s, "0x") || strings.HasPrefix(p.s, "0X") {
		for i = 2; i < len(p.s) && strings.IndexByte("0123456789abcdefABCDEF", p.s[i]) >= 0; i++ {
		}
		u, err := strconv.ParseUint(p.s[2:i], 16, 64)
		if err != nil {
			return fmt.Errorf("number %q", p.s[:i])
		}
		p.s = p.s[i:]
		return p.emit(formulaOp{op: opPush, value: float64(u)}, 1)
	}
	v, err := strconv.ParseFloat(p.s[:i], 64)
	if err != nil {
		return fmt.Errorf("number %q", p.s[:i])
	}
	p.s = p.s[i:]
	return p.emit(formulaOp{op: opPush, value: v}, 1)
}

// name is X, X1, pi or a call of a function.
func (p *formulaParser) name() error {
	i := 0
	for i < len(p.s) && (p.s[i] == '_' || p.s[i] >= '0' && p.s[i] <= '9' || p.s[i]|32 >= 'a' && p.s[i]|32 <= 'z') {
		i++
	}
	name := strings.ToLower(p.s[:i])
	p.s = p.s[i:]
	switch name {
	case "x", "x1":
		return p.emit(formulaOp{op: opX}, 1)
	case "pi":
		return p.emit(formulaOp{op: opPush, value: math.Pi}, 1)
	}
	if p.skip(); !strings.HasPrefix(p.s, "(") {
		return fmt.Errorf("unknown name %q", name)
	}
	p.s = p.s[1:]
	if f, ok := unaryFunctions[name]; ok {
		if err := p.closed(func() error { return p.expression(0) }); err != nil {
			return err
		}
		return p.emit(formulaOp{op: opUnary, f1: f}, 0)
	}
	f, ok := binaryFunctions[name]
	if !ok {
		return fmt.Errorf("unknown function %q", name)
	}
	if err := p.closed(p.arguments); err != nil {
		return err
	}
	return p.emit(formulaOp{op: opBinary, f2: f}, -1)
}

func (p *formulaParser) arguments() error {
	if err := p.expression(0); err != nil {
		return err
	}
	if p.skip(); !strings.HasPrefix(p.s, ",") {
		return fmt.Errorf("a function of two arguments has one")
	}
	p.s = p.s[1:]
	return p.expression(0)
}
