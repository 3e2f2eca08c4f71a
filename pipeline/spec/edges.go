package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// edges resolves `from` and `to` of all stages and checks the shape of the graph.
func (l *loader) edges() {
	for _, d := range l.drafts {
		l.pipelineFrom(d)
	}
	for _, d := range l.drafts {
		for i, s := range d.stages {
			l.inputs(d, i, s)
			l.to(s)
		}
	}
	l.cycles()
}

// A reference is one name in a `from`, and where it stands.
type reference struct {
	text string
	at   *node
}

func references(n *node) []reference {
	switch {
	case n.null() || n.broken:
		return nil
	case n.scalar():
		return []reference{{n.text, n}}
	}
	var refs []reference
	for _, i := range n.items {
		if i.scalar() && !i.broken && !i.null() {
			refs = append(refs, reference{i.text, i})
		}
	}
	return refs
}

func (l *loader) draft(name string) *draft {
	for _, d := range l.drafts {
		if d.Name == name {
			return d
		}
	}
	return nil
}

func (l *loader) pipelineNames() []string {
	names := make([]string, len(l.drafts))
	for i, d := range l.drafts {
		names[i] = d.Name
	}
	return names
}

// pipelineFrom resolves a pipeline's `from`: stages of one other pipeline, since a job derives from one upstream job.
func (l *loader) pipelineFrom(d *draft) {
	from := d.node.get("from")
	if from != nil && from.kind == listKind && len(from.items) == 0 {
		l.report(from.pos, CodeRef, `"from" of pipeline %s is empty`, d.Name)
	}
	for _, r := range references(from) {
		other, stage, qualified := strings.Cut(r.text, "/")
		switch {
		case !qualified:
			l.unqualified(d, r)
		case other == d.Name:
			l.report(r.at.pos, CodeCycle, `pipeline %s reads from itself: "from" names %q`, d.Name, r.text)
		case len(d.From) > 0 && d.From[0].Pipeline != other:
			p := l.report(r.at.pos, CodeEdge, `"from" of pipeline %s names stages of two pipelines, %s and %s`, d.Name, d.From[0].Pipeline, other)
			p.Hint = "a job derives from one upstream job; read both in a third pipeline"
		case l.exists(r, other, stage):
			ref := Ref{other, stage}
			if slices.Contains(d.From, ref) {
				l.report(r.at.pos, CodeRef, `"from" names %q twice`, r.text)
				continue
			}
			d.From, d.fromAt = append(d.From, ref), append(d.fromAt, r.at)
		}
	}
}

func (l *loader) unqualified(d *draft, r reference) {
	p := l.report(r.at.pos, CodeRef, `"from" of pipeline %s wants PIPELINE/STAGE, not %q`, d.Name, r.text)
	for _, other := range l.drafts {
		if other != d && other.stage(r.text) != nil {
			p.Meant = other.Name + "/" + r.text
			return
		}
	}
}

// exists says whether there is such a pipeline with such a stage, and reports it otherwise.
func (l *loader) exists(r reference, name, stage string) bool {
	d := l.draft(name)
	if d == nil {
		names := l.pipelineNames()
		p := l.report(r.at.pos, CodeRef, `"from" names pipeline %q, which the file does not have (%s)`, name, strings.Join(names, ", "))
		if near := pipeline.Nearest(name, names); near != "" {
			p.Meant = near + "/" + stage
		}
		return false
	}
	if d.stage(stage) != nil {
		return true
	}
	p := l.report(r.at.pos, CodeRef, `"from" names stage %q, which %s does not have (%s)`, stage, name, strings.Join(d.names(), ", "))
	if near := pipeline.Nearest(stage, d.names()); near != "" {
		p.Meant = near
		if strings.Contains(r.text, "/") {
			p.Meant = name + "/" + near
		}
	}
	return false
}

// inputs resolves what a stage reads: its `from`, else the stage before it, else the pipeline's `from`.
func (l *loader) inputs(d *draft, i int, s *stageDraft) {
	reader := s.Info.Role == pipeline.RoleReader
	from := s.node.get("from")
	switch {
	case reader && i > 0:
		l.report(s.node.get("uses").pos, CodeEdge, "reader %q must be the first stage of a pipeline; here it stands behind %s", s.Name, d.stages[i-1].Name)
		return
	case reader && !from.null():
		l.report(from.pos, CodeEdge, "reader %q reads items, it cannot have \"from\"", s.Name)
		return
	case reader && len(d.From) > 0:
		l.report(s.node.get("uses").pos, CodeEdge, "pipeline %s reads from %s, so its first stage cannot be a reader", d.Name, d.From[0])
		return
	case reader:
		return
	case from != nil && from.kind == listKind && len(from.items) == 0:
		l.report(from.pos, CodeRef, `"from" of stage %s is empty`, s.Ref())
	case !from.null():
		for _, r := range references(from) {
			l.input(d, s, r)
		}
	case i > 0:
		s.Inputs, s.inputs = []Ref{d.stages[i-1].Ref()}, []*node{s.node.get("uses")}
	case d.node.get("from").null():
		l.withoutInput(d, s)
	default:
		s.Inputs, s.inputs = d.From, d.fromAt
	}
}

func (l *loader) withoutInput(d *draft, s *stageDraft) {
	if s.Type == nil {
		return // unknown: it may have been meant for a reader
	}
	p := l.report(s.node.get("uses").pos, CodeEdge, "stage %s reads from nothing: the first stage of a pipeline is a reader, or the pipeline has \"from\"", s.Ref())
	p.Next = fmt.Sprintf("next: put `from: PIPELINE/STAGE` on %s, or a reader first", d.Name)
}

func (l *loader) input(d *draft, s *stageDraft, r reference) {
	other, stage, qualified := strings.Cut(r.text, "/")
	if !qualified {
		other, stage = d.Name, r.text
	}
	ref := Ref{other, stage}
	switch {
	case ref == s.Ref():
		l.report(r.at.pos, CodeCycle, "stage %s reads from itself", ref)
	case !l.exists(r, other, stage):
	case other != d.Name && (len(d.From) == 0 || d.From[0].Pipeline != other):
		p := l.report(r.at.pos, CodeEdge, `"from" of stage %s names %s, but the jobs of %s do not derive from %s`, s.Ref(), ref, d.Name, other)
		p.Next = fmt.Sprintf("next: put `from: %s` on a pipeline of its own", ref)
	case slices.Contains(s.Inputs, ref):
		l.report(r.at.pos, CodeRef, `"from" names %q twice`, r.text)
	default:
		s.Inputs, s.inputs = append(s.Inputs, ref), append(s.inputs, r.at)
	}
}

func (l *loader) to(s *stageDraft) {
	for _, r := range references(s.node.get("to")) {
		i := slices.IndexFunc(l.spec.Sinks, func(k *Sink) bool { return k.Name == r.text })
		if i < 0 {
			names := make([]string, len(l.spec.Sinks))
			for i, k := range l.spec.Sinks {
				names[i] = k.Name
			}
			list := "it has none"
			if len(names) > 0 {
				list = strings.Join(names, ", ")
			}
			p := l.report(r.at.pos, CodeRef, `"to" names sink %q, which the file does not have (%s)`, r.text, list)
			p.Meant = pipeline.Nearest(r.text, names)
			continue
		}
		sink := l.spec.Sinks[i]
		if slices.Contains(s.Sinks, sink) {
			l.report(r.at.pos, CodeRef, `"to" names %q twice`, r.text)
			continue
		}
		s.Sinks, s.sinks = append(s.Sinks, sink), append(s.sinks, r.at)
		sink.UsedBy = append(sink.UsedBy, s.Ref())
	}
}

// cycles reports every stage that waits for itself, once a cycle.
func (l *loader) cycles() {
	const open, done = 1, 2
	state := map[Ref]int{}
	var path []Ref
	var visit func(s *stageDraft)
	visit = func(s *stageDraft) {
		state[s.Ref()] = open
		path = append(path, s.Ref())
		for _, in := range s.Inputs {
			up := l.draft(in.Pipeline).stage(in.Stage)
			switch state[in] {
			case open:
				l.cycle(path[slices.Index(path, in):])
			case 0:
				visit(up)
			}
		}
		path = path[:len(path)-1]
		state[s.Ref()] = done
	}
	for _, d := range l.drafts {
		for _, s := range d.stages {
			if state[s.Ref()] == 0 {
				visit(s)
			}
		}
	}
}

// cycle reports a ring of stages, each reading the next one, at the `from` that closes it.
func (l *loader) cycle(ring []Ref) {
	names := make([]string, 0, len(ring)+1)
	for _, r := range ring {
		names = append(names, r.String())
	}
	slices.Reverse(names)
	names = append(names, names[0])
	first := ring[0]
	for _, r := range ring {
		if !l.draft(r.Pipeline).stage(r.Stage).node.get("from").null() {
			first = r
		}
	}
	d := l.draft(first.Pipeline)
	at := d.stage(first.Stage).node.get("from")
	if at.null() {
		at = d.node.get("from")
	}
	if at.null() {
		at = d.stage(first.Stage).node.get("name")
	}
	l.report(at.pos, CodeCycle, "stages wait for each other: %s", strings.Join(names, " ─▶ "))
}

// order puts inputs before consumers, otherwise what stands first in the file first.
func (l *loader) order() {
	placed := map[Ref]bool{}
	ready := func(refs []Ref) bool {
		return !slices.ContainsFunc(refs, func(r Ref) bool { return !placed[r] })
	}
	for left := l.drafts; len(left) > 0; {
		i := slices.IndexFunc(left, func(d *draft) bool { return ready(d.From) })
		if i < 0 {
			l.between(left)
			return
		}
		d := left[i]
		left = slices.Delete(slices.Clone(left), i, i+1)
		for stages := d.stages; len(stages) > 0; {
			j := slices.IndexFunc(stages, func(s *stageDraft) bool { return ready(s.Inputs) })
			if j < 0 {
				l.between([]*draft{d})
				return
			}
			placed[stages[j].Ref()] = true
			d.Pipeline.Stages = append(d.Pipeline.Stages, stages[j].Stage)
			stages = slices.Delete(slices.Clone(stages), j, j+1)
		}
		l.spec.Pipelines = append(l.spec.Pipelines, d.Pipeline)
	}
}

// between reports pipelines that derive from each other though none of their stages waits for itself: a's job would derive
// from b's, and b's from a's.
func (l *loader) between(left []*draft) {
	names := make([]string, len(left))
	for i, d := range left {
		names[i] = d.Name
	}
	at := left[0].key
	if from := left[0].node.get("from"); !from.null() {
		at = from
	}
	l.report(at.pos, CodeCycle, "pipelines derive from each other: %s", strings.Join(names, ", "))
}
