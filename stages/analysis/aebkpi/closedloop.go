package aebkpi

import "math"

// tickSeconds is the grid of the function.
const tickSeconds = 0.05

// ClosedLoop are the numbers of AEB.md, section 6: how the car of the estimate would brake.
type ClosedLoop struct {
	DelayTicks int        // from a demand to the brake
	Decel      [4]float64 // demand by stage [m/s²]
	Ramp       float64    // slope of the deceleration [m/s³]
	MaxTicks   int        // length of the estimate
}

// Outcomes as they are kept while an estimate runs.
const (
	running = iota
	avoided
	collision
	undetermined
)

// estimate is one run of section 6. It starts at the tick of partial braking and takes one tick after the other.
type estimate struct {
	state  int
	lost   bool   // the target is gone for good
	slot   int    // the target of the first tick
	stages []byte // s_n: the largest stage up to tick n
	vStart float64
	v      float64 // speed of the car that brakes
	vo     float64 // of its target
	d      float64 // deceleration
	gap    float64
	minGap float64
}

func newEstimate(t *Tick) *estimate {
	return &estimate{slot: t.Slot, stages: []byte{byte(t.Stage)}, vStart: t.V, v: t.V, vo: t.VO, gap: t.X, minGap: t.X}
}

// step takes the next tick, nil behind the last.
func (e *estimate) step(p *ClosedLoop, t *Tick) {
	if e.state != running {
		return
	}
	stage, recorded := e.stages[len(e.stages)-1], math.Inf(1)
	if e.lost = e.lost || t == nil || !t.OK || t.Slot != e.slot; !e.lost {
		e.vo, recorded = t.VO, t.V
		stage = max(stage, byte(t.Stage))
	}
	e.stages = append(e.stages, stage)
	e.brake(p, recorded)
	e.judge(p)
}

func (e *estimate) brake(p *ClosedLoop, recorded float64) {
	demand := 0.0
	if n := len(e.stages) - 1; n >= p.DelayTicks {
		demand = p.Decel[e.stages[n-p.DelayTicks]]
	}
	limit := p.Ramp * tickSeconds
	e.d += max(-limit, min(demand-e.d, limit))
	e.v = min(max(0, e.v-float64(tickSeconds*e.d)), recorded)
	e.gap += float64((e.vo - e.v) * tickSeconds)
	e.minGap = min(e.minGap, e.gap)
}

func (e *estimate) judge(p *ClosedLoop) {
	switch {
	case e.gap <= 0:
		e.state = collision
	case e.v <= max(e.vo, 0):
		e.state = avoided
	case len(e.stages) >= p.MaxTicks:
		e.state = undetermined
	}
}

// finish runs the estimate to its end behind the last tick of the recording.
func (e *estimate) finish(p *ClosedLoop) {
	for e.state == running {
		e.step(p, nil)
	}
}

func (e *estimate) result() *Counterfactual {
	c := &Counterfactual{SpeedReduction: e.vStart - e.v, MinGap: e.minGap, Extrapolated: e.lost}
	impact := 0.0
	switch e.state {
	case collision:
		c.Outcome, impact = OutcomeCollision, max(0, e.v-e.vo)
		c.ImpactSpeed = &impact
	case avoided:
		c.Outcome, c.ImpactSpeed = OutcomeAvoided, &impact
	default:
		c.Outcome = OutcomeUndetermined
	}
	return c
}
