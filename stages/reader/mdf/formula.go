package mdf

import (
	"fmt"
	"strconv"
	"strings"
)

// A formula is an expression in X (MDF 4.2, 5.14.4: keyword FORMULA of ASAM MCD-2 MC, which is that of the ASAM General Expression
// Syntax with one argument) in postfix order.
type formula struct {
	code  []formulaOp
	depth int // of the stack
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
	opSelect // of three: the second where the first is not 0, else the third
)

const (
	maxFormula      = 4096 // characters
	maxFormulaDepth = 64   // of parentheses, and of the stack
)

func (p *formula) eval(x float64) float64 {
	var small [8]float64 // clearing a large one for each value would cost more than most formulas
	if p.depth <= len(small) {
		return p.run(x, small[:])
	}
	var large [maxFormulaDepth * 4]float64
	return p.run(x, large[:])
}

func (p *formula) run(x float64, stack []float64) float64 {
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
		case opSelect:
			if n -= 2; stack[n-1] != 0 {
				stack[n-1] = stack[n]
			} else {
				stack[n-1] = stack[n+1]
			}
		}
	}
	return stack[0]
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
	p.out.depth = max(p.out.depth, p.stack)
	p.out.code = append(p.out.code, o)
	return nil
}

func (p *formulaParser) operator(level int) (binaryOp, bool) {
	p.skip()
	if word := strings.ToLower(p.word()); word != "" {
		o, ok := wordOps[word]
		return o, ok && o.level >= level
	}
	for _, o := range binaryOps {
		if strings.HasPrefix(p.s, o.name) {
			return o, o.level >= level
		}
	}
	return binaryOp{}, false
}

// word is the name at the head of what is left.
func (p *formulaParser) word() string {
	i := 0
	for i < len(p.s) && (p.s[i] == '_' || i > 0 && p.s[i] >= '0' && p.s[i] <= '9' || p.s[i]|32 >= 'a' && p.s[i]|32 <= 'z') {
		i++
	}
	return p.s[:i]
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
			return p.choice(level)
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

// choice is what follows a condition, c ? a : b, which binds weakest, from the right.
func (p *formulaParser) choice(level int) error {
	if level > 0 || !strings.HasPrefix(p.s, "?") {
		return nil
	}
	if err := p.expect("?", "", 0); err != nil {
		return err
	}
	if err := p.expect(":", "a ? without its :", 0); err != nil {
		return err
	}
	return p.emit(formulaOp{op: opSelect}, -2)
}

// expect parses a sign, without which the formula lacks something, and the expression behind it.
func (p *formulaParser) expect(sign, lacking string, level int) error {
	if p.skip(); !strings.HasPrefix(p.s, sign) {
		return fmt.Errorf("%s at %q", lacking, p.s)
	}
	p.s = p.s[len(sign):]
	return p.expression(level)
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
		return p.expression(prefixLevel)
	case c == '-':
		return p.prefix(func(a float64) float64 { return -a })
	case c == '!':
		return p.prefix(not)
	case c == '~':
		return p.prefix(complement)
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	}
	return p.name()
}

// prefix is an operator that binds weaker than the power, stronger than the product.
func (p *formulaParser) prefix(f func(float64) float64) error {
	p.s = p.s[1:]
	return p.prefixed(f)
}

func (p *formulaParser) prefixed(f func(float64) float64) error {
	if err := p.expression(prefixLevel); err != nil {
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

// name is an argument, a constant, a call of a function, or NOT.
func (p *formulaParser) name() error {
	word := p.word()
	if word == "" {
		return fmt.Errorf("unexpected %q", p.s)
	}
	p.s = p.s[len(word):]
	name := strings.ToLower(word)
	if v, ok := formulaConstants[name]; ok {
		return p.emit(formulaOp{op: opPush, value: v}, 1)
	}
	switch {
	case name == "x" || name == "x1":
		return p.emit(formulaOp{op: opX}, 1)
	case name == "not":
		return p.prefixed(not)
	case name[0] == 'x' && strings.Trim(name[1:], "0123456789") == "":
		return fmt.Errorf("argument %q: the conversion of a channel has one, X or X1", word)
	}
	if p.skip(); !strings.HasPrefix(p.s, "(") {
		return fmt.Errorf("unknown name %q", word)
	}
	p.s = p.s[1:]
	if f, ok := unaryFunctions[name]; ok {
		if err := p.closed(func() error { return p.expression(0) }); err != nil {
			return err
		}
		return p.emit(formulaOp{op: opUnary, f1: f}, 0)
	}
	if f, ok := binaryFunctions[name]; ok {
		return p.closed(func() error { return p.arguments(word, f) })
	}
	if name == "if" {
		return p.closed(p.condition)
	}
	return fmt.Errorf("unknown function %q", word)
}

// arguments are the two of a function; min and max have any number.
func (p *formulaParser) arguments(word string, f func(a, b float64) float64) error {
	if err := p.expression(0); err != nil {
		return err
	}
	for n := 1; ; n++ {
		if n > 1 {
			if p.skip(); !manyArguments[strings.ToLower(word)] || !strings.HasPrefix(p.s, ",") {
				return nil
			}
		}
		if err := p.expect(",", "function "+word+" lacks an argument", 0); err != nil {
			return err
		}
		if err := p.emit(formulaOp{op: opBinary, f2: f}, -1); err != nil {
			return err
		}
	}
}

// condition are the three arguments of if.
func (p *formulaParser) condition() error {
	if err := p.expression(0); err != nil {
		return err
	}
	for range 2 {
		if err := p.expect(",", "function if lacks an argument", 0); err != nil {
			return err
		}
	}
	return p.emit(formulaOp{op: opSelect}, -2)
}
