package schemas

import (
	"fmt"
	"strings"
)

// Names of the tables and columns of a Signals batch whose binding names the AEB function's input streams (AEB.md,
// section 1). Values are physical and final: factor, offset and lateral sign are applied, samples that the rules drop are
// not there. Columns other than t are float64; booleans are 0 or 1.
const (
	TableEgo    = "ego"   // v [m/s]
	TableYaw    = "yaw"   // rate [rad/s], left positive
	TableBrake  = "brake" // on
	ColSpeed    = "v"
	ColYawRate  = "rate"
	ColBrakeOn  = "on"
	ColLongDist = "x"     // of track tables [m] ahead
	ColLatDist  = "y"     // [m] left positive
	ColRelSpeed = "r"     // [m/s] object minus ego, closing negative
	ColValid    = "valid" // 1: the sample holds an object
	ColNew      = "new"   // 1: another object than in the sample before
)

// TableTrack names the table of track slot i: "track00", "track01", ...
func TableTrack(i int) string { return fmt.Sprintf("track%02d", i) }

// Columns of a table of faults: what a reader could not deliver as it was recorded, a row a sample. t is the newest time
// seen when it was found, so it does not decrease. Columns other than t are float64.
const (
	ColBehind  = "behind"  // how far the sample lay behind the newest of its signal [s]; 0: it did not step back in time; NaN: its time is no number, or none of a recording
	ColInvalid = "invalid" // 1: marked invalid by the recorder or the sensor, or not a number
	ColDropped = "dropped" // 1: it is in no table; 0: it was put in order
	ColCut     = "cut"     // 1: the recording is damaged here, this is the last sample that can be read before it
	ColLost    = "lost"    // at a cut: how many records of the channel group are lost, -1 unknown
	ColUntil   = "until"   // at a cut: time of the first record behind the damage [s since the recording's start], NaN if there is none
	ColGroup   = "group"   // at a cut: index of the channel group in the file
)

// faultsPrefix begins the names of tables of faults.
const faultsPrefix = "faults."

// TableFaults names the table of faults of a table.
func TableFaults(table string) string { return faultsPrefix + table }

// FaultsOf returns the table that a table of faults belongs to, and whether it is one.
func FaultsOf(name string) (table string, ok bool) { return strings.CutPrefix(name, faultsPrefix) }
