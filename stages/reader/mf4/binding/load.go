package binding

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

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

// Load reads a bindings file, JSON or YAML, strictly, and checks it. The error lists all that is wrong, each with the file
// and the place in it.
func Load(file string) (*Set, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read bindings: %w", err)
	}
	return Parse(file, text)
}

// Parse is Load for a text; file stands in errors.
func Parse(file string, text []byte) (*Set, error) {
	if strings.EqualFold(filepath.Ext(file), ".json") {
		// JSON is YAML but for tabs between tokens; inside JSON strings a tab cannot stand.
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	s := &Set{}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(s); err != nil {
		return nil, syntaxError(file, err)
	}
	if err := s.Check(file); err != nil {
		return nil, err
	}
	return s, nil
}

// syntaxError turns "[12:4] message" and the source under it into "file:12:4: message" and the source.
func syntaxError(file string, err error) error {
	msg := strings.TrimSpace(yaml.FormatError(err, false, true))
	if rest, ok := strings.CutPrefix(msg, "["); ok {
		if place, text, found := strings.Cut(rest, "] "); found {
			return fmt.Errorf("%s:%s: %s", file, place, text)
		}
	}
	return fmt.Errorf("%s: %s", file, msg)
}

// Check says all that is contradictory or missing; file stands in the errors.
func (s *Set) Check(file string) error {
	var errs []error
	c := checker{report: func(at, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s: %s", file, at, fmt.Sprintf(format, args...)))
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
	return errors.Join(errs...)
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
