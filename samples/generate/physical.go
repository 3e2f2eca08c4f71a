package main

import (
	"fmt"
	"math"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// slotsPhysical is the number of objects that the radar of the physical recordings lists.
const slotsPhysical = 4

// A track is one channel group under construction.
type track struct {
	clock *clock
	spec  mdf.GroupSpec
	times []float64
	cols  []mdf.Samples
	take  func(w *world) []int64 // raw values of one record; invalid marks one that is not valid
}

// invalid is the raw value of a sample that is marked invalid.
const invalid = math.MinInt64

// A physicalRecorder records physical signals: one channel group a rate, integers with a linear conversion.
type physicalRecorder struct{ tracks []*track }

func newPhysicalRecorder(w *world) *physicalRecorder {
	g, r := &gauge{yawOff: 0.31}, newRadar()
	p := &physicalRecorder{}
	speed := channel("WheelSpeed_FL", "km/h", mdf.UintLE, 16, 0.01)
	p.add("wheel_speeds", newClock(50, 0.0031), func(w *world) []int64 {
		var raw []int64
		for _, v := range g.wheels(w) {
			raw = append(raw, quantize(v/kmh, 0.01, 0, math.MaxUint16))
		}
		return raw
	}, speed, renamed(speed, "WheelSpeed_FR"), renamed(speed, "WheelSpeed_RL"), renamed(speed, "WheelSpeed_RR"))
	p.add("vehicle_motion", newClock(50, 0.0047), func(w *world) []int64 {
		return []int64{signed16(g.yawRate(w), 0.01), signed16(g.acceleration(w), 0.01), signed16(g.steering(w), 0.1)}
	}, channel("YawRate", "deg/s", mdf.IntLE, 16, 0.01), channel("LongAccel", "m/s^2", mdf.IntLE, 16, 0.01),
		channel("SteeringAngle", "deg", mdf.IntLE, 16, 0.1))
	p.add("driver_brake", newClock(25, 0.0113), func(w *world) []int64 { return []int64{flag(w.brake)} },
		channel("BrakePedal", "", mdf.UintLE, 8, 1))
	for slot := range slotsPhysical {
		p.addObject(slot, r)
	}
	return p
}

func (p *physicalRecorder) addObject(slot int, r *radar) {
	name := func(s string) string { return fmt.Sprintf("Obj%d_%s", slot, s) }
	x, v := channel(name("DistX"), "m", mdf.UintLE, 16, 0.01), channel(name("RelSpeed"), "m/s", mdf.IntLE, 16, 0.01)
	x.Invalidation, v.Invalidation = true, true
	p.add(fmt.Sprintf("radar_object_%d", slot), newClock(20, 0.0172+float64(float64(slot)*0.0004)), func(w *world) []int64 {
		t := r.look(w, slot)
		if !t.valid {
			return []int64{invalid, 0, invalid, 0, 0}
		}
		return []int64{quantize(t.x, 0.01, 0, math.MaxUint16), signed16(t.y, 0.02), signed16(t.r, 0.01), 1, flag(t.new)}
	}, x, channel(name("DistY"), "m", mdf.IntLE, 16, 0.02), v, channel(name("Valid"), "", mdf.UintLE, 8, 1), channel(name("New"), "", mdf.UintLE, 8, 1))
}

func channel(name, unit string, t mdf.DataType, bits int, resolution float64) mdf.ChannelSpec {
	c := mdf.ChannelSpec{Name: name, Unit: unit, DataType: t, Bits: bits}
	if resolution != 1 {
		c.Conversion = mdf.LinearConversion(0, resolution)
	}
	return c
}

func renamed(c mdf.ChannelSpec, name string) mdf.ChannelSpec {
	c.Name = name
	return c
}

func (p *physicalRecorder) add(group string, c *clock, take func(*world) []int64, channels ...mdf.ChannelSpec) {
	p.tracks = append(p.tracks, &track{clock: c, take: take, cols: make([]mdf.Samples, len(channels)),
		spec: mdf.GroupSpec{AcqName: group, Channels: channels,
			Source: &mdf.Source{Name: group, Path: "simulation", Type: 4, Simulated: true}}})
}

// record takes the samples that are due.
func (p *physicalRecorder) record(w *world) {
	for _, tr := range p.tracks {
		t, ok := tr.clock.due(w.t, w.noise)
		if !ok {
			continue
		}
		tr.times = append(tr.times, t)
		for i, raw := range tr.take(w) {
			c := &tr.cols[i]
			if tr.spec.Channels[i].Invalidation {
				c.Valid = append(c.Valid, raw != invalid)
			}
			if raw == invalid {
				raw = 0
			}
			c.Int = append(c.Int, raw)
		}
	}
}

func (p *physicalRecorder) write(out *mdf.Writer) error {
	for _, tr := range p.tracks {
		g, err := out.AddGroup(tr.spec)
		if err != nil {
			return err
		}
		if err := g.Append(tr.times, tr.cols...); err != nil {
			return err
		}
	}
	return nil
}

// quantize is a value in steps of a resolution, within what the field holds.
func quantize(v, resolution float64, low, high int64) int64 {
	return min(max(int64(math.Round(v/resolution)), low), high)
}

func signed16(v, resolution float64) int64 {
	return quantize(v, resolution, math.MinInt16, math.MaxInt16)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
