package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
)

// answers are what `status` says of the one pipeline.
type answers struct {
	Working     bool
	DeadLetters int `json:"dead_letters"`
	Detail      []struct {
		State string
		Lag   int64
		Jobs  struct {
			Total, Started, Finished, Failed int
			LeftBehind                       int `json:"left_behind"`
		}
		Nodes []struct {
			Stage, State string
			In, Out, Lag int64
		}
	}
}

func (l *line) status() (s answers) {
	l.t.Helper()
	if err := json.Unmarshal([]byte(l.run(0, "status", "-o", "json")), &s); err != nil || len(s.Detail) != 1 {
		l.t.Fatalf("%+v, %v", s, err)
	}
	return s
}

// interrupt runs until something was stored beside the bad recording's dead letter, and leaves.
func (l *line) interrupt() {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	failed := false
	code := cmd.Run(ctx, stages.Standard(), []string{"run", "--exit", "--listen", "127.0.0.1:0", "--progress", "json", "-f", l.path("pipelines.yaml")},
		strings.NewReader(""), io.Discard, writerFunc(func(p []byte) (int, error) {
			if failed = failed || bytes.Contains(p, []byte(`"failed"`)); failed {
				cancel()
			}
			return len(p), nil
		}))
	if code != 130 {
		l.t.Fatalf("exit %d, want 130", code)
	}
}

func TestWhatAnEditedFileLeavesBehindIsNamedAndHoldsNothingUp(t *testing.T) {
	l := setup(t)
	l.write("sim_bad.mf4", "hello\n")
	text := strings.Replace(l.read("pipelines.yaml"), `paths: "`, `speed: realtime, paths: ["`+l.path("*.mf4")+`", "`, 1)
	l.write("pipelines.yaml", strings.Replace(text, `sim_[df]*.mf4"`, `sim_[df]*.mf4"]`, 1))
	l.interrupt()
	s := l.status()
	if d := s.Detail[0]; s.Working || d.State != "interrupted" || d.Jobs.Total != 4 || d.Jobs.Finished != 0 || d.Jobs.Failed != 1 || d.Jobs.LeftBehind != 0 {
		t.Errorf("with nobody at work: %+v", s)
	}
	l.run(1, "jobs", "watch") // returns
	l.wants(l.stderr.String(), "3 jobs not over, and no process works on them", "milepost run")

	l.write("pipelines.yaml", strings.Replace(l.read("pipelines.yaml"), "realtime", "max", 1))
	if d := l.status().Detail[0]; d.State != "idle" || d.Jobs.Total != 0 || d.Jobs.LeftBehind != 3 {
		t.Errorf("before it is run again: %+v", d)
	}
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	s = l.status()
	if d := s.Detail[0]; d.State != "failed" || d.Jobs.Total != 4 || d.Jobs.Finished != 3 || d.Jobs.Failed != 1 || d.Jobs.Started != 0 || d.Jobs.LeftBehind != 3 || s.DeadLetters != 1 {
		t.Errorf("after the run: %+v", s)
	}
	for _, n := range s.Detail[0].Nodes {
		if n.Lag != 0 || n.Stage != "read" && n.In == 0 || n.Stage == "read" && n.Out == 0 {
			t.Errorf("after the run: %+v", n)
		}
	}
	l.wants(l.run(0, "jobs", "watch"), "left-behind")
	l.wants(l.stderr.String(), "3 jobs left behind by another configuration")
	l.wants(l.run(0, "jobs", "ls"), "PROGRESS", "ATTEMPT", "left-behind", "1/5")
	if n := strings.Count(l.run(0, "jobs", "ls", "--status", "left-behind", "-o", "name"), "j-"); n != 3 {
		t.Errorf("%d jobs are left behind, want 3", n)
	}
	l.wants(l.run(0, "dlq", "redrive", "--dry-run"), "would redrive 1 of 1 event")
	l.run(0, "dlq", "redrive")
	l.wants(l.stdout.String(), "1 of 1 event done")
	var jobs []struct{ State, Status, Version, Recording string }
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json")), &jobs); err != nil || len(jobs) != 8 {
		t.Fatalf("%+v, %v", jobs, err)
	}
	for _, j := range jobs {
		if j.Recording == "sim_bad.mf4" && j.Status == "left-behind" {
			t.Errorf("the old version's job was resumed with nobody to run it: %+v", j)
		}
	}
}

func TestASinkThatWroteInAnEarlierStateHasNoLag(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	if err := os.RemoveAll(l.path("state")); err != nil { // the results stay
		t.Fatal(err)
	}
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	d := l.status().Detail[0]
	if d.State != "done" || d.Lag != 0 {
		t.Errorf("%+v", d)
	}
	for _, n := range d.Nodes {
		if n.State != "done" || n.Lag != 0 {
			t.Errorf("%+v", n)
		}
	}
}
