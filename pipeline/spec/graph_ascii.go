package spec

import (
	"strings"
	"unicode/utf8"
)

const (
	arrow = " ─▶ "
	chain = " ┄▶ " // what is handed on is not stored
	fork  = "└─▶ "
)

// An asciiDrawing is lines of text, each stage drawn once, under what it reads. A stage that reads several stands behind the
// first of them; behind the others its name stands in parentheses.
type asciiDrawing struct {
	g      *graph
	lines  []asciiLine
	column map[Ref]int // where a stage's name begins, without the margin
}

type asciiLine struct{ margin, text string }

func (g *graph) ascii() string {
	d := &asciiDrawing{g: g, column: map[Ref]int{}}
	for _, p := range g.pipelines {
		d.pipeline(p)
	}
	width := 0
	for _, p := range g.pipelines {
		width = max(width, len(p.Name))
	}
	var b strings.Builder
	for _, l := range d.lines {
		b.WriteString(l.margin + strings.Repeat(" ", width-len(l.margin)+2) + l.text + "\n")
	}
	return b.String()
}

// pipeline draws the stages that read another pipeline, or nothing; what reads them follows.
func (d *asciiDrawing) pipeline(p *Pipeline) {
	margin := p.Name
	for _, s := range p.Stages {
		if _, drawn := d.column[s.Ref()]; drawn || d.own(s) {
			continue
		}
		start := ""
		switch {
		case len(s.Inputs) == 0:
		case d.g.drawn(s.Inputs[0]):
			start = strings.Repeat(" ", d.column[s.Inputs[0]]) + fork
		default:
			start = s.Inputs[0].String() + arrow
		}
		d.chain(p, s, margin, start)
		margin = ""
	}
}

// own says whether the first input of s is a stage of its pipeline, behind which it will be drawn.
func (d *asciiDrawing) own(s *Stage) bool {
	return len(s.Inputs) > 0 && s.Inputs[0].Pipeline == s.Pipeline
}

// chain draws s and what follows it to the end of a line, then the other ways that leave the line, last fork first, so that
// no fork hangs over another one's text.
func (d *asciiDrawing) chain(p *Pipeline, s *Stage, margin, start string) {
	type branch struct {
		at     int
		stage  *Stage
		joined string
	}
	var branches []branch
	line := start
	for {
		at := utf8.RuneCountInString(line)
		d.column[s.Ref()] = at
		line += s.Name
		next, joins := d.after(p, s)
		ends := make([]branch, 0, len(next)+len(joins)+1)
		for _, n := range next {
			ends = append(ends, branch{at: at, stage: n})
		}
		for _, j := range joins {
			ends = append(ends, branch{at: at, joined: "(" + j.Name + ")"})
		}
		if len(s.Sinks) > 0 {
			ends = append(ends, branch{at: at, joined: sinkList(s)})
		}
		if len(ends) == 0 {
			break
		}
		branches = append(branches, ends[1:]...)
		if s.Chained {
			line += chain
		} else {
			line += arrow
		}
		if ends[0].stage == nil {
			line += ends[0].joined
			break
		}
		s = ends[0].stage
	}
	d.lines = append(d.lines, asciiLine{margin, line})
	for i := len(branches) - 1; i >= 0; i-- {
		b := branches[i]
		start := strings.Repeat(" ", b.at) + fork
		if b.stage != nil {
			d.chain(p, b.stage, "", start)
		} else {
			d.lines = append(d.lines, asciiLine{"", start + b.joined})
		}
	}
}

// after lists the stages of the pipeline that read s: those to be drawn behind it, and those drawn behind another input.
func (d *asciiDrawing) after(p *Pipeline, s *Stage) (next, joins []*Stage) {
	for _, c := range p.Stages {
		for i, in := range c.Inputs {
			switch {
			case in != s.Ref():
			case i == 0:
				next = append(next, c)
			default:
				joins = append(joins, c)
			}
		}
	}
	return next, joins
}

func sinkList(s *Stage) string {
	names := make([]string, len(s.Sinks))
	for i, k := range s.Sinks {
		names[i] = k.Name
	}
	return "[" + strings.Join(names, " ") + "]"
}
