package aebkpi

import (
	"encoding/json"
	"math"
)

// A Result is what one recording gave: the document of type aeb.kpi.v1.
type Result struct {
	Log          string       `json:"log"` // name of the item
	InputSamples InputSamples `json:"input_samples"`
	KPIs         KPIs         `json:"kpis"`
	Events       []Event      `json:"events"`
	Ticks        []Sample     `json:"ticks_every_100th"` // ok ticks number 0, 100, 200, … of all ticks
}

// InputSamples are the samples that each stream of the function had.
type InputSamples struct {
	Ego    int64         `json:"ego"`
	Yaw    int64         `json:"yaw"`
	Brake  int64         `json:"brake"`
	Tracks map[int]int64 `json:"tracks"` // by slot
}

// KPIs are the figures of one recording; AEB.md, section 7. Pointers are null where the figure does not exist.
type KPIs struct {
	Log         string   `json:"log"`
	Ticks       int64    `json:"ticks"`
	OKTicks     int64    `json:"ok_ticks"`
	TargetTicks int64    `json:"target_ticks"`
	Duration    float64  `json:"duration_s"`
	Distance    float64  `json:"distance_km"`
	MeanSpeed   *float64 `json:"mean_speed"`
	MaxSpeed    *float64 `json:"max_speed"`
	MinAccel    *float64 `json:"min_accel"`

	Events              int      `json:"events"`
	EventsWarn          int      `json:"events_warn"`
	EventsPartial       int      `json:"events_partial"`
	EventsFull          int      `json:"events_full"`
	WarningsPer1000km   *float64 `json:"warnings_per_1000km"`
	BrakingsPer1000km   *float64 `json:"brakings_per_1000km"`
	Verdicts            Verdicts `json:"verdicts"`
	UnconfirmedPer1000k *float64 `json:"unconfirmed_per_1000km"`

	MinTTC   *float64 `json:"min_ttc"`
	MinTTCT  *int64   `json:"min_ttc_t_ns"`
	MinETTC  *float64 `json:"min_ettc"`
	MinETTCT *int64   `json:"min_ettc_t_ns"`
	MaxAReq  *float64 `json:"max_areq"`
	MaxAReqT *int64   `json:"max_areq_t_ns"`

	THW05    *float64        `json:"thw_p05"`
	THW50    *float64        `json:"thw_p50"`
	TTC05    *float64        `json:"ttc_p05"`
	TTCHist  [ttcBins]int64  `json:"ttc_hist"`
	TTCNone  int64           `json:"ttc_none"`
	AReqHist [areqBins]int64 `json:"areq_hist"`

	RSSViolation      float64  `json:"rss_violation_s"`
	RSSViolationShare *float64 `json:"rss_violation_share"`

	DriverBrakeEpisodes int64    `json:"driver_brake_episodes"`
	HardBrakeEpisodes   int64    `json:"hard_brake_episodes"`
	HardBrakeWithTarget int64    `json:"hard_brake_with_target"`
	Missed              int64    `json:"missed"`
	DriverMinusBrake    *float64 `json:"driver_minus_brake_median_s"`

	CFAvoided        int      `json:"cf_avoided"`
	CFCollision      int      `json:"cf_collision"`
	CFUndetermined   int      `json:"cf_undetermined"`
	CFSpeedReduction *float64 `json:"cf_speed_reduction_mean"`
}

const (
	ttcBins  = 10
	areqBins = 9
)

// Lower edges of the bins of ttc_hist [s] and areq_hist [m/s²]; a value is in the bin of the highest edge not above it.
var (
	ttcEdges  = [ttcBins]float64{0, 0.5, 1, 1.5, 2, 2.6, 4, 6, 10, 20}
	areqEdges = [areqBins]float64{0, 0.5, 1, 2, 3, 4, 5, 6, 8}
)

// Verdicts are numbers of events by verdict.
type Verdicts struct {
	WarningOnly   int `json:"warning_only"`
	TrueCollision int `json:"true_collision"`
	Confirmed     int `json:"confirmed"`
	Unconfirmed   int `json:"unconfirmed"`
}

func (v *Verdicts) count(verdict string) {
	switch verdict {
	case VerdictWarningOnly:
		v.WarningOnly++
	case VerdictTrueCollision:
		v.TrueCollision++
	case VerdictConfirmed:
		v.Confirmed++
	case VerdictUnconfirmed:
		v.Unconfirmed++
	}
}

func (v *Verdicts) add(o Verdicts) {
	v.WarningOnly += o.WarningOnly
	v.TrueCollision += o.TrueCollision
	v.Confirmed += o.Confirmed
	v.Unconfirmed += o.Unconfirmed
}

// The verdicts of an event; AEB.md, section 5.
const (
	VerdictWarningOnly   = "warning_only"
	VerdictTrueCollision = "true_collision" // without the function the cars touch
	VerdictConfirmed     = "confirmed"      // the driver braked too
	VerdictUnconfirmed   = "unconfirmed"    // a candidate for a false reaction
)

// An Event is one intervention; times are ns since the recording's start.
type Event struct {
	TStart         int64           `json:"t_start_ns"`
	TEnd           int64           `json:"t_end_ns"`
	OpenEnd        bool            `json:"open_end"`
	MaxStage       int             `json:"max_stage"`
	Slot           *int            `json:"slot"`
	TPartial       *int64          `json:"t_partial_ns"`
	TFull          *int64          `json:"t_full_ns"`
	VStart         float64         `json:"v_start"`
	XStart         *float64        `json:"x_start"`
	ClosingStart   *float64        `json:"closing_start"`
	MinTTC         *float64        `json:"min_ttc"`
	MinETTC        *float64        `json:"min_ettc"`
	MaxAReq        *float64        `json:"max_areq"`
	MinGap         *float64        `json:"min_gap"`
	TDriver        *int64          `json:"t_driver_ns"`
	Verdict        string          `json:"verdict"`
	DriverMinus    *float64        `json:"driver_minus_brake_s"` // positive: the function was earlier
	Counterfactual *Counterfactual `json:"counterfactual"`
}

// A Counterfactual is what braking would have done; AEB.md, section 6.
type Counterfactual struct {
	Outcome        string   `json:"outcome"`
	ImpactSpeed    *float64 `json:"impact_speed"`    // m/s; null when undetermined
	SpeedReduction float64  `json:"speed_reduction"` // m/s
	MinGap         float64  `json:"min_gap"`         // m
	Extrapolated   bool     `json:"extrapolated"`    // the target was lost on the way
}

// The outcomes of a counterfactual.
const (
	OutcomeAvoided      = "avoided"
	OutcomeCollision    = "collision"
	OutcomeUndetermined = "undetermined"
)

// A Sample is one of the ticks that a result keeps.
type Sample struct {
	T     int64    `json:"T"`
	V     float64  `json:"v"`
	AE    float64  `json:"a_e"`
	Slot  int      `json:"slot"`
	X     float64  `json:"x"`
	C     float64  `json:"c"`
	AO    float64  `json:"a_o"`
	TTC   *float64 `json:"ttc"`
	ETTC  *float64 `json:"ettc"`
	AReq  float64  `json:"areq"`
	RSS   float64  `json:"rss"`
	Stage int      `json:"stage"`
}

// MarshalJSON leaves out what there is not without a target.
func (s Sample) MarshalJSON() ([]byte, error) {
	if s.Slot != noSlot {
		type full Sample
		return json.Marshal(full(s))
	}
	return json.Marshal(struct {
		T     int64   `json:"T"`
		V     float64 `json:"v"`
		AE    float64 `json:"a_e"`
		Slot  *int    `json:"slot"`
		Stage int     `json:"stage"`
	}{s.T, s.V, s.AE, nil, s.Stage})
}

// number is nil where JSON has no such number.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
