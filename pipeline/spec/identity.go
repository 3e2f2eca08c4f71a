package spec

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
)

// Identity is the pipeline's part of its jobs' version, as canonical JSON: stages with their types' versions, configuration,
// conditions, edges, decisions on errors, and sinks. Transport, parallelism, timeouts, retries, limits, checkpoints, secrets
// and fields with identity:"false" are left out, for they change no result. So is what a derived pipeline reads: its jobs
// derive from the upstream jobs, whose own version says that. Equal identities mean equal results of equal items.
func (p *Pipeline) Identity() string {
	m := &node{kind: mapKind}
	m.add("format", &node{kind: intKind, text: "1"})
	m.add("pipeline", text(p.Name))
	m.add("from", refList(p.From))
	stages := &node{kind: listKind}
	byName := slices.Clone(p.Stages)
	slices.SortFunc(byName, func(a, b *Stage) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range byName {
		stages.items = append(stages.items, s.identity())
	}
	m.add("stages", stages)
	var b bytes.Buffer
	m.json(&b)
	return b.String()
}

func (n *node) add(key string, value *node) {
	if value != nil {
		n.fields = append(n.fields, &field{text(key), value})
	}
}

func refList(refs []Ref) *node {
	list := &node{kind: listKind}
	for _, r := range refs {
		list.items = append(list.items, text(r.String()))
	}
	return list
}

func (s *Stage) identity() *node {
	m := &node{kind: mapKind}
	m.add("name", text(s.Name))
	m.add("uses", text(s.Uses))
	m.add("version", text(s.Info.Version))
	m.add("with", encoder{identity: true}.encode(reflect.ValueOf(s.Config), s.with, reflect.Value{}))
	m.add("from", refList(s.Inputs))
	if s.When != nil {
		m.add("when", text(s.When.Source))
	}
	if s.Chained { // its chain lies elsewhere; the results are the same
		m.add("durable", &node{kind: boolKind, text: "false"})
	}
	m.add("on_error", text(string(s.Settings.OnError)))
	sinks := &node{kind: listKind}
	for _, k := range s.Sinks {
		sinks.items = append(sinks.items, k.identity())
	}
	m.add("to", sinks)
	return m
}

func (k *Sink) identity() *node {
	m := &node{kind: mapKind}
	m.add("name", text(k.Name))
	m.add("uses", text(k.Uses))
	m.add("version", text(k.Info.Version))
	m.add("with", encoder{identity: true}.encode(reflect.ValueOf(k.Config), k.with, reflect.Value{}))
	return m
}
