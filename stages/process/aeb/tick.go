package aeb

import "math"

// NoSlot is Tick.Slot when no target is selected.
const NoSlot = -1

// The stages of the function (AEB.md, section 4).
const (
	StageNone = iota
	StageWarn
	StagePartial
	StageFull
)

// A Tick is all that the function knows at one instant of its 50 ms grid. Where OK is false the numbers are NaN; where Slot
// is NoSlot those of the target are. TTC, ETTC and THW are +Inf when there is none.
type Tick struct {
	T     int64 // ns since the recording's start, a multiple of 50 ms
	OK    bool  // the ego speed is fresh
	Stage int

	V     float64 // ego speed [m/s], not negative
	AE    float64 // filtered ego acceleration [m/s²]
	Kappa float64 // filtered curvature [1/m], left positive

	Slot int     // of the target
	X    float64 // gap, carried on to T [m]
	Y    float64 // lateral position [m], left positive
	C    float64 // closing speed [m/s]
	VO   float64 // speed of the object [m/s]
	AO   float64 // its filtered acceleration [m/s²]
	TTC  float64 // [s]
	ETTC float64 // [s]
	AReq float64 // [m/s²]
	RSS  float64 // safe distance [m]
	THW  float64 // [s]

	Driver  bool // the driver (or the ACC that drove) brakes
	Hard    bool // hard braking, by hard_decel
	Closing bool // a target with a closing speed above c_min
}

func noTarget(t *Tick) {
	nan := math.NaN()
	t.Slot = NoSlot
	t.X, t.Y, t.C, t.VO, t.AO, t.TTC, t.ETTC, t.AReq, t.RSS, t.THW = nan, nan, nan, nan, nan, nan, nan, nan, nan, nan
}

func lostTick(at int64) Tick {
	t := Tick{T: at, V: math.NaN(), AE: math.NaN(), Kappa: math.NaN()}
	noTarget(&t)
	return t
}

// tickSeconds is the grid of the function in seconds.
const tickSeconds = 0.05

// motion is the state of section 3 and 4; its zero value with slot NoSlot is that after a reset.
type motion struct {
	primed bool // an ok tick has been since the reset
	vPrev  float64
	ae     float64
	kappa  float64

	slot    int // current target
	voPrev  float64
	ao      float64
	stage   int
	armed   [4]int // ticks in a row that the condition of a stage holds
	release int
	warned  bool // tWarn is set
	tWarn   int64
}

// tick computes the tick at T from the newest samples; AEB.md, sections 3 and 4.
func (f *Function) tick(at int64) Tick {
	if at-f.ego.t > nanoseconds(f.p.EgoTimeout) {
		f.m = motion{slot: NoSlot}
		return lostTick(at)
	}
	t := Tick{T: at, OK: true, V: max(f.ego.v, 0)}
	f.moveEgo(&t)
	slot := f.selectTarget(&t)
	f.follow(&t, slot)
	f.decide(&t)
	t.Stage = f.m.stage
	t.Driver = f.brake.v != 0 || t.AE <= f.p.DriverDecel
	t.Hard = t.AE <= f.p.HardDecel
	t.Closing = t.Slot != NoSlot && t.C > f.p.CMin
	f.m.vPrev, f.m.primed = t.V, true
	return t
}

// moveEgo filters acceleration and curvature.
func (f *Function) moveEgo(t *Tick) {
	m := &f.m
	if m.primed { // else it is 0, as the reset left it
		m.ae += float64(beta(f.p.TauAccel) * ((t.V-m.vPrev)/tickSeconds - m.ae))
	}
	yaw, raw := 0.0, 0.0
	if f.yaw.seen && t.T-f.yaw.t <= nanoseconds(f.p.YawTimeout) {
		yaw = f.yaw.v
	}
	if t.V > f.p.KappaMinSpeed {
		raw = yaw / t.V
	}
	m.kappa += float64(beta(f.p.TauKappa) * (raw - m.kappa))
	t.AE, t.Kappa = m.ae, m.kappa
}

// beta is the weight of a first-order filter with that time constant.
func beta(tau float64) float64 { return tickSeconds / (tau + tickSeconds) }

// selectTarget returns the slot with the target, nil when there is none.
func (f *Function) selectTarget(t *Tick) *slot {
	var best, current *slot
	var xBest, xCurrent float64
	for i := range f.slots {
		s := &f.slots[i]
		x, ok := f.candidate(t, s)
		if !ok {
			continue
		}
		if best == nil || x < xBest {
			best, xBest = s, x
		}
		if s.number == f.m.slot {
			current, xCurrent = s, x
		}
	}
	if current != nil && best != current && !(xBest < xCurrent-f.p.SwitchMargin) {
		return current
	}
	return best
}

// candidate says whether the object in a slot may be the target, and how far away it is. It remembers that an object moved.
func (f *Function) candidate(t *Tick, s *slot) (x float64, ok bool) {
	if !s.seen || s.n < int64(f.p.ConfirmN) || t.T-s.t > nanoseconds(f.p.TrackTimeout) {
		return 0, false
	}
	x = s.at(t.T)
	vo := t.V + s.r
	if vo > f.p.MovingSpeed {
		s.moved = true
	}
	if !(f.p.XMin < x && x <= f.p.XMax && vo >= f.p.OncomingSpeed) {
		return 0, false
	}
	width := f.p.HalfWidth
	if s.number == f.m.slot {
		width = f.p.HalfWidthCurrent
	}
	if !s.moved {
		if x > f.p.XMaxStatic {
			return 0, false
		}
		width = f.p.HalfWidthStatic
	}
	return x, math.Abs(s.y-float64(0.5*t.Kappa*x*x)) <= width
}

// at is the distance of the object carried on to time T.
func (s *slot) at(t int64) float64 { return s.x + float64(s.r*float64(t-s.t))/1e9 }

// follow takes the target over and computes its values.
func (f *Function) follow(t *Tick, s *slot) {
	m := &f.m
	if s == nil {
		m.slot, m.ao = NoSlot, 0
		noTarget(t)
		return
	}
	vo := t.V + s.r
	if m.slot == s.number {
		m.ao += float64(beta(f.p.TauAccel) * ((vo-m.voPrev)/tickSeconds - m.ao))
	} else {
		m.ao = 0
	}
	m.slot, m.voPrev = s.number, vo
	t.Slot, t.X, t.Y, t.C, t.VO, t.AO = s.number, s.at(t.T), s.y, -s.r, vo, m.ao
	t.TTC = timeToCollision(&f.p, t)
	t.ETTC = extendedTTC(&f.p, t)
	t.AReq = requiredDeceleration(&f.p, t)
	t.RSS = safeDistance(&f.p, t)
	t.THW = math.Inf(1)
	if t.V > f.p.THWMinSpeed {
		t.THW = t.X / t.V
	}
}

func timeToCollision(p *Params, t *Tick) float64 {
	if t.C > p.CMin {
		return t.X / t.C
	}
	return math.Inf(1)
}

// extendedTTC is the time to collision when both keep their acceleration: the smallest t > 0 with
// x + r·t + ½·a_rel·t² = 0.
func extendedTTC(p *Params, t *Tick) float64 {
	aRel := clamp(t.AO, p.AClamp) - clamp(t.AE, p.AClamp)
	if math.Abs(aRel) < p.ARelMin {
		return t.TTC
	}
	square := float64(t.C*t.C) - float64(2*aRel*t.X)
	if square < 0 {
		return math.Inf(1)
	}
	root := math.Sqrt(square)
	smallest := math.Inf(1)
	for _, at := range [2]float64{(t.C + root) / aRel, (t.C - root) / aRel} {
		if at > 0 && at < smallest {
			smallest = at
		}
	}
	return smallest
}

// requiredDeceleration is what the ego needs from now on so as not to come nearer than the standoff to an object that
// closes, keeps on braking, or stops first.
func requiredDeceleration(p *Params, t *Tick) float64 {
	x := max(t.X-p.Standoff, p.XEffMin)
	b := min(max(-t.AO, 0), p.AClamp)
	base := 0.0
	if t.C > 0 {
		base = float64(t.C*t.C) / (2 * x)
	}
	if b < p.LeadBrakeMin {
		return base
	}
	vo := max(t.VO, 0)
	if t.C > 0 && 2*x/t.C <= vo/b {
		return b + base
	}
	return float64(t.V*t.V) / (2 * (x + float64(vo*vo)/(2*b)))
}

// safeDistance is the longitudinal distance of the RSS rule.
func safeDistance(p *Params, t *Tick) float64 {
	vo := max(t.VO, 0)
	d := float64(t.V*p.RSSRho) + float64(t.V*t.V)/(2*p.RSSBEgo)
	return max(0, d-float64(vo*vo)/(2*p.RSSBObj)+p.RSSMargin)
}

func clamp(v, limit float64) float64 { return max(-limit, min(v, limit)) }

// decide moves the stage; AEB.md, section 4. The numbers are those of its list.
func (f *Function) decide(t *Tick) {
	m := &f.m
	armed := f.arm(t)
	want := StageNone
	if armed[StageWarn] { // 1
		want = StageWarn
	}
	urgent := t.Slot != NoSlot && t.ETTC <= f.p.ETTCUrgent // 2
	switch {
	case (m.warned && t.T-m.tWarn >= nanoseconds(f.p.WarnLead)) || urgent:
		if armed[StageFull] {
			want = StageFull
		} else if armed[StagePartial] {
			want = StagePartial
		}
	case armed[StagePartial] || armed[StageFull]:
		want = max(want, StageWarn)
	}
	if m.stage == StageNone && t.V < f.p.VEnter { // 3
		want = StageNone
	}
	f.move(t, want) // 4
	if m.stage == StageNone {
		m.warned = false // 5
	}
}

// arm counts the ticks in a row that the condition of each stage holds.
func (f *Function) arm(t *Tick) (armed [4]bool) {
	p := &f.p
	var c [4]bool
	if t.Slot != NoSlot && t.C > p.CMin {
		c[StageWarn] = t.ETTC <= p.ETTC[StageWarn] || t.AReq >= p.AReq[StageWarn]
		c[StagePartial] = t.ETTC <= p.ETTC[StagePartial] && t.AReq >= p.AReq[StagePartial]
		c[StageFull] = t.ETTC <= p.ETTC[StageFull] && t.AReq >= p.AReq[StageFull] || t.AReq >= p.AReqFull
	}
	for s := StageWarn; s <= StageFull; s++ {
		if c[s] {
			f.m.armed[s]++
		} else {
			f.m.armed[s] = 0
		}
		armed[s] = f.m.armed[s] >= p.NArm[s]
	}
	return armed
}

// move raises the stage at once and lowers it when nothing has held it for release_ticks.
func (f *Function) move(t *Tick, want int) {
	m := &f.m
	switch {
	case want > m.stage:
		if m.stage == StageNone {
			m.warned, m.tWarn = true, t.T
		}
		m.stage, m.release = want, 0
	case m.stage == StageNone:
	case t.V < f.p.VExit:
		m.stage, m.release = StageNone, 0
	case f.holds(t) || want == m.stage:
		m.release = 0
	default:
		m.release++
		if m.release >= f.p.ReleaseTicks {
			m.stage, m.release = want, 0
		}
	}
}

// holds says that the situation still is close to the limits of the stage reached.
func (f *Function) holds(t *Tick) bool {
	if t.Slot == NoSlot || !(t.C > f.p.CMin) {
		return false
	}
	s := f.m.stage
	return t.ETTC <= f.p.ETTC[s]+f.p.ReleaseETTCAdd || t.AReq >= f.p.ReleaseAReqFactor*f.p.AReq[s]
}
