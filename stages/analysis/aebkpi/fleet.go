package aebkpi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// A FleetDocument is the fold over the results of a run: the document of type aeb.fleet.v1.
type FleetDocument struct {
	TTCEdges  [ttcBins]float64  `json:"ttc_edges"`
	AReqEdges [areqBins]float64 `json:"areq_edges"`
	Fleet     Groups            `json:"fleet"`
}

// Groups are the recordings of a fleet by the beginning of their file's name: real_ is real, sim_ and renc_ simulated; any
// other stands in All alone.
type Groups struct {
	All       Group `json:"all"`
	Real      Group `json:"real"`
	Simulated Group `json:"simulated"`
}

// A Group are the figures of several recordings; rates come from the sums.
type Group struct {
	Logs                int             `json:"logs"`
	Duration            float64         `json:"duration_s"`
	Distance            float64         `json:"distance_km"`
	Events              int             `json:"events"`
	EventsPartial       int             `json:"events_partial"`
	EventsFull          int             `json:"events_full"`
	WarningsPer1000km   *float64        `json:"warnings_per_1000km"`
	BrakingsPer1000km   *float64        `json:"brakings_per_1000km"`
	Verdicts            Verdicts        `json:"verdicts"`
	UnconfirmedPer1000k *float64        `json:"unconfirmed_per_1000km"`
	Missed              int64           `json:"missed"`
	HardBrakeWithTarget int64           `json:"hard_brake_with_target"`
	TTCHist             [ttcBins]int64  `json:"ttc_hist"`
	TTCNone             int64           `json:"ttc_none"`
	AReqHist            [areqBins]int64 `json:"areq_hist"`
	MinTTC              *float64        `json:"min_ttc"`
	MaxAReq             *float64        `json:"max_areq"`
	RSSViolation        float64         `json:"rss_violation_s"`
	DriverMinusBrake    *float64        `json:"driver_minus_brake_median_s"`
	CFAvoided           int             `json:"cf_avoided"`
	CFCollision         int             `json:"cf_collision"`
	CFUndetermined      int             `json:"cf_undetermined"`
	CFSpeedReduction    *float64        `json:"cf_speed_reduction_mean"`
	WorstLogs           []WorstLog      `json:"worst_logs"`
}

// A WorstLog is a recording with a time to collision, in the order of the smallest one.
type WorstLog struct {
	Log     string   `json:"log"`
	MinETTC float64  `json:"min_ettc"`
	MinTTC  *float64 `json:"min_ttc"`
	MaxAReq *float64 `json:"max_areq"`
	Events  int      `json:"events"`
}

// Fleet folds results, in the order given; AEB.md, section 7. It is a pure function, never an incremental sum, because the
// order of float additions is part of the result.
func Fleet(results []Result) FleetDocument {
	var all, recorded, simulated []Result
	for _, r := range results {
		all = append(all, r)
		switch name := path.Base(r.Log); {
		case strings.HasPrefix(name, "real_"):
			recorded = append(recorded, r)
		case strings.HasPrefix(name, "sim_"), strings.HasPrefix(name, "renc_"):
			simulated = append(simulated, r)
		}
	}
	return FleetDocument{ttcEdges, areqEdges, Groups{group(all), group(recorded), group(simulated)}}
}

func group(results []Result) Group {
	g := Group{WorstLogs: []WorstLog{}}
	var reactions, reductions []float64
	for _, r := range results {
		g.add(&r.KPIs)
		for _, ev := range r.Events {
			if ev.DriverMinus != nil {
				reactions = append(reactions, *ev.DriverMinus)
			}
			if ev.Counterfactual != nil {
				reductions = append(reductions, ev.Counterfactual.SpeedReduction)
			}
		}
		if r.KPIs.MinETTC != nil {
			g.WorstLogs = append(g.WorstLogs, WorstLog{r.Log, *r.KPIs.MinETTC, r.KPIs.MinTTC, r.KPIs.MaxAReq, r.KPIs.Events})
		}
	}
	g.WarningsPer1000km = per1000km(g.Events, g.Distance)
	g.BrakingsPer1000km = per1000km(g.EventsPartial, g.Distance)
	g.UnconfirmedPer1000k = per1000km(g.Verdicts.Unconfirmed, g.Distance)
	g.DriverMinusBrake, g.CFSpeedReduction = percentile(reactions, 0.5), mean(reductions)
	slices.SortFunc(g.WorstLogs, func(a, b WorstLog) int {
		return cmp.Or(cmp.Compare(a.MinETTC, b.MinETTC), strings.Compare(a.Log, b.Log))
	})
	return g
}

func (g *Group) add(k *KPIs) {
	g.Logs++
	g.Duration += k.Duration
	g.Distance += k.Distance
	g.Events += k.Events
	g.EventsPartial += k.EventsPartial
	g.EventsFull += k.EventsFull
	g.Verdicts.add(k.Verdicts)
	g.Missed += k.Missed
	g.HardBrakeWithTarget += k.HardBrakeWithTarget
	for i, n := range k.TTCHist {
		g.TTCHist[i] += n
	}
	for i, n := range k.AReqHist {
		g.AReqHist[i] += n
	}
	g.TTCNone += k.TTCNone
	g.RSSViolation += k.RSSViolation
	g.CFAvoided += k.CFAvoided
	g.CFCollision += k.CFCollision
	g.CFUndetermined += k.CFUndetermined
	if k.MinTTC != nil && (g.MinTTC == nil || *k.MinTTC < *g.MinTTC) {
		g.MinTTC = k.MinTTC
	}
	if k.MaxAReq != nil && (g.MaxAReq == nil || *k.MaxAReq > *g.MaxAReq) {
		g.MaxAReq = k.MaxAReq
	}
}

// paramDuplicateOf is the key of an item's params that names another recording of the same drive.
const paramDuplicateOf = "duplicate_of"

// fold is Fleet over the documents of a run. Recordings that show the drive of another one are left out.
func fold(results []pipeline.Result) (pipeline.Doc, error) {
	var of []Result
	for _, r := range results {
		if isDuplicate(r.Item) {
			continue
		}
		for _, doc := range r.Docs {
			var one Result
			if err := json.Unmarshal(doc, &one); err != nil {
				return nil, fmt.Errorf("result of %s: %w", r.Item.Name, err)
			}
			of = append(of, one)
		}
	}
	return json.Marshal(Fleet(of))
}

func isDuplicate(it pipeline.Item) bool {
	var other string
	raw, ok := it.Params[paramDuplicateOf]
	return ok && json.Unmarshal(raw, &other) == nil && other != ""
}
