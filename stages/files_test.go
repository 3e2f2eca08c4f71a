package stages_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/stages"
)

// lint loads a pipelines file in a folder of files and lists what is wrong, "line:column code message"; of another file than
// pipelines.yaml with its name.
func lint(t *testing.T, text string, files map[string]string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	files["pipelines.yaml"] = text
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, problems := spec.Load(t.Context(), []string{"pipelines.yaml"}, spec.Options{Registry: stages.Standard()})
	if s != nil && problems.Errors() > 0 {
		t.Error("a file with errors is a spec")
	}
	var out strings.Builder
	for _, p := range problems {
		if p.File != "pipelines.yaml" {
			out.WriteString(p.File + ":")
		}
		fmt.Fprintf(&out, "%d:%d %s %s", p.Line, p.Column, p.Code, p.Message)
		if p.Meant != "" {
			fmt.Fprintf(&out, " (meant %s)", p.Meant)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in:\n%s", w, got)
		}
	}
	if n := strings.Count(got, "\n"); n != len(want) {
		t.Errorf("%d problems, want %d:\n%s", n, len(want), got)
	}
}

const readOnly = `version: 1
pipelines:
  p:
    stages:
      - name: read
        uses: reader/mf4
        with:
          paths: ["*.mf4"]
          bindings: signals.yaml
`

const carDBC = "VERSION \"\"\nBU_: X\nBO_ 170 WHEELS: 8 X\n SG_ FRONT : 0|16@1+ (1,0) [0|0] \"km/h\" X\n SG_ REAR : 16|16@1+ (1,0) [0|0] \"km/h\" X\n"

func TestFaultsOfBindingsAndDatabasesAreFoundByLoad(t *testing.T) {
	got := lint(t, readOnly, map[string]string{"a.mf4": "", "car.dbc": carDBC, "bad.dbc": "BO_ x y\n", "signals.yaml": `bindings:
  car:
    kind: can
    ego_sped: {bus: 1, id: 170, dbc: car.dbc, signal: FRONT}
    yaw_rate: {bus: 1, id: 170, dbc: car.dbc, signal: FRNT, fcator: 2}
    driver_brake: {bus: 1, id: 171, dbc: car.dbc, signal: REAR}
    tracks:
      - {bus: 1, id: 1, dbc: none.dbc}
      - {bus: 1, id: 2, dbc: none.dbc}
    signals:
      v: {id: 1, dbc: bad.dbc, signal: V}
logs:
  a.mf4: {binding: cra}
`})
	wantLines(t, got,
		`signals.yaml:4:5 E-field unknown field "ego_sped" in "bindings.car" of the bindings file (meant ego_speed)`,
		`signals.yaml:5:55 E-dbc "bindings.car.yaw_rate.signal" of the bindings file: no signal "FRNT" in WHEELS (meant FRONT)`,
		`signals.yaml:5:61 E-field unknown field "fcator" in "bindings.car.yaw_rate" of the bindings file (meant factor)`,
		`signals.yaml:6:32 E-dbc "bindings.car.driver_brake.id" of the bindings file: no message "171 (0xab)" in car.dbc; did you mean 170 (0xaa, WHEELS)? It has REAR`,
		`signals.yaml:8:30 E-dbc "bindings.car.tracks.0.dbc" of the bindings file: no file "none.dbc" in "."`,
		`signals.yaml:11:23 E-dbc "bindings.car.signals.v.dbc" of the bindings file: bad.dbc:1: `,
		`signals.yaml:13:20 E-ref "logs.a.mf4.binding" of the bindings file: names "cra", which is not among the bindings (car) (meant car)`,
	)
}

// TestAFaultOfABindingsFileIsShownThere: also of JSON with tabs and of several files at once.
func TestAFaultOfABindingsFileIsShownThere(t *testing.T) {
	lint(t, strings.Replace(readOnly, "signals.yaml", "signals.json\n          speed: fast", 1), map[string]string{"a.mf4": "",
		"signals.json": "{\n\t\"bindings\": {\"car\": {\"kind\": \"physical\", \"ego_speed\": {\"chanel\": \"V\"}}},\n\t\"logs\": {\"a.mf4\": {\"binding\": 5}}\n}\n"})
	_, problems := spec.Load(t.Context(), []string{"pipelines.yaml"}, spec.Options{Registry: stages.Standard()})
	var text strings.Builder
	if err := problems.Render(&text); err != nil {
		t.Fatal(err)
	}
	want := `pipelines.yaml:10:18: "with.speed" of stage p/read: is "fast", must be max, realtime or a factor from 0.01x to 1000000x [E-value]
   9 |           bindings: signals.json
> 10 |           speed: fast
                        ^^^^

signals.json:2:57: unknown field "chanel" in "bindings.car.ego_speed" of the bindings file [E-field]
  1 | {
> 2 | TAB"bindings": {"car": {"kind": "physical", "ego_speed": {"chanel": "V"}}},
      TAB                                                       ^^^^^^^^
  did you mean "channel"?

signals.json:3:32: "logs.a.mf4.binding" of the bindings file: want a string; have 5 [E-value]
  2 | TAB"bindings": {"car": {"kind": "physical", "ego_speed": {"chanel": "V"}}},
> 3 | TAB"logs": {"a.mf4": {"binding": 5}}
      TAB                              ^
  quote it: "5"
`
	if got := text.String(); got != strings.ReplaceAll(want, "TAB", "\t") {
		t.Errorf("%s", got)
	}
	if p := problems[1]; p.File != "signals.json" || p.Line != 2 || p.Where != `"with.bindings" of stage p/read` {
		t.Errorf("%+v", p)
	}
}

func TestAMissingDatabaseIsToldWhereItIsNamed(t *testing.T) {
	got := lint(t, readOnly+"          dbc_dir: dbs\n", map[string]string{"a.mf4": "",
		"signals.yaml": "bindings: {car: {kind: can, ego_speed: {id: 1, dbc: none.dbc, signal: V}}}\nlogs: {a.mf4: {binding: car}}\n"})
	wantLines(t, got, `signals.yaml:1:53 E-dbc "bindings.car.ego_speed.dbc" of the bindings file: no file "none.dbc" in ".", "dbc", "dbs"; `+"`dbc_dir`")
}

func TestFilesThatAreNotThereAreFoundByLoad(t *testing.T) {
	wantLines(t, lint(t, readOnly, map[string]string{}),
		`8:19 E-paths "with.paths.0" of stage p/read: "*.mf4" matches no file; the working directory is`,
		`9:21 E-binding "with.bindings" of stage p/read: read bindings signals.yaml: no such file`)
	wantLines(t, lint(t, readOnly, map[string]string{"a.mf4": "", "signals.yaml": ""}), "9:21 E-binding \"with.bindings\" of stage p/read: signals.yaml: the file is empty")
}

func TestFieldsOfAConditionAreThoseOfTheStages(t *testing.T) {
	with := func(when string) string {
		return lint(t, readOnly+"      - { name: aeb, uses: process/aeb }\n      - { name: kpi, uses: analysis/aeb-kpi, when: "+when+" }\n", map[string]string{"a.mf4": "",
			"signals.yaml": "bindings: {car: {kind: physical, ego_speed: {channel: V}, tracks: [{long_dist: X, rel_speed: R}]}}\nlogs: {a.mf4: {binding: car}}\n"})
	}
	wantLines(t, with(`"data.tcc < 1.6"`), `11:53 E-expr data.tcc is not a field of aeb.tick.v1 or aeb.inputs.v1 (meant data.ttc)`)
	wantLines(t, with(`"type == 'aeb.tick.v1' || data.ego > 0"`))
}

func TestAllFaultsOfAReaderAreToldAtOnce(t *testing.T) {
	got := lint(t, `version: 1
version: 1
pipelines:
  p:
    stages:
      - name: read
        uses: reader/mf4
        with:
          paths: ["${NOT_SET}", "*.mf4", "[", "none/*.mf4"]
          bindings: none.yaml
          speed: fast
          raster: 10
          batch: 15ms
          from: -3s
          on_corrupt: maybe
      - name: again
        uses: reader/mf4
        with: { paths: "${NOT_SET}", bindings: "${NOT_SET}", sped: max }
      - name: third
        uses: reader/mf4
        with: { paths: "*.mf4", sginals: {} }
`, map[string]string{"a.mf4": ""})
	wantLines(t, got,
		`2:1 E-yaml key "version" stands here a second time, first in line 1`,
		`9:19 E-env NOT_SET is not set`,
		`9:42 E-value "with.paths.2" of stage p/read: "[" is no valid glob`,
		`9:47 E-paths "with.paths.3" of stage p/read: "none/*.mf4" matches no file; the working directory is`,
		`10:21 E-binding "with.bindings" of stage p/read: read bindings none.yaml: no such file`,
		`11:18 E-value "with.speed" of stage p/read: is "fast", must be max, realtime or a factor from 0.01x to 1000000x`,
		`12:19 E-value "with.raster" of stage p/read: want a duration`,
		`14:17 E-value "with.from" of stage p/read: is -3s, must be 0 or more`,
		`15:23 E-value "with.on_corrupt" of stage p/read: want fail or keep; have "maybe"`,
		`17:15 E-edge reader "again" must be the first stage`,
		`18:24 E-env NOT_SET is not set`,
		`18:48 E-env NOT_SET is not set`,
		`18:62 E-field unknown field "sped" in "with" of stage p/again (meant speed)`,
		`20:15 E-edge reader "third" must be the first stage`,
		`21:33 E-field unknown field "sginals" in "with" of stage p/third (meant signals)`,
	)
}

func TestParamsOfABindingAreComparedWithTheStages(t *testing.T) {
	got := lint(t, readOnly+"      - { name: aeb, uses: process/aeb }\n  k:\n    from: p/aeb\n    stages: [{ name: kpi, uses: analysis/aeb-kpi }]\n", map[string]string{"a.mf4": "",
		"signals.yaml": `bindings:
  car:
    kind: physical
    ego_speed: {channel: V}
    params: {half_widht: 1.2, x_mxa: 90, cf_ramp: -1, ettc: [1, 2], confirm_n: 2.5}
logs:
  a.mf4: {binding: car, params: {a_rel_min: 0, zzz: 1}}
`})
	wantLines(t, got,
		`signals.yaml:5:14 E-field "bindings.car.params.half_widht" of the bindings file: is no parameter of process/aeb (meant half_width)`,
		`signals.yaml:5:31 E-field "bindings.car.params.x_mxa" of the bindings file: is no parameter of process/aeb (meant x_max)`,
		`signals.yaml:5:51 E-value "bindings.car.params.cf_ramp" of the bindings file: must be above 0`,
		`signals.yaml:5:55 E-value "bindings.car.params.ettc" of the bindings file: want [null, warn, partial, full]`,
		`signals.yaml:5:80 E-value "bindings.car.params.confirm_n" of the bindings file: want a whole number; have 2.5`,
		`signals.yaml:7:45 E-value "logs.a.mf4.params.a_rel_min" of the bindings file: must be above 0`,
		`signals.yaml:7:48 E-field "logs.a.mf4.params.zzz" of the bindings file: is no parameter of process/aeb`,
	)
}

func TestStraysAreOneWarning(t *testing.T) {
	got := lint(t, readOnly, map[string]string{"a.mf4": "", "b.mf4": "", "c.mf4": "", "d.mf4": "", "e.mf4": "",
		"signals.yaml": "bindings: {car: {kind: physical, ego_speed: {channel: V}}}\nlogs: {e.mf4: {binding: car}, x.mf4: {binding: car}}\n"})
	wantLines(t, got, `9:21 W-binding no entry of signals.yaml fits 4 recordings: a.mf4, b.mf4, c.mf4 and 1 more; not replayed`,
		`9:21 W-binding paths does not find the recording x.mf4 of signals.yaml`)
}

// TestInputsThatNothingBindsAreWarnedOf: the AEB function would see no target, and a collision come out as a clean drive.
func TestInputsThatNothingBindsAreWarnedOf(t *testing.T) {
	file := func(with string) string {
		return `version: 1
pipelines:
  p:
    stages:
      - name: read
        uses: reader/mf4
        with:
          paths: ["*.mf4"]
          ` + with + `
      - { name: aeb, uses: process/aeb }
      - { name: kpi, uses: analysis/aeb-kpi }
`
	}
	wantLines(t, lint(t, file(`signals: { ego_speed: {channel: V}, target_dist: {channel: X}, target_speed: {channel: R}, brake_request: {channel: B, optional: true} }`),
		map[string]string{"a.mf4": ""}))
	wantLines(t, lint(t, file(`signals: { egospeed: {channel: V}, target_distance: {channel: X} }`), map[string]string{"a.mf4": ""}),
		`9:32 W-binding signals binds no ego_speed, which stage p/aeb decides by: bind ego_speed (egospeed is none of its inputs) (meant ego_speed)`,
		"9:63 W-binding signals binds no tracks, which stage p/aeb decides by: bind `tracks` of a binding, or target_dist and target_speed (target_distance is none of its inputs) (meant target_dist)")
	wantLines(t, lint(t, file(`bindings: b.yaml`), map[string]string{"a.mf4": "", "b.yaml": `bindings: {car: {kind: physical, ego_speed: {channel: V}}, other: {kind: physical, yaw_rate: {channel: V}}}
logs: {"*.mf4": {binding: car}}`}),
		`9:21 W-binding binding car of b.yaml has no tracks, which stage p/aeb decides by: bind `)
}

// One fault is one problem: a field that is missing is not told again by the configuration itself.
func TestAMissingFieldIsToldOnce(t *testing.T) {
	for _, with := range []string{"", ", with: {}", ", with: { speed: max }"} {
		got := lint(t, "version: 1\npipelines: { p: { stages: [{ name: read, uses: reader/mf4"+with+" }] } }\n", map[string]string{})
		if n := strings.Count(got, "paths"); n != 1 || !strings.Contains(got, `missing field "paths" in "with" of stage p/read`) {
			t.Errorf("paths is told %d times:\n%s", n, got)
		}
	}
	wantLines(t, lint(t, "version: 1\npipelines: []\n", map[string]string{}), "2:12 E-value pipelines: want a mapping from names; have a list")
	wantLines(t, lint(t, "version: 1\npipelines: {}\n", map[string]string{}), "2:12 E-field the file has no pipeline")
}
