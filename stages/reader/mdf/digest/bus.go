package digest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// Bus writes the digest of the signals that a database finds in the CAN frames of the file at path: a line for each signal
// of each (bus, identifier) pair, in the order of their first frame. name and dbcName are what the lines call file and
// database. Value tables are not applied; frames that do not hold a signal are left out of its line. The warnings say that
// the database describes no frame at all, or what of its messages cannot be decoded.
func Bus(ctx context.Context, w io.Writer, path, name string, db *dbc.Database, dbcName string) (warnings []error, err error) {
	f, err := mdf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &busWriter{decoder: dbc.NewDecoder(dbc.BusDatabase{Database: db}), sums: map[*dbc.Group][]*signalSum{}}
	for _, g := range f.Groups {
		if !g.HasFrames() {
			continue
		}
		if err := d.read(ctx, g); err != nil {
			return nil, fmt.Errorf("digest %s: %w", path, err)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, g := range d.decoder.Groups() {
		for _, s := range d.sums[g] {
			if s.values.n == 0 {
				continue
			}
			l := s.line(g)
			l["file"], l["dbc"] = name, dbcName
			if err := enc.Encode(l); err != nil {
				return nil, err
			}
		}
	}
	for _, u := range d.decoder.Unmatched() {
		warnings = append(warnings, u)
	}
	return append(warnings, dbc.Doubts(d.decoder)...), nil
}

type busWriter struct {
	decoder *dbc.Decoder
	sums    map[*dbc.Group][]*signalSum
}

// signalSum is the digest of one signal.
type signalSum struct {
	signal        *dbc.Signal
	values, times *sum
	invalid       int
	top           float64 // the value that stands for «not available» (SAE J1939-71); NaN where there is no such rule
	scratch       [2][]float64
}

func (d *busWriter) read(ctx context.Context, g *mdf.ChannelGroup) error {
	r, err := g.Frames()
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		frames := &dbc.Frames{Times: b.Times, Bus: b.Buses(), ID: b.ID, Extended: b.Extended, Offsets: b.Offsets, Data: b.Data}
		for _, g := range d.decoder.Decode(frames) {
			d.add(g)
		}
	}
}

func (d *busWriter) add(g *dbc.Group) {
	all := d.sums[g]
	if all == nil {
		for _, s := range g.Signals {
			top := math.NaN()
			if g.Message.J1939 {
				top = s.Top()
			}
			all = append(all, &signalSum{signal: s, values: newSum(), times: newSum(), top: top})
		}
		d.sums[g] = all
	}
	for i, s := range all {
		s.add(g.Times, g.Values[i], g.Valid[i])
	}
}

// add takes the values that are there.
func (s *signalSum) add(times, values []float64, valid []bool) {
	t, v := s.scratch[0][:0], s.scratch[1][:0]
	for k, ok := range valid {
		if ok {
			t, v = append(t, times[k]), append(v, values[k])
			if values[k] == s.top {
				s.invalid++
			}
		}
	}
	s.times.addNumbers(t)
	s.values.addNumbers(v)
	s.scratch = [2][]float64{t, v}
}

func (s *signalSum) line(g *dbc.Group) line {
	l := line{"message": messageName(g), "signal": s.signal.Name, "unit": s.signal.Unit, "n": s.values.n, "invalid": s.invalid,
		"bus": g.Bus, "id": g.ID, "extended": g.Extended}
	s.values.put(l, "")
	times := line{}
	s.times.put(times, "")
	l["time_sha256"], l["t_first"], l["t_last"] = times["sha256"], times["first"], times["last"]
	return l
}

// messageName is what the reference calls a message.
func messageName(g *dbc.Group) string {
	if g.Message.J1939 {
		return fmt.Sprintf("SourceAddress = %#x", g.ID&0xff)
	}
	extended := "False"
	if g.Extended {
		extended = "True"
	}
	return fmt.Sprintf("CAN%d message ID=%#x EXT=%s", g.Bus, g.ID, extended)
}
