package main

import (
	"encoding/binary"
	"slices"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// Identifiers and buses of demo_car.dbc and demo_radar.dbc. The buses share idBrake on purpose: a DBC belongs to a bus.
const (
	busCar, busRadar = 1, 2

	idWheels  = 0x0B0
	idMotion  = 0x0C4
	idBrake   = 0x1A0 // on the car's bus
	idStatus  = 0x1A0 // on the radar's
	idObjects = 0x500 // and the slots after it

	slotsCAN = 6
)

// A canRecorder records the frames of two buses.
type canRecorder struct {
	sources []*frameSource
	frames  []mdf.Frame
}

type frameSource struct {
	clock *clock
	bus   uint8
	id    uint32
	data  func(w *world) []byte
}

func newCANRecorder(w *world) *canRecorder {
	g, r := &gauge{yawOff: -0.22}, newRadar()
	c := &canRecorder{}
	c.add(50, 0.0022, busCar, idWheels, func(w *world) []byte {
		var d []byte
		for _, v := range g.wheels(w) {
			d = binary.BigEndian.AppendUint16(d, uint16(quantize(v/kmh, 0.01, 0, 0xFFFF)))
		}
		return d
	})
	c.add(50, 0.0036, busCar, idMotion, func(w *world) []byte {
		d := binary.BigEndian.AppendUint16(nil, uint16(int16(signed16(g.yawRate(w), 0.01))))
		d = binary.BigEndian.AppendUint16(d, uint16(int16(signed16(g.acceleration(w), 0.01))))
		return binary.BigEndian.AppendUint16(d, uint16(int16(signed16(g.steering(w), 0.1))))
	})
	c.add(25, 0.0101, busCar, idBrake, func(w *world) []byte {
		pressure := quantize(max(0, -w.ego.a*14), 0.5, 0, 0xFF) // about 14 bar a m/s²
		return []byte{byte(flag(w.brake)), byte(flag(w.brake) * pressure)}
	})
	cycle := byte(0)
	c.add(20, 0.0165, busRadar, idStatus, func(w *world) []byte {
		cycle++
		return []byte{cycle, slotsCAN}
	})
	for slot := range slotsCAN {
		c.add(20, 0.0172+float64(float64(slot)*0.0003), busRadar, idObjects+uint32(slot), func(w *world) []byte { return encodeObject(r.look(w, slot)) })
	}
	return c
}

func (c *canRecorder) add(rate, phase float64, bus uint8, id uint32, data func(*world) []byte) {
	c.sources = append(c.sources, &frameSource{newClock(rate, phase), bus, id, data})
}

// encodeObject lays a slot out as demo_radar.dbc says: DIST_X 16 bits of 0.01 m, DIST_Y 12 signed bits of 0.05 m, V_REL 12
// signed bits of 0.05 m/s, IS_VALID and IS_NEW, all Intel.
func encodeObject(t target) []byte {
	d := make([]byte, 6)
	if !t.valid {
		return d
	}
	v := uint64(quantize(t.x, 0.01, 0, 0xFFFF))
	v |= uint64(quantize(t.y, 0.05, -2048, 2047)&0xFFF) << 16
	v |= uint64(quantize(t.r, 0.05, -2048, 2047)&0xFFF) << 28
	v |= 1<<40 | uint64(flag(t.new))<<41
	var all [8]byte
	binary.LittleEndian.PutUint64(all[:], v)
	copy(d, all[:])
	return d
}

// record takes the frames that are due.
func (c *canRecorder) record(w *world) {
	for _, s := range c.sources {
		if t, ok := s.clock.due(w.t, w.noise); ok {
			c.frames = append(c.frames, mdf.Frame{Time: t, Bus: s.bus, ID: s.id, Data: s.data(w)})
		}
	}
}

func (c *canRecorder) write(out *mdf.Writer) error {
	slices.SortStableFunc(c.frames, func(a, b mdf.Frame) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return 0
	})
	g, err := out.AddFrames(mdf.FrameSpec{Comment: "SIMULATED: bus 1 is the car's, bus 2 the radar's"})
	if err != nil {
		return err
	}
	for _, f := range c.frames {
		if err := g.Append(f); err != nil {
			return err
		}
	}
	return nil
}
