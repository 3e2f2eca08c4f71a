package aeb

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// Params are the numbers of the function: AEB.md, section 2. The JSON keys are those that may stand in a binding. Fields
// are in the unit of their key (ms) or in SI units; Levels and Counts are indexed by stage, 0 unused.
type Params struct {
	EgoTimeout   float64 `json:"ego_timeout_ms"`
	TrackTimeout float64 `json:"track_timeout_ms"`
	YawTimeout   float64 `json:"yaw_timeout_ms"`

	ConfirmN         int     `json:"confirm_n"`
	XMin             float64 `json:"x_min"`
	XMax             float64 `json:"x_max"`
	XMaxStatic       float64 `json:"x_max_static"`
	HalfWidth        float64 `json:"half_width"`
	HalfWidthCurrent float64 `json:"half_width_current"`
	HalfWidthStatic  float64 `json:"half_width_static"`
	MovingSpeed      float64 `json:"moving_speed"`
	OncomingSpeed    float64 `json:"oncoming_speed"`
	SwitchMargin     float64 `json:"switch_margin"`

	KappaMinSpeed float64 `json:"kappa_min_speed"`
	TauKappa      float64 `json:"tau_kappa"`
	TauAccel      float64 `json:"tau_accel"`
	CMin          float64 `json:"c_min"`
	ARelMin       float64 `json:"a_rel_min"`
	AClamp        float64 `json:"a_clamp"`
	Standoff      float64 `json:"standoff"`
	XEffMin       float64 `json:"x_eff_min"`
	LeadBrakeMin  float64 `json:"lead_brake_min"`

	VEnter            float64 `json:"v_enter"`
	VExit             float64 `json:"v_exit"`
	ETTC              Levels  `json:"ettc"`
	AReq              Levels  `json:"areq"`
	AReqFull          float64 `json:"areq_full"`
	NArm              Counts  `json:"n_arm"`
	WarnLead          float64 `json:"warn_lead_ms"`
	ETTCUrgent        float64 `json:"ettc_urgent"`
	ReleaseETTCAdd    float64 `json:"release_ettc_add"`
	ReleaseAReqFactor float64 `json:"release_areq_factor"`
	ReleaseTicks      int     `json:"release_ticks"`

	RSSRho      float64 `json:"rss_rho"`
	RSSBEgo     float64 `json:"rss_b_ego"`
	RSSBObj     float64 `json:"rss_b_obj"`
	RSSMargin   float64 `json:"rss_margin"`
	THWMinSpeed float64 `json:"thw_min_speed"`
	DriverDecel float64 `json:"driver_decel"`
	HardDecel   float64 `json:"hard_decel"`
}

// Default returns the parameters of AEB.md, section 2.
func Default() Params {
	return Params{
		EgoTimeout: 200, TrackTimeout: 250, YawTimeout: 200,
		ConfirmN: 5, XMin: 0.5, XMax: 120, XMaxStatic: 60, HalfWidth: 1.21, HalfWidthCurrent: 1.61, HalfWidthStatic: 0.91,
		MovingSpeed: 2.01, OncomingSpeed: -1.01, SwitchMargin: 2.01,
		KappaMinSpeed: 5, TauKappa: 0.3, TauAccel: 0.5, CMin: 0.51, ARelMin: 0.1, AClamp: 10,
		Standoff: 1, XEffMin: 0.1, LeadBrakeMin: 0.5,
		VEnter: 2.78, VExit: 0.5, ETTC: Levels{0, 2.6, 1.6, 1.1}, AReq: Levels{0, 3, 3, 5}, AReqFull: 8, NArm: Counts{0, 3, 3, 2},
		WarnLead: 800, ETTCUrgent: 0.9, ReleaseETTCAdd: 0.5, ReleaseAReqFactor: 0.6, ReleaseTicks: 10,
		RSSRho: 0.5, RSSBEgo: 6, RSSBObj: 8, RSSMargin: 1, THWMinSpeed: 1, DriverDecel: -2.01, HardDecel: -3.51,
	}
}

// Levels is one number a stage: warning, partial and full braking at 1, 2 and 3.
type Levels [4]float64

// UnmarshalJSON reads [null, warn, partial, full]; a null keeps what is there.
func (l *Levels) UnmarshalJSON(data []byte) error { return perStage(data, l[:]) }

// Counts is one count a stage, as Levels.
type Counts [4]int

// UnmarshalJSON reads [null, warn, partial, full]; a null keeps what is there.
func (c *Counts) UnmarshalJSON(data []byte) error { return perStage(data, c[:]) }

func perStage[T any](data []byte, into []T) error {
	var values []*T
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	if len(values) != len(into) {
		return fmt.Errorf("want [null, warn, partial, full], got %d elements", len(values))
	}
	for i, v := range values {
		if v != nil {
			into[i] = *v
		}
	}
	return nil
}

// paramsKey is the key of an item's params that holds a whole object of parameters.
const paramsKey = "aeb"

// closedLoopKeys belong to the same list in a binding and are read by analysis/aeb-kpi.
var closedLoopKeys = map[string]bool{"cf_delay_ticks": true, "cf_decel": true, "cf_ramp": true, "cf_max_ticks": true}

// Override returns p with what an item's params say: the JSON keys of Params at the top, where keys of other stages may
// stand too, and in an object under "aeb", where nothing else may. The result is valid.
func (p Params) Override(params map[string]json.RawMessage) (Params, error) {
	p, errs := p.overridden(params)
	for i, err := range errs {
		errs[i] = fmt.Errorf("params.%w", err)
	}
	return p, errors.Join(errs...)
}

// overridden is Override with every error apart, a *pipeline.FieldError with its path in params.
func (p Params) overridden(params map[string]json.RawMessage) (Params, []error) {
	own, path := map[string]json.RawMessage{}, map[string]string{}
	for _, k := range paramKeys {
		if v, ok := params[k]; ok {
			own[k], path[k] = v, k
		}
	}
	if raw, ok := params[paramsKey]; ok {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return p, []error{pipeline.FieldErrorf(paramsKey, "want an object of parameters")}
		}
		for k, v := range object {
			if !closedLoopKeys[k] {
				own[k], path[k] = v, paramsKey+"."+k
			}
		}
	}
	var errs []error
	wrong := map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(own)) {
		if err := p.set(k, path[k], own[k]); err != nil {
			errs, wrong[k] = append(errs, err), true
		}
	}
	for _, r := range p.refused() {
		if !wrong[r.key] {
			errs = append(errs, pipeline.FieldErrorf(cmp.Or(path[r.key], r.key), "must be %s", r.want))
		}
	}
	return p, errs
}

// set gives one parameter its value.
func (p *Params) set(key, path string, value json.RawMessage) error {
	i := slices.Index(paramKeys, key)
	if i < 0 {
		known := append(slices.Sorted(maps.Keys(closedLoopKeys)), paramKeys...)
		return &pipeline.FieldError{Path: path, Code: "E-field", Err: errors.New("is no parameter of process/aeb"), Meant: pipeline.Nearest(key, known)}
	}
	field := reflect.ValueOf(p).Elem().Field(i)
	if err := json.Unmarshal(value, field.Addr().Interface()); err != nil {
		want := map[reflect.Kind]string{reflect.Float64: "a number", reflect.Int: "a whole number", reflect.Array: "[null, warn, partial, full], a number or null each"}
		return pipeline.FieldErrorf(path, "want %s; have %s", want[field.Kind()], value)
	}
	return nil
}

var paramKeys = func() []string {
	t := reflect.TypeFor[Params]()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return keys
}()

// refusal says what the number of a key must be.
type refusal struct{ key, want string }

func (p Params) refused() (all []refusal) {
	refuse := func(bad bool, key, want string) {
		if bad {
			all = append(all, refusal{key, want})
		}
	}
	v := reflect.ValueOf(p)
	for i, key := range paramKeys {
		for _, f := range floats(v.Field(i)) {
			refuse(math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) > 1e12, key, "a finite number")
		}
	}
	atLeast0 := map[string]float64{"ego_timeout_ms": p.EgoTimeout, "track_timeout_ms": p.TrackTimeout, "yaw_timeout_ms": p.YawTimeout, "tau_kappa": p.TauKappa,
		"tau_accel": p.TauAccel, "kappa_min_speed": p.KappaMinSpeed, "c_min": p.CMin, "a_clamp": p.AClamp, "thw_min_speed": p.THWMinSpeed}
	above0 := map[string]float64{"a_rel_min": p.ARelMin, "x_eff_min": p.XEffMin, "lead_brake_min": p.LeadBrakeMin, "rss_b_ego": p.RSSBEgo, "rss_b_obj": p.RSSBObj}
	for _, key := range paramKeys { // in their order
		refuse(atLeast0[key] < 0, key, "0 or more")
		limit, ok := above0[key]
		refuse(ok && limit <= 0, key, "above 0")
	}
	refuse(p.ConfirmN < 1, "confirm_n", "1 or more")
	refuse(slices.Min(p.NArm[1:]) < 1, "n_arm", "1 or more for each stage")
	return all
}

// floats lists the numbers of one field.
func floats(v reflect.Value) []float64 {
	switch v.Kind() {
	case reflect.Float64:
		return []float64{v.Float()}
	case reflect.Array:
		var all []float64
		for i := range v.Len() {
			all = append(all, floats(v.Index(i))...)
		}
		return all
	}
	return nil
}

// nanoseconds converts a timeout in ms; bounded by Validate.
func nanoseconds(ms float64) int64 { return int64(math.Round(ms * 1e6)) }
