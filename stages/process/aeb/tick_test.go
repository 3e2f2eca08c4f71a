package aeb

import (
	"math"
	"slices"
	"testing"
)

const ms = 1_000_000 // ns

// near says whether two numbers are the same but for the rounding of a few operations.
func near(a, b float64) bool {
	if math.IsInf(a, 0) || math.IsInf(b, 0) {
		return a == b
	}
	return math.Abs(a-b) <= 1e-12*max(1, math.Abs(a), math.Abs(b)) || math.IsNaN(a) && math.IsNaN(b)
}

// scene is a function at one instant, put together by hand.
type scene struct {
	t     *testing.T
	f     *Function
	at    int64
	speed float64
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, f: New(Default()), at: 1000 * ms, speed: 20}
}

// object puts an object that is confirmed and moved into a slot, seen now.
func (s *scene) object(number int, x, y, r float64) *slot {
	o := s.f.slotOf(number)
	*o = slot{number: number, seen: true, t: s.at, x: x, y: y, r: r, n: 5, moved: true}
	return o
}

// next is the tick now; time goes on by 50 ms.
func (s *scene) next() Tick {
	s.f.ego = newest{true, s.at, s.speed}
	t := s.f.tick(s.at)
	s.at += TickStep
	return t
}

func TestEgoSpeedAndItsAge(t *testing.T) {
	s := newScene(t)
	s.f.ego = newest{true, s.at - 200*ms, -3}
	if got := s.f.tick(s.at); !got.OK || got.V != 0 || got.T != s.at {
		t.Errorf("a speed of 200 ms ago, below 0: %+v", got)
	}
	s.f.ego.t--
	got := s.f.tick(s.at)
	if got.OK || got.Stage != 0 || got.Slot != NoSlot || !math.IsNaN(got.V) || !math.IsNaN(got.TTC) {
		t.Errorf("a speed older than 200 ms: %+v", got)
	}
}

func TestAccelerationFilter(t *testing.T) {
	s := newScene(t)
	want, beta := 0.0, 1.0/11
	for i, v := range []float64{20, 20.5, 21.5, 21.5, 19} {
		before := s.speed
		if i == 0 {
			before = v
		}
		s.speed = v
		want += beta * ((v-before)/0.05 - want)
		if got := s.next(); !near(got.AE, want) || got.V != v {
			t.Errorf("tick %d: a_e = %v, want %v", i, got.AE, want)
		}
	}
}

func TestCurvatureFilter(t *testing.T) {
	s := newScene(t)
	want, beta := 0.0, 1.0/7
	for i, tt := range []struct {
		speed, yaw float64
		age        int64
		raw        float64
	}{
		{20, 0.2, 0, 0.01}, {20, 0.2, 200 * ms, 0.01}, {20, 0.2, 200*ms + 1, 0}, {5, 0.2, 0, 0}, {5.01, 0.2, 0, 0.2 / 5.01},
	} {
		s.speed = tt.speed
		s.f.yaw = newest{true, s.at - tt.age, tt.yaw}
		want += beta * (tt.raw - want)
		if got := s.next(); !near(got.Kappa, want) {
			t.Errorf("tick %d: kappa = %v, want %v", i, got.Kappa, want)
		}
	}
	s.f.yaw = newest{}
	s.at = 0 // a yaw rate that never was is not one of time 0
	want += beta * (0 - want)
	if got := s.next(); !near(got.Kappa, want) {
		t.Errorf("without yaw: kappa = %v, want %v", got.Kappa, want)
	}
}

func TestOldSpeedResetsAllButSlots(t *testing.T) {
	s := newScene(t)
	s.f.yaw = newest{true, s.at, 0.1}
	s.object(3, 20, 0, -15)
	for range 6 {
		s.object(3, 20, 0, -15).moved = true
		s.next()
		s.speed--
	}
	m := s.f.m
	if m.stage == 0 || m.ae == 0 || m.kappa == 0 || m.ao == 0 || m.slot != 3 || !m.warned || m.armed[1] == 0 {
		t.Fatalf("nothing to reset: %+v", m)
	}
	s.f.tick(s.at + 201*ms)
	if s.f.m != (motion{slot: NoSlot}) {
		t.Errorf("left over: %+v", s.f.m)
	}
	if o := s.f.slotOf(3); o.n != 5 || !o.moved {
		t.Errorf("slot = %+v", o)
	}
	if got := s.next(); got.AE != 0 {
		t.Errorf("a_e at the first tick after = %v", got.AE)
	}
}

func TestTrackSamplesConfirmAnObject(t *testing.T) {
	f := New(Default())
	s := f.slotOf(1)
	take := func(valid, isNew bool) { f.takeTrack(s, s.t+50*ms, 10, 1, -2, valid, isNew) }
	check := func(what string, n int64, moved bool) {
		t.Helper()
		if s.n != n || s.moved != moved {
			t.Errorf("%s: n = %d, moved = %v", what, s.n, s.moved)
		}
	}
	take(true, false)
	take(true, false)
	s.moved = true
	check("two valid samples", 2, true)
	take(true, true)
	check("a new object", 1, false)
	take(true, false)
	s.moved = true
	take(false, false)
	check("no object", 0, false)
	take(false, true)
	check("no object, marked new", 0, false)
	take(true, false)
	check("valid again", 1, false)
	f.takeTrack(s, s.t+50*ms, math.NaN(), 0, 0, true, false)
	check("no number", 0, false)
	if c := f.Counted(); c.NotFinite != 1 {
		t.Errorf("counted = %+v", c)
	}
}

func TestCandidates(t *testing.T) {
	p := Default()
	tests := []struct {
		name  string
		speed float64
		kappa float64
		set   func(o *slot)
		want  bool
	}{
		{"confirmed", 20, 0, func(*slot) {}, true},
		{"one sample too few", 20, 0, func(o *slot) { o.n = 4 }, false},
		{"never seen", 20, 0, func(o *slot) { o.seen = false }, false},
		{"250 ms old", 20, 0, func(o *slot) { o.t -= 250 * ms }, true},
		{"older", 20, 0, func(o *slot) { o.t -= 250*ms + 1 }, false},
		{"at x_min", 20, 0, func(o *slot) { o.x = 0.5 }, false},
		{"beyond x_min", 20, 0, func(o *slot) { o.x = 0.51 }, true},
		{"at x_max", 20, 0, func(o *slot) { o.x = 120 }, true},
		{"beyond x_max", 20, 0, func(o *slot) { o.x = 120.01 }, false},
		{"beyond x_max, carried on to it", 20, 0, func(o *slot) { o.x, o.r, o.t = 120.5, -5, o.t-100*ms }, true},
		{"comes towards us slowly", 0, 0, func(o *slot) { o.r = -1.01 }, true},
		{"comes towards us", 0, 0, func(o *slot) { o.r = -1.02 }, false},
		{"at the edge of the path", 20, 0, func(o *slot) { o.y = -1.21 }, true},
		{"beyond the path", 20, 0, func(o *slot) { o.y = 1.22 }, false},
		{"in the path of the current target", 20, 0, func(o *slot) { o.number, o.y = 7, 1.61 }, true},
		{"beyond it", 20, 0, func(o *slot) { o.number, o.y = 7, 1.62 }, false},
		{"in the curve", 20, 0.004, func(o *slot) { o.x, o.y = 40, 3.2-1.2 }, true},
		{"beside the curve", 20, 0.004, func(o *slot) { o.x, o.y = 40, 3.2+1.22 }, false},
		{"in the right curve", 20, -0.004, func(o *slot) { o.x, o.y = 40, -3.2 }, true},
		{"stands, near", 20, 0, func(o *slot) { o.r, o.moved, o.x, o.y = -20, false, 60, 0.91 }, true},
		{"stands, far", 20, 0, func(o *slot) { o.r, o.moved, o.x = -20, false, 60.01 }, false},
		{"stands, beside", 20, 0, func(o *slot) { o.r, o.moved, o.y = -20, false, 0.92 }, false},
		{"stands, the current target", 20, 0, func(o *slot) { o.number, o.r, o.moved, o.y = 7, -20, false, 0.92 }, false},
		{"stands, has moved", 20, 0, func(o *slot) { o.r, o.x, o.y = -20, 100, 1.2 }, true},
		{"begins to move", 0, 0, func(o *slot) { o.r, o.moved, o.x = 2.02, false, 100 }, true},
		{"hardly moves", 0, 0, func(o *slot) { o.r, o.moved, o.x = 2.01, false, 100 }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := New(p)
			f.m.slot = 7
			o := slot{number: 2, seen: true, t: 1000 * ms, x: 30, n: 5, moved: true, r: -1}
			tt.set(&o)
			if _, got := f.candidate(&Tick{T: 1000 * ms, V: tt.speed, Kappa: tt.kappa}, &o); got != tt.want {
				t.Errorf("candidate = %v", got)
			}
		})
	}
}

func TestMovedIsRememberedWhereTheObjectIsNoCandidate(t *testing.T) {
	f := New(Default())
	o := slot{number: 2, seen: true, x: 130, n: 5, r: -1}
	if _, ok := f.candidate(&Tick{V: 20}, &o); ok || !o.moved {
		t.Errorf("candidate %v, moved %v", ok, o.moved)
	}
}

func TestNearestTargetWinsAndIsKept(t *testing.T) {
	s := newScene(t)
	pick := func(want int) {
		t.Helper()
		for i := range s.f.slots {
			s.f.slots[i].t = s.at
		}
		if got := s.next(); got.Slot != want {
			t.Errorf("slot = %d, want %d", got.Slot, want)
		}
	}
	s.object(9, 4.02, 0, 0)
	s.object(4, 4.02, 0, 0)
	pick(4) // a tie: the first
	s.object(9, 2.1, 0, 0)
	pick(4) // nearer, within the margin of 2.01 m
	s.object(9, 2.01, 0, 0)
	pick(4) // at the margin
	s.object(9, 2, 0, 0)
	pick(9)
	s.object(4, 1, 5, 0)
	pick(9) // nearer, not in the path
	s.object(9, 2, 5, 0)
	pick(NoSlot)
	s.object(4, 200, 0, 0)
	s.object(9, 28, 1.6, 0)
	pick(NoSlot) // no current target any more, so the path is narrow again
}

func TestTargetSpeedFilter(t *testing.T) {
	s := newScene(t)
	want, beta := 0.0, 1.0/11
	step := func(slot int, r float64, filter bool, before float64) {
		t.Helper()
		s.f.slots = nil
		s.object(slot, 30, 0.3, r)
		vo := s.speed + r
		if filter {
			want += beta * ((vo-before)/0.05 - want)
		} else {
			want = 0
		}
		got := s.next()
		if !near(got.AO, want) || got.VO != vo || got.C != -r || got.Y != 0.3 || got.X != 30 {
			t.Errorf("tick = %+v, want a_o %v", got, want)
		}
	}
	step(1, -2, false, 0)
	step(1, -3, true, 18)
	step(1, -3.5, true, 17)
	step(2, -3, false, 0)
	step(2, -4, true, 17)
	s.f.slots = nil
	if got := s.next(); got.Slot != NoSlot || s.f.m.ao != 0 {
		t.Errorf("without target: %+v", got)
	}
	step(2, -4.5, false, 0)
}

func TestFormulas(t *testing.T) {
	inf := math.Inf(1)
	p := Default()
	tests := []struct {
		name                 string
		in                   Tick
		ttc, ettc, areq, rss float64
	}{
		{"closes", Tick{V: 20, X: 21, C: 10, VO: 10}, 2.1, 2.1, 2.5, 10 + 400/12.0 - 100/16.0 + 1},
		{"at c_min", Tick{V: 10, X: 21, C: 0.51, VO: 9.49}, inf, inf, 0.51 * 0.51 / 40, 5 + 100/12.0 - 9.49*9.49/16 + 1},
		{"above c_min", Tick{V: 10, X: 21, C: 0.52, VO: 9.48}, 21 / 0.52, 21 / 0.52, 0.52 * 0.52 / 40, 5 + 100/12.0 - 9.48*9.48/16 + 1},
		{"goes away", Tick{V: 10, X: 21, C: -5, VO: 15}, inf, inf, 0, 5 + 100/12.0 - 225/16.0 + 1},
		{"goes away fast", Tick{V: 2, X: 21, C: -18, VO: 20}, inf, inf, 0, 0},
		{"oncoming slowly", Tick{V: 10, X: 21, C: 11, VO: -1}, 21 / 11.0, 21 / 11.0, 121 / 40.0, 5 + 100/12.0 + 1},
		{"too near for the standoff", Tick{V: 10, X: 1.05, C: 1, VO: 9}, 1.05, 1.05, 1 / 0.2, 5 + 100/12.0 - 81/16.0 + 1},
		// a_rel = -2: 10 t + t² = 24
		{"target brakes", Tick{V: 20, X: 24, C: 10, VO: 10, AO: -2}, 2.4, 2, 2 + 100/46.0, 10 + 400/12.0 - 100/16.0 + 1},
		// 2·23/10 = 4.6 > 10/2.5 = 4: the lead stops first
		{"target stops first", Tick{V: 20, X: 24, C: 10, VO: 10, AO: -2.5}, 2.4, -4 + math.Sqrt(16+19.2), 400 / (2 * (23 + 100/5.0)), 10 + 400/12.0 - 100/16.0 + 1},
		// 2·20/10 = 4 = 8/2
		{"target has nearly stopped", Tick{V: 10, X: 21, C: 9.5, VO: 0.5, AO: -2}, 21 / 9.5, (-9.5 + math.Sqrt(9.5*9.5+84)) / 2, 100 / (2 * (20 + 0.25/4)), 5 + 100/12.0 - 0.25/16 + 1},
		{"target rolls back", Tick{V: 10, X: 21, C: 10.5, VO: -0.5, AO: -2}, 2, (-10.5 + math.Sqrt(10.5*10.5+84)) / 2, 100 / 40.0, 5 + 100/12.0 + 1},
		{"both at once", Tick{V: 18, X: 21, C: 10, VO: 8, AO: -2}, 2.1, -5 + math.Sqrt(25+21), 2 + 2.5, 9 + 324/12.0 - 64/16.0 + 1},
		{"target brakes a little", Tick{V: 20, X: 24, C: 10, VO: 10, AO: -0.49}, 2.4, (-10 + math.Sqrt(100+2*0.49*24)) / 0.49, 100 / 46.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"target brakes enough to count", Tick{V: 20, X: 24, C: 10, VO: 10, AO: -0.5}, 2.4, (-10 + math.Sqrt(100+24)) / 0.5, 0.5 + 100/46.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"target brakes, not closing yet", Tick{V: 20, X: 24, C: 0, VO: 20, AO: -4}, inf, math.Sqrt(12), 400 / (2 * (23 + 400/8.0)), 10 + 400/12.0 - 400/16.0 + 1},
		{"accelerations beyond belief", Tick{V: 20, X: 25, C: 0, VO: 20, AO: -30, AE: 12}, inf, math.Sqrt(2.5), 400 / (2 * (24 + 400/20.0)), 10 + 400/12.0 - 400/16.0 + 1},
		{"relative acceleration that does not count", Tick{V: 20, X: 21, C: 10, VO: 10, AO: -0.5, AE: -0.41}, 2.1, 2.1, 0.5 + 100/40.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"ego brakes and does not arrive", Tick{V: 20, X: 24, C: 10, VO: 10, AE: -4}, 2.4, inf, 100 / 46.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"ego brakes and arrives", Tick{V: 20, X: 24, C: 10, VO: 10, AE: -2}, 2.4, 4, 100 / 46.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"ego accelerates behind a faster one", Tick{V: 10, X: 24, C: -5, VO: 15, AE: 2}, inf, 2.5 + math.Sqrt(6.25+24), 0, 5 + 100/12.0 - 225/16.0 + 1},
		{"ego brakes and just arrives", Tick{V: 20, X: 25, C: 10, VO: 10, AE: -2}, 2.5, 5, 100 / 48.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"relative acceleration that just counts", Tick{V: 20, X: 21, C: 10, VO: 10, AO: -0.1}, 2.1, (-10 + math.Sqrt(100+2*0.1*21)) / 0.1, 100 / 40.0, 10 + 400/12.0 - 100/16.0 + 1},
		{"both go apart", Tick{V: 10, X: 24, C: -5, VO: 15, AE: -2}, inf, inf, 0, 5 + 100/12.0 - 225/16.0 + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			in.TTC = timeToCollision(&p, &in)
			for _, q := range []struct {
				name      string
				got, want float64
			}{{"TTC", in.TTC, tt.ttc}, {"ETTC", extendedTTC(&p, &in), tt.ettc}, {"a_req", requiredDeceleration(&p, &in), tt.areq}, {"d_RSS", safeDistance(&p, &in), tt.rss}} {
				if !near(q.got, q.want) {
					t.Errorf("%s = %v, want %v", q.name, q.got, q.want)
				}
			}
		})
	}
}

func TestTimeHeadwayAndFlags(t *testing.T) {
	s := newScene(t)
	s.object(1, 30, 0, -0.51)
	if got := s.next(); got.THW != 1.5 || got.Closing || got.Driver || got.Hard || !near(got.RSS, 10+400/12.0-19.49*19.49/16+1) {
		t.Errorf("at 20 m/s: %+v", got)
	}
	s.speed = 1
	s.f.m.primed = false
	s.object(1, 30, 0, -0.52)
	if got := s.next(); !math.IsInf(got.THW, 1) || !got.Closing {
		t.Errorf("at 1 m/s: %+v", got)
	}
	s.f.brake = newest{true, 0, 2}
	if got := s.next(); !got.Driver || got.Hard {
		t.Errorf("brake: %+v", got)
	}
	s.f.brake.v = 0
	for _, tt := range []struct {
		ae           float64
		driver, hard bool
	}{{-2, false, false}, {-2.02, true, false}, {-3.5, true, false}, {-3.52, true, true}} {
		s.f.m.ae, s.f.m.vPrev = tt.ae, s.speed-tt.ae*0.05 // so that it stays
		got := s.next()
		if math.Abs(got.AE-tt.ae) > 1e-9 || got.Driver != tt.driver || got.Hard != tt.hard {
			t.Errorf("a_e %v: %+v", tt.ae, got)
		}
	}
}

// At the limit itself the filter would round; without acceleration the limit can be 0.
func TestBrakingLimitsAreInclusive(t *testing.T) {
	p := Default()
	p.DriverDecel, p.HardDecel = 0, 0
	s := newScene(t)
	s.f.p = p
	if got := s.next(); !got.Driver || !got.Hard {
		t.Errorf("at the limits: %+v", got)
	}
	s.speed += 0.01
	if got := s.next(); got.Driver || got.Hard {
		t.Errorf("above the limits: %+v", got)
	}
}

// beat is what decide sees at one tick, and the stage that it must leave.
type beat struct {
	ettc, areq float64
	stage      int
}

func TestStages(t *testing.T) {
	inf := math.Inf(1)
	quiet := beat{inf, 0, 0}
	repeat := func(n int, b beat) []beat { return slices.Repeat([]beat{b}, n) }
	limit := Default().ReleaseAReqFactor * Default().AReq[StageWarn] // rounded as the function rounds it
	warn3 := []beat{{2, 1, 0}, {2, 1, 0}, {2, 1, 1}}
	tests := []struct {
		name  string
		speed float64
		beats [][]beat
	}{
		{"nothing", 20, [][]beat{repeat(5, beat{2.61, 2.99, 0})}},
		{"warning by time", 20, [][]beat{{{2.6, 0, 0}, {2.6, 0, 0}, {2.6, 0, 1}}}},
		{"warning by deceleration", 20, [][]beat{{{inf, 3, 0}, {inf, 3, 0}, {inf, 3, 1}}}},
		{"warning needs three in a row", 20, [][]beat{{{2, 0, 0}, {2, 0, 0}, quiet, {2, 0, 0}, {2, 0, 0}, {2, 0, 1}}}},
		{"braking waits for the warning", 20, [][]beat{{{1.6, 3, 0}, {1.6, 3, 0}, {1.6, 3, 1}}, repeat(15, beat{1.6, 3, 1}), {{1.6, 3, 2}}}},
		{"partial braking by time alone", 20, [][]beat{warn3, repeat(30, beat{1.6, 2.99, 1})}},
		{"partial braking by deceleration alone", 20, [][]beat{warn3, repeat(30, beat{1.61, 3, 1})}},
		{"full braking waits for the warning", 20, [][]beat{{{2, 8, 0}, {2, 8, 1}}, repeat(15, beat{2, 8, 1}), {{2, 8, 3}}}},
		{"full braking by deceleration", 20, [][]beat{warn3, repeat(15, beat{2, 1, 1}), {{2, 8, 1}, {2, 8, 3}}}},
		{"just below", 20, [][]beat{warn3, repeat(15, beat{2, 1, 1}), repeat(5, beat{2, 7.99, 1})}},
		{"full braking by both", 20, [][]beat{warn3, repeat(15, beat{2, 1, 1}), {{1.1, 5, 1}, {1.1, 5, 3}}}},
		{"full braking needs both", 20, [][]beat{warn3, repeat(15, beat{2, 1, 1}), {{1.11, 5, 1}, {1.1, 4.99, 1}, {1.11, 5, 2}, {1.1, 4.99, 2}}}},
		{"urgent full", 20, [][]beat{{{0.9, 5, 0}, {0.9, 5, 3}}}},
		{"urgent partial", 20, [][]beat{{{0.9, 3, 0}, {0.9, 3, 0}, {0.9, 3, 2}}}},
		{"not urgent", 20, [][]beat{{{0.91, 5, 0}, {0.91, 5, 1}, {0.91, 5, 1}}}},
		{"rises from partial to full", 20, [][]beat{{{0.9, 3, 0}, {0.9, 3, 0}, {0.9, 3, 2}, {0.9, 5, 2}, {0.9, 5, 3}}}},
		{"slow", 2.77, [][]beat{repeat(10, beat{0.5, 9, 0})}},
		{"not slow", 2.78, [][]beat{{{2, 3, 0}, {2, 3, 0}, {2, 3, 1}}}},
		{"release after ten ticks", 20, [][]beat{warn3, repeat(9, beat{inf, 0, 1}), {quiet, quiet}}},
		{"hold by time", 20, [][]beat{warn3, repeat(30, beat{3.1, 0, 1})}},
		{"no hold by time", 20, [][]beat{warn3, repeat(9, beat{3.11, 0, 1}), {quiet}}},
		{"hold by deceleration", 20, [][]beat{warn3, repeat(30, beat{inf, limit, 1})}},
		{"no hold by deceleration", 20, [][]beat{warn3, repeat(9, beat{inf, 1.79, 1}), {quiet}}},
		{"hold starts the count again", 20, [][]beat{warn3, repeat(9, beat{inf, 0, 1}), {{3.1, 0, 1}}, repeat(9, beat{inf, 0, 1}), {quiet}}},
		{"full falls to warning", 20, [][]beat{{{0.9, 5, 0}, {0.9, 5, 3}}, repeat(9, beat{2, 0, 3}), {{2, 0, 1}}, repeat(9, beat{inf, 0, 1}), {quiet}}},
		{"full falls to partial", 20, [][]beat{{{0.9, 5, 0}, {0.9, 5, 3}}, repeat(30, beat{1.6, 2.99, 3})}},
		{"partial holds", 20, [][]beat{{{0.9, 3, 0}, {0.9, 3, 0}, {0.9, 3, 2}}, repeat(30, beat{2.1, 0, 2})}},
		{"partial falls", 20, [][]beat{{{0.9, 3, 0}, {0.9, 3, 0}, {0.9, 3, 2}}, repeat(9, beat{2.11, 0, 2}), {{2.11, 0, 1}}}},
		{"lead counts from the first warning", 20, [][]beat{warn3, repeat(9, beat{inf, 0, 1}), {quiet}, {{1.6, 3, 0}, {1.6, 3, 0}, {1.6, 3, 1}}, repeat(15, beat{1.6, 3, 1}), {{1.6, 3, 2}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := New(Default())
			for i, b := range slices.Concat(tt.beats...) {
				f.decide(&Tick{T: int64(i) * TickStep, OK: true, V: tt.speed, Slot: 1, C: 5, ETTC: b.ettc, AReq: b.areq})
				if f.m.stage != b.stage {
					t.Fatalf("tick %d: stage %d, want %d", i, f.m.stage, b.stage)
				}
			}
		})
	}
}

func TestStageWithoutClosingTarget(t *testing.T) {
	f := New(Default())
	close := Tick{V: 20, Slot: 1, C: 5, ETTC: 0.5, AReq: 9}
	step := func(t Tick) int { f.decide(&t); return f.m.stage }
	for range 10 {
		slow, none := close, close
		slow.C, none.Slot = 0.51, NoSlot
		if step(slow) != 0 || step(none) != 0 {
			t.Fatal("acts without a closing target")
		}
	}
	step(close)
	if step(close) != 3 {
		t.Fatal("does not act")
	}
	slow := close
	slow.C = 0.51
	for range 9 {
		step(slow)
	}
	if step(slow) != 0 {
		t.Error("a target that does not close holds the stage")
	}
}

func TestStandingCarLeavesEveryStage(t *testing.T) {
	f := New(Default())
	close := Tick{V: 20, Slot: 1, C: 5, ETTC: 0.5, AReq: 9}
	f.decide(&close)
	f.decide(&close)
	close.V = 0.5
	if f.decide(&close); f.m.stage != 3 {
		t.Errorf("at v_exit: stage %d", f.m.stage)
	}
	close.V = 0.49
	if f.decide(&close); f.m.stage != 0 || f.m.warned {
		t.Errorf("below v_exit: stage %d, warned %v", f.m.stage, f.m.warned)
	}
}
