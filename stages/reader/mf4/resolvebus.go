package mf4

import (
	"fmt"
	"maps"
	"slices"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// idMask takes the bit for extended frames off an identifier.
const idMask = 1<<29 - 1

// Signals of a track message where the binding names none: those of the radar databases of opendbc.
const (
	defaultLongDist = "LONG_DIST"
	defaultLatDist  = "LAT_DIST"
	defaultRelSpeed = "REL_SPEED"
	defaultValid    = "VALID"
	defaultNewTrack = "NEW_TRACK"
)

// trackSignals are the signals that the message of a track must have.
func trackSignals(t *binding.Track) (all []wantedSignal) {
	for _, s := range []struct{ key, name string }{
		{"long_dist", orElse(t.LongDist, defaultLongDist)}, {"rel_speed", orElse(t.RelSpeed, defaultRelSpeed)},
		{"lat_dist", t.LatDist}, {"valid", t.Valid}, {"new_track", t.NewTrack},
	} {
		if s.name != "" {
			all = append(all, wantedSignal{[]string{s.key}, s.name})
		}
	}
	return all
}

func orElse(name, other string) string {
	if name == "" {
		return other
	}
	return name
}

// message is the message of a reference, listed once for all its signals so that it can be missed at the end.
func (r *resolver) message(signal string, bus *int, file string, id uint32, optional bool) *message {
	described := r.dbcMessage(file, id)
	id &= idMask
	for _, m := range r.messages {
		if m.id == id && m.bus == choose(bus) && m.dbc.Extended == described.Extended {
			m.signals, m.optional = append(m.signals, signal), m.optional && optional
			return m
		}
	}
	m := &message{bus: choose(bus), id: id, name: described.Name, signals: []string{signal}, optional: optional, dbc: described,
		db: r.lib.dbs[file], others: r.others}
	r.messages = append(r.messages, m)
	return m
}

// dbcMessage returns a message that library.check has found before.
func (r *resolver) dbcMessage(file string, id uint32) *dbc.Message {
	m, err := r.lib.dbs[file].MessageByID(id)
	if err != nil {
		panic(fmt.Sprintf("message %d of %s was not checked: %v", id, file, err))
	}
	return m
}

// frame finds the signals of one reference.
func (r *resolver) frame(signal string, ref *binding.Ref) (*message, *meanFrame) {
	m := r.dbcMessage(ref.DBC, ref.ID)
	row := &meanFrame{offset: ref.Offset}
	for _, name := range ref.Parts() {
		s, _ := m.Signal(name)
		row.parts = append(row.parts, s)
	}
	if ref.ValidSignal != "" {
		row.valid, _ = m.Signal(ref.ValidSignal)
	}
	row.factor = r.checkUnit(signal, ref, row.parts[0].Unit)
	return r.message(signal, ref.Bus, ref.DBC, ref.ID, ref.Optional), row
}

func (r *resolver) trackFrame(i int, t *binding.Track) (*message, *trackFrame) {
	m := r.dbcMessage(t.DBC, t.ID)
	signal := func(name, other string) *dbc.Signal {
		s, _ := m.Signal(orElse(name, other))
		return s
	}
	msg := r.message(fmt.Sprintf("tracks[%d]", i), t.Bus, t.DBC, t.ID, t.Optional)
	msg.track = true
	row := newTrackFrame()
	row.scale[trackY].factor = t.LatScale()
	row.signals = [trackSignalCount]*dbc.Signal{trackX: signal(t.LongDist, defaultLongDist), trackY: signal(t.LatDist, defaultLatDist),
		trackRate: signal(t.RelSpeed, defaultRelSpeed), trackValid: signal(t.Valid, defaultValid), trackNew: signal(t.NewTrack, defaultNewTrack)}
	return msg, row
}

// use lets a message feed a stream.
func (r *resolver) use(to *stream, row frameRow, m *message) {
	m.streams = append(m.streams, to)
	r.uses = append(r.uses, &busUse{to, row, m, row.place(nil)})
}

// busSignals binds named signals: a table a message.
func (r *resolver) busSignals(all map[string]binding.Ref) {
	type frame struct {
		bus busChoice
		id  uint32
		dbc string
	}
	byFrame := map[frame][]string{}
	var order []frame
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ref := all[name]
		f := frame{choose(ref.Bus), ref.ID & idMask, ref.DBC}
		if byFrame[f] == nil {
			order = append(order, f)
		}
		byFrame[f] = append(byFrame[f], name)
	}
	for _, f := range order {
		var rows signalsFrame
		var cols []column
		var msg *message
		for _, name := range byFrame[f] {
			ref := all[name]
			m, row := r.frame(name, &ref)
			msg, rows = m, append(rows, row)
			cols = append(cols, column{name, orElse(ref.Unit, row.parts[0].Unit)})
		}
		r.use(r.newStream(msg.name, cols...), rows, msg)
	}
}

// absent are the messages that never occurred: those of signals that are not optional. Of an object list a sensor may leave slots out;
// a bus on which none of its slots occurred is not the sensor's, or the sensor was not there.
func absent(all []*message) []*message {
	sensors := map[busChoice]bool{} // by bus
	for _, m := range all {
		if m.track && m.seen() {
			sensors[m.bus] = true
		}
	}
	var missed []*message
	for _, m := range all {
		if !m.seen() && !m.optional && !(m.track && sensors[m.bus]) {
			missed = append(missed, m)
		}
	}
	return missed
}
