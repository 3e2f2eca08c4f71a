package kill

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/e2e/internal/process"
)

// bad is the plan over five recordings of which one is good.
func bad(t *testing.T) (p plan, dir string) {
	t.Helper()
	dir = t.TempDir()
	sample := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("..", "..", "samples", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	bindings := string(sample("signals.yaml"))
	physical := bindings[strings.Index(bindings, "  demo_physical:"):strings.Index(bindings, "  demo_can:")]
	typo := strings.ReplaceAll(strings.Replace(physical, "demo_physical", "demo_typo", 1), "channel: YawRate", "channel: YawRat")
	head := bindings[:strings.Index(bindings, "\nlogs:")]
	good := sample("sim_full_braking.mf4")
	for name, data := range map[string][]byte{
		"good.mf4": good, "cut.mf4": good[:30000], "text.mf4": []byte("This is no recording, whatever its name says."),
		"empty.mf4": nil, "lacks.mf4": good, "demo_car.dbc": sample("demo_car.dbc"), "demo_radar.dbc": sample("demo_radar.dbc"),
		"signals.yaml": []byte(head + "\n" + typo + "\nlogs:\n  lacks.mf4: { binding: demo_typo }\n  \"*.mf4\": { binding: demo_physical }\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newPlan(filepath.Join(dir, "*.mf4"), filepath.Join(dir, "signals.yaml"), "2s", 5), dir
}

func TestBadRecordingsFailAloneWithExitCode1(t *testing.T) {
	t.Parallel()
	p, _ := bad(t)
	dir := p.folder(t)
	run := start(t, dir, milepost, "run", "-f", "pipelines.yaml", "--state", "state", "--exit", "--progress", "plain", "--listen", "127.0.0.1:0")
	if code := run.wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	said := strings.Join(run.Lines(), "\n")
	for _, want := range []string{
		"cut.mf4: corrupt MF4 at offset 0x", "text.mf4: not an MDF file", "empty.mf4: not an MDF file",
		`lacks.mf4: no channel "YawRat"`, "close names: YawRate",
		"5 recordings, 4 failed", "4 events in the DLQ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	kpis, err := filepath.Glob(filepath.Join(dir, "out", "results", "*.json"))
	if err != nil || len(kpis) != 2 { // and fleet.json
		t.Errorf("results: %v, %v", kpis, err)
	}
	letters := lines(t, dir, "dlq", "ls", "-f", "pipelines.yaml")
	for _, name := range []string{"cut.mf4", "text.mf4", "empty.mf4", "lacks.mf4"} {
		if n := strings.Count(letters, " "+name+" "); n != 1 {
			t.Errorf("%d dead letters of %s in\n%s", n, name, letters)
		}
	}
}

// lines runs a command that must succeed and returns what it printed.
func lines(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stdout")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := startTo(t, f, dir, milepost, args...)
	if code := p.wait(); code != 0 {
		t.Fatalf("%v: exit code %d\n%s", args, code, p.Tail())
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCtrlCDrainsAndTheNextRunGoesOn(t *testing.T) {
	t.Parallel()
	p := samples()
	want, total := p.undisturbed(t)
	dir := p.folder(t)
	run := p.start(t, dir)
	if _, ok := run.Appends(total / 3); !ok {
		t.Fatalf("the run was over too early:\n%s", run.Tail())
	}
	run.signal(syscall.SIGINT)
	if code := run.wait(); code != 130 {
		t.Fatalf("exit code %d, want 130:\n%s", code, run.Tail())
	}
	if !strings.Contains(run.Tail(), "interrupted: what was taken is stored") {
		t.Errorf("the user is not told what became of it:\n%s", run.Tail())
	}
	if n := finished(t, dir); n == p.jobs {
		t.Error("all jobs were over")
	}
	again := p.start(t, dir)
	if code := again.wait(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, again.Tail())
	}
	for _, d := range p.collect(t, dir).Diff(want) {
		t.Error(d)
	}
}

// TestASecondCtrlCStopsAtOnce keeps the drain from ending: nobody reads what the run has to say.
func TestASecondCtrlCStopsAtOnce(t *testing.T) {
	t.Parallel()
	p := samples()
	run := p.start(t, p.folder(t))
	if _, ok := run.Appends(20); !ok {
		t.Fatalf("the run was over too early:\n%s", run.Tail())
	}
	ended := make(chan int, 1)
	go func() {
		code, err := run.Reap()
		if err != nil {
			t.Error(err)
		}
		ended <- code
	}()
	for signals := 0; ; {
		select {
		case code := <-ended:
			if code != 130 || signals < 2 {
				t.Errorf("exit code %d after %d signals, want 130 after 2 at least", code, signals)
			}
			return
		default: // two signals that are pending at once are one: more than two may have to be sent
			if syscall.Kill(run.Pid(), syscall.SIGINT) == nil {
				signals++
			}
		}
	}
}

func TestAHeldStateDirectoryIsRefusedWithExitCode2(t *testing.T) {
	t.Parallel()
	p := samples()
	dir := p.folder(t)
	slow := plan{yaml: strings.Replace(p.yaml, "slice_max:", "speed: realtime, slice_max:", 1)}
	first := slow.start(t, slow.folder(t), "--state", filepath.Join(dir, "state"))
	address := ""
	ok := first.Until(func(line string) bool {
		_, url, found := strings.Cut(line, "http://")
		address, _, _ = strings.Cut(url, "/")
		return found
	})
	if !ok {
		t.Fatalf("no address in\n%s", first.Tail())
	}
	second := p.start(t, dir)
	if code := second.wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	said := second.Tail()
	for _, want := range []string{fmt.Sprint(first.Pid()), address} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	first.kill()
	third := p.start(t, dir)
	if code := third.wait(); code != 0 {
		t.Errorf("a killed process leaves its lock: exit code %d\n%s", code, third.Tail())
	}
}

func TestAnUnreachableBrokerIsExitCode3(t *testing.T) {
	t.Parallel()
	p := samples()
	url := "nats://" + freeAddress(t)
	for _, verb := range []string{"run", "worker"} {
		c := start(t, p.folder(t), milepost, verb, "-f", "pipelines.yaml", "--state", "state", "--transport", url)
		if code := c.wait(); code != 3 {
			t.Errorf("%s: exit code %d, want 3", verb, code)
		}
		if said := c.Tail(); !strings.Contains(said, url) || !strings.Contains(said, "next: ") {
			t.Errorf("%s: address and next step are not in\n%s", verb, said)
		}
	}
}

func TestAWrongFileIsExitCode2(t *testing.T) {
	t.Parallel()
	p := samples()
	p.yaml = strings.NewReplacer("process/aeb", "process/aeq", "slice_max", "slice_mix").Replace(p.yaml)
	run := p.start(t, p.folder(t))
	if code := run.wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"process/aeq", "process/aeb", "slice_mix", "slice_max"} {
		if !strings.Contains(run.Tail(), want) {
			t.Errorf("%q is not in\n%s", want, run.Tail())
		}
	}
}

// freeAddress is one on loopback where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
