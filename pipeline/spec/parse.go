package spec

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may hold at most. The parser recurses on what it reads, and a goroutine's stack that is used up cannot be
// recovered from; aliases of aliases can stand for more nodes than memory holds.
type limits struct {
	bytes int // of text
	nodes int // values, those of aliases counted
}

var pipelinesLimits = limits{bytes: maxFileBytes, nodes: 100_000}

const (
	maxFileBytes = 1 << 20
	maxDepth     = 100
)

// A yamlReader makes a tree of nodes from one file's text.
type yamlReader struct {
	l       *loader
	src     *source
	budget  int
	anchors map[string]*node
}

// parse returns the file's only document, a null node if it is empty, or nil and problems.
func (l *loader) parse(src *source, text string) *node {
	r := &yamlReader{l: l, src: src, budget: l.limits.nodes, anchors: map[string]*node{}}
	text = strings.TrimPrefix(text, "\ufeff")
	switch {
	case len(text) > l.limits.bytes:
		return r.fail(pos{src: src}, "the file is larger than %d MiB", l.limits.bytes>>20)
	case !utf8.ValidString(text):
		return r.fail(pos{src: src}, "the file is not UTF-8 text")
	}
	docs := r.documents(text)
	if docs == nil {
		return nil
	}
	if len(docs) > 1 {
		p := r.pos(docs[1])
		r.l.report(p, CodeYAML, "a second document in one file").Hint = "split the file and give both: -f a.yaml -f b.yaml"
		return nil
	}
	root := r.node(docs[0], 0)
	if r.budget < 0 {
		return r.fail(pos{src: src}, "aliases make more than %d values of this file", l.limits.nodes)
	}
	return root
}

func (r *yamlReader) fail(p pos, format string, args ...any) *node {
	r.l.report(p, CodeYAML, format, args...)
	return nil
}

// documents runs the YAML parser. It is a large piece of code that we do not own, fed by anybody: should it panic on some
// input, that is the input's problem and not the process's.
func (r *yamlReader) documents(text string) (docs []ast.Node) {
	defer func() {
		if p := recover(); p != nil {
			r.fail(pos{src: r.src}, "the YAML parser gave up: %v", p)
			docs = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if p, deep := r.tooDeep(tokens); deep {
		r.fail(p, "nested more than %d deep", maxDepth)
		return nil
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	docs = make([]ast.Node, 0, 1)
	for i, d := range f.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive || d.Body == nil && i > 0 {
			continue
		}
		docs = append(docs, d.Body)
	}
	if len(docs) == 0 {
		docs = append(docs, nil)
	}
	return docs
}

// tooDeep finds nesting that a file of 1 MiB could use to exhaust the parser's stack: brackets, and dashes, question marks,
// anchors and tags in one line. (Indentation cannot: its depth is at most the root of the file's size.)
func (r *yamlReader) tooDeep(tokens token.Tokens) (pos, bool) {
	flow, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.MappingValueType:
			inLine++
		case token.CollectEntryType:
			inLine = 0
		}
		if flow > maxDepth || inLine > maxDepth {
			return pos{r.src, t.Position.Line, t.Position.Column, 1}, true
		}
	}
	return pos{}, false
}

func (r *yamlReader) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		r.fail(pos{src: r.src}, "not YAML: %v", err)
		return
	}
	p := r.tokenPos(e.GetToken())
	problem := r.l.report(p, CodeYAML, "not YAML: %s", e.GetMessage())
	if p.line <= len(r.src.lines) && strings.Contains(r.src.lines[max(p.line-1, 0)], "${") {
		problem.Hint = `inside { } and [ ] a variable stands in quotes: "${NAME}"`
	} else if strings.Contains(e.GetMessage(), "'\t'") {
		problem.Hint = "indent by spaces, YAML takes no tabs"
	}
}

func (r *yamlReader) tokenPos(t *token.Token) pos {
	first, _, _ := strings.Cut(strings.TrimSpace(t.Origin), "\n")
	return pos{r.src, max(t.Position.Line, 1), max(t.Position.Column, 1), max(utf8.RuneCountInString(strings.TrimSpace(first)), 1)}
}

// pos is where a node starts: a mapping at its first key.
func (r *yamlReader) pos(n ast.Node) pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return r.pos(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return r.pos(n.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return pos{src: r.src}
	}
	return r.tokenPos(n.GetToken())
}

// node converts one value. What it refuses comes back broken, so that nothing else is said of it.
func (r *yamlReader) node(n ast.Node, depth int) *node {
	if r.budget--; r.budget < 0 || n == nil {
		return &node{pos: pos{src: r.src}}
	}
	p := r.pos(n)
	if depth > 10*maxDepth {
		return r.broken(p, "nested too deep")
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(p, n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping(p, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		list := &node{pos: p, kind: listKind}
		for _, v := range n.Values {
			list.items = append(list.items, r.node(v, depth+1))
		}
		return list
	case *ast.AnchorNode:
		v := r.node(n.Value, depth+1)
		r.anchors[nameOf(n.Name)] = v
		return v
	case *ast.AliasNode:
		return r.alias(p, nameOf(n.Value))
	case *ast.TagNode:
		return r.tagged(p, n, depth)
	case *ast.LiteralNode:
		return &node{pos: p, kind: stringKind, text: n.Value.Value, quoted: true, literal: true}
	}
	return r.scalar(p, n)
}

func nameOf(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

func (r *yamlReader) broken(p pos, format string, args ...any) *node {
	r.l.report(p, CodeYAML, format, args...)
	return &node{pos: p, broken: true}
}

func (r *yamlReader) scalar(p pos, n ast.Node) *node {
	t := n.GetToken()
	if _, ok := n.(ast.ScalarNode); !ok || t == nil {
		return r.broken(p, "cannot use a YAML %s here", strings.ToLower(n.Type().YAMLName()))
	}
	if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
		return &node{pos: p, kind: stringKind, text: t.Value, quoted: true}
	}
	return &node{pos: p, kind: plainKind(t.Value), text: t.Value}
}

func (r *yamlReader) alias(p pos, name string) *node {
	v, ok := r.anchors[name]
	if !ok {
		return r.broken(p, "alias *%s names no anchor above", name)
	}
	if v = v.clone(&r.budget); v == nil {
		return &node{pos: p, broken: true}
	}
	return v
}

func (r *yamlReader) tagged(p pos, n *ast.TagNode, depth int) *node {
	tag := n.GetToken().Value
	v := r.node(n.Value, depth+1)
	switch {
	case tag == "!!str" && v.scalar():
		v.kind, v.quoted = stringKind, true
	case tag == "!!int" && v.kind == intKind, tag == "!!float" && (v.kind == floatKind || v.kind == intKind),
		tag == "!!bool" && v.kind == boolKind, tag == "!!null" && v.kind == nullKind,
		tag == "!!map" && v.kind == mapKind, tag == "!!seq" && v.kind == listKind:
	default:
		return r.broken(p, "cannot use the tag %s here", tag)
	}
	return v
}

func (r *yamlReader) mapping(p pos, values []*ast.MappingValueNode, depth int) *node {
	m := &node{pos: p, kind: mapKind}
	var merged []*node
	for _, v := range values {
		key := r.key(v.Key)
		value := r.node(v.Value, depth+1)
		if r.implicit(value) {
			value.pos = key.pos
		}
		if v.Key != nil && v.Key.IsMergeKey() {
			merged = append(merged, value)
			continue
		}
		if key.broken {
			continue
		}
		if first := m.field(key.text); first != nil {
			r.l.report(key.pos, CodeYAML, "key %q stands here a second time, first in line %d", key.text, first.key.line)
			continue
		}
		m.fields = append(m.fields, &field{key, value})
	}
	for _, v := range merged {
		r.merge(m, v)
	}
	return m
}

// implicit says whether a null was not written (`to:`), so that it stands where its key does.
func (r *yamlReader) implicit(n *node) bool {
	if n.kind != nullKind || n.broken {
		return false
	}
	if n.line < 1 || n.line > len(r.src.lines) {
		return true
	}
	line := []rune(r.src.lines[n.line-1])
	return n.col > len(line) || !strings.HasPrefix(string(line[n.col-1:]), n.text)
}

func (r *yamlReader) key(k ast.MapKeyNode) *node {
	if k == nil {
		return &node{pos: pos{src: r.src}, broken: true}
	}
	var n ast.Node = k
	if explicit, ok := n.(*ast.MappingKeyNode); ok {
		n = explicit.Value
	}
	if _, ok := n.(ast.ScalarNode); !ok || n.GetToken() == nil {
		return r.broken(r.pos(k), "a key must be a plain word")
	}
	return &node{pos: r.pos(n), kind: stringKind, text: n.GetToken().Value}
}

// merge adds what `<<` names, below the keys that stand there.
func (r *yamlReader) merge(m, from *node) {
	switch {
	case from.kind == mapKind:
		for _, f := range from.fields {
			if m.field(f.key.text) == nil {
				m.fields = append(m.fields, f)
			}
		}
	case from.kind == listKind:
		for _, i := range from.items {
			if i.kind != mapKind {
				r.l.report(i.pos, CodeYAML, "<< wants mappings, not %s", i.kind)
				continue
			}
			r.merge(m, i)
		}
	case !from.broken:
		r.l.report(from.pos, CodeYAML, "<< wants a mapping, not %s", from.kind)
	}
}

// value parses the text of a --set behind its `=`, so that positions are those of the whole argument.
func (l *loader) value(src *source, text string, column int) *node {
	inner := newSource(src.name, text)
	before := len(l.problems)
	n := l.parse(inner, text)
	for i := before; i < len(l.problems); i++ {
		p := l.problems[i]
		p.source = src
		if p.Line == 1 {
			p.Column += column
		}
	}
	if n != nil {
		n.move(inner, src, column)
	}
	return n
}

func (n *node) move(from, to *source, column int) {
	if n.src == from {
		n.src = to
		if n.line <= 1 {
			n.line, n.col = 1, n.col+column
		}
	}
	for _, i := range n.items {
		i.move(from, to, column)
	}
	for _, f := range n.fields {
		f.key.move(from, to, column)
		f.value.move(from, to, column)
	}
}
