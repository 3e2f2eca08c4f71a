package main

import (
	"math"
	"math/rand/v2"
)

// noise is a source of random numbers with a fixed seed.
type noise struct{ r *rand.Rand }

func newNoise(seed uint64) *noise { return &noise{rand.New(rand.NewPCG(seed, 0x6d696c65706f7374))} }

// normal is a normally distributed number, made of twelve even ones so that it is the same on every processor.
func (n *noise) normal(sigma float64) float64 {
	sum := -6.0
	for range 12 {
		sum += n.r.Float64()
	}
	return sum * sigma
}

// A drift is noise that wanders: what a sensor is off by stays about the same for a while.
type drift struct{ v float64 }

func (d *drift) next(n *noise, sigma, memory float64) float64 {
	d.v = float64(memory*d.v) + n.normal(sigma*math.Sqrt(1-float64(memory*memory)))
	return d.v
}

// A target is what the radar says of one slot.
type target struct {
	x, y, r    float64
	valid, new bool
}

// A radar measures the objects of a world.
type radar struct {
	x, y, r map[*object]*drift
}

func newRadar() *radar {
	return &radar{map[*object]*drift{}, map[*object]*drift{}, map[*object]*drift{}}
}

// look is what the radar has in a slot now; one call is one cycle.
func (r *radar) look(w *world, slot int) target {
	for _, o := range w.all {
		if o.slot != slot {
			continue
		}
		visible := w.visible(o)
		if visible {
			o.seen++
		}
		if o.flicker > 0 && o.seen%o.flicker == 0 {
			visible = false
		}
		t := target{valid: visible, new: visible && !o.wasVisible}
		o.wasVisible = visible
		if visible {
			r.measure(w, o, &t)
			return t
		}
	}
	return target{}
}

func (r *radar) measure(w *world, o *object, t *target) {
	if r.x[o] == nil {
		r.x[o], r.y[o], r.r[o] = &drift{}, &drift{}, &drift{}
	}
	t.x = max(0, w.gap(o)+r.x[o].next(w.noise, 0.06, 0.9))
	t.y = w.across(o) + r.y[o].next(w.noise, 0.07, 0.9)
	t.r = o.v - w.ego.v + r.r[o].next(w.noise, 0.04, 0.8)
}

// A gauge measures the ego vehicle.
type gauge struct {
	wheel  [4]drift
	yaw    drift
	accel  drift
	steer  drift
	yawOff float64 // bias of the yaw rate sensor [deg/s]
}

func (g *gauge) wheels(w *world) [4]float64 {
	var v [4]float64
	for i := range v {
		side := float64(w.yawRate() * 0.78) // half the track width
		if i%2 == 0 {
			side = -side
		}
		v[i] = max(0, w.ego.v-side+g.wheel[i].next(w.noise, 0.015, 0.7))
		if w.ego.v == 0 {
			v[i] = 0
		}
	}
	return v
}

const degrees = 180 / math.Pi

func (g *gauge) yawRate(w *world) float64 {
	return float64(w.yawRate()*degrees) + g.yawOff + g.yaw.next(w.noise, 0.06, 0.6)
}

func (g *gauge) acceleration(w *world) float64 { return w.ego.a + g.accel.next(w.noise, 0.05, 0.8) }

// steering is the angle of the wheel [deg]: steering ratio 15, wheelbase 2.7 m.
func (g *gauge) steering(w *world) float64 {
	return float64(w.curve*2.7*15*degrees) + g.steer.next(w.noise, 0.15, 0.95)
}

// clock says when something that comes at a rate comes next, a little off as clocks are.
type clock struct {
	period, next float64
}

func newClock(rate, phase float64) *clock { return &clock{1 / rate, phase} }

// due is the time of the sample that falls into the step before now, rounded to microseconds.
func (c *clock) due(now float64, n *noise) (float64, bool) {
	if now < c.next {
		return 0, false
	}
	t := c.next + min(max(n.normal(0.00005), -0.0002), 0.0002)
	c.next += c.period
	return math.Round(t*1e6) / 1e6, true
}
