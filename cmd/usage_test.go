package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
)

func (l *line) absent(name string) {
	l.t.Helper()
	if _, err := os.Stat(l.path(name)); !errors.Is(err, os.ErrNotExist) {
		l.t.Errorf("%s was made: %v", name, err)
	}
}

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	l := setup(t)
	for _, address := range []string{"0.0.0.0:7099", ":7099", "[::]:7099", "192.0.2.1:7099", "example.org:7099", "7099"} {
		l.run(2, "run", "--exit", "--listen", address)
		l.wants(l.stderr.String(), "--listen "+address)
	}
	l.absent("state")
}

func TestWhatCannotBeMeantIsUsage(t *testing.T) {
	l := setup(t)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"run", "--exit", "--listen", "127.0.0.1:4222x"}, []string{`the port "4222x" is not a number from 0 to 65535`, "next: --listen 127.0.0.1:7070"}},
		{[]string{"run", "--exit", "--listen", "127.0.0.1:65536"}, []string{`the port "65536"`, "next: "}},
		{[]string{"run", "--exit", "--listen", "127.0.0.1:"}, []string{`the port ""`, "next: "}},
		{[]string{"inspect", "../samples/sim_city_drive.mf4", "--channels", "["}, []string{`--channels "[" is no glob`, "next: "}},
		{[]string{"completion", "tcsh"}, []string{`"tcsh"`, "bash, fish, powershell, zsh"}},
	} {
		if out := l.run(2, c.args...); out != "" {
			t.Errorf("milepost %v prints\n%s", c.args, out)
		}
		l.wants(l.stderr.String(), c.says...)
	}
	l.absent("state")
	l.wants(l.run(0, "completion", "bash"), "bash completion V2 for milepost")
	l.wants(l.run(0, "completion"), "zsh")
}

// Data that cannot be written is an error of every command, whatever the command makes of it.
func TestAFullDiskBehindStdoutIsSaid(t *testing.T) {
	l := setup(t)
	drive, err := filepath.Abs("../samples/sim_city_drive.mf4")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(l.dir)
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	for _, args := range [][]string{{"lint"}, {"lint", "-o", "json"}, {"graph"}, {"schema"}, {"version"}, {"stages", "ls"}, {"config"}, {"completion", "bash"},
		{"inspect", drive}, {"doctor", "--permissions"}, {"lint", "none.yaml"}, {"--help"}} {
		l.stderr.Reset()
		if code := cmd.Run(t.Context(), stages.Standard(), args, strings.NewReader(""), full, &l.stderr); code != 1 {
			t.Errorf("milepost %v: exit %d, want 1", args, code)
		}
		l.wants(l.stderr.String(), "write the output: no space left on device")
	}
}

func TestLookingMakesNoState(t *testing.T) {
	l := setup(t)
	for _, look := range [][]string{{"jobs", "ls"}, {"status"}, {"dlq", "ls"}, {"jobs", "cancel", "--all", "--yes"}} {
		l.run(1, append(look, "--state", l.path("nosuch"))...)
		l.wants(l.stderr.String(), "no state in "+l.path("nosuch"))
	}
	l.absent("nosuch")
}

func TestWhatMatchesNothingIsSaid(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	var jobs []jobRow
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json")), &jobs); err != nil {
		t.Fatal(err)
	}
	finished := jobs[0].ID
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"jobs", "cancel", "zzz"}, "zzz: no job to cancel"},
		{[]string{"jobs", "retry", finished}, finished + ": no job to resume"},
		{[]string{"jobs", "retry", finished, "zzz"}, "zzz: no job to resume"},
		{[]string{"dlq", "redrive", "aeb/kpi"}, "aeb/kpi: no event to redrive"},
		{[]string{"dlq", "redrive", "d-0"}, "d-0: no such dead letter"},
		{[]string{"dlq", "purge", "d-0"}, "d-0: no such dead letter"},
		{[]string{"jobs", "show", "zzz"}, `no job "zzz"`},
	} {
		l.run(1, c.args...)
		l.wants(l.stderr.String(), c.says)
	}
	for _, verb := range []string{"ls", "redrive", "purge"} { // an empty list would read as if all were well
		l.run(2, "dlq", verb, "aeb/pki")
		l.wants(l.stderr.String(), `no stage "pki" in pipeline aeb; there are read, aeb, kpi, results@kpi; did you mean "kpi"?`)
	}
	l.run(0, "dlq", "ls", "aeb/results@kpi")
	l.run(0, "dlq", "redrive")
	l.run(0, "jobs", "cancel", "--all", "--yes")
}

func TestUsageOfCommandsThatAsk(t *testing.T) {
	l := setup(t)
	for _, args := range [][]string{{"jobs", "ls", "-o", "xml"}, {"status", "-o", "xml"}, {"jobs", "ls", "a", "b"}, {"status", "a"}, {"jobs", "nosuch"},
		{"dlq", "nosuch"}, {"jobs", "cancel", "j-1", "--all", "--yes"}} {
		l.run(2, args...)
	}
	l.absent("state")
	l.wants(l.with(t.Context(), 0, "jobs"), "cancel", "retry", "watch")
}

func TestAnInterruptBeforeAnythingRunsIsOne(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"run", "--exit", "--listen", "127.0.0.1:0"}, {"status"}, {"jobs", "ls"}} {
		l.with(gone, 130, append(args, "-f", l.path("pipelines.yaml"))...)
	}
	l.run(0, "status")
}

// TestLookingKeepsNoRunOut: commands that look open the directory themselves where nobody serves it; each waits for the others.
func TestLookingKeepsNoRunOut(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	var all sync.WaitGroup
	for _, args := range [][]string{{"status"}, {"run", "--exit", "--listen", "127.0.0.1:0"}, {"jobs", "ls"}} {
		all.Go(func() {
			var said strings.Builder
			args = append(args, "-f", l.path("pipelines.yaml"))
			if code := cmd.Run(t.Context(), stages.Standard(), args, strings.NewReader(""), io.Discard, &said); code != 0 {
				t.Errorf("%v: exit %d\n%s", args, code, said.String())
			}
		})
	}
	all.Wait()
}

func TestACancelledJobGoesAgainWhenItIsRetried(t *testing.T) {
	l := damaged(t, "fail", "")
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	id := l.jobs()["aeb/sim_a_text.mf4"].ID
	l.run(0, "jobs", "cancel", "--all", "--status", "failed", "--yes")
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), ", 0 failed, 1 cancelled, in ", "1 recording cancelled: cancelled on request", "milepost jobs retry")
	l.wants(l.run(0, "jobs", "retry", id), "resume: 1 of 1 job done")
	l.run(1, "jobs", "retry", id) // it goes again already
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0")
	l.wants(l.stderr.String(), "4 recordings, 1 failed", "the job failed at stage read; the others went on")
	if j := l.jobs()["aeb/sim_a_text.mf4"]; j.ID == id || j.State != "failed" {
		t.Errorf("%+v", j)
	}
}

func TestWhatCannotBeAskedForIsOfUsage(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	for _, c := range []struct{ command, says string }{
		{"jobs ls --status bogus", `status="bogus" is not one of deferred, `}, {"dlq ls --status bogus", `state="bogus" is not `},
		{"dlq redrive aebb/kpi", `no pipeline "aebb"; there are aeb; did you mean "aeb"? [E-pipeline]`},
		{"jobs show", "milepost jobs show: want   milepost jobs show JOB"}, {"jobs retyr", `did you mean "retry"?`},
	} {
		l.run(2, strings.Fields(c.command)...)
		l.wants(l.stderr.String(), c.says)
	}
	if got := l.run(0, "status", "-o", "name"); got != "aeb\n" {
		t.Errorf("status -o name: %q", got)
	}
	id := strings.Fields(l.run(0, "jobs", "ls", "-o", "name"))[0]
	if got := l.run(0, "jobs", "show", id, "-o", "name"); got != id+"\n" {
		t.Errorf("jobs show -o name: %q", got)
	}
	if got := l.with(t.Context(), 0, "inspect", "../samples/sim_full_braking.mf4", "-o", "name"); got != "../samples/sim_full_braking.mf4\n" {
		t.Errorf("inspect -o name: %q", got)
	}
}

func TestAWorkerWithoutWorkIsRefusedBeforeItConnects(t *testing.T) {
	l := setup(t)
	for _, c := range []struct{ command, says string }{
		{"--stages aebb,kpi", `no stage "aebb" in `}, {"--stages aebb,kpi", `(aeb/read, aeb/aeb, aeb/kpi) [E-ref]`}, {"--stages aebb,kpi", `did you mean "aeb"?`},
		{"--stages aeb/kpj", `did you mean "aeb/kpi"?`}, {"nopipe", `no pipeline "nopipe"`}, {"aebb --stages kp", `did you mean "aeb"?`},
	} {
		l.run(2, append(strings.Fields("worker "+c.command), "--transport", "nats://127.0.0.1:1")...)
		l.wants(l.stderr.String(), c.says)
	}
}
