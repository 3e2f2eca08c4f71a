package mf4

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milepost-dev/milepost/pipeline"
	yamlfile "github.com/milepost-dev/milepost/pipeline/spec"
)

func TestListNamesAndDescribesRecordings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"deep/x/a.mf4", "b.MF4", "c.txt", "d.mf4"} {
		write(t, filepath.Join(dir, name), name)
	}
	cfg := Defaults
	cfg.Paths = pipeline.Strings{filepath.Join(dir, "**", "*.mf4"), filepath.Join(dir, "b.MF4")}
	cfg.Labels = map[string]string{"release": "2026.11"}
	cfg.Bindings = filepath.Join(dir, "signals.yaml")
	write(t, cfg.Bindings, `
bindings:
  car: {kind: physical, ego_speed: {channel: V}, params: {x_max: 90}}
logs:
  a.mf4: {binding: car, duplicate_of: b.MF4, labels: {driver: kim}, params: {x_min: 1}}
  b.MF4: {binding: car}
  gone.mf4: {binding: car}`)
	items, _ := build(t, cfg)
	if len(items) != 2 || items[0].Name != "b.MF4" || items[1].Name != "deep/x/a.mf4" {
		t.Fatalf("items = %+v", items)
	}
	a := items[1]
	if a.URL != filepath.Join(dir, "deep", "x", "a.mf4") || a.Bytes != int64(len("deep/x/a.mf4")) {
		t.Errorf("url %s, %d bytes", a.URL, a.Bytes)
	}
	if d := cmp.Diff(map[string]string{"release": "2026.11", "driver": "kim", LabelBinding: "car"}, a.Labels); d != "" {
		t.Error(d)
	}
	if string(a.Params[ParamAEB]) != `{"x_max":90,"x_min":1}` || string(a.Params[ParamDuplicateOf]) != `"b.MF4"` {
		t.Errorf("params = %s", a.Params)
	}
	warnings := cfg.Warnings()
	if len(warnings) != 2 {
		t.Fatalf("warnings = %v", warnings)
	}
	wantText(t, warnings[0], "no entry of", " fits the recording d.mf4; not replayed")
	wantText(t, warnings[1], "paths does not find the recording gone.mf4 of ")
}

// As for the globs of paths, .mf4 stands for .MF4: recorders on FAT file systems name their files so.
func TestEntriesOfLogsFitNamesInCapitals(t *testing.T) {
	cfg := setup(t, `
bindings: {c: {kind: physical, ego_speed: {channel: V}}, d: {kind: physical, ego_speed: {channel: W}}}
logs: {"x*.mf4": {binding: c}, y.mf4: {binding: d}, z.MF4: {binding: d}}`)
	cfg.Paths = pipeline.Strings{filepath.Join(folder(cfg), "*.mf4")}
	for _, name := range []string{"x1.MF4", "x2.mf4", "y.MF4", "z.MF4"} {
		write(t, filepath.Join(folder(cfg), name), name)
	}
	items, _ := build(t, cfg)
	got := map[string]string{}
	for _, it := range items {
		got[it.Name] = it.Labels[LabelBinding]
	}
	if d := cmp.Diff(map[string]string{"x1.MF4": "c", "x2.mf4": "c", "y.MF4": "d", "z.MF4": "d"}, got); d != "" {
		t.Error(d)
	}
	if w := cfg.Warnings(); len(w) != 0 {
		t.Errorf("warnings = %v", w)
	}
}

func TestRecordingsOfWhichNoneIsBoundAreRefused(t *testing.T) {
	cfg := setup(t, "bindings: {c: {kind: physical, ego_speed: {channel: V}}}\nlogs: {\"x*.mf4\": {binding: c}}")
	write(t, filepath.Join(folder(cfg), "a.mf4"), "a")
	_, err := new(lister).list(t.Context(), cfg)
	for _, err := range append(cfg.Check(), err) {
		wantText(t, err, "bindings: no entry of `logs` in ", "fits the recording a.mf4 that paths finds, so nothing would be replayed")
	}
	if n := len(cfg.Check()); n != 1 {
		t.Errorf("%d faults", n)
	}
}

// locked is a folder with one below it that its reader may not read.
type locked struct{ fstest.MapFS }

func (l locked) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "deep/private" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return l.MapFS.ReadDir(name)
}

func TestFoldersThatCannotBeReadAreTold(t *testing.T) {
	folder := locked{fstest.MapFS{"deep/private/a.mf4": {}, "deep/b.mf4": {}}}
	_, err := globIn(folder, "**/*.mf4")
	wantText(t, belowBase("logs", err), "cannot read "+filepath.Join("logs", "deep", "private")+": permission denied; give the user of milepost access")
	if found, err := globIn(folder, "deep/*.mf4"); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestIdentityFollowsContentAndBinding(t *testing.T) {
	const one, two = "bindings: {c: {kind: physical, ego_speed: {channel: V}}}\nlogs: {a.mf4: {binding: c}}",
		"bindings: {c: {kind: physical, ego_speed: {channel: W}}}\nlogs: {a.mf4: {binding: c}}"
	cfg := setup(t, one)
	file := filepath.Join(folder(cfg), "a.mf4")
	identity := func() string {
		items, _ := build(t, cfg)
		return items[0].Identity
	}
	write(t, file, "one")
	first := identity()
	must(t, os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)))
	if identity() != first {
		t.Error("identity changes with the time of the file")
	}
	write(t, file, "two")
	second := identity()
	write(t, cfg.Bindings, two)
	if third := identity(); first == second || second == third {
		t.Errorf("identities %s, %s, %s", first, second, third)
	}
}

func TestLargeFilesAreIdentifiedBySamples(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.mf4")
	write(t, file, "start")
	must(t, os.Truncate(file, wholeBytes+1))
	a, size, err := identify(t.Context(), file)
	must(t, err)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("end"), wholeBytes-2)
	must(t, err)
	must(t, f.Close())
	must(t, os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)))
	b, _, err := identify(t.Context(), file)
	must(t, err)
	if a == b || size != wholeBytes+1 {
		t.Errorf("identities %s and %s, %d bytes", a, b, size)
	}
}

func TestListRefuses(t *testing.T) {
	cfg := setup(t, "")
	cfg.Signals = readSignals
	if _, err := new(lister).list(t.Context(), cfg); err == nil {
		t.Error("a glob that matches nothing is taken")
	} else {
		wantText(t, err, "matches no file; the working directory is")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x", "a.mf4"), "1")
	write(t, filepath.Join(dir, "y", "a.mf4"), "2")
	cfg.Paths = pipeline.Strings{filepath.Join(dir, "x", "*.mf4"), filepath.Join(dir, "y", "*.mf4")}
	_, err := new(lister).list(t.Context(), cfg)
	wantText(t, err, `would both be named "a.mf4"; write one glob for both`)
	cfg.Paths = pipeline.Strings{filepath.Join(dir, "{x,y}", "*.mf4"), filepath.Join(dir, "**", "a.mf4")}
	items, _ := build(t, cfg)
	if len(items) != 2 || items[0].Name != "x/a.mf4" {
		t.Errorf("items = %+v", items)
	}
}

func TestValidateListsAllFaults(t *testing.T) {
	cfg := Config{Paths: pipeline.Strings{"["}, Speed: "fast", OnCorrupt: "maybe", SliceMax: time.Second, SliceBytes: 1, From: time.Second, To: time.Millisecond,
		Raster: 3, Batch: 4, ReorderWindow: -1, Signals: signals(`{t: {channel: X}, u: {}, w: {channel: X, signal: Y}}`)}
	wantText(t, cfg.Validate(), `paths.0: "[" is no valid glob`, `speed: is "fast", must be max, realtime or a factor`, `on_corrupt: is "maybe"`,
		"slice_bytes: is 1, must be 1KiB to 8MiB", "to: is 1ms, must be after from (1s)", "batch: is 4ns, must be a multiple",
		"reorder_window: is -1ns", "signals.t: is the name of the time column", "signals.u: names no channel", "signals.w: names channels and bus signals")
	cfg = Config{}
	wantText(t, cfg.Validate(), "paths: is missing", "bindings: is missing, and so is signals")
	cfg = Defaults
	cfg.Paths, cfg.Signals = pipeline.Strings{"a.mf4"}, readSignals
	must(t, cfg.Validate())
}

func TestUnknownBusSignalsAreToldTogether(t *testing.T) {
	cfg := setup(t, `
bindings:
  car:
    kind: can
    ego_speed: {bus: 1, id: 170, dbc: car.dbc, signals: [A, BB]}
    yaw_rate: {bus: 1, id: 171, dbc: car.dbc, signal: Y}
    driver_brake: {bus: 1, id: 1, dbc: none.dbc, signal: Y}
logs: {"*": {binding: car}}`)
	write(t, filepath.Join(folder(cfg), "car.dbc"), canDBC)
	_, err := newLibrary(cfg)
	var invalid *yamlfile.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Fatal(err)
	}
	for i, want := range []string{`"bindings.car.ego_speed.signals.1" of the bindings file: no signal "BB" in WHEELS`,
		`"bindings.car.yaw_rate.id" of the bindings file: no message "171 (0xab)"`, `"bindings.car.driver_brake.dbc" of the bindings file: no file "none.dbc" in`} {
		if p := invalid.Problems[i]; p.Line != 5+i || !strings.Contains(p.Message, want) {
			t.Errorf("line %d: %s, want %s", p.Line, p.Message, want)
		}
	}
}
