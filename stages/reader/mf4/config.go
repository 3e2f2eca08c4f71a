package mf4

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// Values of Config.OnCorrupt.
const (
	CorruptFail = "fail"
	CorruptKeep = "keep"
)

// Config is the `with:` block of reader/mf4. Relative paths are relative to the working directory. What a bindings file and
// the DBC files say is part of the items' identity, so their places are not part of a job's version.
type Config struct {
	Paths         pipeline.Strings       `yaml:"paths" required:"true" identity:"false" doc:"Globs of MDF 4 files, ** over folders but not into symbolic links; .mf4 also stands for .MF4."`
	Bindings      string                 `yaml:"bindings" identity:"false" doc:"File (JSON or YAML) that says which channels or bus signals of which recording feed which signals."`
	DBCDir        pipeline.Strings       `yaml:"dbc_dir" identity:"false" doc:"Folders in which DBC files are looked for, after that of the bindings file and its dbc folder."`
	Signals       map[string]binding.Ref `yaml:"signals" doc:"Signals of every recording by name: channel (the first of a list that exists), unit, factor, offset, optional. ego_speed, yaw_rate, driver_brake and a track of target_dist, target_speed (object minus ego), target_lateral, target_valid, target_new are what process/aeb reads."`
	Raster        time.Duration          `yaml:"raster" doc:"Resamples all signals to one time base by holding the last value. Default: the rate of the recording."`
	Batch         time.Duration          `yaml:"batch" doc:"Fixed duration of a batch. Default: cut by slice_bytes and slice_max; when paced, 100 ms of replay."`
	SliceBytes    pipeline.Size          `yaml:"slice_bytes" doc:"A batch is cut when its rows reach this many bytes."`
	SliceMax      time.Duration          `yaml:"slice_max" doc:"Longest duration of a batch, where slow signals do not reach slice_bytes before."`
	Speed         string                 `yaml:"speed" doc:"max, realtime, or a factor such as 10x."`
	From          time.Duration          `yaml:"from" doc:"Start of the replayed part, since the recording's start. Default: the recording's first sample."`
	To            time.Duration          `yaml:"to" doc:"End of the replayed part. Default: the end of the recording."`
	ReorderWindow time.Duration          `yaml:"reorder_window" doc:"How far samples may step back in time and still be put in order; later ones are left out and reported."`
	OnCorrupt     string                 `yaml:"on_corrupt" enum:"fail,keep" doc:"fail: the job of a damaged recording fails. keep: what is readable is used, and reported."`
	Labels        map[string]string      `yaml:"labels" identity:"false" doc:"Labels of all items of this reader."`
}

// Defaults is the configuration of a reader that says nothing.
var Defaults = Config{
	SliceBytes: 256 << 10, SliceMax: time.Minute, Speed: "max", ReorderWindow: time.Second, OnCorrupt: CorruptFail,
}

// Bounds of Config: a batch has to fit into a message, and a window into memory.
const (
	minSliceBytes = pipeline.Size(1 << 10)
	maxSliceBytes = pipeline.Size(8 << 20)
	maxWindow     = time.Minute
	pacedStep     = 100 * time.Millisecond // of replay a batch, so that a live view moves smoothly
)

// Validate says all that is wrong with the values; it reads no file.
func (c Config) Validate() error {
	var errs []error
	fail := func(path, format string, args ...any) {
		errs = append(errs, pipeline.FieldErrorf(path, format, args...))
	}
	if len(c.Paths) == 0 {
		fail("paths", "is missing; give at least one glob, such as recordings/**/*.mf4")
	}
	for i, p := range c.Paths {
		if p == "" || !doublestar.ValidatePattern(p) {
			fail("paths."+strconv.Itoa(i), "%q is no valid glob", p)
		}
	}
	if c.Bindings == "" && len(c.Signals) == 0 {
		errs = append(errs, &pipeline.FieldError{Path: "bindings", Uses: []string{"signals"},
			Err: errors.New("is missing, and so is signals: one of them is needed to say what to read")})
	}
	if _, err := c.speed(); err != nil {
		fail("speed", "%w", err)
	}
	if c.OnCorrupt != CorruptFail && c.OnCorrupt != CorruptKeep {
		fail("on_corrupt", "is %q, must be fail or keep", c.OnCorrupt)
	}
	if c.SliceBytes < minSliceBytes || c.SliceBytes > maxSliceBytes {
		fail("slice_bytes", "is %v, must be %v to %v", c.SliceBytes, minSliceBytes, maxSliceBytes)
	}
	errs = append(errs, c.durations()...)
	errs = append(errs, binding.CheckSignals("signals", c.Signals)...)
	return errors.Join(errs...)
}

func (c Config) durations() (errs []error) {
	for _, d := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"raster", c.Raster, 0, time.Hour}, {"batch", c.Batch, 0, time.Hour}, {"slice_max", c.SliceMax, time.Millisecond, time.Hour},
		{"reorder_window", c.ReorderWindow, 0, maxWindow}, {"from", c.From, 0, math.MaxInt64}, {"to", c.To, 0, math.MaxInt64},
	} {
		if d.value < d.min || d.value > d.max {
			want := fmt.Sprintf("%v to %v", d.min, d.max)
			if d.max == math.MaxInt64 {
				want = "0 or more"
			}
			errs = append(errs, pipeline.FieldErrorf(d.name, "is %v, must be %s", d.value, want))
		}
	}
	if c.To > 0 && c.To <= c.From {
		errs = append(errs, &pipeline.FieldError{Path: "to", Uses: []string{"from"}, Err: fmt.Errorf("is %v, must be after from (%v)", c.To, c.From)})
	}
	if c.Raster > 0 && c.Batch%c.Raster != 0 {
		errs = append(errs, &pipeline.FieldError{Path: "batch", Uses: []string{"raster"},
			Err: fmt.Errorf("is %v, must be a multiple of the raster (%v)", c.Batch, c.Raster)})
	}
	return errs
}

// Warnings names the recordings that no binding chooses, which are not replayed, the recordings that a bindings file names
// and Paths does not find, and what is no file, and what databases leave questionable in the messages that are used. It lists
// folders and reads no recording.
func (c Config) Warnings() []error {
	var warnings []error
	warn := func(path, code, format string, args ...any) {
		warnings = append(warnings, &pipeline.FieldError{Path: path, Code: code, Err: fmt.Errorf(format, args...)})
	}
	for i, pattern := range c.Paths {
		_, special, err := glob(pattern)
		if err != nil {
			return nil // an error of its own, found by Check
		}
		for _, file := range special {
			warn("paths."+strconv.Itoa(i), "W-paths", "%s is not a regular file; it is not replayed", file)
		}
	}
	if lib, _ := newLibrary(c); lib != nil { // its errors are found by Check
		warnings = append(warnings, lib.doubts()...)
	}
	unbound, absent, err := c.strays()
	if err != nil {
		return warnings // likewise
	}
	if len(unbound) > 0 {
		warn("bindings", "W-binding", "no entry of %s fits %s; not replayed", c.Bindings, some("recording", unbound))
	}
	if len(absent) > 0 {
		warn("bindings", "W-binding", "paths does not find %s of %s", some("recording", absent), c.Bindings)
	}
	return warnings
}

// some is how many there are, and the names of the first few.
func some(noun string, names []string) string {
	const listed = 3
	if len(names) == 1 {
		return "the " + noun + " " + names[0]
	}
	text := fmt.Sprintf("%d %ss: %s", len(names), noun, strings.Join(names[:min(listed, len(names))], ", "))
	if more := len(names) - listed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Check says all that is wrong with the files that the values name: bindings, databases, and globs that find nothing. It
// reads no recording. Each error is a *pipeline.FieldError.
func (c Config) Check() []error {
	_, err := newLibrary(c)
	errs := each(err)
	files, err := c.files()
	if err != nil {
		errs = append(errs, each(err)...)
	}
	if unbound, _, err := c.strays(); err == nil && len(files) > 0 && len(unbound) == len(files) {
		errs = append(errs, c.noneBound(unbound))
	}
	return errs
}

// CheckParams says what of the params of the bindings file the stages behind the reader refuse.
func (c Config) CheckParams(refused func(params map[string]json.RawMessage) []error) []error {
	if c.Bindings == "" {
		return nil
	}
	set, _ := binding.Load(c.Bindings)
	if set == nil {
		return nil // an error that Check finds
	}
	for _, name := range slices.Sorted(maps.Keys(set.Bindings)) {
		checkParams(set, &binding.Log{Binding: name}, refused)
	}
	for i := range set.Logs {
		if len(set.Logs[i].Params) > 0 {
			checkParams(set, &set.Logs[i], refused)
		}
	}
	if err := set.Err(); err != nil {
		return []error{&pipeline.FieldError{Path: "bindings", Err: err}}
	}
	return nil
}

// checkParams blames the params of a choice, where they are its own, and those of its binding otherwise.
func checkParams(set *binding.Set, l *binding.Log, refused func(params map[string]json.RawMessage) []error) {
	params, err := set.AllParams(l)
	if params == nil || err != nil {
		return
	}
	for _, err := range refused(map[string]json.RawMessage{ParamAEB: params}) {
		var f *pipeline.FieldError
		if !errors.As(err, &f) {
			continue
		}
		at, key := []string{"bindings", l.Binding, "params"}, strings.TrimPrefix(f.Path, ParamAEB+".")
		if _, own := l.Params[key]; own {
			at = []string{"logs", l.Pattern, "params"}
		}
		set.Fault(append(at, key), cmp.Or(f.Code, "E-value"), "%v", f.Err).Meant = f.Meant
	}
}

// speed is how many seconds of the recording a second of replay has; 0 for as fast as possible.
func (c Config) speed() (float64, error) {
	switch c.Speed {
	case "", "max":
		return 0, nil
	case "realtime":
		return 1, nil
	}
	number, ok := strings.CutSuffix(c.Speed, "x")
	f, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(f >= 0.01 && f <= 1e6) {
		return 0, fmt.Errorf("is %q, must be max, realtime or a factor from 0.01x to 1000000x", c.Speed)
	}
	return f, nil
}

// batch is the fixed duration of a slice; 0 when slices are cut by their bytes.
func (c Config) batch(speed float64) time.Duration {
	if c.Batch > 0 || speed == 0 {
		return c.Batch
	}
	d := time.Duration(math.Round(speed * float64(pacedStep)))
	if c.Raster > 0 {
		d = max(d/c.Raster, 1) * c.Raster
	}
	return max(min(d, c.SliceMax), time.Microsecond)
}
