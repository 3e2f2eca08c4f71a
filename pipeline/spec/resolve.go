package spec

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// What a user writes, as opposed to what Spec resolves it to. The JSON Schema is made from these types too.
type fileYAML struct {
	Version   *node `yaml:"version" required:"true" doc:"Version of this format: 1."`
	Transport *node `yaml:"transport" doc:"Where events are kept; the only block that differs between a laptop and a cluster."`
	Defaults  *node `yaml:"defaults" doc:"What every stage has unless it says otherwise."`
	Sinks     *node `yaml:"sinks" doc:"Where results go, by name."`
	Pipelines *node `yaml:"pipelines" required:"true" doc:"The pipelines, by name."`
}

type pipelineYAML struct {
	Description string           `yaml:"description" doc:"One sentence for lists and dashboards."`
	From        pipeline.Strings `yaml:"from" doc:"PIPELINE/STAGE whose events the first stage reads; without it the first stage is a reader."`
	Stages      []*node          `yaml:"stages" required:"true" doc:"The stages; each reads the one before unless it has from."`
}

type stageYAML struct {
	Name     string           `yaml:"name" required:"true" doc:"Name of the stage in its pipeline, [a-z0-9-]."`
	Uses     string           `yaml:"uses" required:"true" doc:"Stage type: role/type."`
	With     *node            `yaml:"with" doc:"Configuration of the stage type."`
	From     pipeline.Strings `yaml:"from" doc:"Stages whose events this one reads; default the one before."`
	To       pipeline.Strings `yaml:"to" doc:"Sinks that store what this stage emits."`
	When     string           `yaml:"when" doc:"Expression over type, source, subject, recording, time, data; events for which it is false are passed over."`
	Durable  *bool            `yaml:"durable" doc:"Whether what this stage emits is stored. false hands it to its one consumer in the same process, without encoding; both are one stage then."`
	Settings `yaml:",inline"`
}

// A draft is a pipeline on its way to a Pipeline.
type draft struct {
	*Pipeline
	key    *node
	yaml   pipelineYAML
	fromAt []*node       // where it names From[i]
	stages []*stageDraft // in order of the file
}

type stageDraft struct {
	*Stage
	yaml   stageYAML
	inputs []*node // where the file says that the stage reads Inputs[i]; the type's name where only the order says so
	sinks  []*node // where it names Sinks[i]
}

func (d *draft) stage(name string) *stageDraft {
	for _, s := range d.stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (d *draft) names() []string {
	names := make([]string, len(d.stages))
	for i, s := range d.stages {
		names[i] = s.Name
	}
	return names
}

// build decodes the resolved tree and checks it, from the outside in.
func (l *loader) build() {
	var top fileYAML
	d := &decoder{l: l, where: "the file"}
	d.decode(l.root, reflect.ValueOf(&top).Elem())
	if v := top.Version; !v.null() && !v.broken && (v.kind != intKind || v.text != "1") {
		l.report(v.pos, CodeValue, "version %s of this format is not known; this program reads version 1", v.show())
	}
	l.transport(top.Transport)
	defaults := DefaultSettings()
	if top.Defaults != nil {
		(&decoder{l: l, where: "defaults"}).decode(top.Defaults, reflect.ValueOf(&defaults).Elem())
		l.checkSettings(top.Defaults, "defaults", defaults)
	}
	l.spec.DLQ = defaults.DLQ
	l.sinks(top.Sinks)
	l.pipelines(top.Pipelines, defaults)
	l.edges()
	l.chained()
	l.checkTypes()
	l.checkSinks()
	l.checkParams()
	if !l.failed() {
		l.checkInputs()
	}
	l.conditions()
	if !l.failed() {
		l.order()
		l.warnings()
	}
}

var nodeName = regexp.MustCompile(namePattern)

const (
	namePattern  = `^[a-z0-9]+(-[a-z0-9]+)*$`
	maxNameBytes = 63
)

// name refuses what cannot be part of a subject, a file name and a command line everywhere.
func (l *loader) name(n *node, what string) bool {
	if nodeName.MatchString(n.text) && len(n.text) <= maxNameBytes {
		return true
	}
	p := l.report(n.pos, CodeName, "%s name %q is not kebab-case: a-z and 0-9, single dashes between, %d characters at most", what, n.text, maxNameBytes)
	if better := kebab(n.text); nodeName.MatchString(better) && len(better) <= maxNameBytes {
		p.Meant = better
	}
	return false
}

func kebab(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r == '_' || r == ' ' || r == '.' || r == '/' {
			return '-'
		}
		return r
	}, strings.ToLower(s)), "-")
}

// mappingOf checks that a value is a mapping of names; nil and nothing are an empty one.
func (l *loader) mappingOf(n *node, what string) []*field {
	if n.null() || n.broken {
		return nil
	}
	if n.kind != mapKind {
		l.report(n.pos, CodeValue, "%s: want a mapping from names; have %s", what, n.show())
		n.broken = true
		return nil
	}
	return n.fields
}

func (l *loader) sinks(n *node) {
	for _, f := range l.mappingOf(n, "sinks") {
		l.name(f.key, "sink")
		s := &Sink{Name: f.key.text, node: f.key}
		l.spec.Sinks = append(l.spec.Sinks, s)
		if f.value.broken {
			continue
		}
		if f.value.kind != mapKind || len(f.value.fields) != 1 {
			p := l.report(f.value.pos, CodeValue, "sink %q: want one sink type with its configuration; have %s", s.Name, f.value.show())
			p.Hint = "types: " + strings.Join(l.sinkTypes(), ", ")
			continue
		}
		l.sinkType(s, f.value.fields[0])
	}
	slices.SortStableFunc(l.spec.Sinks, func(a, b *Sink) int { return strings.Compare(a.Name, b.Name) })
}

func (l *loader) sinkType(s *Sink, f *field) {
	t, ok := l.opts.Registry.Lookup("sink/" + f.key.text)
	if !ok {
		p := l.report(f.key.pos, CodeStage, "unknown sink type %q", f.key.text)
		p.Meant, p.Next = pipeline.Nearest(f.key.text, l.sinkTypes()), "milepost stages ls"
		return
	}
	s.Type, s.Info, s.Uses = t, t.Info(), t.Info().Name
	s.Config, s.with = l.config(t, f.value, f.key, `sink "`+s.Name+`"`, "")
}

func (l *loader) sinkTypes() []string {
	var names []string
	for _, n := range l.opts.Registry.Names() {
		if kind, ok := strings.CutPrefix(n, "sink/"); ok {
			names = append(names, kind)
		}
	}
	return names
}

func (l *loader) pipelines(n *node, defaults Settings) {
	fields := l.mappingOf(n, "pipelines")
	if len(fields) == 0 && n != nil && !n.broken {
		l.report(n.pos, CodeField, "the file has no pipeline")
	}
	for _, f := range fields {
		l.name(f.key, "pipeline")
		d := &draft{Pipeline: &Pipeline{Name: f.key.text, node: f.value}, key: f.key}
		l.drafts = append(l.drafts, d)
		if f.value.null() {
			l.report(f.key.pos, CodeField, "pipeline %s has no stages", d.Name)
			continue
		}
		(&decoder{l: l, where: "pipeline " + d.Name}).decode(f.value, reflect.ValueOf(&d.yaml).Elem())
		d.Description = d.yaml.Description
		if stages := f.value.get("stages"); stages != nil && stages.kind == listKind && len(stages.items) == 0 {
			l.report(stages.pos, CodeField, "pipeline %s has no stages", d.Name)
		}
		for _, s := range d.yaml.Stages {
			l.stage(d, s, defaults)
		}
	}
}

// stage decodes one element of `stages:`.
func (l *loader) stage(d *draft, n *node, defaults Settings) {
	if n.broken {
		return
	}
	if n.null() {
		l.report(n.pos, CodeField, "a stage of pipeline %s is empty: it wants a name and uses", d.Name)
		return
	}
	s := &stageDraft{Stage: &Stage{Pipeline: d.Name, node: n}, yaml: stageYAML{Settings: defaults}}
	where := "stage " + d.Name + "/" + cmpOr(textOf(n.get("name")), "?")
	(&decoder{l: l, where: where}).decode(n, reflect.ValueOf(&s.yaml).Elem())
	s.Name, s.Settings = s.yaml.Name, s.yaml.Settings
	l.checkSettings(n, where, s.Settings)
	s.Chained = s.yaml.Durable != nil && !*s.yaml.Durable
	if name := n.get("name"); s.Name != "" && l.name(name, "stage") {
		l.stageName(d, name)
	}
	l.uses(s, where)
	d.stages = append(d.stages, s)
}

// reservedStage is the name of the chains that a pipeline's jobs are kept in (transport.JobStage).
const reservedStage = "job"

func (l *loader) stageName(d *draft, name *node) {
	if name.text == reservedStage {
		l.report(name.pos, CodeName, "stage name %q is reserved", name.text)
	}
	if first := d.stage(name.text); first != nil {
		l.report(name.pos, CodeName, "%s has two stages named %q, the first in line %d", d.Name, name.text, first.node.get("name").line)
	}
}

func textOf(n *node) string {
	if n == nil || !n.scalar() {
		return ""
	}
	return n.text
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// aliases are the stage types that may be written without their role.
var aliases = map[string]string{"exec": "process/exec"}

func (l *loader) uses(s *stageDraft, where string) {
	n := s.node.get("uses")
	if s.yaml.Uses == "" {
		return
	}
	name := cmpOr(aliases[s.yaml.Uses], s.yaml.Uses)
	t, ok := l.opts.Registry.Lookup(name)
	switch {
	case ok && t.Info().Role == pipeline.RoleSink:
		p := l.report(n.pos, CodeStage, "%q is a sink, not a stage", name)
		p.Next = "next: declare it under `sinks:` and name it in a stage's `to:`"
		return
	case !ok:
		p := l.report(n.pos, CodeStage, "unknown stage %q", s.yaml.Uses)
		p.Meant, p.Next = l.nearestType(s.yaml.Uses), "milepost stages ls"
		return
	}
	s.Uses, s.Type, s.Info = name, t, t.Info()
	s.Config, s.with = l.config(t, s.yaml.With, n, where, "with")
}

// nearestType also finds the type when its role is missing or wrong.
func (l *loader) nearestType(word string) string {
	var names []string
	_, kind, _ := strings.Cut("/"+word, "/")
	kind = kind[strings.LastIndexByte(kind, '/')+1:]
	for _, n := range l.opts.Registry.Names() {
		if strings.HasPrefix(n, "sink/") {
			continue
		}
		if strings.HasSuffix(n, "/"+kind) {
			return n
		}
		names = append(names, n)
	}
	return pipeline.Nearest(word, names)
}

// checkSettings refuses durations and sizes out of range, where the mapping n gives them itself.
func (l *loader) checkSettings(n *node, where string, s Settings) {
	l.positive(n, where, int64(s.MaxStepBytes), "max_step_bytes")
	l.positive(n, where, int64(s.Checkpoint.Interval), "checkpoint", "interval")
	l.positive(n, where, int64(s.DLQ.MaxAge), "dlq", "max_age")
	l.least(n, where, 0, int64(s.Retry.Backoff), "retry", "backoff")
	l.least(n, where, 0, int64(s.Retry.MaxBackoff), "retry", "max_backoff")
	l.least(n, where, 0, int64(s.Timeout), "timeout")
	if retry := n.get("retry"); retry != nil && s.Retry.Backoff > s.Retry.MaxBackoff && s.Retry.MaxBackoff >= 0 {
		at := retry
		if b := retry.get("backoff"); b != nil {
			at = b
		}
		l.report(at.pos, CodeValue, "backoff %s of %s is longer than max_backoff %s",
			FormatDuration(s.Retry.Backoff), where, FormatDuration(s.Retry.MaxBackoff))
	}
}

func (l *loader) positive(n *node, where string, v int64, path ...string) {
	l.least(n, where, 1, v, path...)
}

func (l *loader) least(n *node, where string, least, v int64, path ...string) {
	at, found := n.at(path)
	if !found || at.broken || at.null() || v >= least {
		return
	}
	want := "more than 0"
	if least == 0 {
		want = "0 or more"
	}
	l.report(at.pos, CodeValue, "%q of %s: want %s; have %s", strings.Join(path, "."), where, want, at.show())
}
