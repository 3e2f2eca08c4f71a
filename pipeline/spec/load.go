package spec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// Options are what Load needs besides the files; only Registry is required.
type Options struct {
	Registry  *pipeline.Registry
	Env       func(name string) (value string, ok bool) // nil: os.LookupEnv
	ReadFile  func(name string) ([]byte, error)         // for the files and ${file:…}; nil: regular files, 1 MiB at most
	Set       []string                                  // path=value, laid over the files in order
	Transport string                                    // embedded, memory, nats://host:port, kafka://host:port; replaces the block
	Missing   string                                    // the next step when one of the files is not there
	NoAdvice  bool                                      // do not ask configurations about the files that they name: no Check, no Warnings
	Fields    func(eventType string) []string           // names of a type's data fields, for `when`; nil: what the stage types say
}

// Load reads, layers, decodes and checks the files. The Spec is nil if the problems hold an error; warnings come with a
// Spec. ctx ends it between two files.
func Load(ctx context.Context, files []string, opts Options) (*Spec, Problems) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	if opts.ReadFile == nil {
		opts.ReadFile = readRegular
	}
	l := &loader{opts: opts, limits: pipelinesLimits, spec: &Spec{Files: files}}
	l.load(ctx, files)
	return l.result()
}

// A loader is one call of Load, or of DecodeFile.
type loader struct {
	opts     Options
	limits   limits
	problems []*Problem
	root     *node
	spec     *Spec
	drafts   []*draft
	maxBytes *node // transport.*.limits.max_bytes; nil where the file says nothing
}

func (l *loader) load(ctx context.Context, files []string) {
	if len(files) == 0 {
		l.report(pos{}, CodeFile, "no file given")
	}
	whole := true
	for _, name := range files {
		if err := ctx.Err(); err != nil {
			l.report(pos{src: newSource(name, "")}, CodeFile, "%v", err)
			return
		}
		n := l.file(name)
		if whole = whole && n != nil; n != nil && l.root == nil {
			l.root = n
		} else if n != nil {
			l.root = lay(l.root, n)
		}
	}
	if !whole || l.root == nil {
		return // what a file without the others lacks says nothing
	}
	for _, arg := range l.opts.Set {
		l.root = l.override(l.root, arg)
	}
	l.root = l.overrideTransport(l.root)
	l.resolve(l.root, nil)
	l.spec.root = l.root
	l.build()
}

// file reads and parses one file; nil if it cannot be used.
func (l *loader) file(name string) *node {
	data, err := l.opts.ReadFile(name)
	if err != nil {
		p := l.report(pos{src: newSource(name, "")}, CodeFile, "%s", reason(err))
		if errors.Is(err, fs.ErrNotExist) {
			p.Next = l.opts.Missing
		}
		return nil
	}
	src := newSource(name, string(data))
	n := l.parse(src, string(data))
	if n == nil || n.broken {
		return nil
	}
	if n.kind != mapKind {
		l.report(n.pos, CodeYAML, "want a mapping with version and pipelines, not %s", n.kind)
		return nil
	}
	return n
}

// reason is the error without the path, which stands in front of the message already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// readRegular reads one regular file; a pipe or a device could keep a reader waiting for ever.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	case info.Size() > maxFileBytes:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("larger than 1 MiB")}
	}
	return os.ReadFile(name)
}

// report adds an error. The caller may fill in the hints of what it returns.
func (l *loader) report(p pos, code, format string, args ...any) *Problem {
	problem := &Problem{Severity: Error, Code: code, Message: fmt.Sprintf(format, args...),
		Line: p.line, Column: p.col, Length: p.length, source: p.src}
	if p.src != nil {
		problem.File = p.src.name
	}
	l.problems = append(l.problems, problem)
	return problem
}

func (l *loader) warn(p pos, code, format string, args ...any) *Problem {
	problem := l.report(p, code, format, args...)
	problem.Severity = Warning
	return problem
}

func (l *loader) failed() bool { return l.errors() > 0 }

// errors counts the errors so far.
func (l *loader) errors() (n int) {
	for _, p := range l.problems {
		if p.Severity == Error {
			n++
		}
	}
	return n
}

// result sorts the problems, drops repetitions (an anchor's value is decoded wherever it is used) and stars out secrets that
// stand in a file literally, since problems quote lines.
func (l *loader) result() (*Spec, Problems) {
	l.starSecrets(l.root)
	var out Problems
	for _, p := range l.problems {
		same := func(q Problem) bool {
			return q.File == p.File && q.Line == p.Line && q.Column == p.Column && q.Code == p.Code && q.Message == p.Message
		}
		if !slices.ContainsFunc(out, same) {
			out = append(out, *p)
		}
	}
	order := func(file string) int {
		if i := slices.Index(l.spec.Files, file); i >= 0 || file == "" || strings.HasPrefix(file, "--") {
			return i
		}
		return len(l.spec.Files) // one that these name
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order(a.File), order(b.File)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if l.failed() {
		return nil, out
	}
	return l.spec, out
}

func (l *loader) starSecrets(n *node) {
	if n == nil {
		return
	}
	if n.secret && n.scalar() && n.src != nil {
		n.starLines()
	}
	for _, i := range n.items {
		l.starSecrets(i)
	}
	for _, f := range n.fields {
		l.starSecrets(f.value)
	}
}

// starLines hides the node's own text; of a block scalar, all lines that stand deeper than where it began.
func (n *node) starLines() {
	if n.variable {
		return
	}
	n.src.star(n.pos)
	if !n.literal && !n.quoted {
		return
	}
	for i, line := range linesOf(n) {
		n.src.star(pos{n.src, n.line + 1 + i, 1, len([]rune(line))})
	}
}

// linesOf are the source lines below the first that a scalar of several lines may take: as many as its text has.
func linesOf(n *node) []string {
	count := 0
	for _, r := range n.text {
		if r == '\n' {
			count++
		}
	}
	first := min(n.line, len(n.src.lines))
	return n.src.lines[first:min(first+count, len(n.src.lines))]
}
