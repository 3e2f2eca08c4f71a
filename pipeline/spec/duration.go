package spec

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// durationPattern is what ParseDuration takes, for the JSON Schema (editors check with it, so it must not refuse more).
const durationPattern = `^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))*$|^0$`

var (
	errDuration = errors.New("want a duration such as 10ms, 1s, 5m or 30d")
	days        = regexp.MustCompile(`^(-?)([0-9]{1,6})d(.*)$`)
)

// ParseDuration is time.ParseDuration with days (24 h) in front: 10ms, 1h30m, 30d, 1d12h. A number without a unit is refused
// unless it is 0.
func ParseDuration(s string) (time.Duration, error) {
	m := days.FindStringSubmatch(s)
	if m == nil {
		d, err := time.ParseDuration(s)
		if err != nil || strings.HasPrefix(s, "+") {
			return 0, errDuration
		}
		return d, nil
	}
	n, err := strconv.Atoi(m[2])
	if err != nil || n > int(math.MaxInt64/(24*time.Hour)) {
		return 0, errDuration
	}
	d := time.Duration(n) * 24 * time.Hour
	if m[3] != "" {
		rest, err := time.ParseDuration(m[3])
		if err != nil || strings.HasPrefix(m[3], "-") || strings.HasPrefix(m[3], "+") || d+rest < d {
			return 0, errDuration
		}
		d += rest
	}
	if m[1] == "-" {
		d = -d
	}
	return d, nil
}

// FormatDuration writes a duration as ParseDuration reads it, without zero parts: 30d, 5m, 1h30m, 100ms.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day || d <= -day {
		n := d / day
		rest := (d % day).Abs()
		if rest == 0 {
			return strconv.FormatInt(int64(n), 10) + "d"
		}
		return strconv.FormatInt(int64(n), 10) + "d" + FormatDuration(rest)
	}
	if d == 0 {
		return "0"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
