package mf4

import (
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// targetParts are the signals of a track in the short form, with the unit that each is delivered in.
var targetParts = [trackSignalCount]struct{ name, unit, usual string }{
	trackX:     {binding.TargetDist, "m", defaultLongDist},
	trackY:     {binding.TargetLateral, "m", defaultLatDist},
	trackRate:  {binding.TargetSpeed, "m/s", defaultRelSpeed},
	trackValid: {binding.TargetValid, "", defaultValid},
	trackNew:   {binding.TargetNew, "", defaultNewTrack},
}

// A target is the one track that named signals bind; nil where there is no signal.
type target [trackSignalCount]*binding.Ref

// targetOf is what the signals of a binding without tracks bind; nil when that is no track.
func targetOf(b *binding.Binding) *target {
	if len(b.Tracks) > 0 || !binding.HasTarget(b.Signals) {
		return nil
	}
	var t target
	for i, p := range targetParts {
		if r, ok := b.Signals[p.name]; ok {
			t[i] = inUnit(r, p.unit)
		}
	}
	return &t
}

// slots is how many slots the object list of a binding has.
func slots(b *binding.Binding) int {
	if targetOf(b) != nil {
		return 1
	}
	return len(b.Tracks)
}

// target binds the one slot of a short form. A channel that the recording lacks is missed by the signal of that name.
func (r *resolver) target(t *target) {
	switch {
	case t == nil:
	case t[trackX].IsBus() && t[trackRate].IsBus():
		m, row := r.targetFrame(t)
		r.use(r.fixedStream(schemas.TableTrack(0), trackColumns...), row, m)
	case t[trackX].IsBus() || t[trackRate].IsBus():
		r.apart("one is a channel, one a bus signal")
	default:
		r.targetRecord(t)
	}
}

// apart says that the values of a track have no common time base.
func (r *resolver) apart(why string) {
	r.miss(missing{signal: "target", reason: binding.TargetDist + " and " + binding.TargetSpeed + " have no common time base (" + why + ")"})
}

func (r *resolver) targetRecord(t *target) {
	var best *mdf.ChannelGroup
	var chans, found [trackSignalCount]*mdf.Channel
	anywhere := [trackSignalCount]bool{}
	for _, g := range r.file.Groups {
		whole := true
		for i, ref := range t {
			found[i] = firstOf(g, ref)
			anywhere[i] = anywhere[i] || found[i] != nil
			optional := i != trackX && i != trackRate && ref != nil && ref.Optional
			whole = whole && (ref == nil || optional || found[i] != nil)
		}
		if whole && (best == nil || hasRecords(g) && !hasRecords(best)) {
			best, chans = g, found
		}
	}
	if best == nil {
		if lacks := func(i int) bool { return t[i] != nil && !anywhere[i] }; !lacks(trackX) && !lacks(trackY) && !lacks(trackRate) && !lacks(trackValid) && !lacks(trackNew) {
			r.apart("their channels lie in different groups")
		}
		return
	}
	p, row := r.group(best), newTrackRecord()
	for i, c := range chans {
		if c != nil {
			row.columns[i] = p.column(c)
			row.scale[i] = scaling{t[i].Offset, r.checkUnit(targetParts[i].name, t[i], c.Unit)}
		}
	}
	p.add(r.fixedStream(schemas.TableTrack(0), trackColumns...), row)
}

// firstOf is the first of a reference's channels that a group has.
func firstOf(g *mdf.ChannelGroup, ref *binding.Ref) *mdf.Channel {
	if ref == nil || ref.Group != "" && ref.Group != g.AcqName {
		return nil
	}
	for _, name := range ref.Channel {
		if c := find(g, name); c != nil {
			return c
		}
	}
	return nil
}

// targetFrame is the message of a target. As of a track, what is not named is the usual signal, where the message has it.
func (r *resolver) targetFrame(t *target) (*message, *trackFrame) {
	x := t[trackX]
	m := r.dbcMessage(x.DBC, x.ID)
	msg := r.message(binding.TargetDist, x.Bus, x.DBC, x.ID, x.Optional)
	row := newTrackFrame()
	for i, p := range targetParts {
		var s *dbc.Signal
		if t[i] == nil {
			s, _ = m.Signal(p.usual)
		} else if s, _ = m.Signal(t[i].Signal); s != nil && x.SameFrame(t[i]) {
			row.scale[i] = scaling{t[i].Offset, r.checkUnit(p.name, t[i], s.Unit)}
		} else {
			r.apart(p.name + " is a signal of another message")
			continue
		}
		row.signals[i] = s
	}
	return msg, row
}
