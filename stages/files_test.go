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

// lint loads a pipelines file in a folder of files and lists what is wrong, "line:column code message".
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
	const at = `9:21 E-binding "with.bindings" of stage p/read: signals.yaml:`
	wantLines(t, got,
		at+`4:5: unknown field "ego_sped" in bindings.car; did you mean "ego_speed"?`,
		at+`5:61: unknown field "fcator" in bindings.car.yaw_rate; did you mean "factor"?`,
		at+`13:11: logs["a.mf4"].binding: names "cra", which is not among the bindings (car); did you mean "car"?`,
		at+`5:5: bindings.car.yaw_rate: no signal "FRNT" in WHEELS; close names: FRONT`,
		at+`6:5: bindings.car.driver_brake: no message "171 (0xab)" in car.dbc; did you mean 170 (0xaa, WHEELS)? It has REAR`,
		`9:21 E-dbc "with.bindings" of stage p/read: signals.yaml:8:9: bindings.car.tracks[0]: no file "none.dbc"`,
		`9:21 E-dbc "with.bindings" of stage p/read: signals.yaml:11:7: bindings.car.signals.v: bad.dbc:1: `,
	)
}

func TestAMissingDatabaseIsBlamedOnItsFolders(t *testing.T) {
	got := lint(t, readOnly+"          dbc_dir: dbs\n", map[string]string{"a.mf4": "",
		"signals.yaml": "bindings: {car: {kind: can, ego_speed: {id: 1, dbc: none.dbc, signal: V}}}\nlogs: {a.mf4: {binding: car}}\n"})
	wantLines(t, got, `10:20 E-dbc "with.dbc_dir" of stage p/read: signals.yaml:1:29: bindings.car.ego_speed: no file "none.dbc"`)
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
			"signals.yaml": "bindings: {car: {kind: physical, ego_speed: {channel: V}}}\nlogs: {a.mf4: {binding: car}}\n"})
	}
	wantLines(t, with(`"data.tcc < 1.6"`), `11:53 E-expr data.tcc is not a field of aeb.tick.v1 or aeb.inputs.v1 (meant data.ttc)`)
	wantLines(t, with(`"type == 'aeb.tick.v1' || data.ego > 0"`))
}
