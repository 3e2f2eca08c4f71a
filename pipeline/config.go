package pipeline

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// How a stage's configuration is read from YAML. Fields carry the tags
//
//	yaml:"name"        the key; ",inline" lifts the fields of an embedded struct; "-" hides a field
//	doc:"…"            one sentence for completion and `stages describe`
//	required:"true"    the key must be given
//	enum:"a,b"         the only values
//	min:"1" max:"9"    bounds of a number, both allowed
//	secret:"true"      printed as ***, not part of a job's version
//	identity:"false"   not part of a job's version, since it cannot change an output (a folder, a pace)
//
// A time.Duration takes `10ms`, `5m`, `30d`. A type that implements encoding.TextUnmarshaler takes any scalar as text, and
// besides it the YAML shape of its kind: a slice type that does so takes one value or a list (Strings), a struct type a short
// or a long form. It must implement encoding.TextMarshaler too unless its plain fields tell all. A method
// JSONSchema() map[string]any gives its JSON Schema. A configuration may have
//
//	Validate() error       refuses the configuration; may join several errors, each a *FieldError where a key is to blame
//	Check() []error        refuses files that the configuration names; each a *FieldError; lint and run call it after Validate
//	Warnings() []error     what may be meant but looks wrong; may look at files
//
//	RefusedParams(params map[string]json.RawMessage) []error
//	                       refuses the params of an item (Item.Params); each a *FieldError with the path in params
//	CheckParams(refused func(params map[string]json.RawMessage) []error) []error
//	                       of a reader: asks refused, which is what the stages behind it say, about the params that its files give
//	                       items; each a *FieldError; lint and run call it
//	Inputs() []string      of a processor: the signals that its function rests on, by their names in a binding (ego_speed, tracks)
//	CheckInputs(stage string, inputs []string) []error
//	                       of a reader: warns of inputs of a stage that reads it and that it does not bind; each a *FieldError
//
// Validate and Check are also asked where fields are at fault, so that all faults are told at once; such a field has its
// default then, and what they say of it is dropped. A sink's configuration, which lint compares with the stages that write to
// it, may have
//
//	StoredTypes() (field string, types []string)     the event types that it stores, nothing for all, and the key that lists them
//	FileTemplate() (field, template string)          the path of its files, in which {pipeline}, {stage} and {type} are replaced
//	FleetTemplate() (field, template string)         likewise of its fleet results

// A FieldError is an error or a warning about one field of a configuration. Path is as a user would write it: keys and list
// indices joined by dots, such as "window.tumbling" or "command.1". Code is the stable code without brackets, such as
// "W-path"; empty stands for "E-value". Err may be a *spec.InvalidError about a file that the field names; its problems are
// then told where they stand in that file.
type FieldError struct {
	Path  string
	Code  string
	Err   error
	Uses  []string // other fields that the verdict rests on: where one of them is at fault itself, this is not told
	Meant string   // what was probably meant
}

// FieldErrorf makes a *FieldError with a formatted message.
func FieldErrorf(path, format string, args ...any) error {
	return &FieldError{Path: path, Err: fmt.Errorf(format, args...)}
}

// Error is the path and the message, and what was probably meant.
func (e *FieldError) Error() string {
	if e.Meant == "" {
		return e.Path + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s: %v; did you mean %q?", e.Path, e.Err, e.Meant)
}

// Unwrap gives the message alone.
func (e *FieldError) Unwrap() error { return e.Err }

// Strings is a list of strings that YAML may write as one: `channel: VehSpd` or `channel: [VehSpd, Speed]`.
type Strings []string

// UnmarshalText makes a list of one.
func (s *Strings) UnmarshalText(text []byte) error {
	*s = Strings{string(text)}
	return nil
}

// Size is a number of bytes: `512`, `256KiB`, `16GB` (powers of 1000 for kB, MB, GB, TB, of 1024 for KiB, MiB, GiB, TiB).
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var errSize = errors.New(`want a size such as 512, 256KiB or 16GB`)

// UnmarshalText reads the forms above; a fraction such as 1.5GB is taken, a negative size is not.
func (s *Size) UnmarshalText(text []byte) error {
	number, factor := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/factor {
		*s = Size(n * factor)
		return nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0) || f*float64(factor) >= math.MaxInt64 || strings.ContainsAny(number, "xXpP_") {
		return errSize
	}
	*s = Size(f * float64(factor))
	return nil
}

// MarshalText writes what String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size in the unit that divides it and makes the smallest number: 64MiB, 16GB, 1000kB is 1MB, 0.
func (s Size) String() string {
	best, unit := int64(s), ""
	for _, u := range sizeUnits {
		if n := int64(s) / u.bytes; u.bytes > 1 && s != 0 && int64(s)%u.bytes == 0 && n < best {
			best, unit = n, u.suffix
		}
	}
	return strconv.FormatInt(best, 10) + unit
}

// JSONSchema describes what UnmarshalText takes.
func (Size) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"integer", "string"}, "minimum": 0,
		"pattern": `^[0-9]+(\.[0-9]+)? ?([kKMGT]B|[KMGT]iB|B)?$`, "examples": []string{"256KiB", "16GB"}}
}
