package spec

import (
	"path/filepath"
	"reflect"
	"strings"
)

// A File is another file that a user writes, YAML or JSON, such as the bindings that a reader's configuration names. It is
// decoded as pipelines.yaml is, so that its faults are told in the same way; it has no variables.
type File struct {
	l    *loader
	root *node
	what string
}

// fileLimits let a file describe the buses of a whole vehicle.
var fileLimits = limits{bytes: 256 << 20, nodes: 10_000_000}

// DecodeFile decodes the text of a file over into, a pointer to a struct with the tags of package pipeline. name is the file's,
// what says in messages what kind of file it is ("the bindings file"). The File is never nil; its Err tells all faults.
func DecodeFile(name string, text []byte, what string, into any) *File {
	f := &File{l: &loader{limits: fileLimits, spec: &Spec{Files: []string{name}}}, what: what}
	source, parsed := newSource(name, string(text)), string(text)
	if strings.EqualFold(filepath.Ext(name), ".json") {
		// JSON is YAML but for tabs between tokens; inside JSON strings a tab cannot stand.
		parsed = strings.ReplaceAll(parsed, "\t", " ")
	}
	f.root = f.l.parse(source, parsed)
	if f.root == nil {
		f.root = &node{pos: pos{src: source}, broken: true}
	}
	if f.root.null() {
		f.root.pos = pos{src: source}
	}
	(&decoder{l: f.l, where: what}).decode(f.root, reflect.ValueOf(into).Elem())
	return f
}

// Empty says whether nothing stands in the file.
func (f *File) Empty() bool { return f.root.null() }

// Keys lists the keys of a mapping in the order of the file.
func (f *File) Keys(path ...string) (keys []string) {
	if n, found := f.root.at(path); found {
		for _, field := range n.fields {
			keys = append(keys, field.key.text)
		}
	}
	return keys
}

// Fault adds an error about what a path of keys and list indices leads to, or as near as the file goes, unless enough was said
// of that. The caller may fill in the hints of what it returns.
func (f *File) Fault(path []string, code, format string, args ...any) *Problem {
	if f.root.excused(path) {
		return &Problem{}
	}
	d := decoder{l: f.l, where: f.what, path: path}
	at := f.place(path)
	if key, found := f.root.at(path[:max(len(path)-1, 0)]); found && code == CodeField && key.field(path[len(path)-1]) != nil {
		at = key.field(path[len(path)-1]).key.pos
	}
	p := f.l.report(at, code, format, args...)
	p.Message = d.subject() + ": " + p.Message
	return p
}

// place is where a value stands, of an entry of a mapping its key; of what is missing, what lies around it.
func (f *File) place(path []string) pos {
	at, n := f.root.pos, f.root
	for _, step := range path {
		next, found := n.at([]string{step})
		if !found {
			break
		}
		if at = next.pos; !next.scalar() {
			if key := n.field(step); key != nil {
				at = key.key.pos
			}
		}
		n = next
	}
	return at
}

// Err is all faults of the file, nil without one.
func (f *File) Err() error {
	_, problems := f.l.result()
	return problems.Err()
}
