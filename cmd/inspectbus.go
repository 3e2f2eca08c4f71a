package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A busView is one identifier on a bus, as `inspect --dbc` shows it.
type busView struct {
	Bus      *uint8 `json:"bus"` // null: the recording does not say
	ID       uint32 `json:"id"`
	Extended bool   `json:"extended"` // 29 bits
	Frames   uint64 `json:"frames"`
	Message  string `json:"message,omitempty"` // of the database; none where it has none
	Signals  int    `json:"signals,omitempty"`

	of dbc.FrameID
}

// viewBus counts the frames of each identifier and says which message of a database they are, in the order of bus and identifier.
func viewBus(ctx context.Context, f *mdf.File, db *dbc.Database) ([]busView, []error, error) {
	d := dbc.NewDecoder(dbc.BusDatabase{Database: db})
	for _, g := range f.Groups {
		if g.HasFrames() {
			if err := countFrames(ctx, d, g); err != nil {
				return nil, nil, err
			}
		}
	}
	views := []busView{}
	for _, g := range d.Groups() {
		v := busView{ID: g.ID, Extended: g.Extended, Frames: g.Frames, Signals: len(g.Signals), of: g.FrameID}
		if g.BusKnown {
			v.Bus = &g.Bus
		}
		if g.Message != nil {
			v.Message = g.Message.Name
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b busView) int { return a.of.Compare(b.of) })
	return views, append(unmatched(db, d), dbc.Doubts(d)...), nil
}

func countFrames(ctx context.Context, d *dbc.Decoder, g *mdf.ChannelGroup) error {
	r, err := g.ReadFrames(mdf.ReadOptions{SkipDamage: true})
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
		d.Decode(&dbc.Frames{Times: b.Times, Bus: b.Buses(), ID: b.ID, Extended: b.Extended, Offsets: b.Offsets, Data: b.Data})
	}
}

// unmatched says that none of the frames that decoders of one database have seen is in it.
func unmatched(db *dbc.Database, decoders ...*dbc.Decoder) []error {
	seen := map[dbc.FrameID]bool{}
	var ids []dbc.FrameID
	for _, d := range decoders {
		for _, g := range d.Groups() {
			if g.Message != nil {
				return nil
			}
			if !seen[g.FrameID] {
				seen[g.FrameID] = true
				ids = append(ids, g.FrameID)
			}
		}
	}
	return []error{&dbc.NoMatch{Database: db.Name, Messages: len(db.Messages), Seen: len(ids), Close: db.Closest(nil, ids)}}
}

// maxWarnings is how many are told of a recording.
const maxWarnings = 12

// warn tells what there is to say about a recording beside what was asked for.
func (a *app) warn(file, code string, warnings []error) {
	for i, w := range warnings {
		if i == maxWarnings && len(warnings) > maxWarnings+1 {
			fmt.Fprintf(a.stderr, "warning: %s: %d more like these [%s]\n", file, len(warnings)-i, code)
			return
		}
		fmt.Fprintf(a.stderr, "warning: %s: %v [%s]\n", file, w, code)
	}
}

// maxOthers is how many identifiers without a message are listed.
const maxOthers = 12

// printBus shows the messages, and which identifiers have none.
func (a *app) printBus(views []busView) error {
	var rows [][]string
	var others []string
	for _, v := range views {
		if v.Message == "" {
			others = append(others, v.of.String())
			continue
		}
		bus := "-"
		if v.Bus != nil {
			bus = fmt.Sprint(*v.Bus)
		}
		rows = append(rows, []string{bus, dbc.FrameID{ID: v.ID, Extended: v.Extended}.String(), v.Message, countText(float64(v.Frames)), fmt.Sprint(v.Signals)})
	}
	if len(rows) > 0 {
		if err := table(a.stdout, []string{"bus", "id", "message", "frames", "signals"}, rows); err != nil {
			return err
		}
	}
	if len(others) > 0 {
		more := ""
		if len(others) > maxOthers {
			more = ", …"
		}
		fmt.Fprintf(a.stdout, "%d ids without a message: %s%s\n", len(others), strings.Join(others[:min(len(others), maxOthers)], ", "), more)
	}
	return nil
}
