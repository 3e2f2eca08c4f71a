package aebkpi

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// quiet makes ok ticks from time 0 at 10 m/s without a target.
func quiet(n int) []Tick {
	ticks := make([]Tick, n)
	for i := range ticks {
		nan := math.NaN()
		ticks[i] = Tick{T: int64(i) * step, OK: true, Slot: noSlot, V: 10, X: nan, C: nan, VO: nan, AO: nan, TTC: nan, ETTC: nan, AReq: nan, RSS: nan, THW: nan}
	}
	return ticks
}

// target puts a target before the ticks.
func target(ticks []Tick, slot int, x, c float64) {
	for i := range ticks {
		t := &ticks[i]
		t.Slot, t.X, t.C, t.VO, t.AO, t.TTC, t.ETTC, t.AReq, t.RSS, t.THW = slot, x, c, t.V-c, 0, x/c, x/c, 1, 5, x/t.V
		t.Closing = true
	}
}

func stages(ticks []Tick, stage int) {
	for i := range ticks {
		ticks[i].Stage = stage
	}
}

func only(t *testing.T, ticks []Tick) Event {
	t.Helper()
	events := evaluate(ticks).Events
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	return events[0]
}

func TestReactionOfTheDriver(t *testing.T) {
	// The event lasts from tick 100 up to tick 120, with partial braking from 110 on.
	tests := []struct {
		tick      int
		driver    int64 // -1: none
		confirmed bool
	}{
		{59, -1, false}, {60, 60, false}, {89, 89, false}, {90, 90, true}, {110, 110, true}, {150, 150, true}, {151, 151, false}, {160, 160, false}, {161, -1, false},
	}
	for _, tt := range tests {
		ticks := quiet(200)
		target(ticks[90:130], 2, 20, 2)
		stages(ticks[100:120], 1)
		stages(ticks[110:115], 2)
		ticks[tt.tick].Driver = true
		e := only(t, ticks)
		want := int64(-1)
		if e.TDriver != nil {
			want = *e.TDriver / step
		}
		if want != tt.driver || (e.Verdict == VerdictConfirmed) != tt.confirmed {
			t.Errorf("reaction at %d: driver %d, %s", tt.tick, want, e.Verdict)
		}
		if e.TStart != 100*step || e.TEnd != 120*step || *e.TPartial != 110*step || e.TFull != nil || e.MaxStage != 2 || e.OpenEnd {
			t.Errorf("event = %+v", e)
		}
		if tt.driver == 90 && *e.DriverMinus != -1 || tt.driver == 150 && *e.DriverMinus != 2 || tt.driver < 0 && e.DriverMinus != nil {
			t.Errorf("driver minus brake = %v", e.DriverMinus)
		}
		ticks[tt.tick].OK = false // a tick that is not ok says nothing
		ticks[tt.tick].Stage = 0
		for _, e := range evaluate(ticks).Events {
			if e.TDriver != nil {
				t.Errorf("reaction at %d, not ok: %+v", tt.tick, e)
			}
		}
	}
}

func TestContact(t *testing.T) {
	tests := []struct {
		tick, slot int
		x          float64
		want       string
	}{
		{112, 2, 1.01, VerdictTrueCollision}, {112, 2, 1.02, VerdictUnconfirmed}, {112, 1, 1.01, VerdictUnconfirmed}, {109, 2, 1.01, VerdictUnconfirmed},
		{110, 2, 1.01, VerdictTrueCollision}, {140, 2, 0.6, VerdictTrueCollision}, {141, 2, 0.6, VerdictUnconfirmed},
	}
	for _, tt := range tests {
		ticks := quiet(200)
		target(ticks[90:130], 2, 20, 2)
		stages(ticks[100:120], 1)
		stages(ticks[110:115], 2)
		target(ticks[tt.tick:tt.tick+1], tt.slot, tt.x, 2)
		if e := only(t, ticks); e.Verdict != tt.want {
			t.Errorf("slot %d at %v m at tick %d: %s, want %s", tt.slot, tt.x, tt.tick, e.Verdict, tt.want)
		}
	}
	ticks := quiet(200)
	target(ticks[90:130], 2, 0.9, 2)
	stages(ticks[100:120], 1)
	if e := only(t, ticks); e.Verdict != VerdictWarningOnly || e.Counterfactual != nil || e.TPartial != nil {
		t.Errorf("warning alone: %+v", e)
	}
	ticks[105].Driver, ticks[112].Driver = true, true
	stages(ticks[110:115], 3)
	if e := only(t, ticks); e.Verdict != VerdictTrueCollision || *e.TPartial != 110*step || *e.TFull != 110*step || *e.DriverMinus != -0.25 {
		t.Errorf("contact goes before confirmation: %+v", e)
	}
}

func TestEventsEnd(t *testing.T) {
	ticks := quiet(50)
	target(ticks, 2, 20, 2)
	stages(ticks[10:20], 1)
	stages(ticks[21:30], 2)
	ticks[25].OK, ticks[25].Stage = false, 0
	stages(ticks[45:], 3)
	events := evaluate(ticks).Events
	var spans [][2]int64
	for _, e := range events {
		spans = append(spans, [2]int64{e.TStart / step, e.TEnd / step})
	}
	if d := cmp.Diff([][2]int64{{10, 20}, {21, 25}, {26, 30}, {45, 49}}, spans); d != "" {
		t.Error(d)
	}
	if last := events[3]; !last.OpenEnd || last.MaxStage != 3 || events[2].OpenEnd {
		t.Errorf("open end = %+v", last)
	}
}

func TestExtremesOfAnEvent(t *testing.T) {
	ticks := quiet(40)
	target(ticks[5:30], 2, 20, 2)
	stages(ticks[10:20], 1)
	ticks[10].V, ticks[10].X, ticks[10].C = 11, 18, 3
	ticks[12].TTC, ticks[13].ETTC, ticks[14].AReq, ticks[15].X = 1, 2, 7, 3
	ticks[16].TTC, ticks[16].ETTC = math.Inf(1), math.Inf(1)
	ticks[9].TTC, ticks[20].ETTC, ticks[21].AReq, ticks[8].X = 0.1, 0.1, 9, 0.1
	e := only(t, ticks)
	if e.VStart != 11 || *e.XStart != 18 || *e.ClosingStart != 3 || *e.Slot != 2 || *e.MinTTC != 1 || *e.MinETTC != 2 || *e.MaxAReq != 7 || *e.MinGap != 3 {
		t.Errorf("event = %+v", e)
	}
	for i := 10; i < 20; i++ {
		ticks[i].TTC, ticks[i].ETTC = math.Inf(1), math.Inf(1)
	}
	if e := only(t, ticks); e.MinTTC != nil || e.MinETTC != nil {
		t.Errorf("without times: %+v", e)
	}
}

func TestHardBrakingNearNoEventIsMissed(t *testing.T) {
	// The event lasts from tick 200 up to 220, hard braking five ticks from first on.
	for _, tt := range []struct {
		first  int
		missed int64
	}{{155, 1}, {156, 0}, {200, 0}, {260, 0}, {261, 1}} {
		ticks := quiet(300)
		target(ticks[200:220], 2, 20, 2)
		stages(ticks[200:220], 1)
		for i := tt.first; i < tt.first+5; i++ {
			ticks[i].Hard = true
		}
		k := evaluate(ticks).KPIs
		if k.HardBrakeEpisodes != 1 {
			t.Errorf("from %d on: %d episodes", tt.first, k.HardBrakeEpisodes)
		}
		ticks[tt.first+3].Closing = true
		k = evaluate(ticks).KPIs
		if k.Missed != tt.missed || k.HardBrakeWithTarget != 1 {
			t.Errorf("from %d on: %d missed of %d", tt.first, k.Missed, k.HardBrakeWithTarget)
		}
	}
	ticks := quiet(10)
	ticks[9].Hard, ticks[9].Closing = true, true
	if k := evaluate(ticks).KPIs; k.HardBrakeWithTarget != 1 || k.Missed != 1 {
		t.Errorf("hard braking at the end: %+v", k)
	}
}

func TestEpisodesAreRunsOfOKTicks(t *testing.T) {
	ticks := quiet(20)
	for _, i := range []int{3, 4, 5, 7, 10, 11, 12} {
		ticks[i].Driver = true
	}
	ticks[11].OK = false
	if k := evaluate(ticks).KPIs; k.DriverBrakeEpisodes != 4 || k.OKTicks != 19 || k.Ticks != 20 {
		t.Errorf("%+v", k)
	}
}

func TestBins(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want int
	}{{0, 0}, {0.49, 0}, {0.5, 1}, {2.59, 4}, {2.6, 5}, {1, 2}, {19.9, 8}, {20, 9}, {1e9, 9}} {
		if got := bin(ttcEdges[:], tt.v); got != tt.want {
			t.Errorf("%v s is in bin %d, want %d", tt.v, got, tt.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{{[]float64{7}, 0.05, 7}, {[]float64{3, 1}, 0.5, 2}, {[]float64{4, 1, 2}, 0.5, 2}, {[]float64{0, 10, 20, 30}, 0.05, 1.5}, {[]float64{1, 5}, 1, 5}} {
		if got := percentile(tt.values, tt.q); math.Abs(*got-tt.want) > 1e-12 {
			t.Errorf("%v of %v = %v, want %v", tt.q, tt.values, *got, tt.want)
		}
	}
	if percentile(nil, 0.5) != nil || mean(nil) != nil || *mean([]float64{1, 2, 6}) != 3 {
		t.Error("of nothing there is nothing")
	}
}

func TestGapAtTheSafeDistanceIsNoViolation(t *testing.T) {
	ticks := quiet(10)
	target(ticks[2:6], 1, 5, 1)
	ticks[3].X = 4.99
	if k := evaluate(ticks).KPIs; k.RSSViolation != 0.05 || *k.RSSViolationShare != 0.25 {
		t.Errorf("%+v", k)
	}
}

func TestFirstTickOfAnExtremeCounts(t *testing.T) {
	ticks := quiet(10)
	target(ticks[2:8], 1, 5, 1)
	ticks[4].TTC, ticks[5].TTC, ticks[5].ETTC, ticks[6].ETTC, ticks[3].AReq, ticks[7].AReq = 2, 2, 1, 1, 9, 9
	k := evaluate(ticks).KPIs
	if *k.MinTTCT != 4*step || *k.MinETTCT != 5*step || *k.MaxAReqT != 3*step {
		t.Errorf("%+v", k)
	}
}

func TestNothingRecorded(t *testing.T) {
	got := evaluate(nil)
	if d := cmp.Diff(oracle(nil), got); d != "" {
		t.Error(d)
	}
	if got.KPIs.MeanSpeed != nil || got.KPIs.MaxSpeed != nil || got.KPIs.MinAccel != nil || got.KPIs.WarningsPer1000km != nil {
		t.Errorf("%+v", got.KPIs)
	}
	ticks := quiet(3)
	for i := range ticks {
		ticks[i].V = 0
	}
	if k := evaluate(ticks).KPIs; k.WarningsPer1000km != nil || *k.MaxSpeed != 0 {
		t.Errorf("standing: %+v", k)
	}
}

func TestEstimateByHand(t *testing.T) {
	start := Tick{OK: true, Slot: 1, Stage: 2, V: 10, X: 30, VO: 0}
	e := newEstimate(&start)
	same := start
	for n, want := range []struct{ d, v, gap float64 }{
		{0, 10, 29.5}, {0, 10, 29}, {0, 10, 28.5}, {1, 9.95, 28.0025}, {2, 9.85, 27.51}, {3, 9.7, 27.025}, {4, 9.5, 26.55}, {4, 9.3, 26.085},
	} {
		e.step(&standard, &same)
		if math.Abs(e.d-want.d)+math.Abs(e.v-want.v)+math.Abs(e.gap-want.gap) > 1e-9 {
			t.Fatalf("tick %d: d %v, v %v, gap %v, want %+v", n+1, e.d, e.v, e.gap, want)
		}
	}
	slower := start
	slower.V = 5 // the recorded car is slower than the estimated one
	if e.step(&standard, &slower); e.v != 5 || e.lost {
		t.Errorf("v = %v", e.v)
	}
	e.finish(&standard)
	if got := e.result(); got.Outcome != OutcomeAvoided || *got.ImpactSpeed != 0 || !got.Extrapolated || math.Abs(got.SpeedReduction-10) > 1e-9 {
		t.Errorf("result = %+v", got)
	}
}

func TestEstimateOutcomes(t *testing.T) {
	near := Tick{OK: true, Slot: 1, Stage: 3, V: 10, X: 1, VO: 2}
	e := newEstimate(&near)
	for range 3 {
		e.step(&standard, &near)
	}
	if got := e.result(); got.Outcome != OutcomeCollision || *got.ImpactSpeed != 8 || got.Extrapolated || math.Abs(got.MinGap+0.2) > 1e-9 || got.SpeedReduction != 0 {
		t.Errorf("collision = %+v", got)
	}
	touching := Tick{OK: true, Slot: 1, Stage: 2, V: 10, X: 0.4, VO: 2}
	e = newEstimate(&touching)
	if e.step(&standard, &touching); e.gap != 0 || e.state != collision {
		t.Errorf("at no gap: %+v", e)
	}
	weak := ClosedLoop{DelayTicks: 4, Decel: [4]float64{}, Ramp: 20, MaxTicks: 200}
	far := Tick{OK: true, Slot: 1, Stage: 2, V: 10, X: 300, VO: 2}
	e = newEstimate(&far)
	e.finish(&weak)
	if got := e.result(); got.Outcome != OutcomeUndetermined || got.ImpactSpeed != nil || math.Abs(got.MinGap-(300-199*0.4)) > 1e-9 || len(e.stages) != 200 {
		t.Errorf("undetermined = %+v after %d ticks", got, len(e.stages))
	}
	backwards := Tick{OK: true, Slot: 1, Stage: 2, V: 10, X: 300, VO: -1}
	stopped := backwards
	stopped.V = 0
	e = newEstimate(&backwards)
	if e.step(&standard, &stopped); e.state != avoided {
		t.Errorf("standing before an object that comes: %+v", e)
	}
}

func TestEstimateRunsOnBehindTheEvent(t *testing.T) {
	ticks := quiet(300)
	for i := range ticks {
		ticks[i].V = 20
	}
	target(ticks, 2, 100, 15)
	stages(ticks[10:12], 2)
	got := evaluate(ticks)
	if d := cmp.Diff(oracle(ticks), got, sameFloats); d != "" {
		t.Error(d)
	}
	if c := got.Events[0].Counterfactual; c.Extrapolated || c.Outcome != OutcomeAvoided {
		t.Errorf("counterfactual = %+v", c)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	var k KPIs
	k.countEvents([]Event{{Counterfactual: &Counterfactual{Outcome: OutcomeUndetermined, SpeedReduction: 3}}, {Counterfactual: &Counterfactual{Outcome: OutcomeAvoided, SpeedReduction: 1}}})
	if k.CFUndetermined != 1 || k.CFAvoided != 1 || k.CFCollision != 0 || *k.CFSpeedReduction != 2 {
		t.Errorf("%+v", k)
	}
}

func TestMemoryOfReactionsAndEventsIsBounded(t *testing.T) {
	e := newEvaluation(standard)
	ticks := quiet(1000)
	target(ticks[5:20], 1, 20, 2)
	stages(ticks[5:20], 2)
	for i := range ticks {
		ticks[i].Driver = true
		e.Add(&ticks[i])
		if len(e.recent) > 41 {
			t.Fatalf("%d reactions are remembered", len(e.recent))
		}
	}
	if len(e.events) != 1 || e.settled != 1 {
		t.Errorf("%d of %d events are settled", e.settled, len(e.events))
	}
}

// A chunk in stone and one not, snapshots in between: state restored anywhere gives the same result, and what is in stone
// never changes its place.
func TestSnapshotsGrowAtTheirEnd(t *testing.T) {
	e := newEvaluation(standard)
	r := rand.New(rand.NewPCG(3, 4))
	var before []byte
	ticks := quiet(3 * chunkValues)
	for i := range ticks {
		if i%3 != 0 {
			target(ticks[i:i+1], 1, 20+r.Float64(), 1+r.Float64())
		}
		if i%700 == 0 {
			ticks[i].Stage = 1
		}
	}
	want := evaluate(ticks)
	for i := range ticks {
		e.Add(&ticks[i])
		if i%1000 != 0 {
			continue
		}
		state := e.snapshot()
		stone := len(e.lists.stone)
		if len(before) > 0 && !bytes.HasPrefix(state, before) {
			t.Fatalf("tick %d: what was in stone has changed", i)
		}
		if len(state)-stone > 2*chunkBytes+16<<10 {
			t.Fatalf("tick %d: %d bytes of a snapshot are not in stone", i, len(state)-stone)
		}
		before = slices.Clone(state[:stone])
		again := newEvaluation(standard)
		if err := again.restore(state); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.snapshot(), state) {
			t.Fatal("a restored state is another one")
		}
		e = again
	}
	if len(e.lists.stone) != 4*chunkBytes {
		t.Errorf("%d bytes in stone", len(e.lists.stone))
	}
	if d := cmp.Diff(want, e.Result("x", InputSamples{}), sameNaN); d != "" {
		t.Error(d)
	}
}

func TestRestoredAnywhereTheResultIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := drawTicks(rapid.Uint64().Draw(t, "seed"))
		e := newEvaluation(standard)
		for i := range ticks {
			if rapid.IntRange(0, 99).Draw(t, "cut") == 0 {
				again := newEvaluation(standard)
				if err := again.restore(e.snapshot()); err != nil {
					t.Fatal(err)
				}
				e = again
			}
			e.Add(&ticks[i])
		}
		if d := cmp.Diff(evaluate(ticks), e.Result("x", InputSamples{}), sameNaN); d != "" {
			t.Fatal(d)
		}
	})
}

var sameNaN = cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })

func TestRestoreRefusesDamage(t *testing.T) {
	ticks := drawTicks(5)
	e := newEvaluation(standard)
	for i := range ticks {
		e.Add(&ticks[i])
	}
	state := e.snapshot()
	for i := 0; i < len(state); i += 1 + len(state)/200 {
		if err := newEvaluation(standard).restore(state[:i]); err == nil {
			t.Errorf("%d of %d bytes restored", i, len(state))
		}
	}
	state[len(state)-1]++
	if err := newEvaluation(standard).restore(state); err == nil {
		t.Error("another version restored")
	}
}
