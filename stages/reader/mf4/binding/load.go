package binding

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

// Names is one name or a list of names.
type Names []string

// UnmarshalText makes a list of one.
func (n *Names) UnmarshalText(text []byte) error {
	*n = Names{string(text)}
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
		return nil, &fs.PathError{Op: "read", Path: file, Err: pipeline.ErrNotRegular}
	case info.Size() > maxFileBytes:
		return nil, &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("larger than %d MiB", maxFileBytes>>20)}
	}
	return os.ReadFile(file)
}

// Parse is Load for a text; file stands in errors. Of a text with faults it returns what could be read besides a
// *spec.InvalidError with all of them.
func Parse(name string, text []byte) (*Set, error) {
	var f file
	s := &Set{}
	if s.file = spec.DecodeFile(name, text, "the bindings file", &f); s.file.Empty() {
		return nil, fmt.Errorf("%s: the file is empty; it needs `bindings` (which channels feed which signals) and `logs` (which recording has which binding)", name)
	}
	s.Bindings = f.Bindings
	for _, pattern := range s.file.Keys("logs") {
		l := f.Logs[pattern]
		l.Pattern = pattern
		s.Logs = append(s.Logs, l)
	}
	s.check()
	return s, s.Err()
}

// Fault adds an error about a part of the file, which Err then tells too. at are keys and list indices.
func (s *Set) Fault(at []string, code, format string, args ...any) *spec.Problem {
	return s.file.Fault(at, code, format, args...)
}

// Err is all that is wrong with the file, a *spec.InvalidError; nil if nothing is.
func (s *Set) Err() error {
	if s.file == nil {
		return nil
	}
	return s.file.Err()
}

// check finds all that is contradictory or missing.
func (s *Set) check() {
	c := checker{fault: s.Fault}
	if len(s.Bindings) == 0 && slices.Contains(s.file.Keys(), "bindings") {
		c.report(place{"bindings"}, "there is none")
	}
	for _, name := range sorted(s.Bindings) {
		c.binding(place{"bindings", name}, s.Bindings[name])
	}
	for _, l := range s.Logs {
		c.log(s, l)
	}
}

// CheckSignals checks signals in the short form; every error is a *pipeline.FieldError below the given field.
func CheckSignals(field string, signals map[string]Ref) []error {
	var errs []error
	c := checker{fault: func(at []string, _, format string, args ...any) *spec.Problem {
		errs = append(errs, pipeline.FieldErrorf(field+"."+strings.Join(at, "."), format, args...))
		return &spec.Problem{}
	}}
	for _, name := range sorted(signals) {
		r := signals[name]
		c.ref(place{name}, "", &r)
	}
	c.target(nil, signals)
	return errs
}
