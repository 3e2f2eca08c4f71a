package spec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	floatType       = reflect.TypeFor[float64]()
	nodeType        = reflect.TypeFor[*node]()
)

// A tagged is one field of a configuration struct as its tags declare it.
type tagged struct {
	index    []int
	name     string
	doc      string
	enum     []string
	min, max string // bounds of a number, both allowed; empty: none
	required bool
	secret   bool
	identity bool
	typ      reflect.Type
}

// taggedFields lists the keys that a struct type takes, in order of declaration.
func taggedFields(t reflect.Type) []tagged {
	var out []tagged
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		inline := f.Anonymous && name == "" || strings.Contains(","+options+",", ",inline,")
		switch {
		case name == "-", !f.IsExported() && !inline:
		case inline && f.Type.Kind() == reflect.Struct:
			for _, in := range taggedFields(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
		default:
			out = append(out, taggedField(f, name))
		}
	}
	return out
}

func taggedField(f reflect.StructField, name string) tagged {
	t := tagged{index: f.Index, name: name, doc: f.Tag.Get("doc"), typ: f.Type, min: f.Tag.Get("min"), max: f.Tag.Get("max"),
		required: f.Tag.Get("required") == "true", secret: f.Tag.Get("secret") == "true", identity: f.Tag.Get("identity") != "false"}
	if t.name == "" {
		t.name = strings.ToLower(f.Name)
	}
	if e := f.Tag.Get("enum"); e != "" {
		t.enum = strings.Split(e, ",")
	}
	return t
}

func fieldNames(fields []tagged) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// takesText says whether a type reads any scalar as text.
func takesText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }
