package spec

import "strings"

// groupSettings are the settings that a group of chained stages has once: its last stage's.
var groupSettings = []string{"parallelism", "retry", "timeout", "on_error", "max_step_bytes", "checkpoint", "dlq"}

// chained refuses what cannot be done over an edge whose events are not stored (design.md §6 rule 10): all that would read
// them again, and what would not give the same events when it is computed again.
func (l *loader) chained() {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			if s.Chained {
				l.chain(d, s)
			}
		}
	}
}

func (l *loader) chain(d *draft, s *stageDraft) {
	at := s.node.get("durable").pos
	last := l.chainedConsumer(d, s)
	if last != nil {
		s.Settings = d.lastOf(last).Settings
	}
	if len(s.Sinks) > 0 {
		p := l.report(s.sinks[0].pos, CodeDurable, "what %s emits is not stored (`durable: false`), so no sink can have it", s.Ref())
		p.Next = "next: give the sink to the stage behind it, or remove `durable: false`"
	}
	for _, g := range []*stageDraft{s, last} {
		if g != nil && g.Info.Nondeterministic {
			l.report(at, CodeDurable, "%s (%s) cannot be chained: it may give other events when it is run again, and one event an input is all that tells where it stands", g.Ref(), g.Uses)
		}
	}
	if s.Info.FoldEmits != "" {
		l.report(at, CodeDurable, "%s makes a fleet result of what it emits, which is not stored (`durable: false`)", s.Ref())
	}
	for _, key := range groupSettings {
		if n := s.node.get(key); n != nil && last != nil {
			p := l.report(n.pos, CodeDurable, "%s is chained to %s: both are one stage, whose %s stands on the last of them", s.Ref(), last.Name, key)
			p.Next = "next: move it to " + d.lastOf(last).Name
		}
	}
}

// chainedConsumer is the one stage that can have the events of s; nil, and a problem, when there is none.
func (l *loader) chainedConsumer(d *draft, s *stageDraft) *stageDraft {
	at := s.node.get("durable").pos
	consumers := l.consumersOf(s.Ref())
	switch {
	case len(consumers) == 0:
		l.report(at, CodeDurable, "nothing reads %s, and what it emits is not stored (`durable: false`)", s.Ref())
		return nil
	case len(consumers) > 1:
		p := l.report(at, CodeDurable, "%s has %d consumers (%s): over an edge that is not stored there can be one", s.Ref(), len(consumers), draftNames(consumers))
		p.Next = "next: remove `durable: false`"
		return nil
	}
	c := consumers[0]
	switch {
	case c.Pipeline != d.Name:
		l.report(at, CodeDurable, "%s reads %s from another pipeline, whose jobs are others: the edge has to be stored", c.Ref(), s.Ref())
	case len(c.Inputs) > 1:
		l.report(at, CodeDurable, "%s joins %s with other stages: a join's edges have to be stored", c.Ref(), s.Ref())
	default:
		return c
	}
	return nil
}

func (l *loader) consumersOf(r Ref) (all []*stageDraft) {
	for _, d := range l.drafts {
		for _, s := range d.stages {
			for _, in := range s.Inputs {
				if in == r {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// lastOf is the last stage of the group that s is in.
func (d *draft) lastOf(s *stageDraft) *stageDraft {
	for range d.stages { // a cycle is another fault
		if !s.Chained {
			return s
		}
		for _, c := range d.stages {
			if len(c.Inputs) == 1 && c.Inputs[0] == s.Ref() {
				s = c
				break
			}
		}
	}
	return s
}

func draftNames(stages []*stageDraft) string {
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = s.Ref().String()
	}
	return strings.Join(names, ", ")
}
