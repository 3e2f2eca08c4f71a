package main

import (
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A scenario is one sample recording.
type scenario struct {
	file    string
	comment string // of the recording's header, behind "SIMULATED. "
	start   time.Time
	seconds float64
	seed    uint64
	can     bool
	play    func(w *world) (act func()) // sets the scene; act sets accelerations before each step
}

type recorder interface {
	record(w *world)
	write(out *mdf.Writer) error
}

// write simulates the scenario and records it into a file.
func (s scenario) write(file string) error {
	w := &world{noise: newNoise(s.seed)}
	act := s.play(w)
	var rec recorder = newPhysicalRecorder(w)
	if s.can {
		rec = newCANRecorder(w)
	}
	for w.t < s.seconds {
		act()
		w.move()
		rec.record(w)
	}
	out, err := mdf.Create(file, mdf.WriterOptions{Version: 411, Start: s.start, Comment: "SIMULATED. " + s.comment,
		Compression: mdf.TransposedDeflate, BlockBytes: 256 << 10})
	if err != nil {
		return err
	}
	if err := rec.write(out); err != nil {
		return fmt.Errorf("%w; %v", err, out.Abort())
	}
	return out.Close()
}

var day = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

var scenarios = []scenario{
	{file: "sim_full_braking.mf4", start: day, seconds: 22, seed: 1, play: fullBraking,
		comment: "At 60 km/h the car ahead brakes hard to a standstill; the driver looks away, brakes too late and runs into it. " +
			"The AEB function has to warn, brake partially and brake fully."},
	{file: "sim_driver_brakes.mf4", start: day.Add(10 * time.Minute), seconds: 24, seed: 2, play: driverBrakes,
		comment: "Towards the end of a queue at 60 km/h the driver brakes late but hard enough and stops short of it. " +
			"The AEB function may warn and must not brake."},
	{file: "sim_false_targets.mf4", start: day.Add(20 * time.Minute), seconds: 40, seed: 3, play: falseTargets,
		comment: "Nothing is in the way: a bridge over the road, a manhole cover, cars parked at the roadside, slower traffic in the " +
			"next lane, a parked car straight ahead in a bend, oncoming traffic. The AEB function must not react."},
	{file: "sim_city_drive.mf4", start: day.Add(30 * time.Minute), seconds: 360, seed: 4, can: true, play: cityDrive,
		comment: "Six minutes in mixed traffic as raw frames of two CAN buses: following, a red light, a car that cuts in, one that turns " +
			"off, a lead that brakes hard. The driver brakes each time, twice late."},
}

// fullBraking: the lead brakes at 10 s with 6.5 m/s²; the driver reacts 0.5 s before the impact.
func fullBraking(w *world) func() {
	w.ego.v = 58 * kmh
	lead := w.add(object{vehicle: vehicle{s: 32, v: 58 * kmh}, slot: 0})
	w.add(object{vehicle: vehicle{s: 48, v: 64 * kmh, y: 3.5}, slot: 1})
	w.add(object{vehicle: vehicle{s: 190, v: 0, y: -3.6}, slot: 2})
	wish := calm
	wish.wish = 60 * kmh
	looking := true
	return func() {
		switch t := w.t; {
		case t < 10:
			lead.a = ramp(t, 2, 6, 0, 0.25) - ramp(t, 6, 9, 0, 0.25)
		case lead.v > 0:
			lead.a = max(lead.a-float64(20*step), -6.5)
		}
		if w.t > 9 && w.t < 11 {
			looking = false
		}
		if closing := w.ego.v - lead.v; closing > 1 && w.gap(lead)/closing < 0.5 {
			looking = true
		}
		switch {
		case looking && w.t > 11:
			w.pedal(-7, 25)
		case looking:
			w.pedal(wish.follow(w, lead), 4)
		default:
			w.pedal(0, 4)
		}
		w.hit(lead)
	}
}

// driverBrakes: the driver looks up when the queue is 2.4 s away.
func driverBrakes(w *world) func() {
	w.ego.v = 60 * kmh
	last := w.add(object{vehicle: vehicle{s: 165, v: 30 * kmh}, slot: 0, far: 140})
	w.add(object{vehicle: vehicle{s: 172, v: 28 * kmh, y: 3.5}, slot: 1, far: 140})
	awake := false
	return func() {
		last.a = -float64(1.1 * flagAs(between(w.t, 3, 60) && last.v > 0))
		closing := w.ego.v - last.v
		if closing > 3 && w.gap(last)/closing < 2.7 {
			awake = true
		}
		want := 0.0
		if awake {
			want = -5.8
		}
		if awake && w.ego.v < 3 {
			want = -2.5
		}
		w.pedal(want, 18)
	}
}

func flagAs(b bool) float64 { return float64(flag(b)) }

// falseTargets: what looks like an obstacle and is none.
func falseTargets(w *world) func() {
	w.ego.v = 70 * kmh
	w.add(object{vehicle: vehicle{s: 230, y: 0.2}, slot: 0, near: 64, far: 150})                          // a bridge: seen from afar only
	w.add(object{vehicle: vehicle{s: 150, y: -0.1}, slot: 1, near: 12, far: 45, flicker: 4})              // a manhole cover: comes and goes
	w.add(object{vehicle: vehicle{s: 120, v: 52 * kmh, y: 3.5}, slot: 2, to: 16})                         // slower, in the next lane
	w.add(object{vehicle: vehicle{s: 560, y: -2.9}, slot: 3, to: 33})                                     // parked at the roadside
	w.add(object{vehicle: vehicle{s: 445, y: -3.1}, slot: 1, from: 10, to: 24})                           // another
	w.add(object{vehicle: vehicle{s: 430, y: 0.1}, slot: 0, from: 17, near: 22, far: 70, straight: true}) // parked where the bend begins
	w.add(object{vehicle: vehicle{s: 900, v: -60 * kmh, y: 3.4}, slot: 2, from: 17})                      // oncoming
	wish := calm
	wish.wish = 70 * kmh
	return func() {
		w.curve = ramp(w.t, 17.2, 18.4, 0, 0.009) - ramp(w.t, 23.5, 25, 0, 0.009)
		w.pedal(wish.follow(w, nil), 3)
	}
}
