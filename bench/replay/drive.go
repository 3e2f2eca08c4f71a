package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A track is a channel group of the generated drive: at a rate, values by time.
type track struct {
	name   string
	hertz  int
	specs  []mdf.ChannelSpec
	values func(t float64) []float64
}

// bindings of the generated drive, in the form of any bindings file.
const bindings = `bindings:
  drive:
    kind: physical
    ego_speed: { channels: [WheelFL, WheelFR, WheelRL, WheelRR], factor: 0.2777777777777778 }
    yaw_rate: { channel: YawRate, factor: 0.017453292519943295 }
    driver_brake: { channel: Brake }
    tracks:
      - { long_dist: Obj0_X, lat_dist: Obj0_Y, rel_speed: Obj0_V, valid: Obj0_Valid, new_track: Obj0_New }
      - { long_dist: Obj1_X, lat_dist: Obj1_Y, rel_speed: Obj1_V, valid: Obj1_Valid, new_track: Obj1_New }
    signals:
      long_accel: { channel: LongAccel, unit: m/s^2 }
      steering_angle: { channel: Steering, unit: deg }
logs:
  drive.mf4: { binding: drive }
`

// writeDrive writes drive.mf4 and signals.json into a folder: 18 channels, 50, 25 and 20 Hz, of a car behind another one. The
// same length gives the same bytes.
func writeDrive(dir string, length time.Duration) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "signals.json"), []byte(bindings), 0o644); err != nil {
		return err
	}
	w, err := mdf.Create(filepath.Join(dir, "drive.mf4"), mdf.WriterOptions{Version: 411, Start: time.Date(2026, 3, 14, 6, 0, 0, 0, time.UTC),
		Comment: "simulated, to measure with", Compression: mdf.TransposedDeflate})
	if err != nil {
		return err
	}
	defer w.Abort() //nolint:errcheck // without effect behind a Close
	tracks := drive()
	groups := make([]*mdf.GroupWriter, len(tracks))
	for k, tr := range tracks {
		if groups[k], err = w.AddGroup(mdf.GroupSpec{AcqName: tr.name, Channels: tr.specs}); err != nil {
			return err
		}
	}
	const minute = 60
	for from := 0; from < int(length/time.Second); from += minute {
		for k, tr := range tracks {
			if err := tr.append(groups[k], from, min(from+minute, int(length/time.Second))); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// append writes the records of some seconds.
func (tr *track) append(g *mdf.GroupWriter, from, to int) error {
	n := (to - from) * tr.hertz
	times, columns := make([]float64, n), make([]mdf.Samples, len(tr.specs))
	for c := range columns {
		columns[c].Float = make([]float64, n)
	}
	for k := range n {
		times[k] = float64(from*tr.hertz+k) / float64(tr.hertz)
		for c, v := range tr.values(times[k]) {
			if l := tr.specs[c].Conversion; l != nil {
				v = math.RoundToEven((v - l.Values[0]) / l.Values[1])
			}
			columns[c].Float[k] = v
		}
	}
	return g.Append(times, columns...)
}

// drive is the groups and their values.
func drive() []track {
	speed := func(t float64) float64 { return 22 + 6*math.Sin(t/97) + 2*math.Sin(t/11) } // m/s
	wheel := func(name string) mdf.ChannelSpec { return channel(name, "km/h", mdf.UintLE, 0.01) }
	tracks := []track{
		{"wheels", 50, []mdf.ChannelSpec{wheel("WheelFL"), wheel("WheelFR"), wheel("WheelRL"), wheel("WheelRR")}, func(t float64) []float64 {
			v := 3.6 * speed(t)
			return []float64{v, v + 0.02, v - 0.01, v + 0.01}
		}},
		{"motion", 50, []mdf.ChannelSpec{channel("YawRate", "deg/s", mdf.IntLE, 0.01), channel("LongAccel", "m/s^2", mdf.IntLE, 0.01),
			channel("Steering", "deg", mdf.IntLE, 0.1)}, func(t float64) []float64 {
			return []float64{3 * math.Sin(t/23), 6./97*math.Cos(t/97) + 2./11*math.Cos(t/11), 12 * math.Sin(t/23)}
		}},
		{"brake", 25, []mdf.ChannelSpec{switched("Brake")}, func(t float64) []float64 { return []float64{one(math.Cos(t/11) < -0.95)} }},
	}
	for slot := range 2 {
		tracks = append(tracks, object(slot))
	}
	return tracks
}

// object is a car ahead: the first in the own lane, the second in the next one. Each is lost now and then.
func object(slot int) track {
	name := func(s string) string { return fmt.Sprintf("Obj%d_%s", slot, s) }
	specs := []mdf.ChannelSpec{channel(name("X"), "m", mdf.UintLE, 0.01), channel(name("Y"), "m", mdf.IntLE, 0.01),
		channel(name("V"), "m/s", mdf.IntLE, 0.01), switched(name("Valid")), switched(name("New"))}
	phase := float64(slot)
	return track{name("group"), 20, specs, func(t float64) []float64 {
		seen := math.Mod(t+40*phase, 120)
		return []float64{35 + 18*math.Sin(t/13+phase), 3.4 * phase, 18. / 13 * math.Cos(t/13+phase), one(seen > 5), one(seen > 5 && seen < 5.05)}
	}}
}

func channel(name, unit string, t mdf.DataType, resolution float64) mdf.ChannelSpec {
	return mdf.ChannelSpec{Name: name, Unit: unit, DataType: t, Bits: 16, Conversion: mdf.LinearConversion(0, resolution)}
}

func switched(name string) mdf.ChannelSpec {
	return mdf.ChannelSpec{Name: name, DataType: mdf.UintLE, Bits: 8}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
