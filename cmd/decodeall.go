package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A decodeView is what `inspect --decode-all` prints: that all values have been there, and how long it took.
type decodeView struct {
	Channels int     `json:"channels"` // of numbers
	Samples  uint64  `json:"samples"`
	Check    any     `json:"check"`   // sum of all samples; as a text where it is no number
	InnerS   float64 `json:"inner_s"` // from opening the file to the last sample
}

// decodeAll turns every sample of every channel, or of every signal that a database finds on the bus, into a float64 in a column,
// and adds them up.
func (a *app) decodeAll(ctx context.Context, file, database string) error {
	from := time.Now()
	f, err := mdf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var v decodeView
	if database != "" {
		var warnings []error
		v, warnings, err = decodeBus(ctx, f, database)
		a.warn(file, "W-dbc", warnings)
	} else {
		v, err = decodeChannels(ctx, f)
	}
	if err != nil {
		return err
	}
	v.InnerS = time.Since(from).Seconds()
	if sum := v.Check.(float64); math.IsNaN(sum) || math.IsInf(sum, 0) {
		v.Check = fmt.Sprint(sum)
	}
	return json.NewEncoder(a.stdout).Encode(v)
}

// A tally is the sum of the samples of a block. Blocks come in any order, but what they are does not change from run to run:
// added up in the order of the file, the sum is the same to the last bit.
type tally struct {
	group   int
	first   uint64
	samples uint64
	sum     float64
}

func (v *decodeView) add(workers [][]tally) {
	all := slices.Concat(workers...)
	slices.SortFunc(all, func(a, b tally) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.first, b.first))
	})
	sum := 0.0
	for _, t := range all {
		v.Samples += t.samples
		sum += t.sum
	}
	v.Check = sum
}

func decodeChannels(ctx context.Context, f *mdf.File) (v decodeView, err error) {
	var selected []mdf.Selection
	for _, g := range f.Groups {
		if channels := numbers(g); len(channels) > 0 {
			selected = append(selected, mdf.Selection{Group: g, Channels: channels})
			v.Channels += len(channels)
		}
	}
	workers := make([][]tally, runtime.GOMAXPROCS(0))
	err = f.Scan(ctx, mdf.ScanOptions{Workers: len(workers)}, func(worker int, b *mdf.Block) error {
		t := tally{group: b.Group.Index, first: b.First}
		for i := range b.Columns {
			t.samples += uint64(len(b.Columns[i].Values))
			t.sum += total(b.Columns[i].Values)
		}
		workers[worker] = append(workers[worker], t)
		return nil
	}, selected...)
	v.add(workers)
	return v, err
}

// numbers lists the channels of a group whose samples are a number each.
func numbers(g *mdf.ChannelGroup) (channels []*mdf.Channel) {
	for _, c := range g.Channels {
		text := c.Conversion != nil && c.Conversion.GivesText()
		if c.Err() == nil && c.Kind() == mdf.Number && c.Type != mdf.VLSD && !text {
			channels = append(channels, c)
		}
	}
	return channels
}

// total adds in four strands, since each addition waits for the one before.
func total(x []float64) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d = a+x[0], b+x[1], c+x[2], d+x[3]
	}
	for _, v := range x {
		a += v
	}
	return a + b + (c + d)
}

func decodeBus(ctx context.Context, f *mdf.File, database string) (v decodeView, warnings []error, err error) {
	db, err := loadDBC(database)
	if err != nil {
		return v, nil, err
	}
	var selected []mdf.Selection
	for _, g := range f.Groups {
		if g.HasFrames() {
			selected = append(selected, mdf.Selection{Group: g, Channels: g.FrameChannels()})
		}
	}
	workers := make([]*busWorker, runtime.GOMAXPROCS(0))
	for i := range workers {
		workers[i] = &busWorker{decoder: dbc.NewDecoder(dbc.BusDatabase{Database: db}), found: map[dbc.FrameID][]bool{}}
	}
	err = f.Scan(ctx, mdf.ScanOptions{Workers: len(workers), BlockRecords: 8192}, func(worker int, b *mdf.Block) error {
		return workers[worker].decode(b)
	}, selected...)
	var tallies [][]tally
	var decoders []*dbc.Decoder
	found := map[dbc.FrameID][]bool{}
	for _, w := range workers {
		tallies, decoders = append(tallies, w.tallies), append(decoders, w.decoder)
		for id, signals := range w.found {
			found[id] = append(found[id], make([]bool, len(signals)-len(found[id]))...)
			for i, has := range signals {
				found[id][i] = found[id][i] || has
			}
		}
	}
	for _, signals := range found {
		for _, has := range signals {
			if has {
				v.Channels++
			}
		}
	}
	v.add(tallies)
	if err == nil {
		warnings = append(unmatched(db, decoders...), dbc.Doubts(decoders...)...)
	}
	return v, warnings, err
}

// A busWorker decodes the frames of one of the goroutines of a scan.
type busWorker struct {
	decoder *dbc.Decoder
	frames  mdf.Frames
	tallies []tally
	found   map[dbc.FrameID][]bool // signals that had a value
}

func (w *busWorker) decode(b *mdf.Block) error {
	if err := w.frames.Fill(b); err != nil {
		return err
	}
	f := &w.frames
	t := tally{group: b.Group.Index, first: b.First}
	in := dbc.Frames{Times: f.Times, Bus: f.Buses(), ID: f.ID, Extended: f.Extended, Offsets: f.Offsets, Data: f.Data}
	for _, g := range w.decoder.Decode(&in) {
		found := w.found[g.FrameID]
		if found == nil {
			found = make([]bool, len(g.Signals))
			w.found[g.FrameID] = found
		}
		for i, values := range g.Values {
			n, sum := valid(values, g.Valid[i])
			t.samples += n
			t.sum += sum
			found[i] = found[i] || n > 0
		}
	}
	w.tallies = append(w.tallies, t)
	return nil
}

// valid counts and adds up the values that are there.
func valid(values []float64, ok []bool) (n uint64, sum float64) {
	for i, there := range ok {
		if there {
			n++
			sum += values[i]
		}
	}
	return n, sum
}
