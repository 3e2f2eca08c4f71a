package spec

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// A resolver replaces ${…} in one scalar.
type resolver struct {
	l      *loader
	n      *node
	path   []string
	secret bool
	failed bool
}

// resolve replaces ${…} in every string value of the tree, never in keys: quoting was settled by the parser, so a value can
// never become structure.
func (l *loader) resolve(n *node, path []string) {
	if n == nil {
		return
	}
	for i, item := range n.items {
		l.resolve(item, append(path[:len(path):len(path)], fmt.Sprint(i)))
	}
	for _, f := range n.fields {
		l.resolve(f.value, append(path[:len(path):len(path)], f.key.text))
	}
	if n.kind != stringKind || n.broken || !strings.Contains(n.text, "$") {
		return
	}
	r := &resolver{l: l, n: n, path: path}
	whole := wholeVariable(n.text)
	text := r.expand(n.text, 0)
	n.text, n.secret, n.broken = text, n.secret || r.secret, r.failed
	n.variable = whole
}

// wholeVariable says whether the text is one ${…} and nothing else.
func wholeVariable(text string) bool {
	if !strings.HasPrefix(text, "${") {
		return false
	}
	_, rest, ok := braces(text[2:])
	return ok && rest == ""
}

// braces splits at the brace that closes the one before text.
func braces(text string) (inside, rest string, ok bool) {
	depth := 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[:i], text[i+1:], true
			}
		}
	}
	return "", "", false
}

func (r *resolver) expand(text string, depth int) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String()
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			inside, after, ok := braces(rest[1:])
			if !ok {
				r.fail(CodeValue, `"${" without "}"`, "a dollar alone is written $$")
				return ""
			}
			b.WriteString(r.variable(inside, depth))
			text = after
		default:
			b.WriteByte('$') // as in shells: a dollar before anything else is a dollar
			text = rest
		}
	}
}

// variable is the value of NAME, NAME:-default, NAME:?message or file:path.
func (r *resolver) variable(inside string, depth int) string {
	if depth > 10 {
		return r.fail(CodeValue, "variables nested too deep", "")
	}
	if path, ok := strings.CutPrefix(inside, "file:"); ok {
		return r.file(path)
	}
	name, fallback, hasDefault := strings.Cut(inside, ":-")
	name2, message, must := strings.Cut(inside, ":?")
	if must && (!hasDefault || len(name2) < len(name)) {
		name, hasDefault = name2, false
	} else {
		must = false
	}
	if !variableName.MatchString(name) {
		return r.fail(CodeValue, fmt.Sprintf("${%s} is not a variable", shorten(inside, 40)),
			"forms: ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}; a dollar alone is $$")
	}
	value, set := r.l.opts.Env(name)
	switch {
	case hasDefault && value == "":
		return r.expand(fallback, depth+1)
	case must && value == "":
		return r.fail(CodeEnv, name+" is not set: "+message, "")
	case !set:
		return r.fail(CodeEnv, name+" is not set", "")
	}
	return value
}

// file reads a secret; its path counts from the folder of the file that names it.
func (r *resolver) file(path string) string {
	r.secret = true
	if !filepath.IsAbs(path) && r.n.src.name != "--set" {
		path = filepath.Join(filepath.Dir(r.n.src.name), path)
	}
	data, err := r.l.opts.ReadFile(path)
	if err != nil {
		return r.fail(CodeEnv, fmt.Sprintf("${file:…} cannot be read: %v", err), "")
	}
	return strings.TrimRight(string(data), "\r\n")
}

func (r *resolver) fail(code, message, hint string) string {
	if !r.failed {
		p := r.l.report(r.n.pos, code, "%s", message)
		p.Hint, p.Where = hint, r.l.whereIs(r.path)
		if code == CodeEnv && hint == "" && strings.HasSuffix(message, "is not set") {
			p.Next = "next: set it, or give a default: ${" + strings.TrimSuffix(message, " is not set") + ":-value}"
		}
	}
	r.failed = true
	return ""
}

// whereIs names what a path of keys lies in, for people: a sink with the stages that use it, a stage, or the first key.
func (l *loader) whereIs(path []string) string {
	if len(path) < 2 {
		return strings.Join(path, ".")
	}
	switch path[0] {
	case "sinks":
		where := fmt.Sprintf("sink %q", path[1])
		if users := l.usersOf(path[1]); len(users) > 0 {
			where += ", used by " + strings.Join(users, ", ")
		}
		return where
	case "pipelines":
		if n, ok := l.root.at(path[:min(4, len(path))]); ok && len(path) >= 4 && n.get("name") != nil {
			return "stage " + path[1] + "/" + n.get("name").text
		}
		return "pipeline " + path[1]
	}
	return path[0]
}

func (l *loader) usersOf(sink string) []string {
	var users []string
	pipelines := l.root.get("pipelines")
	if pipelines == nil {
		return nil
	}
	for _, p := range pipelines.fields {
		stages := p.value.get("stages")
		if stages == nil {
			continue
		}
		for _, s := range stages.items {
			if to, name := s.get("to"), s.get("name"); to != nil && name != nil && to.names(sink) {
				users = append(users, p.key.text+"/"+name.text)
			}
		}
	}
	return users
}

// names says whether n is the word or a list with it.
func (n *node) names(word string) bool {
	if n.scalar() {
		return n.text == word
	}
	for _, i := range n.items {
		if i.scalar() && i.text == word {
			return true
		}
	}
	return false
}
