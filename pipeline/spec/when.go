package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/milepost-dev/milepost/pipeline"
)

// An Event is what a `when` sees.
type Event struct {
	Type      string    `expr:"type"`
	Source    string    `expr:"source"`
	Subject   string    `expr:"subject"`
	Recording string    `expr:"recording"`
	Time      time.Time `expr:"time"`
	Data      any       `expr:"data"` // a document as encoding/json decodes it; of tables, the columns by name or nil
}

var eventNames = []string{"type", "source", "subject", "recording", "time", "data"}

// A Condition is a compiled `when`. It may be used concurrently.
type Condition struct {
	Source   string
	NeedData bool // it looks at data, so that an event cannot be judged by its attributes alone
	program  *vm.Program
}

// Match says whether the event satisfies the condition. It depends on the event alone: clocks are not to be had in
// expressions. An error, such as a comparison with a field that the event does not have, will come again at each try.
func (c *Condition) Match(e Event) (bool, error) {
	out, err := expr.Run(c.program, e)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			err = errors.New(at.Message)
		}
		return false, fmt.Errorf("when %q: %w", c.Source, err)
	}
	ok, isBool := out.(bool)
	if !isBool {
		return false, fmt.Errorf("when %q: gives %v, neither true nor false", c.Source, out)
	}
	return ok, nil
}

// CompileCondition compiles an expression over Event that gives true or false.
func CompileCondition(source string) (*Condition, error) {
	program, err := expr.Compile(source, expr.Env(Event{}), expr.AsBool(), expr.DisableBuiltin("now"))
	if err != nil {
		return nil, err
	}
	return &Condition{Source: source, NeedData: needsData(program.Node()), program: program}, nil
}

func needsData(n ast.Node) bool {
	v := &dataFields{}
	ast.Walk(&n, v)
	return v.any
}

// dataFields collects what an expression takes from data.
type dataFields struct {
	any     bool
	members []*ast.MemberNode // data.NAME
	types   []string          // string literals that type is compared with
	choice  bool              // there is an "or", a "not" or a condition: comparisons need not hold where data is looked at
}

// Visit implements ast.Visitor.
func (v *dataFields) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		v.any = v.any || n.Value == "data"
	case *ast.MemberNode:
		_, named := n.Property.(*ast.StringNode)
		if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "data" && named {
			v.members = append(v.members, n)
		}
	case *ast.UnaryNode:
		v.choice = v.choice || n.Operator == "!" || n.Operator == "not"
	case *ast.ConditionalNode:
		v.choice = true
	case *ast.BinaryNode:
		v.choice = v.choice || n.Operator == "||" || n.Operator == "or"
		id, left := n.Left.(*ast.IdentifierNode)
		s, right := n.Right.(*ast.StringNode)
		if n.Operator == "==" && left && right && id.Value == "type" {
			v.types = append(v.types, s.Value)
		}
	}
}

// condition compiles a stage's `when` and reports what is wrong with it, at the place inside the expression.
func (l *loader) condition(n *node, source string) *Condition {
	c, err := CompileCondition(source)
	if err == nil {
		return c
	}
	var at *file.Error
	if !errors.As(err, &at) {
		l.report(n.pos, CodeExpr, "%v", err)
		return nil
	}
	p := l.report(n.inside(at.Location), CodeExpr, "%s", strings.TrimSpace(at.Message))
	if name, ok := strings.CutPrefix(at.Message, "unknown name "); ok {
		p.Length = len([]rune(name))
		p.Meant = pipeline.Nearest(name, eventNames)
		p.Hint = "an expression sees: type, source, subject, recording, time, data.*"
	}
	return nil
}

// inside is the place of a part of an expression. Only of a scalar in one line does the file show it; otherwise it is the
// scalar's own place.
func (n *node) inside(at file.Location) pos {
	if n.literal || n.variable || n.src == nil || n.line < 1 {
		return n.pos
	}
	offset := at.From
	if n.quoted {
		offset++
	}
	line := []rune(n.src.lines[n.line-1])
	if from := n.col - 1 + offset; from < 0 || from >= len(line) || offset >= n.length {
		return n.pos
	}
	return pos{n.src, n.line, n.col + offset, max(at.To-at.From, 1)}
}

// checkFields refuses data.NAME where no event type that can come has such a field. Types whose fields are not known are
// not judged.
func (l *loader) checkFields(n *node, source string, types []string) {
	tree, err := parser.Parse(source)
	if err != nil {
		return
	}
	v := &dataFields{}
	ast.Walk(&tree.Node, v)
	if only := slices.DeleteFunc(slices.Clone(types), func(t string) bool { return !slices.Contains(v.types, t) }); len(only) > 0 && !v.choice {
		types = only
	}
	var known []string
	for _, t := range types {
		fields := l.fieldsOf(t)
		if len(fields) == 0 {
			return
		}
		known = append(known, fields...)
	}
	for _, m := range v.members {
		name := m.Property.(*ast.StringNode).Value
		if len(types) == 0 || slices.Contains(known, name) {
			continue
		}
		at := m.Node.Location()
		at.To = at.From + len([]rune("data."+name))
		p := l.report(n.inside(at), CodeExpr, "data.%s is not a field of %s", name, orList(types))
		p.Hint = "it has: " + strings.Join(known, ", ")
		if near := pipeline.Nearest(name, known); near != "" {
			p.Meant = "data." + near
		}
	}
}

// fieldsOf are the names that data of a type has; nil where that is not known.
func (l *loader) fieldsOf(eventType string) []string {
	if l.opts.Fields != nil {
		return l.opts.Fields(eventType)
	}
	for _, name := range l.opts.Registry.Names() {
		t, _ := l.opts.Registry.Lookup(name)
		if fields := t.Info().Fields[eventType]; len(fields) > 0 {
			return fields
		}
	}
	return nil
}
