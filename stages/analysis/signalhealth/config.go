package signalhealth

import (
	"errors"
	"math"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Config is the stage's `with:` block.
type Config struct {
	MaxGap      time.Duration     `yaml:"max_gap" doc:"Longest time between two samples; of signals slower than that, one and a half of their own period."`
	FrozenAfter time.Duration     `yaml:"frozen_after" doc:"How long a signal may keep one value other than 0; 0: for ever."`
	MaxInvalid  float64           `yaml:"max_invalid" doc:"Share of samples, 0 to 1, that may be marked invalid."`
	MaxFindings int               `yaml:"max_findings" doc:"Findings of one kind and signal that are reported one by one; further ones are counted."`
	Signals     map[string]Limits `yaml:"signals" doc:"Limits of single signals, by table.column, by column or by table."`
}

// Limits are what differs for one signal; what is left out is as for all.
type Limits struct {
	Min         *float64       `yaml:"min,omitempty" doc:"Smallest value that can be."`
	Max         *float64       `yaml:"max,omitempty" doc:"Largest value that can be."`
	FrozenAfter *time.Duration `yaml:"frozen_after,omitempty" doc:"How long it may keep one value other than 0; 0: for ever."`
	MaxGap      *time.Duration `yaml:"max_gap,omitempty" doc:"Longest time between two samples; of a table."`
}

// Validate says all that is wrong with the values.
func (c Config) Validate() error {
	var errs []error
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			errs = append(errs, pipeline.FieldErrorf(path, format, args...))
		}
	}
	refuse(c.MaxGap <= 0, "max_gap", "%v is not above 0", c.MaxGap)
	refuse(c.FrozenAfter < 0, "frozen_after", "%v is below 0", c.FrozenAfter)
	refuse(!(c.MaxInvalid >= 0 && c.MaxInvalid <= 1), "max_invalid", "%v is not in 0 to 1", c.MaxInvalid)
	refuse(c.MaxFindings < 1, "max_findings", "%d is not above 0", c.MaxFindings)
	for name, l := range c.Signals {
		refuse(l.Min != nil && l.Max != nil && *l.Min > *l.Max, "signals."+name, "min is above max")
		refuse(l.MaxGap != nil && *l.MaxGap <= 0, "signals."+name+".max_gap", "is not above 0")
		refuse(l.FrozenAfter != nil && *l.FrozenAfter < 0, "signals."+name+".frozen_after", "is below 0")
	}
	return errors.Join(errs...)
}

// limits are those of one column, resolved.
type limits struct {
	min, max float64
	frozen   int64 // ns; 0: may be frozen
}

// physical are the ranges of the input streams of the AEB function: wide enough for any road vehicle and any sensor, so that
// only a wrong unit, sign, scaling or a broken sensor is outside.
var physical = map[string]limits{
	schemas.TableEgo + "." + schemas.ColSpeed:   {min: -30, max: 120}, // m/s
	schemas.TableYaw + "." + schemas.ColYawRate: {min: -3, max: 3},    // rad/s
	schemas.ColLongDist:                         {min: -300, max: 500},
	schemas.ColLatDist:                          {min: -150, max: 150},
	schemas.ColRelSpeed:                         {min: -150, max: 150},
}

// of returns the limits of a column: what the user says of table.column goes before column, that before table. Of track tables
// the built-in ranges go by column.
func (c *Config) of(table, column string, track bool) limits {
	l := limits{min: math.Inf(-1), max: math.Inf(1)}
	if known, ok := physical[table+"."+column]; ok {
		l = known
	} else if known, ok := physical[column]; ok && track {
		l = known
	}
	l.frozen = int64(c.FrozenAfter)
	for _, name := range []string{table, column, table + "." + column} {
		set, ok := c.Signals[name]
		if !ok {
			continue
		}
		if set.Min != nil {
			l.min = *set.Min
		}
		if set.Max != nil {
			l.max = *set.Max
		}
		if set.FrozenAfter != nil {
			l.frozen = int64(*set.FrozenAfter)
		}
	}
	return l
}

// maxGap is the longest gap of a table.
func (c *Config) maxGap(table string) int64 {
	if set, ok := c.Signals[table]; ok && set.MaxGap != nil {
		return int64(*set.MaxGap)
	}
	return int64(c.MaxGap)
}
