package cmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree is a folder of pipelines files, one of which has a fault, and of files that are none.
func tree(t *testing.T) *line {
	l := setup(t)
	good := l.read("pipelines.yaml")
	for name, text := range map[string]string{
		"b/night.pipelines.yaml":      good,
		"b/c/pipelines.yml":           strings.Replace(good, "process/aeb", "process/aebs", 1),
		"b/prod.yaml":                 "not: one",
		"b/pipelines_test.yaml":       "not: one",
		".hidden/pipelines.yaml":      "not: one",
		"b/.milepost/pipelines.yaml":  "not: one",
		"only/other.yaml":             "not: one",
		"b/pipelines.yaml/readme.txt": "a folder of that name",
	} {
		if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		l.write(name, text)
	}
	return l
}

func TestLintChecksEveryFileBelowAFolder(t *testing.T) {
	l := tree(t)
	t.Chdir(l.dir)
	got := l.with(t.Context(), 2, "lint", "./...")
	l.wants(got, "b/c/pipelines.yml:9:28: unknown stage", "b/c/pipelines.yml: 1 error, ",
		"b/night.pipelines.yaml: 1 pipeline, 3 stages, 1 sink: 0 errors", "\npipelines.yaml: 1 pipeline, 3 stages, 1 sink: 0 errors")
	if n := strings.Count(got, " errors, ") + strings.Count(got, " error, "); n != 3 {
		t.Errorf("%d files were checked, want 3:\n%s", n, got)
	}
	type problem struct{ File, Code string }
	var all struct {
		Files                            []string
		Pipelines, Stages, Sinks, Errors int
		Problems                         []problem
	}
	for _, args := range [][]string{{"./..."}, {"..."}, {l.dir + "/..."}, {"b/...", "pipelines.yaml", "b/c/pipelines.yml"}} {
		if err := json.Unmarshal([]byte(l.with(t.Context(), 2, append([]string{"lint", "-o", "json"}, args...)...)), &all); err != nil {
			t.Fatal(err)
		}
		if len(all.Files) != 3 || all.Pipelines != 2 || all.Stages != 6 || all.Sinks != 2 || all.Errors != 1 || !slices.ContainsFunc(all.Problems, func(p problem) bool { return p.File == all.Files[0] && p.Code == "E-stage" }) {
			t.Errorf("lint %v: %+v", args, all)
		}
	}
	l.with(t.Context(), 0, "lint", "b/night.pipelines.yaml", "pipelines.yaml") // not layered: the same pipeline in both is no fault
}

func TestLintSaysWhatItDoesNotFind(t *testing.T) {
	l := tree(t)
	t.Chdir(l.dir)
	for args, want := range map[string]string{
		"only/...":                  "only/...: no pipelines file there (pipelines.yaml, NAME.pipelines.yaml)",
		"none/...":                  "none: no such file or directory",
		"none.yaml":                 "none.yaml: no such file or directory [E-file]\n  next: milepost lint ./... checks",
		"-f none.yaml":              "next: name another file with -f",
		"pipelines.yaml -f b/x.yml": "not both",
	} {
		got := l.with(t.Context(), 2, append([]string{"lint"}, strings.Fields(args)...)...) + l.stderr.String()
		l.wants(got, want)
		if strings.Contains(got, " -f") != strings.Contains(args, "-f") {
			t.Errorf("lint %s speaks of -f:\n%s", args, got)
		}
	}
}
