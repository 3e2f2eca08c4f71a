package main

// cityDrive is a drive of six minutes behind changing cars. Times are those of its events.
func cityDrive(w *world) func() {
	w.ego.v = 0
	d := calm
	first := w.add(object{vehicle: vehicle{s: 9}, slot: 0, to: 130})
	light := w.add(object{vehicle: vehicle{s: 1e6}, slot: 1, from: 131}) // the queue at the red light
	cut := w.add(object{vehicle: vehicle{s: 1e6}, slot: 2, from: 208})   // cuts in, then goes on ahead
	w.add(object{vehicle: vehicle{s: 260, y: -2.8}, slot: 3, to: 60})
	w.add(object{vehicle: vehicle{s: 900, y: -2.9}, slot: 3, from: 61, to: 120})
	w.add(object{vehicle: vehicle{s: 1500, y: -2.7}, slot: 4})
	bus := w.add(object{vehicle: vehicle{s: 1e6, y: 3.6}, slot: 5, from: 230}) // in the next lane
	act := &city{w: w, first: first, light: light, cut: cut, bus: bus}
	return func() {
		lead := act.traffic()
		w.pedal(act.drive(d, lead), 6)
	}
}

type city struct {
	w                      *world
	first, light, cut, bus *object
	held                   float64 // acceleration that a driver who looks away keeps
}

// traffic moves the others and returns the one ahead, nil for a free road.
func (c *city) traffic() *object {
	t, w := c.w.t, c.w
	switch {
	case t < 130:
		c.leadFirst(t)
		if t > 124 { // it turns off to the right
			c.first.y = -ramp(t, 124, 127, 0, 4.5)
			if t > 125.5 {
				return nil
			}
		}
		return c.first
	case t < 131:
		c.light.s, c.light.v = w.ego.s+160, 12*kmh
		return nil
	case t < 207:
		c.light.a = -float64(1.0*flagAs(t < 140)) * flagAs(c.light.v > 0)
		if t > 165 {
			c.light.a = ramp(t, 165, 168, 0, 1.6) - ramp(t, 172, 178, 0, 1.6)
		}
		return c.light
	case t < 208:
		c.cut.s, c.cut.v, c.cut.y = w.ego.s+12, w.ego.v+1, 3.5
		return c.light
	}
	return c.cutIn(t)
}

// leadFirst: the first car drives off, slows for a crossing, stops and goes on, brakes hard for a pedestrian at 96 s.
func (c *city) leadFirst(t float64) {
	f := c.first
	wish := 48 * kmh
	switch {
	case t < 4:
		wish = 0
	case between(t, 28, 36):
		wish = 25 * kmh
	case between(t, 55, 68):
		wish = 0
	}
	f.a = min(max(float64(0.6*(wish-f.v)), -2.0), 1.5)
	if between(t, 96, 98.2) {
		f.a = -5.5
	}
}

// cutIn: a car changes lane close ahead and slows down; later it brakes hard.
func (c *city) cutIn(t float64) *object {
	w := c.w
	c.light.to = 215
	c.cut.y = 3.5 - ramp(t, 212, 215, 0, 3.5)
	wish := 44 * kmh
	switch {
	case between(t, 212, 217):
		wish = 33 * kmh
	case between(t, 262, 275):
		wish = 20 * kmh
	case t > 345:
		wish = 0
	}
	c.cut.a = min(max(float64(0.8*(wish-c.cut.v)), -2.4), 1.3)
	if between(t, 308, 310.6) {
		c.cut.a = -6.2
	}
	if c.bus.s > 1e5 && t >= 229 {
		c.bus.s, c.bus.v = w.ego.s+70, 30*kmh
	}
	c.light.a = 0.2
	if t < 213.4 {
		return c.light
	}
	return c.cut
}

// drive is what the driver does: follow, but look away now and then.
func (c *city) drive(d driver, lead *object) float64 {
	t := c.w.t
	c.w.curve = 0.004*(ramp(t, 40, 43, 0, 1)-ramp(t, 48, 51, 0, 1)) - float64(0.003*(ramp(t, 240, 244, 0, 1)-ramp(t, 252, 256, 0, 1)))
	away := between(t, 95.8, 97.5) || between(t, 307.8, 309.75)
	if away {
		return c.held
	}
	c.held = max(d.follow(c.w, lead), -0.3)
	return d.follow(c.w, lead)
}
