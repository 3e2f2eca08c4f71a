package binding

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":     {"bindings:\n  a:\n    kind: can\n    ego_sped: {}\n", "signals.yaml:4:5: unknown field \"ego_sped\""},
		"no kind":         {"bindings: {a: {signals: {x: {channel: X}}}}", `bindings.a.kind: is "", must be can or physical`},
		"nothing bound":   {"bindings: {a: {kind: can}}", "bindings.a: binds no signal"},
		"channel in can":  {"bindings: {a: {kind: can, ego_speed: {channel: V}}}", "ego_speed: needs bus, id, dbc"},
		"frame in phys":   {"bindings: {a: {kind: physical, ego_speed: {id: 1, dbc: d, signal: V}}}", "ego_speed: needs channel"},
		"no dbc":          {"bindings: {a: {kind: can, ego_speed: {id: 1, signal: V}}}", "ego_speed.dbc: is missing"},
		"bad id":          {"bindings: {a: {kind: can, ego_speed: {id: 0x7fffffff, dbc: d, signal: V}}}", "no CAN identifier"},
		"half a track":    {"bindings: {a: {kind: physical, tracks: [{long_dist: X}]}}", "tracks[0]: needs long_dist and rel_speed"},
		"time column":     {"bindings: {a: {kind: physical, signals: {t: {channel: X}}}}", "name of the time column"},
		"unknown binding": {"bindings: {abc: {kind: physical, signals: {x: {channel: X}}}}\nlogs: {x.mf4: {binding: abd}}", `did you mean "abc"?`},
		"bad glob":        {"bindings: {abc: {kind: physical, signals: {x: {channel: X}}}}\nlogs: {'[': {binding: abc}}", "no valid glob"},
		"both forms":      {"bindings: {a: {kind: physical, ego_speed: {channel: A, channels: [B]}}}", "one of them is right"},
	} {
		_, err := Parse("signals.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestParseListsAllErrors(t *testing.T) {
	_, err := Parse("s.yaml", []byte("bindings: {a: {kind: car, ego_speed: {}}, b: {kind: physical}}"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("error = %v, want three lines", err)
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
	_, err := Parse("s.yaml", []byte(`bindings:
  car:
    kind: physical
    ego_sped: {channel: V}
    yaw_rate: {channel: Y, fcator: 2}
    signals: {a: {chanel: X}}
logs:
  a.mf4: {binding: cra}
`))
	for _, want := range []string{
		`s.yaml:4:5: unknown field "ego_sped" in bindings.car; did you mean "ego_speed"?`,
		`s.yaml:5:28: unknown field "fcator" in bindings.car.yaw_rate; did you mean "factor"?`,
		`s.yaml:6:19: unknown field "chanel" in bindings.car.signals.a; did you mean "channel"?`,
		`s.yaml:8:11: logs["a.mf4"].binding: names "cra", which is not among the bindings (car); did you mean "car"?`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %q in it", err, want)
		}
	}
	if err != nil && strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("a misspelled key is told more than once: %v", err)
	}
}

func TestParseSaysThatAFileIsEmpty(t *testing.T) {
	for _, text := range []string{"", "# to do\n", "\n---\n", "null"} {
		if _, err := Parse("s.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "s.yaml: the file is empty; it needs") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
