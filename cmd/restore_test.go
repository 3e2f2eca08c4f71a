package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// results are the result files by name, the fleet's included.
func (l *line) results() map[string]string {
	l.t.Helper()
	files, err := filepath.Glob(l.path("out/*.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[filepath.Base(f)] = l.read("out/" + filepath.Base(f))
	}
	return all
}

func (l *line) same(want map[string]string, when string) {
	l.t.Helper()
	got := l.results()
	if len(got) != len(want) || len(want) < 2 {
		l.t.Errorf("%s: %d result files, want %d", when, len(got), len(want))
	}
	for name, text := range want {
		if got[name] != text {
			l.t.Errorf("%s: %s is another one", when, name)
		}
	}
}

func (l *line) remove(names ...string) {
	l.t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(l.path(n)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// What is finished is shown, not repeated: so its result files are there after every run, whatever became of them meanwhile.
func TestResultsOfFinishedRecordingsAreThereAfterEveryRun(t *testing.T) {
	l := setup(t)
	again := func() { l.run(0, "run", "--exit", "--listen", "127.0.0.1:0") }
	again()
	want, first := l.results(), l.read("pipelines.yaml")

	for name := range want {
		l.remove("out/" + name)
	}
	again()
	l.same(want, "files removed")
	l.wants(l.stderr.String(), `msg="already finished"`, "result files written again")

	l.write("pipelines.yaml", strings.Replace(first, "uses: process/aeb }", "uses: process/aeb, with: { ttc_warn: 5s, ttc_brake: 4s } }", 1))
	again()
	if l.results()["sim_full_braking.json"] == want["sim_full_braking.json"] {
		t.Fatal("the other configuration gives the same results")
	}
	l.write("pipelines.yaml", first)
	again()
	l.same(want, "files of another configuration")
	l.wants(l.stderr.String(), `msg="already finished"`)

	again()
	l.same(want, "nothing happened")
	if strings.Contains(l.stderr.String(), "written again") {
		t.Errorf("what is there was written again:\n%s", l.stderr.String())
	}

	l.remove("out")
	again()
	l.same(want, "folder removed")
	l.wants(l.stderr.String(), "result files written again")

	l.remove("state/results.db", "state/results.db-wal", "state/results.db-shm")
	again()
	l.same(want, "result store removed")
	l.wants(l.stderr.String(), "it is replayed again")
}
