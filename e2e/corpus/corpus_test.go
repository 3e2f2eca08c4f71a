package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build makes the binary.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "milepost")
	c := exec.Command("go", "build", "-o", bin, "github.com/milepost-dev/milepost/cmd/milepost")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return bin
}

// roadlogs makes a folder of the corpus' kind from three of the samples, with spaces in its name, and write-protected.
func roadlogs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "road logs {1}, $HOME")
	samples := filepath.Join("..", "..", "samples")
	for from, to := range map[string]string{
		"sim_full_braking.mf4": "sim_full braking.MF4", "sim_driver_brakes.mf4": "sim_driver,brakes.mf4", "sim_false_targets.mf4": "unbound.mf4",
		"signals.yaml": bindingsFile, "demo_car.dbc": "dbc/demo_car.dbc", "demo_radar.dbc": "dbc/demo_radar.dbc",
	} {
		data, err := os.ReadFile(filepath.Join(samples, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	protect(t, filepath.Join(dir, "dbc"))
	protect(t, dir)
	return dir
}

// protect takes the right to write in a folder until the test is over.
func protect(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) }) //nolint:errcheck // the folder is removed next
}

func TestReplayStoresAndCompares(t *testing.T) {
	bin, logs := build(t), roadlogs(t)
	edit(t, logs, bindingsFile, "  sim_city_drive.mf4: { binding: demo_can }\n", "  sim_full braking.MF4: { binding: demo_physical }\n")
	first, second := filepath.Join(t.TempDir(), "o ut"), t.TempDir()
	call(t, options{bin, logs, first, ""}, exitDone, "3 passed, 0 failed\n")
	write(t, second, "sim_full braking.json", "old")
	write(t, second, "notes.txt", "mine")
	call(t, options{bin, logs, second, first}, exitDone, "3 passed, 0 failed\n")
	for _, file := range []string{"sim_full braking.json", "sim_driver,brakes.json", fleetFile} {
		if a, b := read(t, first, file), read(t, second, file); a != b || a == "" {
			t.Errorf("%s differs between two replays", file)
		}
	}
	if read(t, second, "notes.txt") != "mine" {
		t.Error("a file of the user's was touched")
	}

	t.Run("differences", func(t *testing.T) {
		edit(t, first, "sim_full braking.json", `"log":`, `"lag":`)
		edit(t, first, fleetFile, `"logs": 2`, `"logs": 3`)
		write(t, first, "other.json", "{}")
		write(t, first, readerFile, "{}")
		if err := os.Remove(filepath.Join(first, "sim_driver,brakes.json")); err != nil {
			t.Fatal(err)
		}
		out := call(t, options{bin, logs, second, first}, exitDiffs, "0 passed, 4 failed\n")
		for _, want := range []string{
			"fleet.json: $.fleet.all.logs: is 2, expected 3\n", "other.json: is expected, and was not produced\n",
			"sim_driver,brakes.json: was produced, and is not expected\n",
			"sim_full braking.json: $.lag: is missing, expected \"sim_full braking.MF4\"\n",
			"sim_full braking.json: $.log: is \"sim_full braking.MF4\", and not expected\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	})

	t.Run("a recording that is damaged, one that is gone", func(t *testing.T) {
		edit(t, logs, bindingsFile, "logs:\n", "logs:\n  gone.mf4: { binding: demo_physical }\n  unbound.mf4: { binding: demo_physical }\n")
		edit(t, logs, "unbound.mf4", "MDF     ", "FDM     ")
		write(t, second, "unbound.json", "old")
		out := call(t, options{bin, logs, second, ""}, exitDiffs, "3 passed, 2 failed\n")
		for _, want := range []string{"unbound.json: unbound.mf4 gave no result\n", "gone.json: gone.mf4 is bound by signals.json, but there is no such file\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		if _, err := os.Stat(filepath.Join(second, "unbound.json")); err == nil {
			t.Error("the result of an earlier replay is still there")
		}
	})
}

// call runs the command and compares its exit code and last line.
func call(t *testing.T, o options, code int, last string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	got := run(t.Context(), o, &stdout, &stderr)
	lines := slices.Collect(strings.Lines(stdout.String()))
	if got != code || len(lines) == 0 || lines[len(lines)-1] != last {
		t.Fatalf("exit code %d, want %d; want the last line %q of\n%s\n%s", got, code, last, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func TestUsage(t *testing.T) {
	for name, o := range map[string]options{
		"no folder":   {milepost: "m", out: "o"},
		"no out":      {milepost: "m", roadlogs: "."},
		"no bindings": {"m", t.TempDir(), "o", ""},
		"no expected": {"m", roadlogs(t), "o", filepath.Join(t.TempDir(), "none")},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), o, &stdout, &stderr); code != exitUsage || stderr.Len() == 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
		}
	}
}

func TestResultsOfOneNameAreRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.mf4", "")
	write(t, dir, "a.MF4", "")
	write(t, dir, bindingsFile, `{"bindings": {"b": {"kind": "physical", "ego_speed": {"channel": "V"}}}, "logs": {"a.*": {"binding": "b"}}}`)
	_, err := findRecordings(dir)
	if err == nil || !strings.Contains(err.Error(), "would both be written to a.json") {
		t.Errorf("%v", err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text that a file must hold; the file may be write-protected.
func edit(t *testing.T, dir, name, old, by string) {
	t.Helper()
	text := read(t, dir, name)
	if !strings.Contains(text, old) {
		t.Fatalf("%s does not hold %q", name, old)
	}
	if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, dir, name, strings.Replace(text, old, by, 1))
}
