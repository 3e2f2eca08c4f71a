package spec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// lay puts over on base: mappings merge, anything else replaces. `transport`, and a sink of another type, are replaced whole,
// since two halves of two back ends make none.
func lay(base, over *node, path ...string) *node {
	switch {
	case base == nil || base.kind != mapKind || over.kind != mapKind:
		return over
	case len(path) == 1 && path[0] == "transport":
		return over
	case len(path) == 2 && path[0] == "sinks" && !sameKeys(base, over):
		return over
	}
	merged := *base
	merged.fields = slices.Clone(base.fields)
	for i, f := range merged.fields {
		c := *f
		merged.fields[i] = &c
	}
	for _, f := range over.fields {
		if old := merged.field(f.key.text); old != nil {
			old.value = lay(old.value, f.value, append(slices.Clone(path), f.key.text)...)
			old.key = f.key
		} else {
			merged.fields = append(merged.fields, f)
		}
	}
	return &merged
}

func sameKeys(a, b *node) bool {
	for _, f := range b.fields {
		if a.field(f.key.text) == nil {
			return false
		}
	}
	return true
}

// override lays one --set over the tree: path=value, where a step of the path is a key, a list index, or the name of a list
// element: pipelines.aeb-replay.stages.aeb.with.ttc_warn=2s.
func (l *loader) override(root *node, arg string) *node {
	src := newSource("--set", arg)
	path, text, ok := strings.Cut(arg, "=")
	if !ok || path == "" {
		l.report(pos{src, 1, 1, max(len([]rune(arg)), 1)}, CodeValue, "want path=value, such as defaults.timeout=5m, not %q", arg)
		return root
	}
	at := pos{src, 1, 1, len([]rune(path))}
	value := l.value(src, text, len([]rune(path))+1)
	if value == nil {
		return root
	}
	if value.line < 1 || value.null() {
		value.pos = at
	}
	return l.put(root, strings.Split(path, "."), nil, value, at)
}

func (l *loader) put(n *node, steps, done []string, value *node, at pos) *node {
	if len(steps) == 0 {
		return lay(n, value, done...)
	}
	step, rest, done := steps[0], steps[1:], append(slices.Clone(done), steps[0])
	if n != nil && n.kind == listKind {
		return l.putItem(n, step, rest, done, value, at)
	}
	if n == nil || n.kind != mapKind {
		n = &node{pos: at, kind: mapKind}
	}
	c := *n
	c.fields = slices.Clone(n.fields)
	for i, f := range c.fields {
		if f.key.text == step {
			c.fields[i] = &field{f.key, l.put(f.value, rest, done, value, at)}
			return &c
		}
	}
	key := &node{pos: at, kind: stringKind, text: step}
	c.fields = append(c.fields, &field{key, l.put(nil, rest, done, value, at)})
	return &c
}

func (l *loader) putItem(n *node, step string, rest, done []string, value *node, at pos) *node {
	c := *n
	c.items = slices.Clone(n.items)
	names := make([]string, len(c.items))
	for i, item := range c.items {
		names[i] = strconv.Itoa(i)
		if name := item.get("name"); name != nil {
			names[i] = name.text
		}
		if names[i] == step || strconv.Itoa(i) == step {
			c.items[i] = l.put(item, rest, done, value, at)
			return &c
		}
	}
	p := l.report(at, CodeRef, "%s: the list has no %q (%s)", strings.Join(done[:len(done)-1], "."), step, strings.Join(names, ", "))
	p.Meant = pipeline.Nearest(step, names)
	return n
}
