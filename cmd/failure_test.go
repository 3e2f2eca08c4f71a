package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// damaged is a folder whose first recording is none, with more in the pipelines file: onError of the reader and what follows
// the pipeline aeb.
func damaged(t *testing.T, onError, more string) *line {
	t.Helper()
	l := setup(t)
	text := strings.Replace(l.read("pipelines.yaml"), "parallelism: 4, with: { paths: ", "parallelism: 1, on_error: "+onError+", with: { paths: [\""+l.path("*.mf4")+"\", ", 1)
	l.write("pipelines.yaml", strings.Replace(text, `sim_[df]*.mf4"`, `sim_[df]*.mf4"]`, 1)+more)
	l.write("sim_a_text.mf4", "hello\n")
	return l
}

type jobRow struct{ ID, Pipeline, State, Recording, Error, Stage string }

// jobs lists the jobs by pipeline and recording; of several generations the last one.
func (l *line) jobs() map[string]jobRow {
	l.t.Helper()
	var rows []jobRow
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json")), &rows); err != nil {
		l.t.Fatal(err)
	}
	byName := map[string]jobRow{}
	for i := range rows {
		r := rows[len(rows)-1-i]
		byName[r.Pipeline+"/"+r.Recording] = r
	}
	return byName
}

func TestARunWhoseUpstreamJobFailsEnds(t *testing.T) {
	l := damaged(t, "fail", `  checks:
    from: aeb/read
    stages:
      - { name: health, uses: analysis/signal-health }
`)
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), "4 recordings, 1 failed", "sim_a_text.mf4: upstream job j-", "of sim_a_text.mf4 in aeb failed: ", "1 event in the DLQ   milepost dlq ls aeb")
	if strings.Contains(l.stderr.String(), "dlq ls checks") {
		t.Errorf("a job without a dead letter points to the DLQ\n%s", l.stderr.String())
	}
	l.run(0, "dlq", "redrive", "aeb")
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	jobs := l.jobs()
	if up, down := jobs["aeb/sim_a_text.mf4"], jobs["checks/sim_a_text.mf4"]; up.State != "failed" || up.Stage != "read" || down.State != "failed" || down.Stage != "" {
		t.Errorf("%+v\n%+v", up, down)
	}
}

func TestAStoppedRunSaysSoAndTheNextOneGoesOn(t *testing.T) {
	l := damaged(t, "stop", "")
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), "cancelled: read of sim_a_text.mf4 stopped the run: ", "not an MDF file")
	if strings.Contains(l.stderr.String(), "the others went on") {
		t.Errorf("the run was stopped:\n%s", l.stderr.String())
	}
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0") // what stopped it is still there
	l.wants(l.stderr.String(), "4 recordings, 1 failed")
	for name, j := range l.jobs() {
		if want := map[bool]string{true: "failed", false: "finished"}[name == "aeb/sim_a_text.mf4"]; j.State != want {
			t.Errorf("%s is %s, want %s", name, j.State, want)
		}
	}
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), `msg="already finished" recordings=3`)
	if strings.Contains(l.stderr.String(), "recording done") {
		t.Errorf("what an earlier run did is told as this one's:\n%s", l.stderr.String())
	}
}
