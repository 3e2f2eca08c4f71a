package spec

import (
	"errors"
	"reflect"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// config decodes a stage's or sink's own configuration over its type's default and validates it. n may be nil; named is
// where the type's name stands, which is blamed for what n would have had to say. prefix goes before paths in messages.
func (l *loader) config(t pipeline.StageType, n, named *node, where, prefix string) (any, *node) {
	if n.null() {
		n = &node{pos: named.pos, kind: mapKind}
	}
	cfg := t.NewConfig()
	if n.broken {
		return cfg, n
	}
	d := &decoder{l: l, where: where}
	if prefix != "" {
		d.path = []string{prefix}
	}
	before := len(l.problems)
	d.decode(n, reflect.ValueOf(cfg).Elem())
	if len(l.problems) == before {
		l.validate(cfg, n, d)
	}
	return cfg, n
}

// validate asks the configuration itself, once it is decoded without a fault.
func (l *loader) validate(cfg any, n *node, d *decoder) {
	if v, ok := cfg.(interface{ Validate() error }); ok {
		errs := each(v.Validate())
		for _, err := range errs {
			l.blame(err, n, d, l.report, CodeValue)
		}
		if len(errs) > 0 {
			return
		}
	}
	if v, ok := cfg.(interface{ Check() []error }); ok && !l.opts.NoAdvice {
		for _, err := range v.Check() {
			l.blame(err, n, d, l.report, CodeValue)
		}
	}
	if v, ok := cfg.(interface{ Warnings() []error }); ok && !l.opts.NoAdvice {
		for _, err := range v.Warnings() {
			l.blame(err, n, d, l.warn, WarnConfig)
		}
	}
}

// each splits what errors.Join made.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, each(e)...)
		}
		return out
	}
	return []error{err}
}

// blame reports an error of Validate or Warnings at the field that it names, or as near as the file goes.
func (l *loader) blame(err error, n *node, d *decoder, report func(pos, string, string, ...any) *Problem, code string) {
	var f *pipeline.FieldError
	if !errors.As(err, &f) {
		report(n.pos, code, "%s: %v", d.subject(), err)
		return
	}
	if f.Code != "" {
		code = f.Code
	}
	path := strings.Split(f.Path, ".")
	at, _ := n.at(path)
	if strings.HasPrefix(code, "W-") {
		report(at.pos, code, "%v", f.Err)
		return
	}
	d.path = append(d.path, path...)
	report(at.pos, code, "%s: %v", d.subject(), f.Err)
	d.path = d.path[:len(d.path)-len(path)]
}
