package aeb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// drive writes a recording as the reader would, in batches of a second: 20 m/s towards a car at 10 m/s, with a gap of
// 70.17 m − 10 m/s·t, that is last seen at 5.967 s.
func drive() []string {
	var texts []string
	for s := range 8 {
		var ego, track, yaw, brake strings.Builder
		for i := range 20 {
			at := float64(s) + float64(i)*0.05
			fmt.Fprintf(&ego, "%.4f %g\n", at+0.001, 20.0)
			fmt.Fprintf(&track, "%.4f %g 0.1 -10 1 0\n", at+0.017, max(0.3, 70-10*at))
			fmt.Fprintf(&yaw, "%.4f %g\n", at, 0.001)
		}
		fmt.Fprintf(&brake, "%.4f 0\n", float64(s)+0.3)
		text := "[ego]\nt v\n" + ego.String()
		if s < 6 {
			text += "[track03]\nt x y r valid new\n" + track.String() + "[yaw]\nt rate\n" + yaw.String() + "[brake]\nt on\n" + brake.String() + "[other]\nt z\n" + fmt.Sprintf("%d.5 1\n", s)
		}
		texts = append(texts, text)
	}
	return texts
}

func TestStage(t *testing.T) {
	batches := pipelinetest.Batches(t, schemas.Signals, drive()...)
	it := pipeline.Item{Name: "drive", Params: map[string]json.RawMessage{ParamTracks: json.RawMessage("5")}}
	pipelinetest.TestProcessorOf(t, Type, Type.Default, it, batches, pipelinetest.SliceIndependent)
}

// opened is the stage with its defaults, opened for a recording.
func opened(t *testing.T) pipeline.Processor {
	t.Helper()
	parts, err := Type.Assemble(t.Context(), &Type.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parts.Processor(t.Context(), pipeline.Item{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A recording without the ego speed fails: a misspelt signal must not count in the fleet as a drive in which nothing happened.
func TestStageWithoutEgoSpeedFails(t *testing.T) {
	p := opened(t)
	for _, in := range pipelinetest.Batches(t, schemas.Signals, "[ego_sped]\nt ego_sped\n1 20\n2 20") {
		if err := p.Process(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(t.Context(), nil); !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "ego_speed") {
		t.Errorf("Finish = %v", err)
	}
}

func TestStageEmitsTicksActivationsAndCounts(t *testing.T) {
	got := pipelinetest.Run(t, Type, Type.Default, drive()...)
	var kinds []string
	var inputs Inputs
	for _, d := range got.Docs {
		switch d.Type {
		case schemas.AEBActivation:
			var a Activation
			if err := json.Unmarshal([]byte(d.JSON), &a); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, fmt.Sprintf("%s %g", a.Kind, a.T))
			if a.Kind == "full" && (*a.Slot != 3 || *a.Speed != 20 || *a.DeltaV != 10 || a.From != 2 || *a.TTC != *a.Gap/10 || !near(*a.Gap, 10.17)) {
				t.Errorf("full = %s", d.JSON)
			}
			if a.Kind == "end" && (a.Slot != nil || a.TTC != nil || *a.Speed != 20) {
				t.Errorf("end = %s", d.JSON)
			}
		case schemas.AEBInputs:
			if err := json.Unmarshal([]byte(d.JSON), &inputs); err != nil {
				t.Fatal(err)
			}
		}
	}
	// TTC = 7.017 s − t: at most 2.6 s from 4.45 s on, 1.6 s from 5.45 s on (a_req is 3 m/s² from 5.25 s on), 1.1 s from 5.95 s
	// on; three, three and two ticks in a row. The target is too old at 6.25 s, the tenth tick without is at 6.7 s.
	if want := []string{"warn 4.55", "partial 5.55", "full 6", "end 6.7"}; !slices.Equal(kinds, want) {
		t.Errorf("activations = %v, want %v", kinds, want)
	}
	if want := (Inputs{Ego: 160, Yaw: 120, Brake: 6, Tracks: map[int]int64{3: 120}}); !reflect.DeepEqual(inputs, want) {
		t.Errorf("inputs = %+v, want %+v", inputs, want)
	}
	var at []int64
	for _, table := range got.Tables {
		at = append(at, table.Times()...)
	}
	if len(at) != 159 || at[0] != TickStep || at[158] != 159*TickStep {
		t.Errorf("%d ticks from %d to %d", len(at), at[0], at[len(at)-1])
	}
}

func TestSlicesOfTicksJoin(t *testing.T) {
	got := pipelinetest.Run(t, Type, Type.Default, drive()...)
	to := time.Duration(0)
	for _, b := range got.Batches {
		if b.Type == schemas.AEBInputs {
			continue
		}
		if b.Type == schemas.AEBTicks {
			times := b.Tables[0].Times()
			if b.From < to || int64(b.From) != times[0] || int64(b.To) != times[len(times)-1]+TickStep {
				t.Errorf("slice %v to %v behind %v holds %d to %d", b.From, b.To, to, times[0], times[len(times)-1])
			}
			to = b.To
		}
		if b.From >= to || b.To != to {
			t.Errorf("%s at %v to %v is not in the slice of its ticks, to %v", b.Type, b.From, b.To, to)
		}
	}
}

func TestLongSilenceIsEmittedInParts(t *testing.T) {
	got := pipelinetest.Run(t, Type, Type.Default, "[ego]\nt v\n0 10", "[ego]\nt v\n1000 10")
	rows := 0
	for _, table := range got.Tables {
		rows += table.Rows()
		if table.Rows() > maxRows {
			t.Errorf("a table of %d rows", table.Rows())
		}
	}
	if rows != 20001 {
		t.Errorf("%d rows", rows)
	}
}

func TestStageRefusesWhatIsNoStream(t *testing.T) {
	for _, text := range []string{"[ego]\nt speed\n0 1", "[track00]\nt x y valid new\n0 1 1 1 1", "[yaw]\nt v\n0 1"} {
		parts, err := Type.Assemble(t.Context(), &Type.Default)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parts.Processor(t.Context(), pipeline.Item{})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Process(t.Context(), pipelinetest.Batches(t, schemas.Signals, text)[0], nil)
		if err == nil || !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "has no column") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSlotNumbers(t *testing.T) {
	for name, want := range map[string]int{"track00": 0, "track09": 9, "track15": 15, "track100": 100, "track": -1, "track1": -1, "track-1": -1, "tracks00": -1, "track007": -1} {
		n, ok := slotNumber(name)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%s = %d, %v", name, n, ok)
		}
	}
}

func TestConfigIsTheDefinition(t *testing.T) {
	if got := Type.Default.params(); got != Default() {
		t.Errorf("defaults differ:\n%+v\n%+v", got, Default())
	}
	if refused := Default().refused(); len(refused) > 0 {
		t.Error(refused)
	}
}

// Every key of AEB.md, section 2, reaches the parameter of that meaning.
func TestParamsOfABinding(t *testing.T) {
	raw := map[string]json.RawMessage{}
	object := `{"ego_timeout_ms":1,"track_timeout_ms":2,"yaw_timeout_ms":3,"confirm_n":4,"x_min":5,"x_max":6,"x_max_static":7,"half_width":8,
		"half_width_current":9,"half_width_static":10,"moving_speed":11,"oncoming_speed":12,"switch_margin":13,"kappa_min_speed":14,"tau_kappa":15,
		"tau_accel":16,"c_min":17,"a_rel_min":18,"a_clamp":19,"standoff":20,"x_eff_min":21,"lead_brake_min":22,"v_enter":23,"v_exit":24,
		"ettc":[null,25,null,27],"areq":[null,28,29,30],"areq_full":31,"n_arm":[null,32,33,34],"warn_lead_ms":35,"ettc_urgent":36,
		"release_ettc_add":37,"release_areq_factor":38,"release_ticks":39,"rss_rho":40,"rss_b_ego":41,"rss_b_obj":42,"rss_margin":43,
		"thw_min_speed":44,"driver_decel":45,"hard_decel":46}`
	want := Params{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, Levels{0, 25, 1.6, 27}, Levels{0, 28, 29, 30}, 31,
		Counts{0, 32, 33, 34}, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46}
	if err := json.Unmarshal([]byte(object), &raw); err != nil {
		t.Fatal(err)
	}
	if got, err := Default().Override(raw); err != nil || got != want {
		t.Errorf("flat: %+v, %v", got, err)
	}
	raw["other_stage"] = json.RawMessage(`{"x":1}`)
	nested := map[string]json.RawMessage{"aeb": json.RawMessage(strings.Replace(object, "{", `{"cf_ramp":20,"cf_decel":[0,0,4,9],"cf_delay_ticks":4,"cf_max_ticks":200,`, 1)), "v_exit": json.RawMessage("99")}
	if got, err := Default().Override(nested); err != nil || got != want {
		t.Errorf("nested: %+v, %v", got, err)
	}
	if got, err := Default().Override(nil); err != nil || got != Default() {
		t.Errorf("none: %+v, %v", got, err)
	}
}

func TestWrongParamsAreRefused(t *testing.T) {
	for _, object := range []string{
		`{"ego_timeot_ms":1}`, `{"ettc":[1,2]}`, `{"ettc":3}`, `{"x_max":"far"}`, `{"a_rel_min":0}`, `{"tau_accel":-1}`, `{"n_arm":[null,0,3,2]}`, `{"confirm_n":0}`,
		`{"v_exit":1e300}`, `{"rss_b_ego":0}`, `[]`, `{"ettc":[null,1e300,1,1]}`,
	} {
		it := pipeline.Item{Name: "drive", Params: map[string]json.RawMessage{"aeb": json.RawMessage(object)}}
		parts, err := Type.Assemble(t.Context(), &Type.Default)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parts.Processor(t.Context(), it); !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "item drive: params") {
			t.Errorf("%s: %v", object, err)
		}
	}
	cfg := Type.Default
	cfg.EgoTimeout, cfg.ArmFull, cfg.XEffMin = -1, 0, 0
	_, err := Type.Assemble(t.Context(), &cfg)
	want := "process/aeb: ego_timeout: must be 0 or more\nx_eff_min: must be above 0\narm_full: must be 1 or more for each stage"
	if err == nil || err.Error() != want {
		t.Errorf("a configuration that cannot be computed with: %v", err)
	}
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		from, stage int
		want        string
	}{{0, 1, "warn"}, {0, 3, "full"}, {1, 2, "partial"}, {2, 3, "full"}, {3, 1, "release"}, {3, 2, "release"}, {1, 0, "end"}} {
		if got := kindOf(tt.stage, tt.from); got != tt.want {
			t.Errorf("%d to %d: %s, want %s", tt.from, tt.stage, got, tt.want)
		}
	}
}

// A clock that jumps is told by where and how far: the engine knows only the batch.
func TestAGapThatTakesTooManyTicksIsNamed(t *testing.T) {
	p := opened(t)
	full := errors.New("the step is full")
	batches := pipelinetest.Batches(t, schemas.Signals, "[ego]\nt v\n1 20\n10 20", "[ego]\nt v\n3024010 20")
	out := pipeline.EmitterFunc(func(_ context.Context, b pipeline.Batch) error {
		if b.From > 20*time.Second {
			return full
		}
		return nil
	})
	if err := p.Process(t.Context(), batches[0], out); err != nil {
		t.Fatal(err)
	}
	err := p.Process(t.Context(), batches[1], out)
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "no sample of signal ego_speed for 35 days from 10.000 s on, in the middle of the recording [E-gap]") {
		t.Error(err)
	}
}
