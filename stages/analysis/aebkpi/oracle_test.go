package aebkpi

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	ms   = 1_000_000 // ns
	step = 50 * ms
)

var standard = ClosedLoop{DelayTicks: 4, Decel: [4]float64{0, 0, 4, 9}, Ramp: 20, MaxTicks: 200}

// oracle computes a result with all ticks at hand, as AEB.md reads; it shares nothing with Evaluation but the types.
func oracle(ticks []Tick) Result {
	r := Result{Log: "x", Events: []Event{}, Ticks: []Sample{}}
	for i := 0; i < len(ticks); i++ {
		if ticks[i].Stage == 0 {
			continue
		}
		first := i
		for i < len(ticks) && ticks[i].Stage > 0 {
			i++
		}
		r.Events = append(r.Events, oracleEvent(ticks, first, i))
	}
	for i := range ticks {
		if t := ticks[i]; i%100 == 0 && t.OK {
			r.Ticks = append(r.Ticks, Sample{t.T, t.V, t.AE, t.Slot, t.X, t.C, t.AO, number(t.TTC), number(t.ETTC), t.AReq, t.RSS, t.Stage})
		}
	}
	r.KPIs = oracleKPIs(ticks, r.Events)
	return r
}

// oracleEvent is the event of the ticks from first up to behind.
func oracleEvent(ticks []Tick, first, behind int) Event {
	e := Event{TStart: ticks[first].T, Verdict: VerdictWarningOnly}
	if behind < len(ticks) {
		e.TEnd = ticks[behind].T
	} else {
		e.TEnd, e.OpenEnd = ticks[len(ticks)-1].T, true
	}
	f := ticks[first]
	e.VStart, e.XStart, e.ClosingStart = f.V, number(f.X), number(f.C)
	if f.Slot >= 0 {
		e.Slot = &f.Slot
	}
	ttc, ettc, areq, gap, partial := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(1), -1
	for i := first; i < behind; i++ {
		t := ticks[i]
		e.MaxStage = max(e.MaxStage, t.Stage)
		if t.Stage >= 2 && partial < 0 {
			partial, e.TPartial = i, &t.T
		}
		if t.Stage == 3 && e.TFull == nil {
			e.TFull = &t.T
		}
		if t.Slot >= 0 {
			ttc, ettc, areq, gap = min(ttc, t.TTC), min(ettc, t.ETTC), max(areq, t.AReq), min(gap, t.X)
		}
	}
	e.MinTTC, e.MinETTC, e.MaxAReq, e.MinGap = number(ttc), number(ettc), number(areq), number(gap)
	within := func(from, to int64, want func(t *Tick) bool) *int64 {
		for i := range ticks {
			if t := &ticks[i]; t.OK && t.T >= from && t.T <= to && want(t) {
				return &t.T
			}
		}
		return nil
	}
	drv := func(t *Tick) bool { return t.Driver }
	e.TDriver = within(e.TStart-2000*ms, e.TEnd+2000*ms, drv)
	if partial < 0 {
		return e
	}
	b := ticks[partial]
	if e.TDriver != nil {
		d := float64(*e.TDriver-b.T) / 1e9
		e.DriverMinus = &d
	}
	switch {
	case within(b.T, e.TEnd+1000*ms, func(t *Tick) bool { return t.Slot == b.Slot && t.X <= 1.01 }) != nil:
		e.Verdict = VerdictTrueCollision
	case within(b.T-1000*ms, b.T+2000*ms, drv) != nil:
		e.Verdict = VerdictConfirmed
	default:
		e.Verdict = VerdictUnconfirmed
	}
	e.Counterfactual = oracleCounterfactual(ticks, partial)
	return e
}

func oracleCounterfactual(ticks []Tick, at int) *Counterfactual {
	b := ticks[at]
	v, gap, d, vo := b.V, b.X, 0.0, b.VO
	c := &Counterfactual{Outcome: OutcomeUndetermined, MinGap: gap}
	s := []int{b.Stage}
	for n := 1; n <= 199; n++ {
		if at+n >= len(ticks) || !ticks[at+n].OK || ticks[at+n].Slot != b.Slot {
			c.Extrapolated = true
		}
		recorded, largest := math.Inf(1), s[n-1]
		if !c.Extrapolated {
			vo, recorded, largest = ticks[at+n].VO, ticks[at+n].V, max(largest, ticks[at+n].Stage)
		}
		s = append(s, largest)
		demand := 0.0
		if n >= 4 {
			demand = map[int]float64{2: 4, 3: 9}[s[n-4]]
		}
		d += math.Min(math.Max(demand-d, -1), 1)
		v = math.Min(math.Max(0, v-0.05*d), recorded)
		gap += (vo - v) * 0.05
		c.MinGap = math.Min(c.MinGap, gap)
		c.SpeedReduction = b.V - v
		impact := 0.0
		if gap <= 0 {
			c.Outcome, impact = OutcomeCollision, math.Max(0, v-vo)
			c.ImpactSpeed = &impact
			return c
		}
		if v <= math.Max(vo, 0) {
			c.Outcome, c.ImpactSpeed = OutcomeAvoided, &impact
			return c
		}
	}
	return c
}

func oracleKPIs(ticks []Tick, events []Event) KPIs {
	k := KPIs{Log: "x", Ticks: int64(len(ticks)), Events: len(events), EventsWarn: len(events)}
	var sum, rss float64
	var thw, ttc, reactions, reductions []float64
	least := func(p **float64, at **int64, v float64, t int64, sign float64) {
		if !math.IsInf(v, 0) && (*p == nil || sign*v < sign***p) {
			*p, *at = &v, &t
		}
	}
	for _, t := range ticks {
		if !t.OK {
			continue
		}
		k.OKTicks++
		sum += t.V
		var ignored *int64
		least(&k.MaxSpeed, &ignored, t.V, 0, -1)
		least(&k.MinAccel, &ignored, t.AE, 0, 1)
		if t.Slot < 0 {
			continue
		}
		k.TargetTicks++
		least(&k.MinTTC, &k.MinTTCT, t.TTC, t.T, 1)
		least(&k.MinETTC, &k.MinETTCT, t.ETTC, t.T, 1)
		least(&k.MaxAReq, &k.MaxAReqT, t.AReq, t.T, -1)
		if !math.IsInf(t.THW, 1) {
			thw = append(thw, t.THW)
		}
		for i := len(areqEdges) - 1; i >= 0; i-- {
			if t.AReq >= areqEdges[i] {
				k.AReqHist[i]++
				break
			}
		}
		if t.X < t.RSS {
			rss++
		}
		if math.IsInf(t.TTC, 1) {
			k.TTCNone++
			continue
		}
		ttc = append(ttc, t.TTC)
		for i := len(ttcEdges) - 1; i >= 0; i-- {
			if t.TTC >= ttcEdges[i] {
				k.TTCHist[i]++
				break
			}
		}
	}
	k.Duration, k.Distance, k.RSSViolation = float64(k.OKTicks)*0.05, sum*0.05/1000, rss*0.05
	if k.OKTicks > 0 {
		m := sum / float64(k.OKTicks)
		k.MeanSpeed = &m
	}
	if k.TargetTicks > 0 {
		share := rss / float64(k.TargetTicks)
		k.RSSViolationShare = &share
	}
	quantile := func(v []float64, q float64) *float64 {
		if len(v) == 0 {
			return nil
		}
		v = slices.Sorted(slices.Values(v))
		rank := q * float64(len(v)-1)
		low, high := v[int(math.Floor(rank))], v[int(math.Ceil(rank))]
		x := low + (high-low)*(rank-math.Floor(rank))
		return &x
	}
	k.THW05, k.THW50, k.TTC05 = quantile(thw, 0.05), quantile(thw, 0.5), quantile(ttc, 0.05)
	runs := func(in func(t *Tick) bool) (all [][]Tick) {
		for i := 0; i < len(ticks); i++ {
			first := i
			for i < len(ticks) && ticks[i].OK && in(&ticks[i]) {
				i++
			}
			if i > first {
				all = append(all, ticks[first:i])
			}
		}
		return all
	}
	k.DriverBrakeEpisodes = int64(len(runs(func(t *Tick) bool { return t.Driver })))
	for _, run := range runs(func(t *Tick) bool { return t.Hard }) {
		k.HardBrakeEpisodes++
		if !slices.ContainsFunc(run, func(t Tick) bool { return t.Closing }) {
			continue
		}
		k.HardBrakeWithTarget++
		from, to := run[0].T-2000*ms, run[len(run)-1].T+2000*ms
		if !slices.ContainsFunc(events, func(e Event) bool { return e.TStart <= to && e.TEnd >= from }) {
			k.Missed++
		}
	}
	for _, e := range events {
		if e.MaxStage >= 2 {
			k.EventsPartial++
		}
		if e.MaxStage >= 3 {
			k.EventsFull++
		}
		k.Verdicts.count(e.Verdict)
		if e.DriverMinus != nil {
			reactions = append(reactions, *e.DriverMinus)
		}
		if c := e.Counterfactual; c != nil {
			reductions = append(reductions, c.SpeedReduction)
			k.CFAvoided += map[string]int{OutcomeAvoided: 1}[c.Outcome]
			k.CFCollision += map[string]int{OutcomeCollision: 1}[c.Outcome]
			k.CFUndetermined += map[string]int{OutcomeUndetermined: 1}[c.Outcome]
		}
	}
	if k.Distance != 0 {
		rate := func(n int) *float64 { v := float64(n) / k.Distance * 1000; return &v }
		k.WarningsPer1000km, k.BrakingsPer1000km, k.UnconfirmedPer1000k = rate(k.Events), rate(k.EventsPartial), rate(k.Verdicts.Unconfirmed)
	}
	k.DriverMinusBrake = quantile(reactions, 0.5)
	if len(reductions) > 0 {
		sum := 0.0
		for _, v := range reductions {
			sum += v
		}
		sum /= float64(len(reductions))
		k.CFSpeedReduction = &sum
	}
	return k
}

// drawTicks makes ticks that could be, in no particular order of events.
func drawTicks(seed uint64) []Tick {
	r := rand.New(rand.NewPCG(seed, 2))
	ticks := make([]Tick, r.IntN(900))
	often := func(mean int) func() bool { // a state that changes every mean ticks or so
		on := r.IntN(2) == 0
		return func() bool {
			if r.IntN(mean) == 0 {
				on = !on
			}
			return on
		}
	}
	calm, target, driver, hard := often(60), often(80), often(50), often(70)
	v, x, slot := 5+20*r.Float64(), 2+30*r.Float64(), 3
	vo, stage := v-4, 0
	for i := range ticks {
		t := &ticks[i]
		*t = Tick{T: int64(i+7) * step, OK: r.IntN(150) > 0, Slot: noSlot}
		if !t.OK {
			t.V, t.AE = math.NaN(), math.NaN()
		}
		v, vo = max(0, v+r.NormFloat64()*0.3), max(-1, vo+r.NormFloat64()*0.3)
		x = max(0.2, x+(vo-v)*0.05)
		if r.IntN(200) == 0 {
			slot, x, vo = r.IntN(3), 5+30*r.Float64(), v*r.Float64()
		}
		hasTarget, quiet, drv, hrd := target(), calm(), driver(), hard()
		nan := math.NaN()
		t.X, t.C, t.VO, t.AO, t.TTC, t.ETTC, t.AReq, t.RSS, t.THW = nan, nan, nan, nan, nan, nan, nan, nan, nan
		if !t.OK {
			stage = 0
			continue
		}
		t.V, t.AE, t.Driver, t.Hard = v, r.NormFloat64(), drv && r.IntN(9) == 0, hrd
		if hasTarget || stage == 0 && !quiet && r.IntN(8) == 0 {
			t.Slot, t.X, t.C, t.VO, t.AO = slot, x, v-vo, vo, r.NormFloat64()
			t.TTC, t.ETTC, t.THW = math.Inf(1), math.Inf(1), math.Inf(1)
			t.Closing = t.C > 0.51
			if t.Closing {
				t.TTC, t.ETTC = x/t.C, x/t.C*r.Float64()
			}
			if v > 1 {
				t.THW = x / v
			}
			t.AReq, t.RSS = 10*r.Float64()*r.Float64(), 20*r.Float64()
		}
		switch {
		case quiet:
			stage = 0
		case t.Slot == noSlot:
		case r.IntN(4) == 0:
			stage = r.IntN(4)
		}
		t.Stage = stage
	}
	return ticks
}

func evaluate(ticks []Tick) Result {
	e := newEvaluation(standard)
	for i := range ticks {
		e.Add(&ticks[i])
	}
	return e.Result("x", InputSamples{})
}

var sameFloats = cmp.Comparer(func(a, b float64) bool {
	return a == b || math.Abs(a-b) <= 1e-9*max(1, math.Abs(a)) || math.IsNaN(a) && math.IsNaN(b)
})

func TestEvaluationEqualsTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := drawTicks(rapid.Uint64().Draw(t, "seed"))
		want, got := oracle(ticks), evaluate(ticks)
		if d := cmp.Diff(want, got, sameFloats); d != "" {
			t.Fatal(d)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatal(err)
		}
	})
}

// What the drawn ticks show does not hang on rapid's seed or on how many it draws.
func TestDrawnTicksReachEveryVerdict(t *testing.T) {
	var seen Verdicts
	outcomes := map[string]int{}
	var missed int64
	for seed := range uint64(100) {
		got := evaluate(drawTicks(seed))
		seen.add(got.KPIs.Verdicts)
		missed += got.KPIs.Missed
		for _, e := range got.Events {
			if e.Counterfactual != nil {
				outcomes[e.Counterfactual.Outcome]++
			}
		}
	}
	if seen.Confirmed == 0 || seen.TrueCollision == 0 || seen.Unconfirmed == 0 || seen.WarningOnly == 0 || missed == 0 || len(outcomes) < 2 {
		t.Errorf("the drives are too tame: %+v, %v, %d missed", seen, outcomes, missed)
	}
}
