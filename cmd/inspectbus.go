package cmd

import (
	"cmp"
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
	Bus      uint8  `json:"bus"` // 0: the recording does not say
	ID       uint32 `json:"id"`
	Extended bool   `json:"extended"` // 29 bits
	Frames   uint64 `json:"frames"`
	Message  string `json:"message,omitempty"` // of the database; none where it has none
	Signals  int    `json:"signals,omitempty"`
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
		v := busView{Bus: g.Bus, ID: g.ID, Extended: g.Extended, Frames: g.Frames, Signals: len(g.Signals)}
		if g.Message != nil {
			v.Message = g.Message.Name
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b busView) int { return cmp.Or(cmp.Compare(a.Bus, b.Bus), cmp.Compare(a.ID, b.ID)) })
	return views, unmatched(db, d), nil
}

func countFrames(ctx context.Context, d *dbc.Decoder, g *mdf.ChannelGroup) error {
	r, err := g.ReadFrames(mdf.ReadOptions{SkipDamage: true})
	if err != nil {
		return err
	}
	defer r.Close()
	var all buses
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		d.Decode(&dbc.Frames{Times: b.Times, Bus: all.of(g, b), ID: b.ID, Extended: b.Extended, Offsets: b.Offsets, Data: b.Data})
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
	return []error{&dbc.NoMatch{Database: db.Name, Messages: len(db.Messages), Seen: len(ids), Close: db.Closest(0, ids)}}
}

// warn tells what a database does not describe.
func (a *app) warn(file string, warnings []error) {
	for _, w := range warnings {
		fmt.Fprintf(a.stderr, "warning: %s: %v [W-dbc]\n", file, w)
	}
}

// buses are those of frames, or that of their group where they do not say.
type buses []uint8

func (all *buses) of(g *mdf.ChannelGroup, f *mdf.Frames) []uint8 {
	n := g.BusChannel()
	if n == 0 || slices.ContainsFunc(f.Bus, func(k uint8) bool { return k != 0 }) {
		return f.Bus
	}
	*all = (*all)[:0]
	for range f.N {
		*all = append(*all, n)
	}
	return *all
}

// maxOthers is how many identifiers without a message are listed.
const maxOthers = 12

// printBus shows the messages, and which identifiers have none.
func (a *app) printBus(views []busView) error {
	var rows [][]string
	var others []string
	for _, v := range views {
		id := fmt.Sprintf("%#x", v.ID)
		if v.Message == "" {
			others = append(others, id)
			continue
		}
		rows = append(rows, []string{fmt.Sprint(v.Bus), id, v.Message, countText(float64(v.Frames)), fmt.Sprint(v.Signals)})
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
