package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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
	before := l.errors()
	d.decode(n, reflect.ValueOf(cfg).Elem())
	l.validate(cfg, n, d, before)
	return cfg, n
}

// validate asks the configuration itself, of which faulty fields have their defaults. What was at fault already is excused
// from what is found here; before is how many errors there were when decoding began.
func (l *loader) validate(cfg any, n *node, d *decoder, before int) {
	if v, ok := cfg.(interface{ Validate() error }); ok {
		l.blame(each(v.Validate()), n, d, l.report, CodeValue, l.errors() > before)
	}
	if v, ok := cfg.(interface{ Check() []error }); ok && !l.opts.NoAdvice {
		l.blame(v.Check(), n, d, l.report, CodeValue, l.errors() > before)
	}
	if v, ok := cfg.(interface{ Warnings() []error }); ok && !l.opts.NoAdvice && l.errors() == before {
		l.blame(v.Warnings(), n, d, l.warn, WarnConfig, false)
	}
}

// checkInputs lets the readers compare the signals that they bind with those that the functions behind them rest on. A stage
// between the two may make the signals itself, so only those that read the reader are asked.
func (l *loader) checkInputs() {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			reader, ok := s.Config.(interface {
				CheckInputs(stage string, inputs []string) []error
			})
			if !ok || l.opts.NoAdvice {
				continue
			}
			where := &decoder{l: l, where: "stage " + s.Ref().String(), path: []string{"with"}}
			for _, behind := range l.behind(s.Ref()) {
				if c, ok := behind.Config.(interface{ Inputs() []string }); ok {
					l.blame(reader.CheckInputs(behind.Ref().String(), c.Inputs()), s.with, where, l.warn, WarnConfig, false)
				}
			}
		}
	}
}

// behind are the stages that read one.
func (l *loader) behind(ref Ref) (all []*stageDraft) {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			if slices.Contains(s.Inputs, ref) {
				all = append(all, s)
			}
		}
	}
	return all
}

// checkParams lets the readers compare what their files say to the stages behind them with what those understand.
func (l *loader) checkParams() {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			c, ok := s.Config.(interface {
				CheckParams(func(map[string]json.RawMessage) []error) []error
			})
			if !ok || l.opts.NoAdvice {
				continue
			}
			where := &decoder{l: l, where: "stage " + s.Ref().String(), path: []string{"with"}}
			l.blame(c.CheckParams(func(params map[string]json.RawMessage) []error { return l.refusedParams(d, params) }), s.with, where, l.report, CodeValue, false)
		}
	}
}

// refusedParams is what the stages of a pipeline, and of those that derive from it, say of an item's params.
func (l *loader) refusedParams(d *draft, params map[string]json.RawMessage) (errs []error) {
	for _, s := range d.stages {
		if c, ok := s.Config.(interface {
			RefusedParams(map[string]json.RawMessage) []error
		}); ok {
			errs = append(errs, c.RefusedParams(params)...)
		}
	}
	for _, below := range l.drafts {
		if len(below.From) > 0 && below.From[0].Pipeline == d.Name && below != d {
			errs = append(errs, l.refusedParams(below, params)...)
		}
	}
	return errs
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

// blame reports what a configuration says of itself, each error at the field that it names, or as near as the file goes. What
// is refused here is excused from then on. faulty says whether the configuration has faults already: an error that names no
// field may be one of their consequences.
func (l *loader) blame(errs []error, n *node, d *decoder, report func(pos, string, string, ...any) *Problem, code string, faulty bool) {
	var refused []*node
	for _, err := range errs {
		var f *pipeline.FieldError
		if !errors.As(err, &f) {
			if !faulty {
				report(n.pos, code, "%s: %v", d.subject(), err)
			}
			continue
		}
		path := strings.Split(f.Path, ".")
		if n.excused(path) || slices.ContainsFunc(f.Uses, func(other string) bool { return n.excused(strings.Split(other, ".")) }) {
			continue
		}
		at, found := n.at(path)
		if p := l.fault(f, at.pos, path, d, report, code); p != nil && found && p.Severity == Error {
			refused = append(refused, at)
		}
	}
	for _, at := range refused {
		at.broken = true
	}
}

// fault reports one error of a field; of a file that the field names, what is wrong with that file, where it stands there.
func (l *loader) fault(f *pipeline.FieldError, at pos, path []string, d *decoder, report func(pos, string, string, ...any) *Problem, code string) *Problem {
	d.path = append(d.path, path...)
	defer func() { d.path = d.path[:len(d.path)-len(path)] }()
	var other *InvalidError
	if errors.As(f.Err, &other) {
		for _, p := range other.Problems {
			p.Where = cmpOr(p.Where, d.subject())
			l.problems = append(l.problems, &p)
		}
		return nil
	}
	code = cmpOr(f.Code, code)
	message := fmt.Sprintf("%s: %v", d.subject(), f.Err)
	if strings.HasPrefix(code, "W-") {
		message = f.Err.Error()
	}
	p := report(at, code, "%s", message)
	p.Meant = f.Meant
	return p
}
