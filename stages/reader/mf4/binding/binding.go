// Package binding says which channels or bus signals of a recording feed which signals of a pipeline.
//
// One form serves all: a file (JSON or YAML) with named bindings, and logs, which chooses one of them for each recording by
// name or glob. The short form that stands in a pipelines file (Ref under a name) is sugar for the signals of a binding.
package binding

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

// Kind is where the signals of a recording lie.
type Kind string

// The kinds of a binding.
const (
	CAN      Kind = "can"      // in frames of bus logging, decoded by a DBC
	Physical Kind = "physical" // in channels of their own
)

// A Set is the contents of a bindings file.
type Set struct {
	Bindings map[string]*Binding
	Logs     []Log // in the order of the file

	file *spec.File // nil for the zero Set
}

// file is what a bindings file looks like.
type file struct {
	Bindings map[string]*Binding `yaml:"bindings" required:"true" doc:"Which channels or bus signals feed which signals, by name."`
	Logs     map[string]Log      `yaml:"logs" doc:"Which binding a recording has, by name or glob."`

	Notes `yaml:",inline"`
}

// Notes are keys that any part of the file may have and that nothing reads.
type Notes struct {
	Comment     any `yaml:"comment,omitempty"`
	Description any `yaml:"description,omitempty"`
	Note        any `yaml:"note,omitempty"`
}

// A Binding is the signals of one kind of recording. EgoSpeed, YawRate, DriverBrake and Tracks are the input streams of
// the AEB function (AEB.md, section 1); Signals are any others, by name, and those of InputNames in place of these fields.
type Binding struct {
	Kind        Kind           `yaml:"kind" required:"true" enum:"can,physical" doc:"can or physical."`
	EgoSpeed    *Ref           `yaml:"ego_speed,omitempty"`    // [m/s]: mean × factor
	YawRate     *Ref           `yaml:"yaw_rate,omitempty"`     // [rad/s], left positive: (value + offset) × factor
	DriverBrake *Ref           `yaml:"driver_brake,omitempty"` // on where the value is not 0
	Tracks      []Track        `yaml:"tracks,omitempty"`       // by slot
	Signals     map[string]Ref `yaml:"signals,omitempty"`
	Params      map[string]any `yaml:"params,omitempty"` // of the function under test; reach every stage

	Notes `yaml:",inline"`
}

// A Ref finds one signal: (mean of its parts + Offset) × Factor. Either Channel or Channels (a physical signal), or ID with
// Signal or Signals (a bus signal) is set.
type Ref struct {
	Channel  Names  `yaml:"channel,omitempty" doc:"Channel, or several of which the first that the recording has is taken."`
	Channels Names  `yaml:"channels,omitempty" doc:"Channels whose mean is the value, at records where all are valid."`
	Group    string `yaml:"group,omitempty" doc:"Channel group in which to look; any without it."`

	Bus         *int   `yaml:"bus,omitempty" doc:"CAN bus, as in CAN_DataFrame.BusChannel. Without it, the one that has frames of the id."`
	ID          uint32 `yaml:"id,omitempty" doc:"Identifier of the CAN frame, without the bit for extended frames."`
	DBC         string `yaml:"dbc,omitempty" doc:"DBC file that describes the frame."`
	Signal      string `yaml:"signal,omitempty" doc:"Signal of the frame."`
	Signals     Names  `yaml:"signals,omitempty" doc:"Signals of the frame whose mean is the value."`
	ValidSignal string `yaml:"valid_signal,omitempty" doc:"Signal of the frame; frames in which it is 0 do not count."`

	Unit     string   `yaml:"unit,omitempty" doc:"Unit that is wanted; converted from the recording's unless factor is given."`
	Factor   *float64 `yaml:"factor,omitempty" doc:"The value is (recorded + offset) times this."`
	Offset   float64  `yaml:"offset,omitempty" doc:"Added to what was recorded, before factor."`
	Optional bool     `yaml:"optional,omitempty" doc:"A recording without it is replayed without it."`
}

// A Track is one slot of an object list. With ID, the names are signals of that message and those left empty are the
// LONG_DIST, LAT_DIST, REL_SPEED, VALID and NEW_TRACK of the usual radar DBC; else they are channels.
type Track struct {
	Bus *int   `yaml:"bus,omitempty"`
	ID  uint32 `yaml:"id,omitempty"`
	DBC string `yaml:"dbc,omitempty"`

	LongDist  string   `yaml:"long_dist,omitempty"`  // [m] ahead
	LatDist   string   `yaml:"lat_dist,omitempty"`   // [m]; absent: 0
	LatFactor *float64 `yaml:"lat_factor,omitempty"` // −1 where the sensor counts to the right; absent: 1
	RelSpeed  string   `yaml:"rel_speed,omitempty"`  // [m/s] object minus ego
	Valid     string   `yaml:"valid,omitempty"`      // absent: true
	NewTrack  string   `yaml:"new_track,omitempty"`  // absent: false
	Optional  bool     `yaml:"optional,omitempty"`
}

// A Log chooses the binding of the recordings that Pattern names.
type Log struct {
	Pattern     string            `yaml:"-"`
	Binding     string            `yaml:"binding" required:"true" doc:"Name of the binding."`
	DuplicateOf string            `yaml:"duplicate_of,omitempty"` // the same drive as this recording: left out of fleet results
	Labels      map[string]string `yaml:"labels,omitempty"`
	Params      map[string]any    `yaml:"params,omitempty"` // over those of the binding, key by key

	Notes `yaml:",inline"`
}

// Input is what binds an input of the AEB function other than the tracks; nil for nothing.
func (b *Binding) Input(name string) *Ref {
	return map[string]*Ref{EgoSpeed: b.EgoSpeed, YawRate: b.YawRate, DriverBrake: b.DriverBrake}[name]
}

// Scale returns Factor, 1 when absent.
func (r *Ref) Scale() float64 { return orOne(r.Factor) }

// IsBus says whether the signal lies in frames.
func (r *Ref) IsBus() bool { return r.DBC != "" || r.Signal != "" || len(r.Signals) > 0 }

// Parts are the names of the bus signals whose mean is the value.
func (r *Ref) Parts() []string {
	if r.Signal != "" {
		return []string{r.Signal}
	}
	return r.Signals
}

// LatScale returns LatFactor, 1 when absent.
func (t *Track) LatScale() float64 { return orOne(t.LatFactor) }

// IsBus says whether the slot is a bus message.
func (t *Track) IsBus() bool { return t.DBC != "" }

func orOne(f *float64) float64 {
	if f == nil {
		return 1
	}
	return *f
}

// Match returns the choice for a recording: an exact name before globs, globs in the order of the file. A pattern without a
// slash is compared with the last part of the name. .mf4 at its end also stands for .MF4. nil when none fits.
func (s *Set) Match(name string) *Log {
	base := path.Base(name)
	for i, l := range s.Logs {
		if l.Pattern == name || l.Pattern == base {
			return &s.Logs[i]
		}
	}
	for i, l := range s.Logs {
		if match(l.Pattern, name) || match(l.Pattern, base) {
			return &s.Logs[i]
		}
	}
	return nil
}

func match(pattern, name string) bool {
	ok, err := doublestar.Match(AnyCase(pattern), name)
	return ok && err == nil
}

// AnyCase lets .mf4 at the end of a glob stand for .MF4 too, as recorders on FAT file systems name their files.
func AnyCase(pattern string) string {
	if rest, ok := strings.CutSuffix(pattern, ".mf4"); ok {
		return rest + ".[mM][fF]4"
	}
	return pattern
}

// AllParams are the parameters of the binding and over them those of the choice, as one JSON object with sorted keys; nil
// when there are none.
func (s *Set) AllParams(l *Log) (json.RawMessage, error) {
	all := map[string]any{}
	if b := s.Bindings[l.Binding]; b != nil {
		for k, v := range b.Params {
			all[k] = v
		}
	}
	for k, v := range l.Params {
		all[k] = v
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}
