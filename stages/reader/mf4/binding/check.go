package binding

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
)

// maxID is the largest 29-bit CAN identifier.
const maxID = 1<<29 - 1

// maxTracks bounds the slots of an object list; tables are named by two digits and more.
const maxTracks = 256

// A place leads to a part of the file: keys and list indices.
type place []string

func (p place) in(steps ...string) place { return append(p[:len(p):len(p)], steps...) }

// A checker reports each fault with its place.
type checker struct {
	fault func(at []string, code, format string, args ...any) *spec.Problem
}

func (c *checker) report(at place, format string, args ...any) *spec.Problem {
	return c.fault(at, spec.CodeValue, format, args...)
}

func (c *checker) binding(at place, b *Binding) {
	if b == nil {
		c.report(at, "is empty")
		return
	}
	if b.EgoSpeed == nil && b.YawRate == nil && b.DriverBrake == nil && len(b.Tracks) == 0 && len(b.Signals) == 0 {
		c.report(at, "binds no signal")
	}
	for _, s := range []struct {
		name string
		ref  *Ref
	}{{"ego_speed", b.EgoSpeed}, {"yaw_rate", b.YawRate}, {"driver_brake", b.DriverBrake}} {
		if s.ref != nil {
			c.ref(at.in(s.name), b.Kind, s.ref)
		}
	}
	if len(b.Tracks) > maxTracks {
		c.report(at.in("tracks"), "has %d slots, at most %d are possible", len(b.Tracks), maxTracks)
	}
	for i := range b.Tracks {
		c.track(at.in("tracks", strconv.Itoa(i)), b.Kind, &b.Tracks[i])
	}
	for _, name := range sorted(b.Signals) {
		r := b.Signals[name]
		c.ref(at.in("signals", name), b.Kind, &r)
	}
	if len(b.Tracks) == 0 {
		c.target(at.in("signals"), b.Signals)
	}
	c.params(at.in("params"), b.Params)
}

// ref checks one signal; an empty kind is that of a short form, which may be either.
func (c *checker) ref(at place, kind Kind, r *Ref) {
	physical := len(r.Channel) > 0 || len(r.Channels) > 0
	switch {
	case physical && r.IsBus():
		c.report(at, "names channels and bus signals; one of them is right")
		return
	case kind == CAN && !r.IsBus():
		c.report(at, "needs bus, id, dbc and signal (or signals), since the binding's kind is can")
		return
	case !physical && !r.IsBus():
		c.report(at, "names no channel")
		return
	case kind == Physical && r.IsBus():
		c.report(at, "needs channel or channels, since the binding's kind is physical")
		return
	}
	if at[len(at)-1] == schemas.TimeColumn {
		c.report(at, "is the name of the time column; take another")
	}
	c.scale(at.in("factor"), r.Factor)
	c.finite(at.in("offset"), r.Offset)
	if physical {
		c.physical(at, r)
		return
	}
	c.frame(at, r.Bus, r.ID, r.DBC)
	if r.Signal != "" && len(r.Signals) > 0 {
		c.report(at, "has signal and signals; signals is for a mean")
	}
}

func (c *checker) physical(at place, r *Ref) {
	if len(r.Channel) > 0 && len(r.Channels) > 0 {
		c.report(at, "has channel (the first that exists) and channels (the mean of all); one of them is right")
	}
	if slices.Contains(r.Channel, "") || slices.Contains(r.Channels, "") {
		c.report(at, "has an empty channel name")
	}
	if r.ValidSignal != "" || r.Bus != nil || r.ID != 0 {
		c.report(at, "has bus, id or valid_signal, which only bus signals have")
	}
}

func (c *checker) frame(at place, bus *int, id uint32, dbc string) {
	if dbc == "" {
		c.report(at.in("dbc"), "is missing")
	}
	if bus != nil && (*bus < 0 || *bus > 255) {
		c.report(at.in("bus"), "is %d, must be 0 to 255; leave it out for any", *bus)
	}
	if id&^(1<<31) > maxID {
		c.report(at.in("id"), "is %#x, which is no CAN identifier", id)
	}
}

// scale checks what values are multiplied by.
func (c *checker) scale(at place, factor *float64) {
	if factor != nil && *factor == 0 {
		c.report(at, "is 0, which makes every value 0")
	}
	c.finite(at, orOne(factor))
}

func (c *checker) finite(at place, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		c.report(at, "is no finite number")
	}
}

// params checks what is handed to the stages as JSON, which has no other numbers than finite ones.
func (c *checker) params(at place, v any) {
	switch v := v.(type) {
	case float64:
		c.finite(at, v)
	case []any:
		for i, item := range v {
			c.params(at.in(strconv.Itoa(i)), item)
		}
	case map[string]any:
		for _, key := range sorted(v) {
			c.params(at.in(key), v[key])
		}
	}
}

func (c *checker) track(at place, kind Kind, t *Track) {
	c.scale(at.in("lat_factor"), t.LatFactor)
	if kind == CAN {
		c.frame(at, t.Bus, t.ID, t.DBC)
		return
	}
	if t.IsBus() || t.ID != 0 {
		c.report(at, "needs long_dist and rel_speed, since the binding's kind is physical")
		return
	}
	if t.LongDist == "" || t.RelSpeed == "" {
		c.report(at, "needs long_dist and rel_speed")
	}
}

func (c *checker) log(s *Set, l Log) {
	at := place{"logs", l.Pattern}
	if !doublestar.ValidatePattern(l.Pattern) {
		c.report(at, "is no valid glob")
	}
	c.params(at.in("params"), l.Params)
	if _, ok := s.Bindings[l.Binding]; ok || l.Binding == "" {
		return // without a name, that is the fault
	}
	names := sorted(s.Bindings)
	p := c.fault(at.in("binding"), spec.CodeRef, "names %q, which is not among the bindings (%s)", l.Binding, strings.Join(names, ", "))
	p.Meant = pipeline.Nearest(l.Binding, names)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
