package binding

// Names of signals that bind the input streams of the AEB function, in place of the fields of the same meaning. The last five bind
// one track: sugar for a list with one slot.
const (
	EgoSpeed      = "ego_speed"
	YawRate       = "yaw_rate"
	DriverBrake   = "driver_brake"
	TargetDist    = "target_dist"    // [m] ahead
	TargetSpeed   = "target_speed"   // [m/s] object minus ego
	TargetLateral = "target_lateral" // [m] left positive; absent: 0
	TargetValid   = "target_valid"   // absent: true
	TargetNew     = "target_new"     // absent: false
)

// InputNames are the names of signals that mean something to the AEB function.
var InputNames = []string{EgoSpeed, YawRate, DriverBrake, TargetDist, TargetSpeed, TargetLateral, TargetValid, TargetNew}

// TargetNames are those of one track.
var TargetNames = InputNames[3:]

// HasTarget says whether signals bind a track.
func HasTarget(signals map[string]Ref) bool {
	_, dist := signals[TargetDist]
	_, speed := signals[TargetSpeed]
	return dist && speed
}

// SameFrame says whether two bus signals lie in one message.
func (r *Ref) SameFrame(other *Ref) bool {
	return orAny(r.Bus) == orAny(other.Bus) && r.ID == other.ID && r.DBC == other.DBC
}

// target checks the signals that bind one track: an object list has one time base, and single values.
func (c *checker) target(at place, signals map[string]Ref) {
	dist := signals[TargetDist]
	if !HasTarget(signals) {
		for _, pair := range [][2]string{{TargetDist, TargetSpeed}, {TargetSpeed, TargetDist}} {
			if _, ok := signals[pair[0]]; ok {
				c.report(at.in(pair[0]), "binds no track without %s", pair[1])
			}
		}
		return
	}
	for _, name := range TargetNames {
		r, ok := signals[name]
		switch {
		case !ok:
		case len(r.Channels) > 0 || len(r.Signals) > 0 || r.ValidSignal != "":
			c.report(at.in(name), "is one value of a track: it can be no mean and has no valid_signal, give channel or signal (and %s)", TargetValid)
		case r.IsBus() != dist.IsBus() || r.IsBus() && !r.SameFrame(&dist):
			c.report(at.in(name), "lies elsewhere than %s; the values of a track come from one channel group, or one message", TargetDist)
		}
	}
}

// orAny is a bus, −1 where any is meant.
func orAny(bus *int) int {
	if bus == nil {
		return -1
	}
	return *bus
}
