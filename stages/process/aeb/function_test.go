package aeb

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// collect runs a function over samples in one call and returns its ticks.
func collect(t fataler, f *Function, in Samples, to int64) []Tick {
	t.Helper()
	var got []Tick
	if err := f.Advance(in, to, func(t Tick) error { got = append(got, t); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func series(v float64, times ...int64) Series {
	s := Series{T: times}
	for range times {
		s.V = append(s.V, v)
	}
	return s
}

func tickTimes(ticks []Tick) []int64 {
	var times []int64
	for _, t := range ticks {
		times = append(times, t.T/ms)
	}
	return times
}

func TestGridGoesFromTheFirstToTheLastEgoSample(t *testing.T) {
	tests := []struct {
		first, last int64 // ns
		want        []int64
	}{
		{0, 100 * ms, []int64{0, 50, 100}},
		{1, 100*ms - 1, []int64{50}},
		{50 * ms, 149 * ms, []int64{50, 100}},
		{-100 * ms, 0, []int64{-100, -50, 0}},
		{-99 * ms, 1, []int64{-50, 0}},
		{51 * ms, 99 * ms, nil},
		{100 * ms, 100 * ms, []int64{100}},
	}
	for _, tt := range tests {
		in := Samples{Ego: series(10, tt.first, tt.last), Brake: series(1, -500*ms, 500*ms)}
		if got := tickTimes(collect(t, New(Default()), in, 1000*ms)); !slices.Equal(got, tt.want) {
			t.Errorf("%d to %d ns: ticks at %v, want %v", tt.first, tt.last, got, tt.want)
		}
	}
}

func TestTickWaitsForAllThatIsBeforeIt(t *testing.T) {
	f := New(Default())
	steps := []struct {
		in   Samples
		to   int64
		want []int64
	}{
		{Samples{Ego: series(10, 0)}, 0, []int64{0}}, // a sample at or behind to shows that to is too small
		{Samples{Ego: series(10, 60*ms)}, 80 * ms, []int64{50}},
		{Samples{}, 101 * ms, nil}, // computed, but the grid may end before it
		{Samples{Ego: series(10, 120*ms)}, 130 * ms, []int64{100}},
		{Samples{}, 900 * ms, nil},
		{Samples{Ego: series(10, 900*ms)}, 901 * ms, []int64{150, 200, 250, 300, 350, 400, 450, 500, 550, 600, 650, 700, 750, 800, 850, 900}},
		{Samples{}, 5000 * ms, nil},
	}
	for i, s := range steps {
		if got := tickTimes(collect(t, f, s.in, s.to)); !slices.Equal(got, s.want) {
			t.Errorf("step %d: ticks at %v, want %v", i, got, s.want)
		}
	}
}

func TestTicksWithoutFreshEgoSpeed(t *testing.T) {
	f := New(Default())
	got := collect(t, f, Samples{Ego: series(10, 0)}, 1)
	got = append(got, collect(t, f, Samples{}, 900*ms)...)
	got = append(got, collect(t, f, Samples{Ego: series(10, 900*ms, 1000*ms, 2000*ms)}, 2001*ms)...)
	if len(got) != 41 {
		t.Fatalf("%d ticks", len(got))
	}
	for i, tick := range got {
		fresh := i <= 4 || i >= 18 && i <= 24 || i == 40
		if tick.T != int64(i)*TickStep || tick.OK != fresh {
			t.Errorf("tick %d: at %d ms, ok %v", i, tick.T/ms, tick.OK)
		}
	}
}

func TestYawRateReachesTheCurvature(t *testing.T) {
	got := collect(t, New(Default()), Samples{Ego: series(10, 0), Yaw: series(0.7, 0)}, 1)
	if len(got) != 1 || !near(got[0].Kappa, 0.01) {
		t.Errorf("ticks = %+v", got)
	}
}

func TestSamplesAtTheTickAreTaken(t *testing.T) {
	f := New(Default())
	got := collect(t, f, Samples{Ego: Series{[]int64{0, 49 * ms, 50 * ms}, []float64{1, 2, 3}}, Brake: series(1, 50*ms)}, 51*ms)
	if len(got) != 2 || got[0].V != 1 || got[1].V != 3 || got[0].Driver || !got[1].Driver {
		t.Errorf("ticks = %+v", got)
	}
	f = New(Default()) // the slice ends with the tick: its sample is in the next one
	got = collect(t, f, Samples{Ego: series(1, 0)}, 50*ms)
	got = append(got, collect(t, f, Samples{Ego: series(3, 50*ms)}, 51*ms)...)
	if len(got) != 2 || got[1].V != 3 {
		t.Errorf("ticks = %+v", got)
	}
}

func TestBrakeHoldsItsLastValue(t *testing.T) {
	f := New(Default())
	in := Samples{Ego: series(10, 0, 100*ms, 200*ms, 300*ms), Brake: Series{[]int64{60 * ms, 210 * ms}, []float64{1, 0}}}
	var got []bool
	for _, tick := range collect(t, f, in, 301*ms) {
		got = append(got, tick.Driver)
	}
	if want := []bool{false, false, true, true, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("driver = %v, want %v", got, want)
	}
}

func TestStreamsAreSortedStably(t *testing.T) {
	f := New(Default())
	in := Samples{Ego: Series{[]int64{50 * ms, 0, 50 * ms}, []float64{2, 1, 3}},
		Tracks: []Track{{Slot: 1, T: []int64{20, 10, 20, 5, 6}, X: []float64{30, 20, 40, 9, 9}, R: make([]float64, 5),
			Valid: []float64{1, 1, 1, 0, 1}, New: []float64{0, 0, 0, 0, 1}}}}
	got := collect(t, f, in, 51*ms)
	if len(got) != 2 || got[1].V != 3 {
		t.Errorf("ticks = %+v", got)
	}
	if s := f.slotOf(1); s.x != 40 || s.n != 4 {
		t.Errorf("slot = %+v", s)
	}
}

func TestLateAndUnrealSamplesAreLeftOut(t *testing.T) {
	f := New(Default())
	nan := math.NaN()
	collect(t, f, Samples{Ego: Series{[]int64{0, 10, 20, 25, 26, 27}, []float64{5, nan, math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat32}}, Yaw: series(nan, 5), Brake: series(1, 30)}, 1000)
	late := Samples{Ego: series(9, 999), Yaw: series(9, 999), Brake: series(0, 999),
		Tracks: []Track{{Slot: 2, T: []int64{999, 1000}, X: []float64{1, 2}, Y: []float64{0, nan}, R: []float64{0, 0}}}}
	got := collect(t, f, late, 60*ms)
	got = append(got, collect(t, f, Samples{Ego: series(7, 61*ms)}, 62*ms)...)
	want := Counted{Ego: 8, Yaw: 2, Brake: 2, Tracks: map[int]int64{2: 2}, Late: 4, NotFinite: 7}
	if c := f.Counted(); fmt.Sprint(c) != fmt.Sprint(want) {
		t.Errorf("counted = %+v, want %+v", c, want)
	}
	if f.ego.v != 7 || len(got) != 1 || got[0].V != 5 || f.brake.v != 1 || f.yaw.seen || f.slotOf(2).seen {
		t.Errorf("ticks %+v, state %+v", got, f.state)
	}
}

func TestGridBeginsWithAnEgoSampleThatCounts(t *testing.T) {
	f := New(Default())
	got := collect(t, f, Samples{Ego: Series{[]int64{0, 10, 60 * ms, 70 * ms, 160 * ms}, []float64{math.NaN(), math.Inf(-1), 3, math.NaN(), 4}}}, 200*ms)
	if want := []int64{100, 150}; !slices.Equal(tickTimes(got), want) {
		t.Errorf("ticks at %v, want %v", tickTimes(got), want)
	}
	f = New(Default())
	collect(t, f, Samples{Yaw: series(1, 500*ms)}, 600*ms)
	got = collect(t, f, Samples{Ego: Series{[]int64{100 * ms, 700 * ms}, []float64{1, 2}}}, 701*ms) // the first is late
	if want := []int64{700}; !slices.Equal(tickTimes(got), want) {
		t.Errorf("behind a late sample: ticks at %v, want %v", tickTimes(got), want)
	}
}

func TestColumnsOfATrackThatAreMissing(t *testing.T) {
	f := New(Default())
	in := Samples{Ego: series(20, 0, 250*ms), Tracks: []Track{{Slot: 1, T: []int64{50 * ms, 100 * ms, 150 * ms, 200 * ms, 250 * ms}, X: []float64{30, 29, 28, 27, 26}, R: []float64{-2, -2, -2, -2, -2}}}}
	got := collect(t, f, in, 251*ms)
	last := got[len(got)-1]
	if got[len(got)-2].Slot != NoSlot || last.Slot != 1 || last.X != 26 || last.Y != 0 { // the fifth sample, at the tick
		t.Errorf("ticks = %+v", got)
	}
}

func TestSliceMayEndBeforeATrack(t *testing.T) {
	f := New(Default())
	got := collect(t, f, Samples{Ego: series(20, 0, 10), Tracks: []Track{{Slot: 1, T: []int64{120 * ms}, X: []float64{9}, R: []float64{0}}}}, 0)
	if f.consumed != 120*ms+1 || len(got) != 1 || len(f.held.ok) != 2 {
		t.Errorf("consumed up to %d: %+v, held %+v", f.consumed, got, f.held)
	}
}

func TestInputOutOfRangeIsRefused(t *testing.T) {
	for _, in := range []Samples{
		{Ego: series(1, maxTime)}, {Yaw: series(1, -maxTime-1)}, {Tracks: []Track{{T: []int64{0, maxTime}, X: make([]float64, 2), R: make([]float64, 2)}}}, {Tracks: []Track{{Slot: -1}}}, {Tracks: []Track{{Slot: maxSlots}}},
	} {
		if err := New(Default()).Advance(in, 0, func(Tick) error { return nil }); err == nil {
			t.Errorf("%+v: no error", in)
		}
	}
	f := New(Default()) // no ego signal for ever: nothing may be computed tick by tick
	collect(t, f, Samples{Ego: series(1, 0)}, math.MaxInt64)
	if n := len(f.Snapshot()); n > 4096 || f.held.lost < 1e9 {
		t.Errorf("snapshot of %d bytes, %d lost ticks", n, f.held.lost)
	}
}

func TestEmitterErrorEndsTheCall(t *testing.T) {
	calls := 0
	err := New(Default()).Advance(Samples{Ego: series(1, 0, 200*ms)}, 0, func(Tick) error { calls++; return errState })
	if err != errState || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// drawSamples makes a short drive with everything in it that the rules look at: cars that close, vanish and come again,
// jitter, silences. Only the seed is rapid's: values of its own would mostly be 0, and nothing would happen.
func drawSamples(seed uint64) (in Samples, to int64) {
	r := rand.New(rand.NewPCG(seed, 1))
	to = (3000 + r.Int64N(4000)) * ms
	times := func(period int64) []int64 {
		var all []int64
		for at := (r.Int64N(250)-50)*ms + 7; at < to; at += period*ms + r.Int64N(6*ms) {
			all = append(all, at)
			if r.IntN(80) == 0 {
				at += (100 + r.Int64N(500)) * ms
			}
		}
		return all
	}
	walk := func(n int, v, step, low, high float64) []float64 {
		column := make([]float64, n)
		for i := range column {
			v = min(high, max(low, v+step*r.NormFloat64()))
			column[i] = v
		}
		return column
	}
	in.Ego.T, in.Yaw.T, in.Brake.T = times(20), times(40), times(300)
	in.Ego.V = walk(len(in.Ego.T), 5+20*r.Float64(), 0.1, -1, 30)
	in.Yaw.V = walk(len(in.Yaw.T), 0, 0.01, -0.2, 0.2)
	in.Brake.V = walk(len(in.Brake.T), 0, 1, 0, 1)
	for slot := range r.IntN(4) {
		tr := Track{Slot: slot * 3, T: times(50)}
		n := len(tr.T)
		tr.Y, tr.R, tr.X = walk(n, 0, 0.05, -2, 2), walk(n, -12*r.Float64(), 0.3, -25, 3), make([]float64, n)
		tr.Valid, tr.New = make([]float64, n), make([]float64, n)
		x := 20 + 50*r.Float64()
		for i := range n {
			x = max(0.2, x+tr.R[i]*0.05)
			tr.X[i] = x
			tr.Valid[i] = float64(min(1, r.IntN(60)))
			tr.New[i] = float64(1 - min(1, r.IntN(90)))
		}
		in.Tracks = append(in.Tracks, tr)
	}
	return in, to
}

// between are the samples from one time up to another.
func between(in Samples, from, to int64) Samples {
	cut := func(times []int64) (int, int) {
		low, _ := slices.BinarySearch(times, from)
		high, _ := slices.BinarySearch(times, to)
		return low, high
	}
	part := func(s Series) Series {
		i, j := cut(s.T)
		return Series{s.T[i:j], s.V[i:j]}
	}
	out := Samples{Ego: part(in.Ego), Yaw: part(in.Yaw), Brake: part(in.Brake)}
	for _, tr := range in.Tracks {
		i, j := cut(tr.T)
		out.Tracks = append(out.Tracks, Track{tr.Slot, tr.T[i:j], tr.X[i:j], tr.Y[i:j], tr.R[i:j], tr.Valid[i:j], tr.New[i:j]})
	}
	return out
}

func tickBytes(ticks []Tick) []byte {
	c := codec{}
	for _, t := range ticks {
		t.code(&c)
	}
	return c.data
}

// However the input is cut, and whether or not the function is put away at each cut, the ticks are the same, bit for bit.
func TestTicksDoNotDependOnSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, end := drawSamples(rapid.Uint64().Draw(t, "seed"))
		p := Default()
		whole := New(p)
		want := collect(t, whole, in, end)
		f, from := New(p), int64(-maxTime)
		var got []Tick
		for _, cut := range append(rapid.SliceOfN(rapid.Int64Range(-100*ms, end), 0, 12).Draw(t, "cuts"), end) {
			if cut < from {
				continue
			}
			got = append(got, collect(t, f, between(in, from, cut), cut)...)
			from = cut
			again := New(p)
			state := f.Snapshot()
			if err := again.Restore(state); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Snapshot(), state) {
				t.Fatal("a restored state is another one")
			}
			f = again
		}
		if !bytes.Equal(tickBytes(got), tickBytes(want)) {
			t.Fatalf("%d ticks, want %d:\n%+v\n%+v", len(got), len(want), got, want)
		}
		if fmt.Sprint(f.Counted()) != fmt.Sprint(whole.Counted()) {
			t.Fatalf("counted %+v, want %+v", f.Counted(), whole.Counted())
		}
	})
}

// What the drawn drives show does not hang on rapid's seed or on how many it draws: every stage comes up in the first hundred.
func TestDrawnSamplesReachEveryStage(t *testing.T) {
	seen := map[int]int{}
	for seed := range uint64(100) {
		in, end := drawSamples(seed)
		for _, tick := range collect(t, New(Default()), in, end) {
			seen[tick.Stage]++
		}
	}
	if seen[1] == 0 || seen[2] == 0 || seen[3] == 0 {
		t.Errorf("the drives are too tame: ticks by stage %v", seen)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	f := New(Default())
	collect(t, f, Samples{Ego: series(1, 0, 10), Tracks: []Track{{Slot: 1, T: []int64{5}, X: []float64{9}, R: []float64{0}}}}, 0)
	state := f.Snapshot()
	for i := range state {
		if err := New(Default()).Restore(state[:i]); err == nil {
			t.Errorf("%d of %d bytes restored", i, len(state))
		}
	}
	if err := New(Default()).Restore(append(slices.Clone(state), 0)); err == nil {
		t.Error("a byte too many restored")
	}
	state[0]++
	if err := New(Default()).Restore(state); err == nil {
		t.Error("another version restored")
	}
}

func BenchmarkFunction(b *testing.B) {
	in := Samples{}
	const seconds = 60
	for i := range seconds * 80 {
		in.Ego.T, in.Ego.V = append(in.Ego.T, int64(i)*12_500_000), append(in.Ego.V, 20)
	}
	for slot := range 16 {
		tr := Track{Slot: slot}
		for i := range seconds * 20 {
			tr.T = append(tr.T, int64(i)*50*ms)
			tr.X, tr.Y, tr.R = append(tr.X, 30), append(tr.Y, float64(slot)/4), append(tr.R, -1)
		}
		in.Tracks = append(in.Tracks, tr)
	}
	b.ReportAllocs()
	for b.Loop() {
		f := New(Default())
		if err := f.Advance(in, seconds*1000*ms, func(Tick) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*seconds/b.Elapsed().Seconds(), "roads/s")
}
