package spec

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

func must(t testing.TB, text string, change ...func(*Options)) *Spec {
	t.Helper()
	s, ps := load(t, text, change...)
	if s == nil {
		t.Fatal(render(t, ps))
	}
	return s
}

func TestResolvedSpec(t *testing.T) {
	s := must(t, examples(t, "valid")["full"])
	aeb := s.Stage(Ref{"replay", "aeb"})
	if got, want := *aeb.Config.(*aebConfig), (aebConfig{TTCWarn: 3 * time.Second, TTCBrake: 1600 * time.Millisecond, Decel: 4.5, Tracks: 16}); got != want {
		t.Errorf("config = %+v, want %+v", got, want)
	}
	want := Settings{Parallelism: 1, Retry: Retry{4, 200 * time.Millisecond, 2 * time.Second}, Timeout: 90 * time.Second,
		OnError: Skip, MaxStepBytes: 32 << 20, Checkpoint: Checkpoint{16, 2 * time.Second}, DLQ: DLQ{3 * 24 * time.Hour}}
	if aeb.Settings != want {
		t.Errorf("settings = %+v, want %+v", aeb.Settings, want)
	}
	if got := s.Stage(Ref{"replay", "clean"}); got.Uses != "process/exec" || got.Type.Info().Name != "process/exec" {
		t.Errorf("exec became %q", got.Uses)
	}
	if got := s.Consumers(Ref{"replay", "aeb"}); len(got) != 2 || got[0].Name != "kpi" || got[1].Ref().String() != "report/verdict" {
		t.Errorf("consumers = %v", got)
	}
	if kpi := s.Stage(Ref{"replay", "kpi"}); kpi.Settings.DLQ != s.DLQ {
		t.Errorf("dlq of a stage that says nothing = %v", kpi.Settings.DLQ)
	}
	if s.DLQ.MaxAge != 14*24*time.Hour || s.Transport.Embedded.Sync.Interval != time.Second || s.Transport.Embedded.Limits.MaxBytes != 16e9 {
		t.Errorf("dlq %v, transport %+v", s.DLQ, s.Transport.Embedded)
	}
	read := s.Stage(Ref{"replay", "read"}).Config.(*mf4Config)
	if read.Speed != 10 || !reflect.DeepEqual(read.Signals["ego_speed"].Channel, pipeline.Strings{"Speed"}) || read.Paths[0] != "./drives/*.mf4" {
		t.Errorf("read = %+v", read)
	}
	if p := s.Pipeline("report"); !reflect.DeepEqual(p.From, []Ref{{"replay", "aeb"}}) || s.Pipeline("none") != nil || s.Stage(Ref{"x", "y"}) != nil {
		t.Errorf("from = %v", p.From)
	}
}

// A chained stage has the settings of the last of its group, and is part of the version.
func TestChained(t *testing.T) {
	text := examples(t, "valid")["chained"]
	s := must(t, text)
	read, aeb, kpi := s.Stage(Ref{"p", "read"}), s.Stage(Ref{"p", "aeb"}), s.Stage(Ref{"p", "kpi"})
	if !read.Chained || !aeb.Chained || kpi.Chained || read.Settings != kpi.Settings || read.Settings.Parallelism != 3 {
		t.Errorf("read %+v, aeb %+v, kpi %+v", read, aeb, kpi)
	}
	stored := must(t, strings.ReplaceAll(text, "durable: false", "durable: true"))
	if s.Pipeline("p").Identity() == stored.Pipeline("p").Identity() {
		t.Error("a pipeline with chained stages has the version of one without: their chains differ")
	}
}

// Pipelines and stages may be written in any order.
func TestOrder(t *testing.T) {
	s := must(t, `version: 1
pipelines:
  third: { from: second/x, stages: [{ name: x, uses: exec, with: { command: [a] } }] }
  second: { from: first/z, stages: [{ name: x, uses: exec, with: { command: [a] } }] }
  first:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a] } }
      - { name: z, uses: exec, from: y, with: { command: [a] } }
      - { name: y, uses: exec, from: [x, read], with: { command: [a] } }
      - { name: x, uses: exec, from: read, with: { command: [a] } }
`)
	var got []string
	for _, p := range s.Pipelines {
		for _, st := range p.Stages {
			got = append(got, st.Ref().String())
		}
	}
	if want := "first/read first/x first/y first/z second/x third/x"; strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
	if y := s.Stage(Ref{"first", "y"}); !reflect.DeepEqual(y.Inputs, []Ref{{"first", "x"}, {"first", "read"}}) {
		t.Errorf("inputs of a join = %v, want them in the order of from", y.Inputs)
	}
}

// Two loads must not share what the decoder fills: defaults of a stage type hold maps and slices.
func TestDefaultsAreNotShared(t *testing.T) {
	reg := testRegistry()
	with := func(o *Options) { o.Registry = reg }
	text := func(group string) string {
		return `version: 1
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a] } }
      - { name: kpi, uses: analysis/window, with: { window: { tumbling: 1s }` + group + ` } }
`
	}
	must(t, text(", group_by: [other]"), with)
	s := must(t, text(""), with)
	if got := s.Stage(Ref{"p", "kpi"}).Config.(*windowConfig).GroupBy; !reflect.DeepEqual(got, pipeline.Strings{"recording"}) {
		t.Errorf("group_by = %v after another load set it", got)
	}
}

func TestIdentity(t *testing.T) {
	text := `version: 1
transport: { memory: {} }
sinks:
  db: { postgres: { dsn: "${DSN}", table: t } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a.mf4], raster: 10ms, speed: max } }
      - { name: aeb, uses: process/aeb, with: { decel: 5 }, when: subject != "x", to: [db] }
  q: { from: p/aeb, stages: [{ name: v, uses: analysis/verdict, with: { baseline: "${file:secret.txt}" } }] }
`
	dsn := "one"
	env := func(o *Options) { o.Env = func(string) (string, bool) { return dsn, true } }
	identity := func(text string, change ...func(*Options)) string {
		s := must(t, text, append(change, env)...)
		return s.Pipeline("p").Identity() + s.Pipeline("q").Identity()
	}
	want := identity(text)
	if want != identity(text) || strings.Contains(want, "hunter2") || strings.Contains(want, "one") {
		t.Errorf("identity %s", want)
	}
	same := []string{"transport: { memory: {} }", "transport: { embedded: {} }", "decel: 5", "decel: 5.0", "raster: 10ms", "raster: 0.01s",
		"[a.mf4]", "[b.mf4]", "speed: max", "speed: 10x", "decel: 5 }", "decel: 5, ttc_warn: 2.6s }, parallelism: 8, timeout: 3s, retry: { attempts: 9 }, max_step_bytes: 1MiB, checkpoint: { inputs: 3 }, dlq: { max_age: 1d }",
		"version: 1", "version: 1\ndefaults: { dlq: { max_age: 3d } }"}
	for i := 0; i < len(same); i += 2 {
		if got := identity(strings.Replace(text, same[i], same[i+1], 1)); got != want {
			t.Errorf("%s changed the identity\n%s\n%s", same[i+1], got, want)
		}
	}
	differ := []string{"decel: 5", "decel: 5.5", "raster: 10ms", "raster: 20ms", `"x"`, `"y"`, "name: aeb,", "name: aeb, on_error: skip,",
		"to: [db]", "to: []", "table: t", "table: u", "[a.mf4],", "[a.mf4], batch: 2s,"}
	for i := 0; i < len(differ); i += 2 {
		if got := identity(strings.Replace(text, differ[i], differ[i+1], 1)); got == want {
			t.Errorf("%s did not change the identity %s", differ[i+1], got)
		}
	}
	dsn = "two"
	if identity(text) != want {
		t.Error("a secret is part of the identity")
	}
	newer := testRegistry()
	_ = newer
	upgraded := &pipeline.Registry{}
	for _, n := range newer.Names() {
		typ, _ := newer.Lookup(n)
		if n == "process/aeb" {
			typ = processor("process/aeb", "4", []string{schemas.Signals}, []string{schemas.AEBActivation}, aebConfig{TTCWarn: 2600 * time.Millisecond, TTCBrake: 1600 * time.Millisecond})
		}
		upgraded.Add(typ)
	}
	if identity(text, func(o *Options) { o.Registry = upgraded }) == want {
		t.Error("a stage type's version is not part of the identity")
	}
}

func TestSecretsAreMasked(t *testing.T) {
	s := must(t, examples(t, "valid")["kafka"])
	if s.Transport.Kafka.SASL.ScramSHA512.Password != "hunter2" {
		t.Errorf("password = %q", s.Transport.Kafka.SASL.ScramSHA512.Password)
	}
	data, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(data), string(s.YAML())} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "***") {
			t.Errorf("not masked: %s", text)
		}
	}
}

// What came from a file is secret wherever it ends up, in fields that are not marked too.
func TestValuesFromFilesAreMasked(t *testing.T) {
	s := must(t, `version: 1
transport: { nats: { url: ["${file:secret.txt}", "nats://b"] } }
sinks: { a: { parquet: { path: "x-${file:secret.txt}" } } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: ["${file:secret.txt}"] } }
      - { name: x, uses: exec, with: { command: [a], env: { KEY: "${file:secret.txt}" } }, to: a }
      - { name: y, uses: analysis/window, with: { window: { tumbling: 1s }, metrics: { m: { count: "${file:secret.txt}" } }, group_by: "${file:secret.txt}" } }
`)
	x := s.Stage(Ref{"p", "x"})
	if s.Transport.NATS.URL[0] != "hunter2" || x.Config.(*execConfig).Env["KEY"] != "hunter2" {
		t.Error("the value itself must stay")
	}
	if text := string(s.YAML()) + s.Pipeline("p").Identity(); strings.Contains(text, "hunter2") || strings.Count(text, "***") != 10 {
		t.Errorf("%d masks in %s", strings.Count(text, "***"), text)
	}
	_, ps := load(t, "version: 1\ntransport: { nats: { url: x, replicas: \"${file:secret.txt}\" } }\npipelines: { p: { stages: [{ name: r, uses: reader/mf4, with: { paths: [a], raster: \"${file:secret.txt}\" } }] } }\n")
	if text := render(t, ps); ps.Errors() != 2 || strings.Contains(text, "hunter2") {
		t.Errorf("problems: %s", text)
	}
}

func TestFilesOfSecretsLieBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("key", "s3cret\n")
	path := write("pipelines.yaml", "version: 1\ntransport: { nats: { url: x, token: \"${file:key}\" } }\npipelines: { p: { stages: [{ name: r, uses: reader/mf4, with: { paths: [a] } }] } }\n")
	s, ps := Load(t.Context(), []string{path}, Options{Registry: testRegistry()})
	if s == nil || s.Transport.NATS.Token != "s3cret" {
		t.Errorf("%v %s", s, render(t, ps))
	}
	if _, ps = Load(t.Context(), []string{dir}, Options{Registry: testRegistry()}); ps.Errors() != 1 || ps[0].Message != "not a regular file" {
		t.Errorf("a folder as a file: %v", ps)
	}
}

func TestCondition(t *testing.T) {
	c, err := CompileCondition(`type == "a.v1" and data.ttc < 1.6 and recording startsWith "drive"`)
	if err != nil || !c.NeedData {
		t.Fatal(err, c)
	}
	e := Event{Type: "a.v1", Recording: "drive_1", Data: map[string]any{"ttc": 1.5}}
	for _, tc := range []struct {
		change func(*Event)
		want   bool
		err    bool
	}{
		{func(*Event) {}, true, false},
		{func(e *Event) { e.Type = "b.v1" }, false, false},
		{func(e *Event) { e.Type, e.Data = "b.v1", nil }, false, false}, // not evaluated further
		{func(e *Event) { e.Data = map[string]any{"ttc": 1.7} }, false, false},
		{func(e *Event) { e.Data = map[string]any{} }, false, true},
		{func(e *Event) { e.Data = nil }, false, true},
	} {
		event := e
		tc.change(&event)
		if got, err := c.Match(event); got != tc.want || (err != nil) != tc.err {
			t.Errorf("%+v: %v, %v", event, got, err)
		}
	}
	if c, err := CompileCondition("data"); err == nil {
		if _, err := c.Match(Event{Data: 3}); err == nil {
			t.Error("3 was taken for true or false")
		}
	}
	if c, _ := CompileCondition(`subject != ""`); c == nil || c.NeedData {
		t.Error("subject is no data")
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{"10ms": 1e7, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "-1s": -time.Second, "-2d": -48 * time.Hour, "1.5s": 1500 * time.Millisecond} {
		got, err := ParseDuration(in)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
		if back, err := ParseDuration(FormatDuration(got)); err != nil || back != got {
			t.Errorf("%s: written as %q, read as %v, %v", in, FormatDuration(got), back, err)
		}
	}
	for _, in := range []string{"", "5", "1 s", "d", "1d1d", "999999d", "1.5d", "x", "+1s", "1d-1h", "100000d9999999h", "9999999999h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
	for _, d := range []time.Duration{math.MaxInt64, math.MinInt64 + 1, 1, 59 * time.Second, time.Hour, 25*time.Hour + 1} {
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Errorf("%d: written as %q, read as %v, %v", d, FormatDuration(d), back, err)
		}
	}
}
