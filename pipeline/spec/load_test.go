package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// examples lists testdata/<dir>/*.yaml as base name and text.
func examples(t testing.TB, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples in %s: %v", dir, err)
	}
	out := map[string]string{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(p), ".yaml")] = string(data)
	}
	return out
}

func render(t testing.TB, ps Problems) string {
	t.Helper()
	var b bytes.Buffer
	if err := ps.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func load(t testing.TB, text string, change ...func(*Options)) (*Spec, Problems) {
	t.Helper()
	opts := testOptions(map[string]string{"pipelines.yaml": text, "secret.txt": "hunter2\n"})
	for _, c := range change {
		c(&opts)
	}
	return Load(context.Background(), []string{"pipelines.yaml"}, opts)
}

func TestLoadRefuses(t *testing.T) {
	for name, text := range examples(t, "invalid") {
		t.Run(name, func(t *testing.T) {
			s, ps := load(t, text)
			if s != nil || ps.Err() == nil {
				t.Fatalf("was taken: %s", render(t, ps))
			}
			golden(t, "invalid/"+name+".txt", render(t, ps))
			for i := 1; i < len(ps); i++ {
				if a, b := ps[i-1], ps[i]; a.Line > b.Line || a.Line == b.Line && a.Column > b.Column {
					t.Errorf("not in order: %s before %s", a.place(), b.place())
				}
			}
			if strings.Contains(render(t, ps), "hunter2") {
				t.Error("a secret is printed")
			}
		})
	}
}

func TestLoadTakes(t *testing.T) {
	for name, text := range examples(t, "valid") {
		t.Run(name, func(t *testing.T) {
			s, ps := load(t, text)
			if s == nil {
				t.Fatal(render(t, ps))
			}
			golden(t, "valid/"+name+".resolved", string(s.YAML()))
			if strings.Contains(string(s.YAML()), "hunter2") {
				t.Error("a secret is printed")
			}
		})
	}
}

// What YAML writes must mean the same as the file it was made of.
func TestResolvedFileLoadsAgain(t *testing.T) {
	for name, text := range examples(t, "valid") {
		s, _ := load(t, text)
		again, ps := load(t, string(s.YAML()))
		if again == nil {
			t.Fatalf("%s: %s\n%s", name, render(t, ps), s.YAML())
		}
		if a, b := string(s.YAML()), string(again.YAML()); a != b {
			t.Errorf("%s: %s\nbecame\n%s", name, a, b)
		}
		for i, p := range s.Pipelines {
			if p.Identity() != again.Pipelines[i].Identity() {
				t.Errorf("%s: identity of %s:\n%s\n%s", name, p.Name, p.Identity(), again.Pipelines[i].Identity())
			}
		}
		var tree map[string]any
		data, err := json.Marshal(s)
		if err != nil || json.Unmarshal(data, &tree) != nil || tree["pipelines"] == nil {
			t.Errorf("%s: JSON %s: %v", name, data, err)
		}
	}
}

func TestProblemsAsJSON(t *testing.T) {
	_, ps := load(t, examples(t, "invalid")["stage-unknown"])
	var b bytes.Buffer
	if err := ps.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "problems.json", b.String())
}

// A limit is warned of when the recordings at work have no room for two events each.
func TestASmallLimitIsWarnedOf(t *testing.T) {
	for limit, want := range map[string]string{"18MiB": "", "17MiB": "17MiB is little for pipeline p: of the 18 recordings at work each may hold 483 KiB of a stage's log"} {
		_, ps := load(t, `version: 1
transport: { embedded: { limits: { max_bytes: `+limit+` } } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 9, with: { paths: ["*.mf4"] } }
`)
		got := ""
		for _, p := range ps {
			if p.Code != WarnLimits {
				continue
			}
			if got = p.Message; p.Line != 2 || p.Column != 47 || p.Hint != "room for two events of 256KiB each: max_bytes: 18MiB, or a smaller parallelism of read" {
				t.Errorf("at %d:%d, hint %q", p.Line, p.Column, p.Hint)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", limit, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	text := `version: 1
sinks: { live: { dashboard: {} } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a] } }
      - { name: x, uses: exec, with: { command: [python3, stages/fuse.py] } }
`
	s, ps := load(t, text)
	if s == nil || ps.Err() != nil || ps.Warnings() != 2 {
		t.Fatalf("spec %v, %s", s, render(t, ps))
	}
	want := `pipelines.yaml:2:10: warning: no stage writes to sink "live" [W-unused]
pipelines.yaml:7:59: warning: command file stages/fuse.py does not exist [W-path]
`
	if got := render(t, ps); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if _, ps = load(t, text, func(o *Options) { o.NoAdvice = true }); ps.Warnings() != 1 {
		t.Errorf("files are looked at without being asked: %s", render(t, ps))
	}
}
