// Package aeb runs an automatic emergency braking function over the signals of a recording.
//
// The function is defined to the letter in AEB.md of the road logs: public rules (the RSS distance, UN Regulation 152's
// warning before braking), not any maker's calibration. Function is that definition as a state machine without any
// knowledge of pipelines; Type puts it into a stage. All arithmetic is plain float64; products that are added to are
// rounded explicitly (float64(a*b)), since the Go specification lets a compiler fuse them otherwise and results must be
// the same on every machine.
package aeb

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// TickStep is the grid of the function in nanoseconds.
const TickStep = 50_000_000

const (
	maxSlots = 1024    // bounds the state that a recording can make a Function keep
	maxTime  = 1 << 60 // ns, 36 years: no recording is longer, and sums of two stay in an int64
)

// A Function is the function under test over one recording: samples in, ticks out. Feed it with Advance in the order of
// time and end with Finish. Ticks do not depend on how the samples are cut into calls. It belongs to one goroutine.
type Function struct {
	p Params
	state
}

// state is all that a Function remembers; see Snapshot.
type state struct {
	consumed int64 // every sample before it was taken
	started  bool
	next     int64 // time of the next tick; with started

	ego, yaw, brake newest
	slots           []slot // by number

	m    motion
	held held

	counts counts
}

// newest is the last sample of a stream.
type newest struct {
	seen bool
	t    int64
	v    float64
}

// slot is one track of the sensor.
type slot struct {
	number  int
	seen    bool // a valid sample has been
	t       int64
	x, y, r float64
	n       int64 // valid samples of the object in it
	moved   bool
	count   int64 // samples given, valid or not
}

// held are ticks that are computed and not yet known to exist: the grid ends with the last ego sample. After ego_timeout
// they are not ok and all alike, so a count of them is enough, however long the ego signal is gone.
type held struct {
	ok   []Tick
	lost int64 // not-ok ticks behind them
}

// Series are samples of one value, in order of time.
type Series struct {
	T []int64
	V []float64
}

// Track are samples of one slot, in order of time. Valid and New are true where not 0; nil means true and false.
type Track struct {
	Slot       int
	T          []int64
	X, Y, R    []float64 // Y nil means 0
	Valid, New []float64
}

// Samples are what one call of Advance adds, in the units of AEB.md, section 1: speed [m/s], yaw rate [rad/s], brake pedal,
// tracks. Slots may come in any order.
type Samples struct {
	Ego, Yaw, Brake Series
	Tracks          []Track
}

// counts are the samples of the streams that are no tracks, and those that do not count.
type counts struct{ ego, yaw, brake, late, notFinite int64 }

// Counted are the samples that each stream has had.
type Counted struct {
	Ego, Yaw, Brake int64
	Tracks          map[int]int64 // by slot
	Late            int64         // behind the time already computed, so left out
	NotFinite       int64         // NaN, infinite, or larger than anything that is measured; left out, or not valid where a track
}

// New returns a function in its initial state. p must be valid (Params.Validate).
func New(p Params) *Function {
	return &Function{p: p, state: state{consumed: -maxTime, m: motion{slot: NoSlot}}}
}

// Counted returns the number of samples given so far.
func (f *Function) Counted() Counted {
	c := Counted{f.counts.ego, f.counts.yaw, f.counts.brake, map[int]int64{}, f.counts.late, f.counts.notFinite}
	for _, s := range f.slots {
		c.Tracks[s.number] = s.count
	}
	return c
}

// Advance takes samples and calls out for each tick that is now known, in order. to says that every sample before it has
// been given by now (ns since the recording's start); a tick at T is computed when T < to and given out when an ego sample
// at or after T has been, since the grid ends with the last of them. What has not been given out by the end of the recording
// lies behind its last ego sample and is no tick. An error, of out or for a slot or a time out of range, leaves the function
// unusable.
func (f *Function) Advance(in Samples, to int64, out func(Tick) error) error {
	b, err := f.batch(in)
	if err != nil {
		return err
	}
	to = max(min(to, maxTime), b.end(), f.consumed)
	if err := f.run(b, to, out); err != nil {
		return err
	}
	b.take(f, to-1) // before the next tick, whenever that is
	f.consumed = to
	return f.release(out)
}

// run computes the ticks before to.
func (f *Function) run(b *batch, to int64, out func(Tick) error) error {
	if !f.started {
		first, ok := b.nextEgo(f.consumed)
		if !ok {
			return nil
		}
		f.started, f.next = true, ceilToGrid(first)
	}
	for f.next < to {
		b.take(f, f.next)
		if err := f.release(out); err != nil {
			return err
		}
		if t := f.tick(f.next); t.OK {
			f.held.ok = append(f.held.ok, t)
			f.next += TickStep
			continue
		}
		f.skip(b, to)
	}
	return nil
}

// skip counts the ticks that are not ok because no ego sample comes before the next one of the batch, or before to.
func (f *Function) skip(b *batch, to int64) {
	until := to // behind f.next, as is the next ego sample; the first tick that may be ok is not before it
	if t, ok := b.nextEgo(f.consumed); ok {
		until = min(to, t)
	}
	n := (until-f.next-1)/TickStep + 1
	f.held.lost += n
	f.next += n * TickStep
}

// silence is the longest stretch without a sample of the ego speed that samples behind the last one end: the grid fills it with ticks.
func silence(last newest, ego Series) (from, length int64) {
	for i, t := range ego.T {
		if !finite(ego.V[i]) {
			continue
		}
		if last.seen && t-last.t > length {
			from, length = last.t, t-last.t
		}
		last = newest{seen: true, t: t}
	}
	return from, length
}

// release gives out the held ticks up to the newest ego sample.
func (f *Function) release(out func(Tick) error) error {
	h := &f.held
	known := 0
	for ; known < len(h.ok) && h.ok[known].T <= f.ego.t; known++ {
		if err := out(h.ok[known]); err != nil {
			return err
		}
	}
	h.ok = slices.Delete(h.ok, 0, known)
	for at := f.next - h.lost*TickStep; h.lost > 0 && at <= f.ego.t; at += TickStep {
		if err := out(lostTick(at)); err != nil {
			return err
		}
		h.lost--
	}
	return nil
}

// ceilToGrid is the first grid time at or after t.
func ceilToGrid(t int64) int64 {
	k := t / TickStep
	if k*TickStep < t {
		k++
	}
	return k * TickStep
}

// slotOf returns the slot of a number, made when it is new.
func (f *Function) slotOf(number int) *slot {
	i, ok := slices.BinarySearchFunc(f.slots, number, func(s slot, n int) int { return cmp.Compare(s.number, n) })
	if !ok {
		f.slots = slices.Insert(f.slots, i, slot{number: number})
	}
	return &f.slots[i]
}

// takeValue keeps a sample as the newest of its stream.
func (f *Function) takeValue(last *newest, t int64, v float64) {
	switch {
	case f.late(t):
	case !finite(v):
		f.counts.notFinite++
	default:
		*last = newest{true, t, v}
	}
}

// late says whether a sample lies behind ticks that were computed without it, and counts it. A recording's signals are sorted
// within the reader's reorder window; what comes later still would only make ticks depend on chance.
func (f *Function) late(t int64) bool {
	if t < f.consumed {
		f.counts.late++
		return true
	}
	return false
}

// takeTrack is section 3, "Track samples".
func (f *Function) takeTrack(s *slot, t int64, x, y, r float64, valid, isNew bool) {
	if f.late(t) {
		return
	}
	if valid && !finite(x, y, r) {
		f.counts.notFinite++
		valid = false
	}
	switch {
	case !valid:
		s.n, s.moved = 0, false
		return
	case isNew:
		s.n, s.moved = 1, false
	default:
		s.n++
	}
	s.seen, s.t, s.x, s.y, s.r = true, t, x, y, r
}

// most is the largest value, in the units of the signals, that can have been measured. Loggers write marks such as the largest
// number of a type where they have no value; squared, they are not finite any more.
const most = 1e9

func finite(values ...float64) bool {
	for _, v := range values {
		if !(math.Abs(v) <= most) { // NaN neither
			return false
		}
	}
	return true
}

// batch walks through the samples of one call by time.
type batch struct {
	ego, yaw, brake Series
	tracks          []Track
	iEgo, iYaw      int
	iBrake          int
	iTrack          []int
}

// batch sorts the samples by time and counts them. Sorting is stable, as the definition wants; a reader gives them sorted.
func (f *Function) batch(in Samples) (*batch, error) {
	b := &batch{ego: in.Ego.sorted(), yaw: in.Yaw.sorted(), brake: in.Brake.sorted(), iTrack: make([]int, len(in.Tracks))}
	f.counts.ego += int64(len(in.Ego.T))
	f.counts.yaw += int64(len(in.Yaw.T))
	f.counts.brake += int64(len(in.Brake.T))
	for _, tr := range in.Tracks {
		if tr.Slot < 0 || tr.Slot >= maxSlots {
			return nil, fmt.Errorf("track slot %d is not in 0 to %d", tr.Slot, maxSlots-1)
		}
		f.slotOf(tr.Slot).count += int64(len(tr.T))
		b.tracks = append(b.tracks, tr.sorted())
	}
	return b, b.checkTimes()
}

// times calls do with the time column of each stream that has samples.
func (b *batch) times(do func(t []int64)) {
	for _, t := range [][]int64{b.ego.T, b.yaw.T, b.brake.T} {
		if len(t) > 0 {
			do(t)
		}
	}
	for _, tr := range b.tracks {
		if len(tr.T) > 0 {
			do(tr.T)
		}
	}
}

func (b *batch) checkTimes() (err error) {
	b.times(func(t []int64) {
		if t[0] < -maxTime || t[len(t)-1] >= maxTime {
			err = fmt.Errorf("times from %.3f to %.3f s are not those of a recording [E-time]\n  next: `milepost inspect` shows the times of each "+
				"channel group; they have to count from the recording's start", float64(t[0])/1e9, float64(t[len(t)-1])/1e9)
		}
	})
	return err
}

// end is behind the last sample of the batch.
func (b *batch) end() int64 {
	end := int64(-maxTime)
	b.times(func(t []int64) { end = max(end, t[len(t)-1]+1) })
	return end
}

// nextEgo is the time of the next ego sample of the batch that counts.
func (b *batch) nextEgo(consumed int64) (int64, bool) {
	for i := b.iEgo; i < len(b.ego.T); i++ {
		if b.ego.T[i] >= consumed && finite(b.ego.V[i]) {
			return b.ego.T[i], true
		}
	}
	return 0, false
}

// take gives the samples up to and with time t to the function.
func (b *batch) take(f *Function, t int64) {
	for ; b.iEgo < len(b.ego.T) && b.ego.T[b.iEgo] <= t; b.iEgo++ {
		f.takeValue(&f.ego, b.ego.T[b.iEgo], b.ego.V[b.iEgo])
	}
	for ; b.iYaw < len(b.yaw.T) && b.yaw.T[b.iYaw] <= t; b.iYaw++ {
		f.takeValue(&f.yaw, b.yaw.T[b.iYaw], b.yaw.V[b.iYaw])
	}
	for ; b.iBrake < len(b.brake.T) && b.brake.T[b.iBrake] <= t; b.iBrake++ {
		f.takeValue(&f.brake, b.brake.T[b.iBrake], b.brake.V[b.iBrake])
	}
	for i := range b.tracks {
		tr := &b.tracks[i]
		j := b.iTrack[i]
		if j == len(tr.T) || tr.T[j] > t {
			continue
		}
		for s := f.slotOf(tr.Slot); j < len(tr.T) && tr.T[j] <= t; j++ {
			f.takeTrack(s, tr.T[j], tr.X[j], at(tr.Y, j, 0), tr.R[j], at(tr.Valid, j, 1) != 0, at(tr.New, j, 0) != 0)
		}
		b.iTrack[i] = j
	}
}

// at is element i of an optional column.
func at(column []float64, i int, missing float64) float64 {
	if column == nil {
		return missing
	}
	return column[i]
}

func (s Series) sorted() Series {
	if slices.IsSorted(s.T) {
		return s
	}
	order := orderOf(s.T)
	return Series{pick(s.T, order), pick(s.V, order)}
}

func (tr Track) sorted() Track {
	if slices.IsSorted(tr.T) {
		return tr
	}
	o := orderOf(tr.T)
	return Track{tr.Slot, pick(tr.T, o), pick(tr.X, o), pick(tr.Y, o), pick(tr.R, o), pick(tr.Valid, o), pick(tr.New, o)}
}

// orderOf lists the indices of t by time; equal times keep their order.
func orderOf(t []int64) []int {
	order := make([]int, len(t))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t[a], t[b]) })
	return order
}

func pick[T any](column []T, order []int) []T {
	if column == nil {
		return nil
	}
	picked := make([]T, len(order))
	for i, j := range order {
		picked[i] = column[j]
	}
	return picked
}
