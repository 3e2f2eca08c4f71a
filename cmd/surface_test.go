package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryListTakesTheSameOutputs(t *testing.T) {
	l := setup(t)
	for _, c := range []struct{ command, name string }{
		{"graph", "aeb\n"}, {"lint", "pipelines.yaml\n"}, {"stages describe process/aeb", "process/aeb\n"}, {"version", "0.1.0\n"}, {"schema", "Milepost pipelines\n"},
	} {
		args := strings.Fields(c.command)
		if got := l.run(0, append(args, "-o", "name")...); !strings.HasSuffix(got, c.name) {
			t.Errorf("%s -o name: %q, want %q", c.command, got, c.name)
		}
		if text := l.run(0, append(args, "-o", "json")...); !json.Valid([]byte(text)) {
			t.Errorf("%s -o json: %s", c.command, text)
		}
		if text := l.run(0, append(args, "-o", "yaml")...); strings.HasPrefix(text, "{") || !strings.Contains(text, ": ") {
			t.Errorf("%s -o yaml: %s", c.command, text)
		}
		l.run(2, append(args, "-o", "xml")...)
		l.wants(l.stderr.String(), "-o xml: want ")
	}
}

func TestLintTellsTheSameAsJSON(t *testing.T) {
	l := setup(t)
	var v struct {
		Pipelines, Stages, Sinks, Errors, Warnings int
		Problems                                   []struct{ File, Code string }
	}
	if err := json.Unmarshal([]byte(l.run(0, "lint", "-o", "json")), &v); err != nil || v.Pipelines != 1 || v.Stages != 3 || v.Sinks != 1 || v.Errors != 0 || v.Problems == nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatWasMeantIsSaid(t *testing.T) {
	l := setup(t)
	for command, want := range map[string]string{
		"run aebb": `did you mean "aeb"?`, "graph aebb": `did you mean "aeb"?`, "stages describe process/aebs": `did you mean "process/aeb"?`,
		"stages describe mf4": `did you mean "reader/mf4"?`, "stages lst": `unknown command "lst"`,
	} {
		l.run(2, strings.Fields(command)...)
		l.wants(l.stderr.String(), want)
	}
}

func TestABadFileKeepsNoOtherBack(t *testing.T) {
	l := setup(t)
	got := l.with(t.Context(), 1, "inspect", l.path("none.mf4"), "../samples/sim_city_drive.mf4", l.path("pipelines.yaml"))
	l.wants(got, "MDF 4.")
	l.wants(l.stderr.String(), "none.mf4: no such file", "pipelines.yaml: ")
}

func TestAnUnreachableServerIsSaidWithItsReason(t *testing.T) {
	l := setup(t)
	l.run(3, "status", "--transport", "nats://127.0.0.1:1")
	l.wants(l.stderr.String(), "nats://127.0.0.1:1", "connection refused", "tried 3 times", "[E-transport]")
}

func TestManyFaultsOfARecordingAreTold(t *testing.T) {
	l := setup(t)
	text := l.read("pipelines.yaml")
	i := strings.Index(text, "with: { ")
	l.write("pipelines.yaml", text[:i]+`with: { signals: { a: {channel: Aq1}, b: {channel: Bq2}, c: {channel: Cq3}, d: {channel: Dq4}, e: {channel: Eq5} }, `+text[i+len("with: { "):])
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0", "--progress", "none")
	_, said, _ := strings.Cut(l.stderr.String(), "\ndone  ")
	said, _, _ = strings.Cut(said, "milepost dlq ls") // a line of the log may come behind the summary
	l.wants(said, "\n    no channel \"Bq2\"", "\n    and 2 more: milepost jobs show", "\n    next: ")
	if n := strings.Count(said, "`milepost inspect` lists the channels"); n != strings.Count(said, "no channel \"Aq1\"") {
		t.Errorf("one advice %d times:\n%s", n, said)
	}
}
