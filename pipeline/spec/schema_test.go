package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/milepost-dev/milepost/pipeline"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := Schema(testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.golden.json", string(data))
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("pipelines.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("pipelines.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance is the file as an editor's language server sees it: parsed, variables as they stand.
func instance(t *testing.T, text string) (any, bool) {
	t.Helper()
	l := &loader{limits: pipelinesLimits}
	n := l.parse(newSource("pipelines.yaml", text), text)
	if n == nil || l.failed() {
		return nil, false
	}
	var b bytes.Buffer
	n.json(&b)
	v, err := jsonschema.UnmarshalJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	return v, true
}

func TestSchemaAgreesWithLoad(t *testing.T) {
	schema := compileSchema(t)
	for name, text := range examples(t, "valid") {
		v, _ := instance(t, text)
		if err := schema.Validate(v); err != nil {
			t.Errorf("valid/%s is refused: %v", name, err)
		}
		s, _ := load(t, text)
		v, _ = instance(t, strings.ReplaceAll(string(s.YAML()), "$$", "$"))
		if err := schema.Validate(v); err != nil {
			t.Errorf("valid/%s as resolved is refused: %v", name, err)
		}
	}
	for name, text := range examples(t, "invalid") {
		v, ok := instance(t, text)
		if !ok {
			continue // not YAML: no editor gets as far as the schema
		}
		err := schema.Validate(v)
		if beyond := strings.HasPrefix(text, "# schema: passes"); beyond != (err == nil) {
			t.Errorf("invalid/%s: the schema says %v", name, err)
		}
	}
}

type badConfig struct {
	Done chan int `yaml:"done"`
}

type tree struct {
	Name     string `yaml:"name"`
	Children []tree `yaml:"children"`
}

func TestSchemaOfConfigurations(t *testing.T) {
	reg := &pipeline.Registry{}
	reg.Add(processor("process/bad", "1", nil, nil, badConfig{}))
	if _, err := Schema(reg); err == nil || !strings.Contains(err.Error(), "process/bad: done") {
		t.Errorf("a channel in a configuration: %v", err)
	}
	reg = &pipeline.Registry{}
	reg.Add(processor("process/tree", "1", nil, nil, tree{}))
	if _, err := Schema(reg); err != nil {
		t.Errorf("a configuration that holds itself: %v", err)
	}
}

// Every field of the file and of a stage must be described, since editors show nothing else.
func TestFieldsAreDescribed(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[fileYAML](), reflect.TypeFor[pipelineYAML](), reflect.TypeFor[stageYAML](),
		reflect.TypeFor[Settings](), reflect.TypeFor[DLQ](), reflect.TypeFor[Transport](), reflect.TypeFor[Embedded](), reflect.TypeFor[NATS](), reflect.TypeFor[Kafka](),
		reflect.TypeFor[Limits](), reflect.TypeFor[TLS](), reflect.TypeFor[SASL](), reflect.TypeFor[Login](), reflect.TypeFor[Bearer](), reflect.TypeFor[Commit](), reflect.TypeFor[Retry](), reflect.TypeFor[Checkpoint]()} {
		for _, f := range taggedFields(typ) {
			if !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s.%s: doc %q is no sentence", typ.Name(), f.name, f.doc)
			}
		}
	}
}

func TestSchemaOfEmptyRegistry(t *testing.T) {
	data, err := Schema(&pipeline.Registry{})
	if err != nil || !json.Valid(data) {
		t.Error(err)
	}
	s, ps := Load(context.Background(), []string{"a"}, testOptions(map[string]string{"a": "version: 1\npipelines: {}\n"}))
	if s != nil || ps.Errors() != 1 {
		t.Errorf("a file without a pipeline: %v", ps)
	}
}

func TestDescribe(t *testing.T) {
	reg := testRegistry()
	var b strings.Builder
	for _, name := range reg.Names() {
		typ, _ := reg.Lookup(name)
		b.WriteString(name + "\n")
		for _, f := range Describe(typ) {
			b.WriteString("  " + strings.Join([]string{f.Path, f.Type, f.Default, f.Doc}, "   ") + "\n")
		}
	}
	golden(t, "describe.txt", b.String())
}
