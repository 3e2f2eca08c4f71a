package binding

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

const whole = `{
	"bindings": {
		"can": {
			"kind": "can",
			"ego_speed": {"bus": 1, "id": 170, "dbc": "a.dbc", "signals": ["A", "B"], "factor": 0.5, "valid_signal": "V"},
			"tracks": [{"bus": 2, "id": 528, "dbc": "b.dbc", "lat_factor": -1.0}],
			"params": {"ego_timeout_ms": 1500, "ettc": [null, 2.5, 1.5, 1.0]}
		},
		"phys": {
			"kind": "physical",
			"yaw_rate": {"channel": "Yaw", "offset": 0.43},
			"signals": {"accel": {"channel": ["Ax", "AccX"], "unit": "m/s^2", "optional": true}},
			"tracks": [{"long_dist": "D", "rel_speed": "R"}]
		}
	},
	"logs": {
		"z.mf4": {"binding": "can", "duplicate_of": "a.mf4", "params": {"x_max": 90}},
		"a*.mf4": {"binding": "phys"},
		"2026/**/a*.mf4": {"binding": "can"}
	}
}`

func TestParseTakesJSONWithTabs(t *testing.T) {
	s, err := Parse("signals.json", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	ego := s.Bindings["can"].EgoSpeed
	if ego.Scale() != 0.5 || !cmp.Equal(ego.Parts(), []string{"A", "B"}) || !ego.IsBus() || ego.ValidSignal != "V" {
		t.Errorf("ego_speed = %+v", ego)
	}
	if tr := s.Bindings["can"].Tracks[0]; tr.LatScale() != -1 || tr.ID != 528 {
		t.Errorf("track = %+v", tr)
	}
	if r := s.Bindings["phys"].Signals["accel"]; !cmp.Equal(r.Channel, Names{"Ax", "AccX"}) || !r.Optional || r.Scale() != 1 {
		t.Errorf("accel = %+v", r)
	}
	if r := s.Bindings["phys"].YawRate; !cmp.Equal(r.Channel, Names{"Yaw"}) || r.Offset != 0.43 {
		t.Errorf("yaw_rate = %+v", r)
	}
}

func TestMatchPrefersNamesAndThenTheOrderOfTheFile(t *testing.T) {
	s, err := Parse("signals.json", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"z.mf4": "z.mf4", "deep/er/z.mf4": "z.mf4", "abc.mf4": "a*.mf4", "2026/10/abc.mf4": "a*.mf4", "b.mf4": "",
	} {
		got := ""
		if l := s.Match(name); l != nil {
			got = l.Pattern
		}
		if got != want {
			t.Errorf("Match(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestAllParamsMergesByKey(t *testing.T) {
	s, err := Parse("signals.json", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.AllParams(s.Match("z.mf4"))
	if want := `{"ego_timeout_ms":1500,"ettc":[null,2.5,1.5,1],"x_max":90}`; err != nil || string(got) != want {
		t.Errorf("params = %s, %v, want %s", got, err, want)
	}
	if got, _ := s.AllParams(s.Match("a.mf4")); got != nil {
		t.Errorf("params of a binding without = %s", got)
	}
}

// faults are what is wrong with a text, "line:column message (meant)".
func faults(t *testing.T, text string) (all []string) {
	t.Helper()
	_, err := Parse("s.yaml", []byte(text))
	var invalid *spec.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("%s\nerror %v, want a *spec.InvalidError", text, err)
	}
	for _, p := range invalid.Problems {
		line := fmt.Sprintf("%d:%d %s", p.Line, p.Column, strings.ReplaceAll(p.Message, " of the bindings file", ""))
		if p.Meant != "" {
			line += " (meant " + p.Meant + ")"
		}
		all = append(all, line)
	}
	return all
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":     {"bindings:\n  a:\n    kind: can\n    ego_sped: {}\n", `4:5 unknown field "ego_sped" in "bindings.a" (meant ego_speed)`},
		"key twice":       {"bindings:\n  a:\n    kind: physical\n    kind: can\n    ego_speed: {channel: V}\n", `4:5 key "kind" stands here a second time, first in line 3`},
		"no kind":         {"bindings: {a: {signals: {x: {channel: X}}}}", `1:15 missing field "kind" in "bindings.a"`},
		"nothing bound":   {"bindings: {a: {kind: can}}", `1:12 "bindings.a": binds no signal`},
		"channel in can":  {"bindings: {a: {kind: can, ego_speed: {channel: V}}}", `1:27 "bindings.a.ego_speed": needs bus, id, dbc and signal (or signals), since the binding's kind is can`},
		"frame in phys":   {"bindings: {a: {kind: physical, ego_speed: {id: 1, dbc: d, signal: V}}}", `1:32 "bindings.a.ego_speed": needs channel or channels, since the binding's kind is physical`},
		"no dbc":          {"bindings: {a: {kind: can, ego_speed: {id: 1, signal: V}}}", `1:27 "bindings.a.ego_speed.dbc": is missing`},
		"bad id":          {"bindings: {a: {kind: can, ego_speed: {id: 0x7fffffff, dbc: d, signal: V}}}", `1:43 "bindings.a.ego_speed.id": is 0x7fffffff, which is no CAN identifier`},
		"text as id":      {"bindings: {a: {kind: can, ego_speed: {id: one, dbc: d, signal: V}}}", `1:43 "bindings.a.ego_speed.id": want a whole number; have "one"`},
		"half a track":    {"bindings: {a: {kind: physical, tracks: [{long_dist: X}]}}", `1:41 "bindings.a.tracks.0": needs long_dist and rel_speed`},
		"time column":     {"bindings: {a: {kind: physical, signals: {t: {channel: X}}}}", `1:42 "bindings.a.signals.t": is the name of the time column; take another`},
		"unknown binding": {"bindings: {abc: {kind: physical, signals: {x: {channel: X}}}}\nlogs: {x.mf4: {binding: abd}}", `2:25 "logs.x.mf4.binding": names "abd", which is not among the bindings (abc) (meant abc)`},
		"no binding":      {"bindings: {abc: {kind: physical, signals: {x: {channel: X}}}}\nlogs: {x.mf4: {}}", `2:15 missing field "binding" in "logs.x.mf4"`},
		"bad glob":        {"bindings: {abc: {kind: physical, signals: {x: {channel: X}}}}\nlogs: {'[': {binding: abc}}", `2:8 "logs.[": is no valid glob`},
		"no factor":       {"bindings: {a: {kind: physical, ego_speed: {channel: A, factor: .nan}}}", `1:64 "bindings.a.ego_speed.factor": is no finite number`},
		"factor 0":        {"bindings: {a: {kind: can, ego_speed: {id: 1, dbc: d, signal: V, factor: 0}}}", `1:73 "bindings.a.ego_speed.factor": is 0, which makes every value 0`},
		"endless offset":  {"bindings: {a: {kind: physical, signals: {x: {channel: A, offset: -.inf}}}}", `1:66 "bindings.a.signals.x.offset": is no finite number`},
		"lat_factor":      {"bindings: {a: {kind: can, tracks: [{id: 1, dbc: d, lat_factor: .nan}]}}", `1:64 "bindings.a.tracks.0.lat_factor": is no finite number`},
		"no param":        {"bindings: {a: {kind: physical, ego_speed: {channel: A}, params: {ettc: [null, .nan, 1, 1]}}}", `1:79 "bindings.a.params.ettc.1": is no finite number`},
		"no param of log": {"bindings: {a: {kind: physical, ego_speed: {channel: A}}}\nlogs: {x.mf4: {binding: a, params: {v_enter: .inf}}}", `2:46 "logs.x.mf4.params.v_enter": is no finite number`},
		"both forms":      {"bindings: {a: {kind: physical, ego_speed: {channel: A, channels: [B]}}}", `1:32 "bindings.a.ego_speed": has channel (the first that exists) and channels (the mean of all); one of them is right`},
		"no bindings":     {"logs: {}", `1:1 missing field "bindings" in the bindings file`},
		"no YAML":         {"bindings: {a: {", "1:15 not YAML: could not find flow mapping end token '}'"},
	} {
		if got := faults(t, c.text); !cmp.Equal(got, []string{c.want}) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestParseListsAllErrors(t *testing.T) {
	got := faults(t, "bindings: {a: {kind: car, ego_speed: {}}, b: {kind: physical}}")
	if want := []string{`1:22 "bindings.a.kind": want can or physical; have "car" (meant can)`, `1:27 "bindings.a.ego_speed": names no channel`, `1:43 "bindings.b": binds no signal`}; !cmp.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"VehSpd_kph", "VehicleSpeed", "YawRate", "WheelSpeed_FL", "t"}
	for name, want := range map[string][]string{
		"VehSpd": {"VehSpd_kph", "VehicleSpeed"}, "yaw_rate": {"YawRate"}, "WheelSpeed_FR": {"WheelSpeed_FL"}, "Brake": nil,
	} {
		if got := Closest(name, names, 3); !cmp.Equal(got, want) {
			t.Errorf("Closest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseListsMisspellingsAndWhatElseIsWrong(t *testing.T) {
	got := faults(t, `bindings:
  car:
    kind: physical
    ego_sped: {channel: V}
    yaw_rate: {channel: Y, fcator: 2}
    driver_brake: {channel: B, factor: two}
    driver_brake: {channel: C}
    signals: {a: {chanel: X}}
logs:
  a.mf4: {binding: cra}
`)
	want := []string{
		`4:5 unknown field "ego_sped" in "bindings.car" (meant ego_speed)`,
		`5:28 unknown field "fcator" in "bindings.car.yaw_rate" (meant factor)`,
		`6:40 "bindings.car.driver_brake.factor": want a number; have "two"`,
		`7:5 key "driver_brake" stands here a second time, first in line 6`,
		`8:19 unknown field "chanel" in "bindings.car.signals.a" (meant channel)`,
		`10:20 "logs.a.mf4.binding": names "cra", which is not among the bindings (car) (meant car)`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseSaysThatAFileIsEmpty(t *testing.T) {
	for _, text := range []string{"", "# to do\n", "\n---\n", "null"} {
		if _, err := Parse("s.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "s.yaml: the file is empty; it needs") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
