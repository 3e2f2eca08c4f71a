package spec

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
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

// checkSinks refuses what a sink's configuration says of types and files and the stages that write to it do not bear out.
func (l *loader) checkSinks() {
	for _, s := range l.spec.Sinks {
		if c, ok := s.Config.(interface{ StoredTypes() (string, []string) }); ok && len(s.UsedBy) > 0 && !s.with.broken {
			field, types := c.StoredTypes()
			l.checkStored(s, field, types)
		}
	}
	l.checkTargets()
}

func (l *loader) checkStored(s *Sink, field string, types []string) {
	var can []string
	for _, r := range s.UsedBy {
		up := l.draft(r.Pipeline).stage(r.Stage)
		if up.Type == nil || slices.Contains(up.Info.Emits, pipeline.Any) {
			return
		}
		can = append(can, up.emits()...)
	}
	slices.Sort(can)
	can = slices.Compact(can)
	for i, t := range types {
		if slices.Contains(can, t) {
			continue
		}
		at, _ := s.with.at([]string{field, strconv.Itoa(i)})
		p := l.report(at.pos, CodeType, "%q of sink %q: no stage that writes to it emits %s", field, s.Name, t)
		p.Where, p.Hint = "used by "+orList(refStrings(s.UsedBy)), "they emit: "+cmpOr(strings.Join(can, ", "), "nothing")
		p.Meant = pipeline.Nearest(t, can)
	}
}

// emits is what can reach a sink from a stage: its events and its fleet result.
func (s *Stage) emits() []string {
	if s.Info.FoldEmits == "" {
		return s.Info.Emits
	}
	return append(slices.Clone(s.Info.Emits), s.Info.FoldEmits)
}

func refStrings(refs []Ref) []string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = r.String()
	}
	return out
}

// A target is the file that one stage's events of one type go to, for each recording.
type target struct {
	sink  *Sink
	stage Ref
	items any // what lists the recordings: two readers of one configuration list the same
}

// checkTargets refuses two stages whose results of a recording would go to one file. Recordings of other readers may have
// other names, so they are compared when they come.
func (l *loader) checkTargets() {
	taken := map[string][]target{}
	for _, s := range l.spec.Sinks {
		l.checkFleets(s, taken)
		l.checkTables(s, taken)
		c, ok := s.Config.(interface{ FileTemplate() (string, string) })
		if !ok {
			continue
		}
		field, template := c.FileTemplate()
		for _, r := range s.UsedBy {
			t := target{s, r, l.itemsOf(r)}
			for _, file := range l.targetFiles(t, template) {
				i := slices.IndexFunc(taken[file], func(o target) bool { return (o.sink != s || o.stage != r) && reflect.DeepEqual(o.items, t.items) })
				if i >= 0 {
					l.collide(t, taken[file][i], field, file)
					break
				}
				taken[file] = append(taken[file], t)
			}
		}
	}
}

// checkFleets does the same for fleet results.
func (l *loader) checkFleets(s *Sink, taken map[string][]target) {
	c, ok := s.Config.(interface{ FleetTemplate() (string, string) })
	if !ok {
		return
	}
	field, template := c.FleetTemplate()
	for _, r := range s.UsedBy {
		up := l.draft(r.Pipeline).stage(r.Stage)
		if up.Info.FoldEmits == "" {
			continue
		}
		file := strings.ReplaceAll(inStage(template, r), "{type}", up.Info.FoldEmits)
		key := "fleet " + file // recordings of that name are refused when they come
		if len(taken[key]) > 0 {
			l.collide(target{sink: s, stage: r}, taken[key][0], field, file)
			continue
		}
		taken[key] = []target{{sink: s, stage: r}}
	}
}

// checkTables refuses two sinks of one stage that store in the same tables: these have one cursor for what the stage emits.
func (l *loader) checkTables(s *Sink, taken map[string][]target) {
	c, ok := s.Config.(interface{ StoredIn() (string, string) })
	if !ok {
		return
	}
	field, place := c.StoredIn()
	for _, r := range s.UsedBy {
		key := fmt.Sprintf("tables %s %s %s", s.Uses, place, r)
		if other := taken[key]; len(other) > 0 {
			at, _ := s.with.at([]string{field})
			p := l.report(at.pos, CodeValue, "sinks %q and %q would both store what %s emits in the same tables", other[0].sink.Name, s.Name, r)
			p.Hint = "use one sink, whose types and tables are those of both"
			continue
		}
		taken[key] = []target{{sink: s, stage: r}}
	}
}

// inStage is a path with what a stage says of it.
func inStage(template string, r Ref) string {
	return path.Clean(strings.NewReplacer("{pipeline}", r.Pipeline, "{stage}", r.Stage).Replace(template))
}

func (l *loader) collide(a, b target, field, file string) {
	at, _ := a.sink.with.at([]string{field})
	p := l.report(at.pos, CodeValue, "%s (sink %q) and %s (sink %q) would both write %s", b.stage, b.sink.Name, a.stage, a.sink.Name, file)
	switch {
	case a.sink != b.sink:
		p.Hint = "give each sink a path of its own"
	case a.stage.Pipeline != b.stage.Pipeline:
		p.Hint = "put {pipeline} into the path"
	default:
		p.Hint = "put {stage} into the path, or choose one stage's types"
	}
}

// targetFiles are the paths of a target as far as the file says them: one, or one a type.
func (l *loader) targetFiles(t target, template string) []string {
	up := l.draft(t.stage.Pipeline).stage(t.stage.Stage)
	if up.Type == nil {
		return nil
	}
	var stored []string
	if c, ok := t.sink.Config.(interface{ StoredTypes() (string, []string) }); ok {
		_, stored = c.StoredTypes()
	}
	file := inStage(template, t.stage)
	var files []string
	for _, e := range up.Info.Emits {
		if e == schemas.Signals || e == schemas.AEBTicks || len(stored) > 0 && e != pipeline.Any && !slices.Contains(stored, e) {
			continue // tables, or not wanted
		}
		if f := strings.ReplaceAll(file, "{type}", e); !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	return files
}

// itemsOf is what lists the recordings that a stage sees: the configuration of the first reader above it.
func (l *loader) itemsOf(r Ref) any {
	seen := map[Ref]bool{} // the way up may be a cycle, which is another fault
	for s := l.draft(r.Pipeline).stage(r.Stage); s != nil && !seen[r]; s = l.draft(r.Pipeline).stage(r.Stage) {
		if len(s.Inputs) == 0 && s.Config != nil {
			return s.Config
		}
		if len(s.Inputs) == 0 {
			break
		}
		seen[r] = true
		r = s.Inputs[0]
	}
	return r
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
	l.warnOfLimit()
}

// usualEvent is the size at which readers cut events where nobody says anything else.
const usualEvent = 256 << 10

// warnOfLimit warns of a limited log in which the recordings at work have no room for two usual events each: they wait for each
// other then.
func (l *loader) warnOfLimit() {
	limit := int64(l.spec.Transport.Limits().MaxBytes)
	if limit == 0 || l.maxBytes == nil {
		return
	}
	for _, p := range l.spec.Pipelines {
		active := AtWork(p.Stages[0].Settings.Parallelism)
		share := LogShare(limit, active)
		if share >= 2*usualEvent {
			continue
		}
		w := l.warn(l.maxBytes.pos, WarnLimits, "%s is little for pipeline %s: of the %d recordings at work each may hold %d KiB of a stage's log",
			pipeline.Size(limit), p.Name, active, share>>10)
		w.Hint = fmt.Sprintf("room for two events of %s each: max_bytes: %s, or a smaller parallelism of %s", pipeline.Size(usualEvent),
			pipeline.Size(2*usualEvent*shares(active)), p.Stages[0].Name)
		return
	}
}
