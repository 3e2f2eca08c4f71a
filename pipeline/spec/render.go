package spec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// YAML writes the file as resolved: layers, defaults, variables and overrides applied, secrets as ***. Without secrets, Load
// of what it writes gives the same Spec.
func (s *Spec) YAML() []byte {
	var b bytes.Buffer
	s.tree().yaml(&b, 0)
	return b.Bytes()
}

// MarshalJSON writes the same as YAML as JSON.
func (s *Spec) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	s.tree().json(&b)
	var out bytes.Buffer
	err := json.Indent(&out, b.Bytes(), "", "  ")
	return out.Bytes(), err
}

func (s *Spec) tree() *node {
	m := &node{kind: mapKind}
	m.add("version", &node{kind: intKind, text: "1"})
	transport := encoder{}.encode(reflect.ValueOf(s.Transport), s.root.get("transport"), reflect.Value{})
	if len(transport.fields) == 0 {
		transport.add(s.Transport.Kind(), &node{kind: mapKind})
	}
	m.add("transport", transport)
	defaults := &node{kind: mapKind}
	defaults.add("dlq", encoder{}.encode(reflect.ValueOf(s.DLQ), nil, reflect.Value{}))
	m.add("defaults", defaults)
	sinks := &node{kind: mapKind}
	for _, k := range s.Sinks {
		one := &node{kind: mapKind}
		one.add(strings.TrimPrefix(k.Uses, "sink/"), encodeConfig(k.Config, k.with, k.Type.NewConfig()))
		sinks.add(k.Name, one)
	}
	m.add("sinks", sinks)
	pipelines := &node{kind: mapKind}
	for _, p := range s.Pipelines {
		pipelines.add(p.Name, p.tree())
	}
	m.add("pipelines", pipelines)
	return m
}

func encodeConfig(cfg any, in *node, def any) *node {
	return encoder{}.encode(reflect.ValueOf(cfg), in, reflect.ValueOf(def))
}

func (p *Pipeline) tree() *node {
	m := &node{kind: mapKind}
	if p.Description != "" {
		m.add("description", text(p.Description))
	}
	if len(p.From) > 0 {
		m.add("from", refList(p.From))
	}
	stages := &node{kind: listKind}
	for i, s := range p.Stages {
		stages.items = append(stages.items, s.tree(p, i))
	}
	m.add("stages", stages)
	return m
}

func (s *Stage) tree(p *Pipeline, i int) *node {
	m := &node{kind: mapKind}
	m.add("name", text(s.Name))
	m.add("uses", text(s.Uses))
	if i > 0 {
		m.add("from", s.fromTree())
	}
	if s.When != nil {
		m.add("when", text(s.When.Source))
	}
	if s.Chained { // its settings are those of the stage that it is chained to
		m.add("durable", &node{kind: boolKind, text: "false"})
	} else {
		settings := encoder{}.encode(reflect.ValueOf(s.Settings), nil, reflect.ValueOf(DefaultSettings()))
		m.fields = append(m.fields, settings.fields...)
	}
	m.add("with", encodeConfig(s.Config, s.with, s.Type.NewConfig()))
	if len(s.Sinks) > 0 {
		to := &node{kind: listKind}
		for _, k := range s.Sinks {
			to.items = append(to.items, text(k.Name))
		}
		m.add("to", to)
	}
	return m
}

func (s *Stage) fromTree() *node {
	list := &node{kind: listKind}
	for _, r := range s.Inputs {
		if r.Pipeline == s.Pipeline {
			list.items = append(list.items, text(r.Stage))
		} else {
			list.items = append(list.items, text(r.String()))
		}
	}
	return list
}

// yaml writes a mapping in block style, what holds scalars alone in flow style.
func (n *node) yaml(b *bytes.Buffer, depth int) {
	for _, f := range n.fields {
		b.WriteString(strings.Repeat("  ", depth) + yamlScalar(text(f.key.text)) + ":")
		f.value.yamlValue(b, depth)
	}
}

func (n *node) yamlValue(b *bytes.Buffer, depth int) {
	switch {
	case n.flat():
		b.WriteString(" " + n.flow() + "\n")
	case n.kind == mapKind:
		b.WriteByte('\n')
		n.yaml(b, depth+1)
	default:
		b.WriteByte('\n')
		for _, i := range n.items {
			b.WriteString(strings.Repeat("  ", depth+1) + "-")
			i.yamlItem(b, depth+2)
		}
	}
}

// yamlItem writes a list element behind its dash.
func (n *node) yamlItem(b *bytes.Buffer, depth int) {
	if n.kind != mapKind || n.flat() {
		n.yamlValue(b, depth-1)
		return
	}
	var inner bytes.Buffer
	n.yaml(&inner, depth)
	b.WriteString(" " + strings.TrimLeft(inner.String(), " "))
}

// flat says whether n stands in one line: a scalar, or a short collection of nothing but scalars.
func (n *node) flat() bool {
	if n.scalar() {
		return true
	}
	for _, i := range n.items {
		if !i.scalar() {
			return false
		}
	}
	for _, f := range n.fields {
		if !f.value.scalar() {
			return false
		}
	}
	return len(n.flow()) <= 100 || len(n.items)+len(n.fields) == 0
}

func (n *node) flow() string {
	var parts []string
	switch n.kind {
	case listKind:
		for _, i := range n.items {
			parts = append(parts, i.flow())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case mapKind:
		for _, f := range n.fields {
			parts = append(parts, yamlScalar(text(f.key.text))+": "+f.value.flow())
		}
		if len(parts) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return yamlScalar(n)
}

var plainSafe = regexp.MustCompile(`^[A-Za-z0-9_./-][A-Za-z0-9_./*+-]*$`)

// yamlScalar quotes what YAML would read as anything but the string it is; a dollar is doubled, or Load would resolve it.
func yamlScalar(n *node) string {
	switch n.kind {
	case nullKind:
		return "null"
	case stringKind:
		s := strings.ReplaceAll(n.text, "$", "$$")
		if plainSafe.MatchString(s) && plainKind(s) == stringKind && s != "-" && !strings.HasPrefix(s, "---") && !strings.HasPrefix(s, "...") {
			return s
		}
		return strconv.Quote(s) // all of Go's escapes are YAML's too (YAML 1.2, 5.7)
	}
	return n.text
}
