package stages_test

import (
	"strings"
	"testing"
)

const twoStages = `version: 1
sinks:
SINKS
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: "*.mf4", bindings: signals.yaml } }
      - { name: aeb, uses: process/aeb, to: AEB }
      - { name: kpi, uses: analysis/aeb-kpi, to: KPI }
`

func lintSinks(t *testing.T, sinks, aeb, kpi string) string {
	t.Helper()
	return lint(t, strings.NewReplacer("SINKS", sinks, "AEB", aeb, "KPI", kpi).Replace(twoStages), map[string]string{"a.mf4": "",
		"signals.yaml": "bindings: {car: {kind: physical, ego_speed: {channel: V}, tracks: [{long_dist: X, rel_speed: R}]}}\nlogs: {a.mf4: {binding: car}}\n"})
}

func TestTypesThatNoStageEmitsAreRefused(t *testing.T) {
	wantLines(t, lintSinks(t, `  results: { json: { path: "out/{item}.json", types: [aeb.kpi.v1, aeb.fleet.v1, aeb.kpii.v1], form: document } }`, "[]", "results"),
		`3:81 E-type "types" of sink "results": no stage that writes to it emits aeb.kpii.v1 (meant aeb.kpi.v1)`)
	wantLines(t, lintSinks(t, `  results: { json: { path: "out/{item}.json", types: aeb.kpi.v1 } }`, "results", "[]"),
		`3:54 E-type "types" of sink "results": no stage that writes to it emits aeb.kpi.v1`)
}

func TestStagesThatWouldShareAFileAreRefused(t *testing.T) {
	const one = `  results: { json: { path: "out/{item}.json", form: document } }`
	wantLines(t, lintSinks(t, one, "results", "results"),
		`3:28 E-value p/aeb (sink "results") and p/kpi (sink "results") would both write out/{item}.json`)
	wantLines(t, lintSinks(t, one+"\n"+`  more: { json: { path: "./out/{item}.json", form: document } }`, "more", "results"),
		`3:28 E-value p/aeb (sink "more") and p/kpi (sink "results") would both write out/{item}.json`)
	for _, fine := range []string{
		`  results: { json: { path: "out/{stage}/{item}.json", form: document } }`,
		`  results: { json: { path: "out/{item}.{type}.json", form: document } }`,
		`  results: { json: { path: "out/{item}.json", types: [aeb.kpi.v1], form: document } }`,
	} {
		wantLines(t, lintSinks(t, fine, "results", "results"))
	}
}

func TestSinksOfOneStageInTheSameTablesAreRefused(t *testing.T) {
	const sinks = `  kpis: { sqlite: { path: out/rows.db } }` + "\n" + `  all: { sqlite: { path: ./out/rows.db, tables: true } }`
	wantLines(t, lintSinks(t, sinks, "[]", "[kpis, all]"),
		`3:27 E-value sinks "all" and "kpis" would both store what p/kpi emits in the same tables`)
	wantLines(t, lintSinks(t, sinks, "all", "kpis"))
}

func TestFleetResultsThatWouldShareAFileAreRefused(t *testing.T) {
	const more = "      - { name: strict, uses: analysis/aeb-kpi, from: aeb, to: results }\n"
	with := func(sink string) string {
		text := strings.NewReplacer("SINKS", sink, "AEB", "[]", "KPI", "results").Replace(twoStages) + more
		return lint(t, text, map[string]string{"a.mf4": "",
			"signals.yaml": "bindings: {car: {kind: physical, ego_speed: {channel: V}, tracks: [{long_dist: X, rel_speed: R}]}}\nlogs: {a.mf4: {binding: car}}\n"})
	}
	wantLines(t, with(`  results: { json: { path: "out/{stage}/{item}.json", fleet: out/all.json, form: document } }`),
		`3:62 E-value p/kpi (sink "results") and p/strict (sink "results") would both write out/all.json`)
	wantLines(t, with(`  results: { json: { path: "out/{stage}/{item}.json", form: document } }`))
}
