package mf4

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// usable says whether a channel can be a signal: one number a record, with a time.
func usable(c *mdf.Channel) bool {
	g := c.Group
	timed := g.Master != nil && g.Master.Sync <= mdf.SyncTime || g.Master == nil && g.RemoteMaster != nil && g.RemoteMaster.Master != nil
	return timed && c.Err() == nil && c.Kind() == mdf.Number && c.Type != mdf.VLSD && !c.IsMaster()
}

// find is the first usable channel of that name in a group, or the element of an array that x[1][2] or pos[1].x names.
func find(g *mdf.ChannelGroup, name string) *mdf.Channel {
	for _, c := range g.Channels {
		if c.Name == name && usable(c) {
			return c
		}
	}
	array, index, ok := mdf.ElementIndex(name)
	if !ok {
		return nil
	}
	for _, c := range g.Channels {
		if c.Name != array || c.Dimensions() != len(index) {
			continue
		}
		if e, err := c.Element(index...); err == nil && usable(e) {
			return e
		}
	}
	return nil
}

// groupOf returns the group that has all the channels named (empty names aside), one with records before others, then the
// first. Without any it says what is missing.
func (r *resolver) groupOf(names []string, acqName string) (*mdf.ChannelGroup, missing) {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	var best *mdf.ChannelGroup
	anywhere := map[string]*mdf.ChannelGroup{}
	for _, g := range r.file.Groups {
		if acqName != "" && g.AcqName != acqName {
			continue
		}
		have := 0
		for _, n := range names {
			if find(g, n) != nil {
				have++
				anywhere[n] = g
			}
		}
		if have == len(names) && (best == nil || hasRecords(g) && !hasRecords(best)) {
			best = g
		}
	}
	if best != nil {
		return best, missing{}
	}
	return nil, r.lacking(names, anywhere)
}

func hasRecords(g *mdf.ChannelGroup) bool { return !g.CyclesKnown || g.Cycles > 0 }

// lacking says which of several channels are nowhere, or that they are not together.
func (r *resolver) lacking(names []string, anywhere map[string]*mdf.ChannelGroup) missing {
	m := missing{mean: len(names) > 1}
	for _, n := range names {
		if anywhere[n] == nil {
			m.names = append(m.names, n)
		}
	}
	switch {
	case len(m.names) == 0:
		m.reason = fmt.Sprintf("channels %s lie in different groups, so they have no common time base", quoted(names))
	case len(m.names) == 1:
		m.reason = r.unusable(m.names[0])
	}
	return m
}

// unusable says why a channel that exists cannot be a signal; empty when there is none of that name.
func (r *resolver) unusable(name string) string {
	for _, g := range r.file.Groups {
		for _, c := range g.Channels {
			if c.Name != name {
				continue
			}
			if err := c.Err(); err != nil {
				return fmt.Sprintf("channel %q cannot be read (%v)", name, err)
			}
			if c.Kind() == mdf.Numbers && c.Array != nil {
				return fmt.Sprintf("channel %q (%s) is an array of %v: name one element, such as %s%s", name, groupName(g), c.Array.Dims,
					name, strings.Repeat("[0]", len(c.Array.Dims)))
			}
			return fmt.Sprintf("channel %q (%s) is no number with a time (%v)", name, groupName(g), c.DataType)
		}
	}
	return ""
}

// channels finds those of a reference, all in one group; nil, and noted, when there are none.
func (r *resolver) channels(signal string, ref *binding.Ref) []*mdf.Channel {
	names := ref.Channels
	var bad missing
	var g *mdf.ChannelGroup
	if len(names) > 0 {
		g, bad = r.groupOf(names, ref.Group)
	}
	for _, n := range ref.Channel {
		if g, bad = r.groupOf([]string{n}, ref.Group); g != nil {
			names = binding.Names{n}
			break
		}
	}
	if g == nil {
		if !ref.Optional {
			bad.signal = signal
			if len(ref.Channel) > 1 {
				bad.names = ref.Channel
			}
			r.miss(bad)
		}
		return nil
	}
	chans := make([]*mdf.Channel, len(names))
	for i, n := range names {
		chans[i] = find(g, n)
	}
	return chans
}

// checkUnit returns the factor of a reference: as given, or what makes the recording's unit the one wanted.
func (r *resolver) checkUnit(signal string, ref *binding.Ref, from string) float64 {
	if ref.Factor != nil {
		return *ref.Factor
	}
	f, ok := convert(from, ref.Unit)
	if !ok {
		r.miss(missing{signal: signal, reason: fmt.Sprintf("unit %q cannot be converted to %q; leave `unit` out or give a `factor`;", from, ref.Unit)})
	}
	return f
}

func (r *resolver) group(g *mdf.ChannelGroup) *groupPlan {
	if r.groups[g] == nil {
		r.groups[g] = &groupPlan{}
	}
	return r.groups[g]
}

// column is the number of a channel among those read.
func (p *groupPlan) column(c *mdf.Channel) int {
	if i := slices.Index(p.channels, c); i >= 0 {
		return i
	}
	p.channels = append(p.channels, c)
	return len(p.channels) - 1
}

func (p *groupPlan) add(to *stream, row recordRow) {
	p.outputs, p.rows = append(p.outputs, newOutput(to)), append(p.rows, row)
}

// mean is the row of one reference to channels of the group.
func (p *groupPlan) mean(chans []*mdf.Channel, ref *binding.Ref) meanRecord {
	m := meanRecord{offset: ref.Offset, factor: ref.Scale()}
	for _, c := range chans {
		m.columns = append(m.columns, p.column(c))
	}
	return m
}

// signals binds named signals: a table a channel group, in the order of the file, then a table a bus message.
func (r *resolver) signals(all map[string]binding.Ref) {
	bus := map[string]binding.Ref{}
	cols, rows := map[*mdf.ChannelGroup][]column{}, map[*mdf.ChannelGroup]signalsRecord{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ref := all[name]
		if ref.IsBus() {
			bus[name] = ref
			continue
		}
		chans := r.channels(name, &ref)
		if chans == nil {
			continue
		}
		g := chans[0].Group
		m := r.group(g).mean(chans, &ref)
		m.factor = r.checkUnit(name, &ref, chans[0].Unit)
		cols[g] = append(cols[g], column{name, cmp.Or(ref.Unit, chans[0].Unit)})
		rows[g] = append(rows[g], m)
	}
	for _, g := range slices.SortedFunc(maps.Keys(rows), func(a, b *mdf.ChannelGroup) int { return a.Index - b.Index }) {
		r.group(g).add(r.newStream(groupName(g), cols[g]...), rows[g])
	}
	r.busSignals(bus)
}
