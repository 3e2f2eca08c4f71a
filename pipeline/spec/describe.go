package spec

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// A Field is one key of a stage type's `with:` block as users are told of it.
type Field struct {
	Path    string `json:"path"`    // with.window.tumbling
	Type    string `json:"type"`    // duration, number, [string], one of a|b
	Default string `json:"default"` // as it would stand in the file; "required" where there is none
	Doc     string `json:"doc"`
}

// Describe lists the keys of a stage type's configuration in order of declaration, nested ones by their path.
func Describe(t pipeline.StageType) []Field {
	v := reflect.ValueOf(t.NewConfig()).Elem()
	if v.Kind() != reflect.Struct {
		return nil
	}
	return describe("with", v)
}

func describe(path string, v reflect.Value) (list []Field) {
	for _, f := range taggedFields(v.Type()) {
		at, value := path+"."+f.name, v.FieldByIndex(f.index)
		if f.typ.Kind() == reflect.Struct && !takesText(f.typ) && len(taggedFields(f.typ)) > 0 {
			list = append(list, describe(at, value)...)
			continue
		}
		list = append(list, Field{Path: at, Type: typeName(f), Default: defaultText(f, value), Doc: f.doc})
	}
	return list
}

func defaultText(f tagged, v reflect.Value) string {
	if f.required {
		return "required"
	}
	if empty(v) || f.secret {
		return "-"
	}
	n := (encoder{}).encode(v, nil, reflect.Value{})
	if n == nil {
		return "-"
	}
	var b bytes.Buffer
	n.json(&b)
	return strings.Trim(b.String(), `"`)
}

func typeName(f tagged) string {
	if f.enum != nil {
		return "one of " + strings.Join(f.enum, "|")
	}
	return kindName(f.typ)
}

func kindName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == reflect.TypeFor[pipeline.Size]():
		return "size"
	case takesText(t):
		return "string"
	}
	switch k := t.Kind(); {
	case k == reflect.Pointer:
		return kindName(t.Elem())
	case k == reflect.Bool:
		return "bool"
	case k == reflect.String:
		return "string"
	case k >= reflect.Int && k <= reflect.Uint64:
		return "integer"
	case k == reflect.Float32 || k == reflect.Float64:
		return "number"
	case k == reflect.Slice:
		return "[" + kindName(t.Elem()) + "]"
	case k == reflect.Map:
		return fmt.Sprintf("{name: %s}", kindName(t.Elem()))
	}
	return "block"
}
