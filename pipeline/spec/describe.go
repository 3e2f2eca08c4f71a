package spec

import (
	"reflect"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// A Field is one key of a stage type's configuration, as `stages describe` shows it.
type Field struct {
	Path     string   `json:"path"` // as in a file: with.window.tumbling; NAME stands for keys that the user chooses
	Type     string   `json:"type"` // string, bool, int, float, duration, size, any, [T] a list, T|[T] one or a list, a|b one of these words
	Required bool     `json:"required,omitempty"`
	Default  string   `json:"default,omitempty"` // as YAML; "required" where it is
	Enum     []string `json:"enum,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Doc      string   `json:"doc,omitempty"`
}

// Describe lists the configuration of a stage type, in order of declaration, fields of mappings behind the mapping's name.
func Describe(t pipeline.StageType) []Field {
	cfg := reflect.ValueOf(t.NewConfig()).Elem()
	if cfg.Kind() != reflect.Struct {
		return nil
	}
	d := &describer{}
	prefix := "with."
	if t.Info().Role == pipeline.RoleSink {
		prefix = ""
	}
	d.structure(prefix, cfg.Type(), cfg)
	return d.fields
}

type describer struct {
	fields []Field
	stack  []reflect.Type
}

func (d *describer) structure(prefix string, t reflect.Type, def reflect.Value) {
	if slices.Contains(d.stack, t) {
		return // a type that holds itself is described once
	}
	d.stack = append(d.stack, t)
	defer func() { d.stack = d.stack[:len(d.stack)-1] }()
	for _, f := range taggedFields(t) {
		value := reflect.Value{}
		if def.IsValid() {
			value = def.FieldByIndex(f.index)
		}
		d.field(prefix+f.name, f, value)
	}
}

func (d *describer) field(path string, f tagged, def reflect.Value) {
	inner, names := inside(f.typ)
	path += names
	if inner.Kind() == reflect.Struct && !describedWhole(inner) {
		if f.doc != "" && (names != "" || f.required) {
			d.fields = append(d.fields, Field{Path: path, Type: "mapping", Required: f.required, Default: requiredOr(f, ""), Doc: f.doc})
		}
		if def.IsValid() && def.Type() != inner {
			def = reflect.Value{}
		}
		d.structure(path+".", inner, def)
		return
	}
	d.fields = append(d.fields, Field{Path: path, Type: typeName(f, inner), Required: f.required, Enum: f.enum, Secret: f.secret,
		Doc: f.doc, Default: requiredOr(f, defaultOf(f, def))})
}

// inside is the type of a field below pointers and mappings from names, and what those add to the path.
func inside(t reflect.Type) (inner reflect.Type, names string) {
	for !describedWhole(t) {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
			continue
		case reflect.Map:
			t, names = t.Elem(), names+".NAME"
			continue
		}
		break
	}
	return t, names
}

// describedWhole says whether a type is one word of a description, whatever it is made of.
func describedWhole(t reflect.Type) bool {
	return t == durationType || t == rawType || takesText(t) && (t.Kind() != reflect.Struct || opaque(t))
}

func typeName(f tagged, t reflect.Type) string {
	if f.enum != nil {
		return strings.Join(f.enum, "|")
	}
	return nameOfType(t)
}

func nameOfType(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == rawType, t.Kind() == reflect.Interface:
		return "any"
	case t.Kind() == reflect.Pointer:
		return nameOfType(t.Elem())
	case t.Kind() == reflect.Slice && takesText(t):
		return nameOfType(t.Elem()) + "|[" + nameOfType(t.Elem()) + "]"
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Array:
		return "[" + nameOfType(t.Elem()) + "]"
	case takesText(t):
		return strings.ToLower(t.Name())
	}
	return nameOfKind(t.Kind())
}

func nameOfKind(k reflect.Kind) string {
	switch {
	case k >= reflect.Int && k <= reflect.Uint64:
		return "int"
	case k == reflect.Float32, k == reflect.Float64:
		return "float"
	case k == reflect.Struct, k == reflect.Map:
		return "mapping"
	}
	return k.String()
}

func requiredOr(f tagged, def string) string {
	if f.required {
		return "required"
	}
	return def
}

// defaultOf is the default as YAML in one line; nothing where it says nothing.
func defaultOf(f tagged, def reflect.Value) string {
	if !def.IsValid() || f.secret || def.Kind() == reflect.Pointer && def.IsNil() {
		return ""
	}
	n := (encoder{}).encode(def, nil, reflect.Value{})
	if n == nil || empty(def) && (!n.scalar() || n.text == "") {
		return ""
	}
	return strings.ReplaceAll(n.flow(), "$$", "$")
}
