package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// serve starts a nats-server on loopback.
func serve(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.StoreDir = "127.0.0.1", -1, true, true, t.TempDir()
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not come up")
	}
	return s
}

type finding struct{ Status, Check, Text, Fix string }

// examine runs doctor, wants an exit code, and returns what it found.
func (l *line) examine(code int, args ...string) (all []finding) {
	l.t.Helper()
	if err := json.Unmarshal([]byte(l.run(code, append([]string{"doctor", "-o", "json"}, args...)...)), &all); err != nil {
		l.t.Fatal(err)
	}
	for _, f := range all {
		if f.Status == "FAIL" && f.Fix == "" {
			l.t.Errorf("%s: %s: no fix", f.Check, f.Text)
		}
	}
	return all
}

// found wants a finding with this status and these words.
func (l *line) found(all []finding, status, check string, words ...string) {
	l.t.Helper()
	for _, f := range all {
		text := f.Text + "\n" + f.Fix
		ok := f.Status == status && f.Check == check
		for _, w := range words {
			ok = ok && strings.Contains(text, w)
		}
		if ok {
			return
		}
	}
	l.t.Errorf("no %s %s with %q in %+v", status, check, words, all)
}

func TestDoctor(t *testing.T) {
	l := setup(t)
	all := l.examine(0)
	for _, check := range []string{"file", "transport", "state", "recordings", "stages"} {
		l.found(all, "ok", check)
	}
	l.wants(l.run(0, "doctor"), "ok    transport    embedded  server "+server.VERSION)

	url := serve(t, server.Options{JetStream: true}).ClientURL()
	all = l.examine(0, "--transport", url)
	l.found(all, "ok", "transport", url, server.VERSION, "JetStream on, replicas 1")
	for _, check := range []string{"limits", "permissions", "storage", "streams", "clock"} {
		l.found(all, "ok", check)
	}
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--transport", url, "--state", l.path("other"))
	all = l.examine(0, "--transport", url)
	l.found(all, "ok", "clock", "offset ")
	l.found(all, "ok", "streams", "12 of 12 are there")
}

// TestDoctorFindsWhatIsWrong has one fault at a time, each with the fix that mends it.
func TestDoctorFindsWhatIsWrong(t *testing.T) {
	l := setup(t)
	url := serve(t, server.Options{JetStream: true, MaxPayload: 100_000}).ClientURL()
	l.found(l.examine(1, "--transport", url), "FAIL", "limits", "100.0 kB", "max_payload")
	url = serve(t, server.Options{JetStream: true}).ClientURL()
	l.found(l.examine(1, "--transport", url, "--set", "transport.nats.replicas=3"), "FAIL", "cluster", "transport.nats.replicas: 1")
	l.found(l.examine(3, "--transport", serve(t, server.Options{}).ClientURL()), "FAIL", "transport", "nats-server --jetstream")
	l.found(l.examine(3, "--transport", "nats://127.0.0.1:1"), "FAIL", "transport", "refused", "is the server up")
	locked := serve(t, server.Options{JetStream: true, Username: "u", Password: "secret-word"}).ClientURL()
	all := l.examine(3, "--transport", locked)
	l.found(all, "FAIL", "transport", "wants a login", "transport.nats.creds")
	l.found(l.examine(1, "--set", "pipelines.aeb.stages.read.with.paths=none/*.mf4"), "FAIL", "recordings", "aeb/read", "paths")
	l.found(l.examine(1, "--set", "pipelines.aeb.stages.read.with.bindings=none.yaml"), "FAIL", "stage", "aeb/read", "none.yaml")
	l.found(l.examine(2, "--set", "pipelines.aeb.stages.read.parallelism=x"), "FAIL", "file", "milepost lint")
	if os.Getuid() != 0 { // who may write everywhere finds every folder writable
		l.found(l.examine(1, "--state", "/proc/none"), "FAIL", "state", "--state")
	}
	l.run(2, "doctor", "--role", "king")
}

// guarded is a server whose users have just what `doctor --permissions` prints.
func (l *line) guarded(workerStages string) (s *server.Server, as func(role string) string) {
	l.t.Helper()
	var roles []struct {
		Role string
		jetstream.Grant
	}
	text := l.run(0, "doctor", "--permissions", "-o", "json", "--stages", workerStages, "--transport", "nats://127.0.0.1:1")
	if err := json.Unmarshal([]byte(text), &roles); err != nil || len(roles) != 3 {
		l.t.Fatalf("%v in %s", err, text)
	}
	o := server.Options{JetStream: true}
	for _, r := range roles {
		o.Users = append(o.Users, &server.User{Username: r.Role, Password: "pa55word", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: r.Publish}, Subscribe: &server.SubjectPermission{Allow: r.Subscribe}}})
	}
	s = serve(l.t, o)
	return s, func(role string) string {
		return (&url.URL{Scheme: "nats", User: url.UserPassword(role, "pa55word"), Host: s.Addr().(*net.TCPAddr).String()}).String()
	}
}

// TestRolesRun: run and worker share the work, each with the permissions of his role and no more; nobody is refused anything, and
// the results are those of a run on embedded JetStream.
func TestRolesRun(t *testing.T) {
	l := setup(t)
	l.write("pipelines.yaml", l.read("pipelines.yaml")+"  health: { from: aeb/read, stages: [{ name: check, uses: analysis/signal-health }] }\n")
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	want := l.files()
	if err := os.RemoveAll(l.path("out")); err != nil {
		t.Fatal(err)
	}
	s, as := l.guarded("aeb,kpi,check")
	for role, args := range map[string][]string{"run": nil, "worker": {"--stages", "aeb,kpi,check"}, "reader": nil} {
		all := l.examine(0, append(args, "--role", role, "--transport", as(role), "--state", l.path("other"))...)
		l.found(all, "ok", "permissions", role)
	}
	l.found(l.examine(1, "--role", "worker", "--transport", as("worker"), "--state", l.path("other")), "FAIL", "permissions", "publish mp.aeb.read", "--permissions --role worker")
	l.found(l.examine(3, "--role", "run", "--transport", as("worker"), "--state", l.path("other")), "FAIL", "permissions", "_INBOX.mp-run", "--permissions --role run")

	made := make(chan struct{})
	worked := make(chan string)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-made
		var words strings.Builder
		code := cmd.Run(ctx, stages.Standard(), []string{"worker", "--stages", "aeb,kpi,check", "-f", l.path("pipelines.yaml"), "--transport", as("worker")},
			strings.NewReader(""), &words, &words)
		worked <- fmt.Sprint(code, " ", words.String())
	}()
	var words strings.Builder
	once := false
	code := cmd.Run(t.Context(), stages.Standard(), []string{"run", "--exit", "--listen", "127.0.0.1:0", "-f", l.path("pipelines.yaml"), "--transport", as("run"),
		"--state", l.path("other"), "--progress", "json"}, strings.NewReader(""), &words, writerFunc(func(p []byte) (int, error) {
		if !once && strings.Contains(string(p), "dashboard") { // the logs are there
			once = true
			close(made)
		}
		return words.Write(p)
	}))
	if !once {
		close(made)
	}
	stop()
	worker := <-worked
	if code != 0 || !strings.HasPrefix(worker, "130 ") {
		t.Fatalf("run ends with %d, worker with %s\n%s", code, worker, words.String())
	}
	for _, text := range []string{words.String(), worker} {
		if strings.Contains(text, "permission") || strings.Contains(text, "pa55word") {
			t.Errorf("refused, or a secret told:\n%s", text)
		}
	}
	got := l.files()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs", name)
		}
	}
	if len(want) == 0 || len(got) != len(want) {
		t.Errorf("%d result files, want %d", len(got), len(want))
	}
	s.Shutdown()
}

// files are the result files by name.
func (l *line) files() map[string]string {
	l.t.Helper()
	names, err := filepath.Glob(l.path("out/*.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]string{}
	for _, n := range names {
		all[filepath.Base(n)] = l.read(filepath.Join("out", filepath.Base(n)))
	}
	return all
}

func TestPermissionsAsText(t *testing.T) {
	l := setup(t)
	text := l.run(0, "doctor", "--permissions", "--role", "worker", "--stages", "kpi", "--transport", "nats://127.0.0.1:1")
	l.wants(text, "# role worker: milepost worker --stages kpi", "worker_permissions = {", `"mp.aeb.kpi.>"`, `"_INBOX.mp-worker.>"`)
	for _, not := range []string{`"mp.aeb.aeb.>"`, `"mp.aeb.read.>"`, "STREAM.CREATE", `"mp.aeb.job.>"`} {
		if strings.Contains(text, not) {
			t.Errorf("%s in:\n%s", not, text)
		}
	}
	l.wants(l.run(0, "doctor", "--permissions", "-o", "name"), "run\nworker\nreader\n")
}

func TestConfig(t *testing.T) {
	l := setup(t)
	l.write("secret", "t0psecret\n")
	l.write("prod.yaml", "transport: { nats: { url: \"nats://me:hidden@nats:4222\", token: \"${file:secret}\", replicas: 3 } }\n")
	l.wants(l.run(0, "config", "-f", l.path("prod.yaml")), "transport")
	text := l.with(t.Context(), 0, "config", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml"))
	if strings.Contains(text, "hidden") || strings.Contains(text, "t0psecret") {
		t.Error(text)
	}
	l.write("prod.yaml", "transport: { nats: { url: \"nats://nats:4222\", token: \"${file:secret}\", replicas: 3 } }\n")
	text = l.with(t.Context(), 0, "config", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml"), "--set", "defaults.timeout=5m")
	l.wants(text, "replicas: 3", "timeout: 5m", "***")
	if strings.Contains(text, "t0psecret") {
		t.Error(text)
	}
	l.wants(l.with(t.Context(), 0, "config", "-o", "json", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml")), `"replicas": 3`)
}
