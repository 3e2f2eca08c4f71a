package spec

import (
	"strings"
	"testing"
)

// Whatever the bytes, Load comes back: with problems that can be rendered, or with a Spec that can be drawn and written.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"valid", "invalid"} {
		for _, text := range examples(f, dir) {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ps := load(t, string(data))
		render(t, ps)
		if (s == nil) != (ps.Errors() > 0) {
			t.Fatalf("spec %v with %d errors", s, ps.Errors())
		}
		if s == nil {
			return
		}
		for _, format := range GraphFormats {
			if _, err := s.Graph(format); err != nil {
				t.Fatal(err)
			}
		}
		again, problems := load(t, string(s.YAML()), func(o *Options) { o.Env = nil })
		if again == nil {
			t.Fatalf("the resolved file is refused:\n%s\n%s", s.YAML(), render(t, problems))
		}
	})
}

func FuzzSet(f *testing.F) {
	for _, arg := range []string{"defaults.timeout=5m", "a=", "=", "pipelines.replay.stages.aeb.with={decel: 1}", "sinks.x=[", "version=\"\n\""} {
		f.Add(arg)
	}
	text := examples(f, "valid")["full"]
	f.Fuzz(func(t *testing.T, arg string) {
		_, ps := load(t, text, func(o *Options) { o.Set = []string{arg} })
		render(t, ps)
	})
}

func TestBombs(t *testing.T) {
	for name, text := range map[string]string{
		"brackets": "a: " + strings.Repeat("[", 500_000),
		"braces":   "a: " + strings.Repeat("{a: ", 200_000),
		"dashes":   strings.Repeat("- ", 400_000),
		"anchors":  "a: " + strings.Repeat("&a ", 300_000) + "x",
		"tags":     "a: " + strings.Repeat("!a ", 300_000) + "x",
		"keys":     strings.Repeat("? ", 400_000),
		"laughs":   laughs(),
		"large":    strings.Repeat("#", maxFileBytes+1),
		"bytes":    "a: \xff",
		"nested":   nested(1200),
	} {
		s, ps := load(t, text)
		if s != nil || len(ps) == 0 {
			t.Errorf("%s was taken", name)
			continue
		}
		if ps[0].Code != CodeYAML && name != "nested" {
			t.Errorf("%s: %s", name, ps[0].header())
		}
	}
}

// laughs is nine lists, each of nine times the one before.
func laughs() string {
	text := "a0: &a0 [x]\n"
	for i := range 9 {
		from := "*a" + string(rune('0'+i))
		text += "a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + strings.Repeat(from+", ", 8) + from + "]\n"
	}
	return text
}

func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
