package binding

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// places are where the values of a file stand, "line:column" by path: bindings.car.tracks[0].dbc, logs["a.mf4"].binding.
type places map[string]string

// of is the place of a path, or of the nearest part around it that the file has; empty without one.
func (p places) of(at string) string {
	for at != "" {
		if place, ok := p[at]; ok {
			return place
		}
		i := strings.LastIndexAny(at, ".[")
		if i < 0 {
			return ""
		}
		at = at[:i]
	}
	return ""
}

// A surveyor walks a file beside the types that it is decoded into: it notes places and reports keys that no type has.
type surveyor struct {
	places  places
	unknown func(place, key string, fields []string)
	depth   int
}

// maxNesting is more than any file needs; an alias may lead in circles.
const maxNesting = 64

func (s *surveyor) walk(n ast.Node, t reflect.Type, at string) {
	if s.depth++; s.depth < maxNesting {
		s.node(n, t, at)
	}
	s.depth--
}

func (s *surveyor) node(n ast.Node, t reflect.Type, at string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		s.walk(n.Value, t, at)
	case *ast.TagNode:
		s.walk(n.Value, t, at)
	case *ast.MappingNode:
		for _, v := range n.Values {
			s.entry(v, t, at)
		}
	case *ast.MappingValueNode:
		s.entry(n, t, at)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			s.item(v, t, fmt.Sprintf("%s[%d]", at, i))
		}
	}
}

func (s *surveyor) item(n ast.Node, t reflect.Type, at string) {
	s.places[at] = placeOf(n)
	if t.Kind() == reflect.Slice {
		s.walk(n, t.Elem(), at)
	}
}

var logsType = reflect.TypeFor[Logs]()

func (s *surveyor) entry(n *ast.MappingValueNode, t reflect.Type, at string) {
	if _, merge := n.Key.(*ast.MergeKeyNode); merge {
		s.walk(n.Value, t, at)
		return
	}
	key := keyText(n.Key)
	child := join(at, key)
	if t == logsType {
		child = fmt.Sprintf("%s[%q]", at, key)
	}
	s.places[child] = placeOf(n.Key)
	switch {
	case t == logsType || t.Kind() == reflect.Map:
		s.walk(n.Value, t.Elem(), child)
	case t.Kind() == reflect.Struct:
		fields := fieldsOf(t)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			s.unknown(placeOf(n.Key), child, names(fields))
			return
		}
		s.walk(n.Value, fields[i].of, child)
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func keyText(n ast.MapKeyNode) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return strings.TrimSpace(n.String())
}

func placeOf(n ast.Node) string {
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", t.Position.Line, t.Position.Column)
}

// A field is a key that a type has.
type field struct {
	name string
	of   reflect.Type
}

func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			all = append(all, fieldsOf(f.Type)...)
		case name != "" && name != "-":
			all = append(all, field{name, f.Type})
		}
	}
	return all
}

func names(fields []field) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}
