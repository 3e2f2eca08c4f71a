// Package aebkpi measures an automatic emergency braking function: its interventions and their verdicts, what braking would
// have done, and the figures of a recording and of a fleet.
//
// The definitions are AEB.md of the road logs, sections 5 to 7. Evaluation is a fold over the function's ticks that keeps
// what the definitions need and no more: two numbers a tick with a target (percentiles need all of them), one tick in a
// hundred, the events. Type puts it into a stage, Fleet folds the results of many recordings into one.
package aebkpi

import (
	"math"
	"slices"
)

// sampleEvery is the distance of the ticks that a result keeps.
const sampleEvery = 100

// An Evaluation takes the ticks of one recording in order and makes its Result.
type Evaluation struct {
	cf ClosedLoop
	figures
	lists  ledger
	events []*event
	recent []int64 // times of the driver's reactions in the last recentDriver
	missed []span  // hard braking with a target
}

// figures are the parts of the state of fixed size.
type figures struct {
	ticks, okTicks, targetTicks int64
	last                        int64 // time of the last tick
	settled                     int   // events before it are done
	sumV, maxV, minA            float64
	minTTC, minETTC, maxAReq    extreme
	ttcHist                     [ttcBins]int64
	ttcNone                     int64
	areqHist                    [areqBins]int64
	rssTicks                    int64
	driver, hard                episode
	hardWithTarget              int64
}

// extreme is a smallest or largest value and when it was first there.
type extreme struct {
	seen bool
	v    float64
	t    int64
}

func (e *extreme) take(v float64, t int64, better bool) {
	if !e.seen || better {
		*e = extreme{true, v, t}
	}
}

// span is a stretch of time, both ends included.
type span struct{ start, end int64 }

// episode is a run of ok ticks, the current one if open.
type episode struct {
	count   int64
	open    bool
	at      span
	closing bool // a target came nearer at some tick of it
}

// newEvaluation returns an evaluation of no ticks.
func newEvaluation(cf ClosedLoop) *Evaluation {
	return &Evaluation{cf: cf, figures: figures{maxV: math.Inf(-1), minA: math.Inf(1)}}
}

// Add takes the next tick.
func (e *Evaluation) Add(t *Tick) {
	if t.OK {
		e.addOK(t)
	}
	e.driver.take(t, t.OK && t.Driver)
	if done, ok := e.hard.take(t, t.OK && t.Hard); ok {
		e.closeHard(done)
	}
	e.observe(t)
	e.ticks++
	e.last = t.T
}

func (e *Evaluation) addOK(t *Tick) {
	if e.ticks%sampleEvery == 0 {
		e.lists.add(listSamples, sampleValues(t)...)
	}
	e.okTicks++
	e.sumV += t.V
	e.maxV, e.minA = max(e.maxV, t.V), min(e.minA, t.AE)
	if t.Target() {
		e.addTarget(t)
	}
}

func (e *Evaluation) addTarget(t *Tick) {
	e.targetTicks++
	e.maxAReq.take(t.AReq, t.T, t.AReq > e.maxAReq.v)
	e.areqHist[bin(areqEdges[:], t.AReq)]++
	if t.X < t.RSS {
		e.rssTicks++
	}
	if finite(t.ETTC) {
		e.minETTC.take(t.ETTC, t.T, t.ETTC < e.minETTC.v)
	}
	if finite(t.THW) {
		e.lists.add(listTHW, t.THW)
	}
	if !finite(t.TTC) {
		e.ttcNone++
		return
	}
	e.minTTC.take(t.TTC, t.T, t.TTC < e.minTTC.v)
	e.ttcHist[bin(ttcEdges[:], t.TTC)]++
	e.lists.add(listTTC, t.TTC)
}

// bin is the index of the highest edge not above v; the first edge is not above any.
func bin(edges []float64, v float64) int {
	i := len(edges) - 1
	for i > 0 && edges[i] > v {
		i--
	}
	return i
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// take adds a tick to the run, or ends it; ended is the run that the tick ended.
func (p *episode) take(t *Tick, in bool) (ended episode, ok bool) {
	switch {
	case in && !p.open:
		*p = episode{count: p.count + 1, open: true, at: span{t.T, t.T}, closing: t.Closing}
	case in:
		p.at.end = t.T
		p.closing = p.closing || t.Closing
	case p.open:
		ended = *p
		p.open = false
		return ended, true
	}
	return episode{}, false
}

func (e *Evaluation) closeHard(p episode) {
	if p.closing {
		e.hardWithTarget++
		e.missed = append(e.missed, p.at)
	}
}

// observe shows the tick to the events and begins one.
func (e *Evaluation) observe(t *Tick) {
	first := slices.IndexFunc(e.recent, func(at int64) bool { return at >= t.T-recentDriver })
	if first < 0 {
		first = len(e.recent)
	}
	e.recent = e.recent[first:]
	inEvent := len(e.events) > 0 && !e.events[len(e.events)-1].ended
	if t.Stage > 0 && !inEvent {
		e.events = append(e.events, newEvent(t, e.recent))
	}
	for i, ev := range e.events[e.settled:] {
		ev.observe(&e.cf, t, e.recent)
		if i == 0 && ev.done(t.T) {
			e.settled++
		}
	}
	if t.OK && t.Driver {
		e.recent = append(e.recent, t.T)
	}
}

// Result closes the evaluation behind the last tick. No tick may follow.
func (e *Evaluation) Result(log string, in InputSamples) Result {
	e.finish()
	r := Result{Log: log, InputSamples: in, Events: []Event{}, Ticks: e.samples()}
	for _, ev := range e.events {
		r.Events = append(r.Events, ev.result())
	}
	r.KPIs = e.kpis(log, r.Events)
	return r
}

func (e *Evaluation) finish() {
	for _, ev := range e.events {
		ev.close(&e.cf, e.last)
	}
	if e.hard.open {
		e.closeHard(e.hard)
	}
}

func (e *Evaluation) kpis(log string, events []Event) KPIs {
	k := KPIs{Log: log, Ticks: e.ticks, OKTicks: e.okTicks, TargetTicks: e.targetTicks, Duration: float64(e.okTicks) * tickSeconds,
		Distance: e.sumV * tickSeconds / 1000, TTCHist: e.ttcHist, TTCNone: e.ttcNone, AReqHist: e.areqHist,
		RSSViolation: float64(e.rssTicks) * tickSeconds, DriverBrakeEpisodes: e.driver.count, HardBrakeEpisodes: e.hard.count,
		HardBrakeWithTarget: e.hardWithTarget, Missed: e.countMissed()}
	if e.okTicks > 0 {
		k.MeanSpeed, k.MaxSpeed, k.MinAccel = number(e.sumV/float64(e.okTicks)), number(e.maxV), number(e.minA)
	}
	if e.targetTicks > 0 {
		k.RSSViolationShare = number(float64(e.rssTicks) / float64(e.targetTicks))
	}
	k.MinTTC, k.MinTTCT = e.minTTC.result()
	k.MinETTC, k.MinETTCT = e.minETTC.result()
	k.MaxAReq, k.MaxAReqT = e.maxAReq.result()
	thw, ttc := e.lists.values(listTHW), e.lists.values(listTTC)
	k.THW05, k.THW50, k.TTC05 = percentile(thw, 0.05), percentile(thw, 0.5), percentile(ttc, 0.05)
	k.countEvents(events)
	return k
}

func (e *extreme) result() (*float64, *int64) {
	if !e.seen {
		return nil, nil
	}
	return &e.v, &e.t
}

// countMissed counts the hard brakings near which there was no event.
func (e *Evaluation) countMissed() int64 {
	n := int64(0)
	for _, h := range e.missed {
		near := func(ev *event) bool { return ev.start <= h.end+missedWindow && ev.end >= h.start-missedWindow }
		if !slices.ContainsFunc(e.events, near) {
			n++
		}
	}
	return n
}

func (k *KPIs) countEvents(events []Event) {
	var reactions, reductions []float64
	for _, ev := range events {
		k.Events++
		k.EventsWarn++
		if ev.MaxStage >= stagePartial {
			k.EventsPartial++
		}
		if ev.MaxStage >= stageFull {
			k.EventsFull++
		}
		k.Verdicts.count(ev.Verdict)
		if ev.DriverMinus != nil {
			reactions = append(reactions, *ev.DriverMinus)
		}
		if ev.Counterfactual != nil {
			reductions = append(reductions, ev.Counterfactual.SpeedReduction)
			k.countOutcome(ev.Counterfactual.Outcome)
		}
	}
	k.WarningsPer1000km = per1000km(k.Events, k.Distance)
	k.BrakingsPer1000km = per1000km(k.EventsPartial, k.Distance)
	k.UnconfirmedPer1000k = per1000km(k.Verdicts.Unconfirmed, k.Distance)
	k.DriverMinusBrake, k.CFSpeedReduction = percentile(reactions, 0.5), mean(reductions)
}

func (k *KPIs) countOutcome(outcome string) {
	switch outcome {
	case OutcomeAvoided:
		k.CFAvoided++
	case OutcomeCollision:
		k.CFCollision++
	default:
		k.CFUndetermined++
	}
}

func per1000km(n int, km float64) *float64 {
	if km == 0 {
		return nil
	}
	return number(float64(n) / km * 1000)
}

// percentile is the value at rank q·(n−1) of the sorted values, linear between neighbours; nil of none. It sorts values.
func percentile(values []float64, q float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	rank := q * float64(len(values)-1)
	low := int(rank)
	v := values[low]
	if low+1 < len(values) {
		v += float64((rank - float64(low)) * (values[low+1] - v))
	}
	return &v
}

func mean(values []float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return number(sum / float64(len(values)))
}

// sampleValues is a tick as a row of the list of samples; readSample reads it back.
func sampleValues(t *Tick) []float64 {
	return []float64{math.Float64frombits(uint64(t.T)), t.V, t.AE, float64(t.Slot), t.X, t.C, t.AO, t.TTC, t.ETTC, t.AReq, t.RSS, float64(t.Stage)}
}

const sampleWidth = 12

func readSample(v []float64) Sample {
	return Sample{T: int64(math.Float64bits(v[0])), V: v[1], AE: v[2], Slot: int(v[3]), X: v[4], C: v[5], AO: v[6],
		TTC: number(v[7]), ETTC: number(v[8]), AReq: v[9], RSS: v[10], Stage: int(v[11])}
}

func (e *Evaluation) samples() []Sample {
	values := e.lists.values(listSamples)
	out := make([]Sample, 0, len(values)/sampleWidth)
	for ; len(values) >= sampleWidth; values = values[sampleWidth:] {
		out = append(out, readSample(values))
	}
	return out
}
