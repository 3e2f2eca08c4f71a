package main

import "math"

// Products inside sums are converted to float64 explicitly throughout this package: that keeps compilers from fusing them on
// some processors, which would make other bytes there.

// step is the time step of the simulation [s].
const step = 0.005

const kmh = 1 / 3.6

// A vehicle moves along the ego vehicle's path: s is measured along it, y across it to the left [m].
type vehicle struct {
	s, v, a, y float64
}

func (c *vehicle) move(dt float64) {
	before := c.v
	if c.v += float64(c.a * dt); before >= 0 {
		c.v = max(0, c.v) // who comes towards us has a negative speed and keeps it
	}
	c.s += float64(0.5 * (before + c.v) * dt)
}

// An object is another vehicle, or anything else that a radar sees.
type object struct {
	vehicle
	slot       int     // of the radar's list
	from, to   float64 // times at which the radar has it [s]
	near, far  float64 // distances between which it does [m]
	straight   bool    // y is not measured across the path but across the line straight ahead
	flicker    int     // every that many samples the radar loses it for one and starts a new track; 0: never
	wasVisible bool
	seen       int
}

// A world is all that moves.
type world struct {
	t     float64
	ego   vehicle
	brake bool    // the driver's foot is on the pedal
	curve float64 // curvature of the path [1/m], left positive
	all   []*object
	noise *noise
}

func (w *world) add(o object) *object {
	if o.far == 0 {
		o.far = 150
	}
	if o.near == 0 {
		o.near = 0.3
	}
	if o.to == 0 {
		o.to = math.Inf(1)
	}
	w.all = append(w.all, &o)
	return &o
}

func (w *world) move() {
	w.ego.move(step)
	for _, o := range w.all {
		o.move(step)
	}
	w.t += step
}

// gap is how far an object is ahead of the ego vehicle's bumper [m].
func (w *world) gap(o *object) float64 { return o.s - w.ego.s }

// yawRate is that of the ego vehicle on its path [rad/s].
func (w *world) yawRate() float64 { return w.ego.v * w.curve }

// opening is the tangent of half the angle that the radar sees.
const opening = 0.3

// visible says whether the radar has an object.
func (w *world) visible(o *object) bool {
	x := w.gap(o)
	return w.t >= o.from && w.t <= o.to && x >= o.near && x <= o.far && math.Abs(w.across(o)) <= 2+float64(opening*x)
}

// across is an object's lateral distance from the line straight ahead, as a radar measures it.
func (w *world) across(o *object) float64 {
	if o.straight {
		return o.y
	}
	x := w.gap(o)
	return o.y + float64(0.5*w.curve*float64(x*x))
}

// hit lets the ego vehicle run into an object: they go on together, slowed down.
func (w *world) hit(o *object) {
	if w.gap(o) > 0.35 {
		return
	}
	w.ego.v = min(w.ego.v, o.v)
	w.ego.s = o.s - 0.35
}

// A driver follows the road and what is ahead by the intelligent driver model (Treiber, Hennecke, Helbing 2000).
type driver struct {
	wish     float64 // speed on a free road [m/s]
	headway  float64 // [s]
	accel    float64 // [m/s²]
	comfort  float64 // deceleration that is comfortable [m/s²]
	distance float64 // at standstill [m]
}

var calm = driver{wish: 50 * kmh, headway: 1.5, accel: 1.4, comfort: 1.8, distance: 3}

// follow is the acceleration of the ego vehicle behind lead, nil for a free road.
func (d driver) follow(w *world, lead *object) float64 {
	ratio := w.ego.v / d.wish
	free := ratio * ratio
	a := float64(d.accel * (1 - float64(free*free)))
	if lead == nil {
		return a
	}
	gap := max(w.gap(lead), 0.5)
	closing := w.ego.v - lead.v
	want := d.distance + max(0, float64(w.ego.v*d.headway)+float64(w.ego.v*closing)/float64(2*math.Sqrt(d.accel*d.comfort)))
	near := want / gap
	return max(a-float64(d.accel*float64(near*near)), -6.5)
}

// pedal moves an acceleration towards what is wanted, as fast as a foot can, and notes the brake pedal.
func (w *world) pedal(want, jerk float64) {
	change := float64(jerk * step)
	w.ego.a += min(max(want-w.ego.a, -change), change)
	if w.ego.v == 0 {
		w.ego.a = max(w.ego.a, 0)
	}
	w.brake = w.ego.a < -0.6 || w.ego.v == 0
}

// between says whether t lies in [from, to).
func between(t, from, to float64) bool { return t >= from && t < to }

// ramp goes from a to b while t goes from t0 to t1, smoothly.
func ramp(t, t0, t1, a, b float64) float64 {
	x := min(max((t-t0)/(t1-t0), 0), 1)
	return a + float64((b-a)*float64(float64(x*x)*(3-float64(2*x))))
}
