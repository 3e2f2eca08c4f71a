package spec

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A source is one file, or one --set, as text.
type source struct {
	name  string
	lines []string // without line breaks; control characters, which a terminal would obey, are replaced
}

func newSource(name, text string) *source {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, text)
	s := &source{name: name, lines: strings.Split(text, "\n")}
	for i, l := range s.lines {
		s.lines[i] = strings.TrimSuffix(l, "\r")
	}
	return s
}

// star hides a stretch of a line; the width stays, so that columns hold.
func (s *source) star(p pos) {
	if s == nil || p.line < 1 || p.line > len(s.lines) {
		return
	}
	r := []rune(s.lines[p.line-1])
	for i := max(p.col-1, 0); i < min(p.col-1+p.length, len(r)); i++ {
		r[i] = '*'
	}
	s.lines[p.line-1] = string(r)
}

// A pos is a stretch of one line; line 0 is the source as a whole.
type pos struct {
	src               *source
	line, col, length int
}

type kind uint8

const (
	nullKind kind = iota
	boolKind
	intKind
	floatKind
	stringKind
	listKind
	mapKind
)

func (k kind) String() string {
	return [...]string{"nothing", "a truth value", "a whole number", "a number", "a string", "a list", "a mapping"}[k]
}

// A node is one value of a YAML file, and where it stands.
type node struct {
	pos
	kind     kind
	text     string // of a scalar, quotes and ${…} resolved
	literal  bool   // a block scalar: its text stands below its position
	quoted   bool
	variable bool     // the whole text came from one ${…}: it may be read as any type
	secret   bool     // from ${file:…} or marked secret: never printed
	broken   bool     // a problem was reported already; stands for any value
	unknown  bool     // a mapping with a key that was refused
	meant    []string // keys that refused ones were probably meant for, and missing ones of which that was told
	items    []*node
	fields   []*field
}

type field struct{ key, value *node }

func (n *node) scalar() bool { return n.kind != listKind && n.kind != mapKind }

func (n *node) null() bool { return n == nil || n.kind == nullKind && !n.broken }

// get returns the value of a key, nil if n is no mapping or has no such key.
func (n *node) get(key string) *node {
	if f := n.field(key); f != nil {
		return f.value
	}
	return nil
}

func (n *node) field(key string) *field {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.key.text == key {
			return f
		}
	}
	return nil
}

// at follows keys and list indices; it returns the last node there is, and whether the whole path was there.
func (n *node) at(path []string) (*node, bool) {
	for _, step := range path {
		next := n.get(step)
		if i, err := strconv.Atoi(step); next == nil && err == nil && n.kind == listKind && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// excused says whether enough was said of what a path leads to: it, or what lies around it, is broken; it is a mapping with a
// key that was refused; or it is missing where a misspelled key stands for it.
func (n *node) excused(path []string) bool {
	for _, step := range path {
		if n.broken {
			return true
		}
		next, found := n.at([]string{step})
		if !found {
			return slices.Contains(n.meant, step)
		}
		n = next
	}
	return n.broken || n.unknown
}

// show is the value for a message.
func (n *node) show() string {
	switch {
	case n.secret:
		return "***"
	case n.kind == stringKind:
		return strconv.Quote(shorten(n.text, 60))
	case n.scalar() && n.kind != nullKind:
		return shorten(n.text, 60)
	}
	return n.kind.String()
}

func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}

// hide marks n and all below as secret.
func (n *node) hide() {
	n.secret = true
	for _, i := range n.items {
		i.hide()
	}
	for _, f := range n.fields {
		f.value.hide()
	}
}

// clone copies n and all below; budget is how many nodes may be made yet.
func (n *node) clone(budget *int) *node {
	if *budget--; *budget < 0 {
		return nil
	}
	c := *n
	c.items, c.fields = nil, nil
	for _, i := range n.items {
		if c.items = append(c.items, i.clone(budget)); *budget < 0 {
			return nil
		}
	}
	for _, f := range n.fields {
		if c.fields = append(c.fields, &field{f.key, f.value.clone(budget)}); *budget < 0 {
			return nil
		}
	}
	return &c
}

var (
	intPattern   = regexp.MustCompile(`^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	floatPattern = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	infPattern   = regexp.MustCompile(`^[-+]?\.(inf|Inf|INF)$`)
)

// plainKind is the type of an unquoted scalar by YAML 1.2, 10.3.2 (core schema). The parser's own resolution is not used, as
// it takes 1e3 for a string and 010 for 8.
func plainKind(text string) kind {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nullKind
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolKind
	case ".nan", ".NaN", ".NAN":
		return floatKind
	}
	switch {
	case intPattern.MatchString(text):
		return intKind
	case floatPattern.MatchString(text), infPattern.MatchString(text):
		return floatKind
	}
	return stringKind
}

// native is n as encoding/json would decode it, but with whole numbers as int64, or as string beyond 64 bits.
func (n *node) native() any {
	switch n.kind {
	case nullKind:
		return nil
	case boolKind:
		return n.text[0] == 't' || n.text[0] == 'T'
	case intKind:
		if i, err := parseInt(n.text, 64); err == nil {
			return i
		}
		return n.text
	case floatKind:
		if f, err := parseFloat(n.text); err == nil {
			return f
		}
		return n.text
	case listKind:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.native()
		}
		return list
	case mapKind:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key.text] = f.value.native()
		}
		return m
	}
	return n.text
}

func parseInt(text string, bits int) (int64, error) {
	text = strings.TrimPrefix(text, "+")
	switch {
	case strings.HasPrefix(text, "0x"):
		return strconv.ParseInt(text[2:], 16, bits)
	case strings.HasPrefix(text, "0o"):
		return strconv.ParseInt(text[2:], 8, bits)
	}
	return strconv.ParseInt(text, 10, bits)
}

func parseFloat(text string) (float64, error) {
	if infPattern.MatchString(text) || strings.EqualFold(text, ".nan") {
		text = strings.Replace(text, ".", "", 1)
	}
	return strconv.ParseFloat(text, 64)
}
