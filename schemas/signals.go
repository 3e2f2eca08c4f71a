package schemas

import "fmt"

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
