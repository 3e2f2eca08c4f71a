package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// checkTypes refuses edges over which nothing can go: the engine hands a stage the types it accepts, so one common type is
// enough.
func (l *loader) checkTypes() {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			for i, in := range s.Inputs {
				up := l.draft(in.Pipeline).stage(in.Stage)
				l.checkEdge(up.Stage, s.inputs[i], "stage "+s.Ref().String(), s.Info)
			}
			for i, sink := range s.Sinks {
				l.checkEdge(s.Stage, s.sinks[i], fmt.Sprintf("sink %q (%s)", sink.Name, sink.Uses), sink.Info)
			}
		}
	}
}

func (l *loader) checkEdge(up *Stage, at *node, who string, in pipeline.Info) {
	if up.Type == nil || in.Name == "" || common(up.Info.Emits, in.Accepts) {
		return // of an unknown type nothing is known, and enough was said
	}
	if len(up.Info.Emits) == 0 {
		l.report(at.pos, CodeType, "%s reads from %s, which emits nothing", who, up.Ref())
		return
	}
	p := l.report(at.pos, CodeType, "%s accepts %s, but %s emits %s", who, cmpOr(orList(in.Accepts), "nothing"), up.Ref(), orList(up.Info.Emits))
	if from := l.emitters(in.Accepts); len(from) > 0 {
		p.Hint = "emitted by: " + strings.Join(from, ", ")
	}
}

func common(emits, accepts []string) bool {
	if len(emits) == 0 || len(accepts) == 0 {
		return false
	}
	return slices.Contains(emits, pipeline.Any) || slices.Contains(accepts, pipeline.Any) ||
		slices.ContainsFunc(emits, func(t string) bool { return slices.Contains(accepts, t) })
}

// emitters are the stages of the file that emit one of the types.
func (l *loader) emitters(types []string) []string {
	var out []string
	for _, d := range l.drafts {
		for _, s := range d.stages {
			if !slices.Contains(s.Info.Emits, pipeline.Any) && common(s.Info.Emits, types) {
				out = append(out, s.Ref().String())
			}
		}
	}
	return out
}

// conditions compiles every `when`, and checks what it takes from data against the types that can come.
func (l *loader) conditions() {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			n := s.node.get("when")
			if n.null() || s.yaml.When == "" {
				continue
			}
			if s.Info.Role == pipeline.RoleReader {
				l.report(n.pos, CodeEdge, "reader %s has no input that \"when\" could choose from", s.Ref())
				continue
			}
			if s.When = l.condition(n, s.yaml.When); s.When != nil {
				l.checkFields(n, s.yaml.When, l.incoming(s.Stage))
			}
		}
	}
}

// incoming are the types that can reach a stage; nil if any can.
func (l *loader) incoming(s *Stage) []string {
	var types []string
	for _, in := range s.Inputs {
		up := l.draft(in.Pipeline).stage(in.Stage)
		if up.Type == nil || s.Type == nil {
			return nil
		}
		for _, t := range up.Info.Emits {
			switch {
			case t == pipeline.Any:
				return nil
			case common([]string{t}, s.Info.Accepts) && !slices.Contains(types, t):
				types = append(types, t)
			}
		}
	}
	return types
}

func (l *loader) warnings() {
	for _, s := range l.spec.Sinks {
		if len(s.UsedBy) == 0 {
			l.warn(s.node.pos, WarnUnused, "no stage writes to sink %q", s.Name)
		}
	}
}
