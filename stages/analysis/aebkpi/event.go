package aebkpi

import "math"

const (
	second = 1_000_000_000 // ns

	driverWindow  = 2 * second // before the start and after the end of an event (section 5)
	contactWindow = 1 * second // after the end
	confirmBefore = 1 * second // before partial braking
	confirmAfter  = 2 * second // after it
	missedWindow  = 2 * second // around hard braking (section 7)
	contactGap    = 1.01       // m: the cars touch, or nearly
	stagePartial  = 2
	stageFull     = 3
	recentDriver  = driverWindow // how long driver reactions are remembered; the longest of the windows before
	noTime        = math.MinInt64
)

// event is an intervention while it is observed: up to driverWindow after its end, and as long as its estimate runs.
type event struct {
	start, end       int64
	ended, openEnd   bool
	maxStage, slot   int
	v, x, c          float64 // at the start
	minTTC, minETTC  float64 // +Inf when none
	maxAReq, minGap  float64 // -Inf, +Inf when none
	partial, full    int64   // noTime when never
	driver           int64   // noTime when never
	brakeSlot        int     // target at partial
	contact, confirm bool
	cf               *estimate // from partial on
}

func newEvent(t *Tick, recent []int64) *event {
	e := &event{start: t.T, slot: t.Slot, v: t.V, x: t.X, c: t.C, minTTC: math.Inf(1), minETTC: math.Inf(1),
		maxAReq: math.Inf(-1), minGap: math.Inf(1), partial: noTime, full: noTime, driver: noTime}
	for _, at := range recent {
		if at >= t.T-driverWindow {
			e.driver = at
			break
		}
	}
	return e
}

// observe takes the next tick. recent are the times of driver reactions in the driverWindow before it, in order.
func (e *event) observe(p *ClosedLoop, t *Tick, recent []int64) {
	if !e.ended {
		e.extend(t)
	}
	if e.cf != nil {
		e.cf.step(p, t)
	}
	if !e.ended && t.Stage >= stagePartial && e.partial == noTime {
		e.startBraking(t, recent)
	}
	if !t.OK {
		return
	}
	if t.Driver {
		e.reaction(t.T)
	}
	if e.partial != noTime && (!e.ended || t.T <= e.end+contactWindow) && t.Target() && t.Slot == e.brakeSlot && t.X <= contactGap {
		e.contact = true
	}
}

// extend takes a tick of the event, or the first one after it.
func (e *event) extend(t *Tick) {
	if t.Stage == 0 {
		e.ended, e.end = true, t.T
		return
	}
	e.maxStage = max(e.maxStage, t.Stage)
	if t.Stage >= stageFull && e.full == noTime {
		e.full = t.T
	}
	if t.Target() {
		e.minTTC, e.minETTC = min(e.minTTC, t.TTC), min(e.minETTC, t.ETTC)
		e.maxAReq, e.minGap = max(e.maxAReq, t.AReq), min(e.minGap, t.X)
	}
}

func (e *event) startBraking(t *Tick, recent []int64) {
	e.partial, e.brakeSlot, e.cf = t.T, t.Slot, newEstimate(t)
	for _, at := range recent {
		if at >= t.T-confirmBefore {
			e.confirm = true
		}
	}
}

// reaction takes an ok tick at which the driver brakes.
func (e *event) reaction(at int64) {
	if e.driver == noTime && (!e.ended || at <= e.end+driverWindow) {
		e.driver = at
	}
	if e.partial != noTime && at <= e.partial+confirmAfter {
		e.confirm = true
	}
}

// done says that no later tick can change the event.
func (e *event) done(at int64) bool {
	return e.ended && at >= e.end+driverWindow && (e.cf == nil || e.cf.state != running)
}

// close ends the event with the recording.
func (e *event) close(p *ClosedLoop, last int64) {
	if !e.ended {
		e.ended, e.openEnd, e.end = true, true, last
	}
	if e.cf != nil {
		e.cf.finish(p)
	}
}

func (e *event) verdict() string {
	switch {
	case e.partial == noTime:
		return VerdictWarningOnly
	case e.contact:
		return VerdictTrueCollision
	case e.confirm:
		return VerdictConfirmed
	}
	return VerdictUnconfirmed
}

func (e *event) result() Event {
	r := Event{TStart: e.start, TEnd: e.end, OpenEnd: e.openEnd, MaxStage: e.maxStage, TPartial: instant(e.partial), TFull: instant(e.full),
		VStart: e.v, XStart: number(e.x), ClosingStart: number(e.c), MinTTC: number(e.minTTC), MinETTC: number(e.minETTC),
		MaxAReq: number(e.maxAReq), MinGap: number(e.minGap), TDriver: instant(e.driver), Verdict: e.verdict()}
	if e.slot != noSlot {
		r.Slot = &e.slot
	}
	if e.driver != noTime && e.partial != noTime {
		r.DriverMinus = number(float64(e.driver-e.partial) / 1e9)
	}
	if e.cf != nil {
		r.Counterfactual = e.cf.result()
	}
	return r
}

func instant(t int64) *int64 {
	if t == noTime {
		return nil
	}
	return &t
}
