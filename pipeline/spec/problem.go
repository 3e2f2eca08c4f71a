package spec

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Severity tells an error, which stops, from a warning.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// The codes of errors. Each is a page of the documentation.
const (
	CodeFile    = "E-file"    // a file cannot be read
	CodeYAML    = "E-yaml"    // it is not YAML, or uses what we refuse: two documents, a key twice
	CodeField   = "E-field"   // a key is unknown or missing
	CodeValue   = "E-value"   // a value has the wrong type or is out of range
	CodeName    = "E-name"    // a name is malformed, reserved or taken
	CodeStage   = "E-stage"   // no stage type of this name
	CodeRef     = "E-ref"     // no pipeline, stage or sink of this name
	CodeEdge    = "E-edge"    // a stage stands where it cannot: a reader behind a stage, a processor without input
	CodeCycle   = "E-cycle"   // a stage waits for itself
	CodeType    = "E-type"    // an edge's ends have no event type in common
	CodeEnv     = "E-env"     // a variable is not set
	CodeExpr    = "E-expr"    // an expression does not compile
	CodeDurable = "E-durable" // durable: false where events have to be stored
	WarnUnused  = "W-unused"  // a sink that no stage writes to
	WarnLimits  = "W-limits"  // a log's limit is small beside what is at work
	WarnConfig  = "W-config"  // a configuration's own warning without a code
)

// A Problem is one fault of a file. Line and Column count from 1, Column and Length in characters; Line 0 is the file as a
// whole.
type Problem struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Length   int      `json:"length,omitempty"`
	Message  string   `json:"message"`
	Where    string   `json:"where,omitempty"`      // what the value belongs to: `sink "lake", used by p/kpi`
	Hint     string   `json:"hint,omitempty"`       // what the line below the caret says
	Meant    string   `json:"didYouMean,omitempty"` // the nearest name there is
	Next     string   `json:"next,omitempty"`       // a command that helps on

	source *source // quoted by Render; nil for a problem of the file as a whole
}

// Problems are all faults of a set of files, in order of position.
type Problems []Problem

// Errors counts the errors.
func (ps Problems) Errors() int { return ps.count(Error) }

// Warnings counts the warnings.
func (ps Problems) Warnings() int { return ps.count(Warning) }

func (ps Problems) count(s Severity) int {
	n := 0
	for _, p := range ps {
		if p.Severity == s {
			n++
		}
	}
	return n
}

// Err is the problems as an error, nil if there are only warnings.
func (ps Problems) Err() error {
	if ps.Errors() == 0 {
		return nil
	}
	return &InvalidError{Problems: ps}
}

// An InvalidError says that a configuration cannot be used; exit code 2.
type InvalidError struct{ Problems Problems }

// Error is the first error and how many there are besides.
func (e *InvalidError) Error() string {
	n := e.Problems.Errors()
	for _, p := range e.Problems {
		if p.Severity != Error {
			continue
		}
		if n == 1 {
			return p.header()
		}
		return fmt.Sprintf("%s (and %d more)", p.header(), n-1)
	}
	return "invalid configuration"
}

// Render writes all problems, with the lines that they point at.
func (ps Problems) Render(w io.Writer) error {
	multi := false
	for i, p := range ps {
		text := p.Render()
		lines := strings.Count(text, "\n") > 1
		if i > 0 && (multi || lines) {
			text = "\n" + text
		}
		multi = lines
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes the problems as a JSON array.
func (ps Problems) WriteJSON(w io.Writer) error {
	if ps == nil {
		ps = Problems{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(ps)
}

// Render is the problem as text for people, ending in a line break: place, message and code, the line with carets below,
// and what to do next. Secrets that stand in the quoted lines are starred out.
func (p Problem) Render() string {
	var b strings.Builder
	fmt.Fprintln(&b, p.header())
	if p.Code == CodeEnv {
		fmt.Fprintln(&b, "  "+p.place()+p.comma(p.Where))
	} else if p.Severity == Error {
		b.WriteString(p.excerpt())
	}
	if last := p.advice(); last != "" {
		fmt.Fprintln(&b, "  "+last)
	}
	return b.String()
}

func (p Problem) comma(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

func (p Problem) place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// header is the first line. That of a missing variable starts with its name, which is what its reader must act on.
func (p Problem) header() string {
	if p.Code == CodeEnv {
		return p.Message + " [" + p.Code + "]"
	}
	warning := ""
	if p.Severity == Warning {
		warning = "warning: "
	}
	return fmt.Sprintf("%s: %s%s [%s]", p.place(), warning, p.Message, p.Code)
}

func (p Problem) advice() string {
	parts := make([]string, 0, 3)
	if p.Hint != "" {
		parts = append(parts, p.Hint)
	}
	if p.Meant != "" {
		parts = append(parts, fmt.Sprintf("did you mean %q?", p.Meant))
	}
	if p.Next != "" {
		parts = append(parts, p.Next)
	}
	return strings.Join(parts, "   ")
}

func (p Problem) excerpt() string {
	if p.source == nil || p.Line < 1 || p.Line > len(p.source.lines) {
		return ""
	}
	width := len(fmt.Sprint(p.Line))
	line := p.source.lines[p.Line-1]
	var b strings.Builder
	if p.Line > 1 {
		if before := strings.TrimRight(p.source.lines[p.Line-2], " \t"); before != "" {
			fmt.Fprintf(&b, "  %*d | %s\n", width, p.Line-1, before)
		}
	}
	fmt.Fprintf(&b, "> %d | %s\n", p.Line, line)
	fmt.Fprintf(&b, "%*s%s%s\n", width+5, "", indent(line, p.Column-1), strings.Repeat("^", p.carets(line)))
	return b.String()
}

// carets is how many fit below the rest of the line, at least one.
func (p Problem) carets(line string) int {
	return max(1, min(p.Length, utf8.RuneCountInString(line)-(p.Column-1)))
}

// indent is white space as wide as the first n characters of line, tabs kept so that the caret stays below its word.
func indent(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n--; n < 0 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
