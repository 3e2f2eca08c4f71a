package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// GraphFormats are the formats that Graph takes.
var GraphFormats = []string{"ascii", "mermaid", "dot", "json"}

// Graph draws the named pipelines, all of them if none is named, in one of GraphFormats. A pipeline that is not in the spec,
// and a format that is not in the list, is an error that names what there is.
func (s *Spec) Graph(format string, names ...string) (string, error) {
	g, err := s.graph(names)
	if err != nil {
		return "", err
	}
	switch format {
	case "ascii":
		return g.ascii(), nil
	case "mermaid":
		return g.mermaid(), nil
	case "dot":
		return g.dot(), nil
	case "json":
		return g.json()
	}
	return "", fmt.Errorf("no graph format %q, want %s", format, orList(GraphFormats))
}

// A graph is what is drawn: the pipelines chosen, in order.
type graph struct {
	spec      *Spec
	pipelines []*Pipeline
}

func (s *Spec) graph(names []string) (*graph, error) {
	g := &graph{spec: s}
	for _, p := range s.Pipelines {
		if len(names) == 0 || slices.Contains(names, p.Name) {
			g.pipelines = append(g.pipelines, p)
		}
	}
	return g, s.CheckNames(names)
}

// CheckNames refuses names of pipelines that the file does not have, and says which was probably meant.
func (s *Spec) CheckNames(names []string) error {
	all := make([]string, len(s.Pipelines))
	for i, p := range s.Pipelines {
		all[i] = p.Name
	}
	return s.checkNames("pipeline", names, all, all)
}

// CheckStages does the same with stages of these pipelines (none is all), by name or pipeline/name.
func (s *Spec) CheckStages(names, pipelines []string) error {
	var short, refs []string
	for _, p := range s.Pipelines {
		if len(pipelines) > 0 && !slices.Contains(pipelines, p.Name) {
			continue
		}
		for _, st := range p.Stages {
			short, refs = append(short, st.Name), append(refs, st.Ref().String())
		}
	}
	return s.checkNames("stage", names, refs, append(short, refs...))
}

// checkNames refuses names that are not among all; listed is what a message says there is.
func (s *Spec) checkNames(what string, names, listed, all []string) error {
	var errs []error
	for _, n := range names {
		if slices.Contains(all, n) {
			continue
		}
		err := fmt.Errorf("no %s %q in %s (%s) [E-ref]", what, n, strings.Join(s.Files, ", "), strings.Join(listed, ", "))
		if near := pipeline.Nearest(n, all); near != "" {
			err = fmt.Errorf("%w\n  did you mean %q?", err, near)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (g *graph) drawn(r Ref) bool {
	return slices.ContainsFunc(g.pipelines, func(p *Pipeline) bool { return p.Name == r.Pipeline })
}

// sinks are those that a drawn stage writes to, in order of name.
func (g *graph) sinks() []*Sink {
	return slices.DeleteFunc(slices.Clone(g.spec.Sinks), func(k *Sink) bool { return !slices.ContainsFunc(k.UsedBy, g.drawn) })
}

// outside are the stages of pipelines that are not drawn, but that a drawn stage reads.
func (g *graph) outside() []Ref {
	var refs []Ref
	for _, p := range g.pipelines {
		for _, s := range p.Stages {
			for _, in := range s.Inputs {
				if !g.drawn(in) && !slices.Contains(refs, in) {
					refs = append(refs, in)
				}
			}
		}
	}
	return refs
}

func (g *graph) mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, p := range g.pipelines {
		fmt.Fprintf(&b, "  subgraph %s\n", mermaidID("p", p.Name)+`["`+p.Name+`"]`)
		for _, s := range p.Stages {
			fmt.Fprintf(&b, "    %s[\"%s<br/>%s\"]\n", mermaidID("s", s.Ref().String()), s.Name, s.Uses)
		}
		b.WriteString("  end\n")
	}
	for _, r := range g.outside() {
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", mermaidID("s", r.String()), r)
	}
	for _, k := range g.sinks() {
		fmt.Fprintf(&b, "  %s[(\"%s<br/>%s\")]\n", mermaidID("k", k.Name), k.Name, k.Uses)
	}
	g.eachEdge(func(from Ref, to *Stage, sink *Sink) {
		if sink != nil {
			fmt.Fprintf(&b, "  %s --> %s\n", mermaidID("s", from.String()), mermaidID("k", sink.Name))
		} else {
			edge := "-->"
			if g.chained(from) {
				edge = "-.->"
			}
			fmt.Fprintf(&b, "  %s %s %s\n", mermaidID("s", from.String()), edge, mermaidID("s", to.Ref().String()))
		}
	})
	return b.String()
}

// mermaidID makes an identifier; names are [a-z0-9-], so that an underscore for the slash cannot make two the same.
func mermaidID(prefix, name string) string { return prefix + "_" + strings.ReplaceAll(name, "/", "_") }

func (g *graph) eachEdge(edge func(from Ref, to *Stage, sink *Sink)) {
	for _, p := range g.pipelines {
		for _, s := range p.Stages {
			for _, in := range s.Inputs {
				edge(in, s, nil)
			}
			for _, k := range s.Sinks {
				edge(s.Ref(), nil, k)
			}
		}
	}
}

// chained says whether what a stage emits is handed on without being stored.
func (g *graph) chained(r Ref) bool {
	s := g.spec.Stage(r)
	return s != nil && s.Chained
}

func (g *graph) dot() string {
	var b strings.Builder
	b.WriteString("digraph milepost {\n  rankdir=LR;\n  node [shape=box];\n")
	for i, p := range g.pipelines {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%q;\n", i, p.Name)
		for _, s := range p.Stages {
			fmt.Fprintf(&b, "    %q [label=\"%s\\n%s\"];\n", s.Ref(), s.Name, s.Uses)
		}
		b.WriteString("  }\n")
	}
	for _, k := range g.sinks() {
		fmt.Fprintf(&b, "  %q [shape=cylinder, label=\"%s\\n%s\"];\n", "sink "+k.Name, k.Name, k.Uses)
	}
	g.eachEdge(func(from Ref, to *Stage, sink *Sink) {
		if sink != nil {
			fmt.Fprintf(&b, "  %q -> %q;\n", from, "sink "+sink.Name)
		} else {
			style := ""
			if g.chained(from) {
				style = " [style=dashed]"
			}
			fmt.Fprintf(&b, "  %q -> %q%s;\n", from, to.Ref(), style)
		}
	})
	b.WriteString("}\n")
	return b.String()
}

// The JSON form; names are stable.
type graphJSON struct {
	Pipelines []pipelineJSON `json:"pipelines"`
	Sinks     []sinkJSON     `json:"sinks"`
}

type pipelineJSON struct {
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	From        []Ref       `json:"from,omitempty"`
	Stages      []stageJSON `json:"stages"`
}

type stageJSON struct {
	Name        string   `json:"name"`
	Uses        string   `json:"uses"`
	Role        string   `json:"role"`
	Inputs      []Ref    `json:"inputs"`
	Sinks       []string `json:"sinks"`
	Accepts     []string `json:"accepts,omitempty"`
	Emits       []string `json:"emits,omitempty"`
	When        string   `json:"when,omitempty"`
	Parallelism int      `json:"parallelism"`
	Chained     bool     `json:"chained,omitempty"`
}

type sinkJSON struct {
	Name   string `json:"name"`
	Uses   string `json:"uses"`
	UsedBy []Ref  `json:"usedBy"`
}

func (g *graph) json() (string, error) {
	out := graphJSON{Pipelines: []pipelineJSON{}, Sinks: []sinkJSON{}}
	for _, p := range g.pipelines {
		pj := pipelineJSON{Name: p.Name, Description: p.Description, From: p.From, Stages: []stageJSON{}}
		for _, s := range p.Stages {
			pj.Stages = append(pj.Stages, s.json())
		}
		out.Pipelines = append(out.Pipelines, pj)
	}
	for _, k := range g.sinks() {
		out.Sinks = append(out.Sinks, sinkJSON{k.Name, k.Uses, k.UsedBy})
	}
	data, err := json.MarshalIndent(out, "", "  ")
	return string(data) + "\n", err
}

func (s *Stage) json() stageJSON {
	j := stageJSON{Name: s.Name, Uses: s.Uses, Role: string(s.Info.Role), Inputs: []Ref{}, Sinks: []string{},
		Accepts: s.Info.Accepts, Emits: s.Info.Emits, Parallelism: s.Settings.Parallelism, Chained: s.Chained}
	j.Inputs = append(j.Inputs, s.Inputs...)
	for _, k := range s.Sinks {
		j.Sinks = append(j.Sinks, k.Name)
	}
	if s.When != nil {
		j.When = s.When.Source
	}
	return j
}
