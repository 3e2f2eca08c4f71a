package mf4

import "strings"

// unit is how much of a quantity's SI unit a unit is.
type unit struct {
	quantity string
	factor   float64
}

// knownUnits are the spellings that recorders use. Units with an offset (temperatures) are not converted.
var knownUnits = map[string]unit{
	"m/s": {"speed", 1}, "mps": {"speed", 1}, "ms^-1": {"speed", 1},
	"km/h": {"speed", 1 / 3.6}, "kmh": {"speed", 1 / 3.6}, "kph": {"speed", 1 / 3.6}, "kmph": {"speed", 1 / 3.6},
	"mph": {"speed", 0.44704}, "kn": {"speed", 1852.0 / 3600}, "knot": {"speed", 1852.0 / 3600}, "cm/s": {"speed", 0.01},
	"m/s^2": {"acceleration", 1}, "m/s2": {"acceleration", 1}, "m/s/s": {"acceleration", 1}, "g": {"acceleration", 9.80665},
	"m": {"length", 1}, "km": {"length", 1000}, "cm": {"length", 0.01}, "mm": {"length", 0.001}, "ft": {"length", 0.3048},
	"rad": {"angle", 1}, "deg": {"angle", degree},
	"rad/s": {"rate", 1}, "deg/s": {"rate", degree}, "1/min": {"rotation", 1.0 / 60}, "rpm": {"rotation", 1.0 / 60}, "1/s": {"rotation", 1}, "hz": {"rotation", 1},
	"s": {"time", 1}, "ms": {"time", 0.001}, "us": {"time", 1e-6}, "min": {"time", 60}, "h": {"time", 3600},
	"v": {"voltage", 1}, "mv": {"voltage", 0.001}, "a": {"current", 1}, "ma": {"current", 0.001},
	"pa": {"pressure", 1}, "kpa": {"pressure", 1000}, "bar": {"pressure", 1e5}, "mbar": {"pressure", 100}, "hpa": {"pressure", 100},
	"1": {"ratio", 1}, "%": {"ratio", 0.01}, "n": {"force", 1}, "nm": {"torque", 1},
}

const degree = 0.017453292519943295

// convert returns what a value in unit from is multiplied by to be one in unit to; false when the two are different
// quantities or one of them is not known. A unit that is not given is taken for the other.
func convert(from, to string) (float64, bool) {
	if from == "" || to == "" || from == to {
		return 1, true
	}
	f, okFrom := knownUnits[spell(from)]
	t, okTo := knownUnits[spell(to)]
	if !okFrom || !okTo || f.quantity != t.quantity {
		return 1, spell(from) == spell(to)
	}
	return f.factor / t.factor, true
}

var spelling = strings.NewReplacer("²", "^2", "°", "deg", "µ", "u", "μ", "u", "·", "", " ", "", "[", "", "]", "", "sec", "s")

func spell(u string) string { return strings.ToLower(spelling.Replace(u)) }
