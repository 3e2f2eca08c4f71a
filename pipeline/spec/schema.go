package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// Schema is the JSON Schema (draft 2020-12) of pipelines.yaml for the stage types of a registry, with a line break at the
// end. It describes what Load takes of one whole file; references between parts of a file are beyond it. An error names a
// configuration type that YAML cannot fill.
func Schema(reg *pipeline.Registry) ([]byte, error) {
	s := &schemaBuilder{reg: reg, defs: object{}}
	root, err := s.file()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return b.Bytes(), nil
}

type object = map[string]any

type schemaBuilder struct {
	reg   *pipeline.Registry
	defs  object
	stack []reflect.Type
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func (s *schemaBuilder) file() (object, error) {
	s.defs["variable"] = object{"type": "string", "pattern": `\$\{.*\}`, "description": "A variable: ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}."}
	s.defs["duration"] = object{"type": []string{"string", "integer"}, "pattern": durationPattern, "maximum": 0, "minimum": 0,
		"description": "A length of time: 10ms, 1s, 5m, 30d.", "examples": []string{"10ms", "1s", "5m", "30d"}}
	s.defs["name"] = object{"type": "string", "pattern": namePattern, "maxLength": maxNameBytes, "not": object{"const": reservedStage}}
	top, err := s.structure(reflect.TypeFor[fileYAML](), reflect.Value{})
	if err != nil {
		return nil, err
	}
	properties := top["properties"].(object)
	describe := func(name string, o object) {
		o["description"] = properties[name].(object)["description"]
		properties[name] = o
	}
	describe("version", object{"const": 1})
	for name, make := range map[string]func() (object, error){"transport": s.transport, "defaults": s.defaults, "sinks": s.sinks, "pipelines": s.pipelines} {
		o, err := make()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		describe(name, o)
	}
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["title"] = "Milepost pipelines"
	top["$defs"] = s.defs
	return top, nil
}

func (s *schemaBuilder) transport() (object, error) {
	defaults := Transport{Embedded: defaultEmbedded(), NATS: defaultNATS(), Kafka: defaultKafka(), Memory: &Memory{}}
	o, err := s.structure(reflect.TypeFor[Transport](), reflect.ValueOf(defaults))
	if err != nil {
		return nil, err
	}
	for _, kind := range transportKinds {
		nullable(o["properties"].(object)[kind].(object))
	}
	o["minProperties"], o["maxProperties"] = 1, 1
	return o, nil
}

// nullable lets a mapping without required fields be left out behind its key: `memory:`.
func nullable(o object) object {
	if _, must := o["required"]; !must && o["type"] == "object" {
		o["type"] = []string{"object", "null"}
	}
	return o
}

func (s *schemaBuilder) defaults() (object, error) {
	return s.structure(reflect.TypeFor[Settings](), reflect.ValueOf(DefaultSettings()))
}

func (s *schemaBuilder) sinks() (object, error) {
	types := object{}
	for _, name := range s.reg.Names() {
		kind, ok := strings.CutPrefix(name, "sink/")
		if !ok {
			continue
		}
		t, _ := s.reg.Lookup(name)
		if err := s.stageType(t); err != nil {
			return nil, err
		}
		types[kind] = object{"$ref": ref(defName(name))["$ref"], "description": t.Info().Summary}
	}
	one := object{"type": "object", "properties": types, "additionalProperties": false, "minProperties": 1, "maxProperties": 1}
	return object{"type": "object", "additionalProperties": one, "propertyNames": object{"pattern": namePattern, "maxLength": maxNameBytes}}, nil
}

func defName(stageType string) string { return strings.ReplaceAll(stageType, "/", ".") }

// stageType defines the configuration of a type.
func (s *schemaBuilder) stageType(t pipeline.StageType) error {
	cfg := reflect.ValueOf(t.NewConfig()).Elem()
	if cfg.Kind() != reflect.Struct {
		return fmt.Errorf("%s: its configuration is %s, not a struct", t.Info().Name, cfg.Type())
	}
	o, err := s.structure(cfg.Type(), cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Info().Name, err)
	}
	s.defs[defName(t.Info().Name)] = nullable(o)
	return nil
}

func (s *schemaBuilder) pipelines() (object, error) {
	stage, err := s.stage()
	if err != nil {
		return nil, err
	}
	s.defs["stage"] = stage
	o, err := s.structure(reflect.TypeFor[pipelineYAML](), reflect.Value{})
	if err != nil {
		return nil, err
	}
	stages := o["properties"].(object)["stages"].(object)
	stages["items"], stages["minItems"] = ref("stage"), 1
	return object{"type": "object", "additionalProperties": o, "minProperties": 1, "propertyNames": object{"pattern": namePattern, "maxLength": maxNameBytes}}, nil
}

func (s *schemaBuilder) stage() (object, error) {
	o, err := s.structure(reflect.TypeFor[stageYAML](), reflect.ValueOf(stageYAML{Settings: DefaultSettings()}))
	if err != nil {
		return nil, err
	}
	properties := o["properties"].(object)
	properties["name"].(object)["$ref"] = ref("name")["$ref"]
	var uses, cases []any
	for _, name := range s.reg.Names() {
		if strings.HasPrefix(name, "sink/") {
			continue
		}
		t, _ := s.reg.Lookup(name)
		if err := s.stageType(t); err != nil {
			return nil, err
		}
		uses = append(uses, object{"const": name, "description": t.Info().Summary})
		cases = append(cases, s.with(name, name))
		for alias, full := range aliases {
			if full == name {
				uses = append(uses, object{"const": alias, "description": t.Info().Summary})
				cases = append(cases, s.with(alias, name))
			}
		}
	}
	properties["uses"] = object{"description": properties["uses"].(object)["description"], "anyOf": uses}
	o["allOf"] = cases
	return o, nil
}

// with says what `with` holds for one name of `uses`.
func (s *schemaBuilder) with(uses, name string) object {
	then := object{"properties": object{"with": ref(defName(name))}}
	if _, must := s.defs[defName(name)].(object)["required"]; must {
		then["required"] = []string{"with"}
	}
	return object{"if": object{"properties": object{"uses": object{"const": uses}}, "required": []string{"uses"}}, "then": then}
}

// structure is the schema of a struct; def holds the defaults, the zero Value if there are none.
func (s *schemaBuilder) structure(t reflect.Type, def reflect.Value) (object, error) {
	if slices.Contains(s.stack, t) {
		return object{"type": "object"}, nil // a type that holds itself is described one level deep
	}
	s.stack = append(s.stack, t)
	defer func() { s.stack = s.stack[:len(s.stack)-1] }()
	properties, required := object{}, []string{}
	for _, f := range taggedFields(t) {
		d := reflect.Value{}
		if def.IsValid() {
			d = def.FieldByIndex(f.index)
		}
		o, err := s.field(f, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		properties[f.name] = o
		if f.required {
			required = append(required, f.name)
		}
	}
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o, nil
}

func (s *schemaBuilder) field(f tagged, def reflect.Value) (object, error) {
	o, err := s.of(f.typ, def)
	if err != nil {
		return nil, err
	}
	o = maps.Clone(o)
	if f.enum != nil {
		o = enumOf(f)
	}
	if f.min != "" || f.max != "" {
		o = boundsOf(f, o)
	}
	if f.doc != "" {
		o["description"] = f.doc
	}
	if def.IsValid() && !empty(def) && !f.secret && def.Kind() != reflect.Pointer && def.Kind() != reflect.Struct {
		if n := (encoder{}).encode(def, nil, reflect.Value{}); n != nil {
			var b bytes.Buffer
			n.json(&b)
			o["default"] = json.RawMessage(b.Bytes())
		}
	}
	return o, nil
}

// boundsOf adds the bounds to the number that is the first of o's two forms.
func boundsOf(f tagged, o object) object {
	forms, ok := o["anyOf"].([]any)
	if !ok {
		return o
	}
	number := maps.Clone(forms[0].(object))
	for key, text := range map[string]string{"minimum": f.min, "maximum": f.max} {
		if x, err := strconv.ParseFloat(text, 64); err == nil {
			number[key] = x
		}
	}
	return object{"anyOf": []any{number, forms[1]}}
}

// enumOf lists a field's values as their own type, or a variable in their place; of a list, the elements'.
func enumOf(f tagged) object {
	values := make([]any, len(f.enum))
	for i, e := range f.enum {
		values[i] = e
		if k := f.typ.Kind(); k >= reflect.Int && k <= reflect.Uint64 {
			if n, err := strconv.Atoi(e); err == nil {
				values[i] = n
			}
		}
	}
	one := object{"anyOf": []any{object{"enum": values}, ref("variable")}}
	if f.typ.Kind() != reflect.Slice {
		return one
	}
	list := object{"type": "array", "items": one}
	if takesText(f.typ) {
		return object{"anyOf": []any{object{"enum": values}, list}}
	}
	return list
}

// of is the schema of a type. Wherever a string is not taken as it is, a variable is.
func (s *schemaBuilder) of(t reflect.Type, def reflect.Value) (object, error) {
	if o, ok := ownSchema(t); ok {
		return orVariable(o), nil
	}
	switch {
	case t == durationType:
		return orVariable(ref("duration")), nil
	case t == nodeType, t == rawType:
		return object{}, nil
	case t.Kind() == reflect.Pointer:
		if def.IsValid() && !def.IsNil() {
			return s.of(t.Elem(), def.Elem())
		}
		return s.of(t.Elem(), reflect.Value{})
	case takesText(t):
		return s.textOr(t, def)
	}
	return s.shape(t, def)
}

func ownSchema(t reflect.Type) (object, bool) {
	if t.Kind() == reflect.Pointer {
		return nil, false
	}
	own, ok := reflect.New(t).Interface().(interface{ JSONSchema() map[string]any })
	if !ok {
		return nil, false
	}
	return own.JSONSchema(), true
}

func orVariable(o object) object { return object{"anyOf": []any{o, ref("variable")}} }

// textOr is a type that reads text, and for lists, mappings and structs the shape of its kind as well.
func (s *schemaBuilder) textOr(t reflect.Type, def reflect.Value) (object, error) {
	scalar := object{"type": []string{"string", "number", "boolean"}}
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
	case reflect.Struct:
		if opaque(t) {
			return scalar, nil
		}
	default:
		return scalar, nil
	}
	long, err := s.shape(t, def)
	return object{"anyOf": []any{scalar, long}}, err
}

func (s *schemaBuilder) shape(t reflect.Type, def reflect.Value) (object, error) {
	switch t.Kind() {
	case reflect.Bool:
		return orVariable(object{"type": "boolean"}), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return orVariable(object{"type": "integer"}), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return orVariable(object{"type": "integer", "minimum": 0}), nil
	case reflect.Float32, reflect.Float64:
		return orVariable(object{"type": "number"}), nil
	case reflect.String:
		return object{"type": "string"}, nil
	case reflect.Slice, reflect.Array:
		items, err := s.of(t.Elem(), reflect.Value{})
		return object{"type": "array", "items": items}, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("the keys of %s are not strings", t)
		}
		values, err := s.of(t.Elem(), reflect.Value{})
		return object{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		return s.structure(t, def)
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return object{}, nil
		}
	}
	return nil, fmt.Errorf("YAML cannot fill a %s", t)
}
