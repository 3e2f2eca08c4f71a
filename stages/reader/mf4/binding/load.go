package binding

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/milepost-dev/milepost/pipeline"
)

// Names is one name or a list of names, in a bindings file and in a pipelines file (whose decoder calls UnmarshalText for a
// scalar).
type Names []string

// UnmarshalText makes a list of one.
func (n *Names) UnmarshalText(text []byte) error {
	*n = Names{string(text)}
	return nil
}

// UnmarshalYAML takes a scalar for a list of one.
func (n *Names) UnmarshalYAML(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*n = Names{one}
		return nil
	}
	var many []string
	if err := decode(&many); err != nil {
		return err
	}
	*n = many
	return nil
}

// UnmarshalYAML keeps the order of the file.
func (l *Logs) UnmarshalYAML(decode func(any) error) error {
	var entries map[string]Log
	if err := decode(&entries); err != nil {
		return err
	}
	var order yaml.MapSlice
	if err := decode(&order); err != nil {
		return err
	}
	for _, item := range order {
		pattern := fmt.Sprint(item.Key)
		e := entries[pattern]
		e.Pattern = pattern
		*l = append(*l, e)
	}
	return nil
}

// Load reads a bindings file, JSON or YAML, strictly, and checks it. The error joins all that is wrong, each with the file
// and the place in it.
func Load(file string) (*Set, error) {
	text, err := ReadFile(file)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return nil, fmt.Errorf("read bindings %s: %w", file, err)
	}
	return Parse(file, text)
}

// maxFileBytes bounds a bindings file and a bus database; those of whole vehicles have some 10 MB.
const maxFileBytes = 256 << 20

// ReadFile reads a regular file: a pipe or a device could keep its reader waiting for ever.
func ReadFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: file, Err: errors.New("not a regular file")}
	case info.Size() > maxFileBytes:
		return nil, &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("larger than %d MiB", maxFileBytes>>20)}
	}
	return os.ReadFile(file)
}

// Parse is Load for a text; file stands in errors.
func Parse(file string, text []byte) (*Set, error) {
	if strings.EqualFold(filepath.Ext(file), ".json") {
		// JSON is YAML but for tabs between tokens; inside JSON strings a tab cannot stand.
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	if len(tree.Docs) == 0 || empty(tree.Docs[0].Body) {
		return nil, fmt.Errorf("%s: the file is empty; it needs `bindings` (which channels feed which signals) and `logs` (which recording has which binding)", file)
	}
	s := &Set{places: places{}, file: file}
	errs := s.survey(tree.Docs[0].Body)
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(s); err != nil {
		return nil, errors.Join(append(errs, syntaxError(file, err))...)
	}
	return s, errors.Join(append(errs, s.faults()...)...)
}

func empty(n ast.Node) bool {
	switch n.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return true
	}
	return false
}

// survey notes where everything stands, and returns an error for each key that is not known.
func (s *Set) survey(tree ast.Node) (errs []error) {
	v := &surveyor{places: s.places, unknown: func(place, key string, fields []string) {
		name := key[strings.LastIndexByte(key, '.')+1:]
		hint := "; there are: " + strings.Join(fields, ", ")
		if near := Closest(name, fields, 1); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %q?", near[0])
		}
		where := ""
		if len(name) < len(key) {
			where = " in " + key[:len(key)-len(name)-1]
		}
		s.misspelled = append(s.misspelled, strings.TrimSuffix(key[:len(key)-len(name)], "."))
		errs = append(errs, fmt.Errorf("%s:%s: unknown field %q%s%s", s.file, place, name, where, hint))
	}}
	v.walk(tree, reflect.TypeFor[Set](), "")
	return errs
}

// syntaxError turns "[12:4] message" into "file:12:4: message".
func syntaxError(file string, err error) error {
	msg, _, _ := strings.Cut(strings.TrimSpace(yaml.FormatError(err, false, false)), "\n")
	if rest, ok := strings.CutPrefix(msg, "["); ok {
		if place, text, found := strings.Cut(rest, "] "); found {
			return fmt.Errorf("%s:%s: %s", file, place, text)
		}
	}
	return fmt.Errorf("%s: %s", file, msg)
}

// Place is where a path of the file stands: file:line:column, the file alone where that is not known.
func (s *Set) Place(at string) string {
	if place := s.places.of(at); place != "" {
		return s.file + ":" + place
	}
	return s.file
}

// faults is all that is contradictory or missing. What is missing where a key is misspelled is not: that was said.
func (s *Set) faults() (errs []error) {
	c := checker{report: func(at, format string, args ...any) {
		if !s.excused(at) {
			errs = append(errs, fmt.Errorf("%s: %s: %s", s.Place(at), at, fmt.Sprintf(format, args...)))
		}
	}}
	if len(s.Bindings) == 0 {
		c.report("bindings", "there is none")
	}
	for _, name := range sorted(s.Bindings) {
		c.binding("bindings."+name, s.Bindings[name])
	}
	for _, l := range s.Logs {
		c.log(s, l)
	}
	return errs
}

func (s *Set) excused(at string) bool {
	for _, parent := range s.misspelled {
		_, there := s.places[at]
		if at == parent || !there && strings.TrimSuffix(at[:strings.LastIndexByte(at, '.')+1], ".") == parent {
			return true
		}
	}
	return false
}

// CheckSignals checks signals in the short form; every error is a *pipeline.FieldError below the given path.
func CheckSignals(path string, signals map[string]Ref) []error {
	var errs []error
	for _, name := range sorted(signals) {
		r := signals[name]
		c := checker{report: func(at, format string, args ...any) {
			errs = append(errs, pipeline.FieldErrorf(path+"."+at, format, args...))
		}}
		c.ref(name, "", &r)
	}
	return errs
}
