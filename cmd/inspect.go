package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mdf/digest"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

func (a *app) inspectCommand() *cobra.Command {
	var o inspectOptions
	c := &cobra.Command{
		Use: "inspect FILE...", Short: "what is in an .mf4: header, groups, channels, blocks, gaps, attachments, events", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := path.Match(o.channels, ""); err != nil {
				return exit(ExitUsage, fmt.Errorf("--channels %q is no glob: %w\n  next: quote it, as in --channels 'Veh*'; \\[ is the character [", o.channels, err))
			}
			var errs []error // a bad file keeps none of the others back
			for _, file := range args {
				if err := a.inspect(c.Context(), file, o); err != nil {
					errs = append(errs, fileError(file, err))
				}
				if err := c.Context().Err(); err != nil {
					return err
				}
			}
			return exit(ExitFailed, errors.Join(errs...))
		},
	}
	c.Flags().StringVar(&o.channels, "channels", "", "list the channels whose name matches a glob")
	c.Flags().BoolVar(&o.blocks, "blocks", false, "list the data blocks of each group")
	c.Flags().DurationVar(&o.gap, "gap", 100*time.Millisecond, "report gaps in a group's times longer than this")
	c.Flags().BoolVar(&o.digest, "digest", false, "print digests of every channel's values as JSON lines; with --dbc, of the bus signals")
	c.Flags().BoolVar(&o.decodeAll, "decode-all", false, "decode every sample and print one JSON line of sums; with --dbc, of the bus signals")
	c.Flags().StringVar(&o.dbc, "dbc", "", "database that describes the CAN frames: list the messages that the recording has")
	return c
}

// fileError is what is wrong with a file that a command was given: that it cannot be opened, or what is in it.
func fileError(file string, err error) error {
	switch p := (*fs.PathError)(nil); {
	case errors.Is(err, mdf.ErrNotRegular):
		return pipeline.FileError(file, pipeline.ErrNotRegular)
	case errors.As(err, &p):
		return pipeline.FileError(p.Path, err)
	}
	return fmt.Errorf("%w [E-mf4]", named(file, err))
}

// named is an error that begins with the file's name, once.
func named(file string, err error) error {
	if strings.HasPrefix(err.Error(), file+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

type inspectOptions struct {
	channels string
	gap      time.Duration
	digest   bool
	dbc      string
	blocks   bool

	decodeAll bool
}

// A fileView is a recording as `inspect -o json` prints it.
type fileView struct {
	File      string      `json:"file"`
	Version   string      `json:"version"`
	Program   string      `json:"program"`
	Start     time.Time   `json:"start"`
	Bytes     int64       `json:"bytes"`
	Finalized bool        `json:"finalized"`
	Comment   string      `json:"comment,omitempty"`
	Seconds   float64     `json:"seconds"` // from the first to the last time of any group
	Groups    []groupView `json:"groups"`
	Bus       []busView   `json:"bus,omitempty"` // with --dbc

	History     []historyView    `json:"history,omitempty"`
	Attachments []attachmentView `json:"attachments,omitempty"`
	Events      []eventView      `json:"events,omitempty"`

	Error string `json:"error,omitempty"` // what stopped reading, with what lies in front of it above
}

type groupView struct {
	Index    int           `json:"index"`
	Name     string        `json:"name"`
	Channels int           `json:"channels"`
	Records  uint64        `json:"records"`
	First    float64       `json:"first_s"`
	Last     float64       `json:"last_s"`
	Rate     float64       `json:"rate_hz"` // mean
	Master   string        `json:"master,omitempty"`
	Bus      bool          `json:"bus"`
	Gaps     []gapView     `json:"gaps,omitempty"`
	List     []channelView `json:"list,omitempty"`
	Blocks   []blockView   `json:"blocks,omitempty"`
	Lost     []lostView    `json:"lost,omitempty"` // to damage

	timed bool // First is known
}

type gapView struct {
	From float64 `json:"from_s"`
	To   float64 `json:"to_s"`
}

func (a *app) inspect(ctx context.Context, file string, o inspectOptions) error {
	if o.decodeAll {
		return a.decodeAll(ctx, file, o.dbc)
	}
	if o.digest && o.dbc != "" {
		return a.digestBus(ctx, file, o.dbc)
	}
	if o.digest {
		return digest.File(ctx, a.stdout, file, filepath.ToSlash(file))
	}
	f, err := mdf.Options{KeepReadable: true}.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	v := fileView{File: file, Version: fmt.Sprintf("%d.%02d", f.Version/100, f.Version%100), Program: f.Program, Start: f.Start,
		Bytes: f.Size(), Finalized: f.Finalized, Comment: f.Comment, Groups: []groupView{}}
	first, last := math.Inf(1), math.Inf(-1)
	for _, g := range f.Groups {
		if g.VLSD {
			continue
		}
		view, err := viewGroup(ctx, g, o)
		if err != nil && v.Error == "" {
			v.Error = err.Error()
		}
		if view.Records > 0 {
			first, last = min(first, view.First), max(last, view.Last)
		}
		v.Groups = append(v.Groups, view)
	}
	v.Seconds = max(0, last-first)
	if f.Damage != nil {
		v.Error = f.Damage.Error()
	}
	if err := v.addMetadata(f); err != nil && v.Error == "" {
		v.Error = err.Error()
	}
	if o.dbc != "" {
		db, err := loadDBC(o.dbc)
		if err != nil {
			return err
		}
		var warnings []error
		if v.Bus, warnings, err = viewBus(ctx, f, db); err != nil && v.Error == "" {
			v.Error = err.Error()
		}
		a.warn(file, "W-dbc", warnings)
	}
	switch {
	case a.structured():
		err = a.document(v)
	case a.output == "name":
		_, err = fmt.Fprintln(a.stdout, v.File)
	default:
		err = a.printFile(v)
	}
	if err == nil && v.Error != "" {
		err = errors.New(v.Error)
	}
	return err
}

// digestBus prints the digests of the signals that a database finds in a recording.
func (a *app) digestBus(ctx context.Context, file, database string) error {
	db, err := loadDBC(database)
	if err != nil {
		return err
	}
	warnings, err := digest.Bus(ctx, a.stdout, file, filepath.ToSlash(file), db, filepath.ToSlash(database))
	a.warn(file, "W-dbc", warnings)
	return err
}

func loadDBC(path string) (*dbc.Database, error) {
	text, err := binding.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return dbc.Load(filepath.ToSlash(path), text)
}

// viewGroup reads the times of one group: how many there are, how fast, and where they pause.
func viewGroup(ctx context.Context, g *mdf.ChannelGroup, o inspectOptions) (groupView, error) {
	v := groupView{Index: g.Index, Name: g.AcqName, Channels: len(g.Channels), Bus: g.BusEvent}
	if g.Master != nil {
		v.Master = g.Master.Name
	}
	for _, c := range g.Channels {
		if ok, _ := path.Match(o.channels, c.Name); o.channels != "" && ok {
			v.List = append(v.List, viewChannel(c))
		}
	}
	if o.blocks {
		if err := v.addBlocks(g); err != nil {
			return v, err
		}
	}
	r, err := g.Read(mdf.ReadOptions{SkipDamage: true})
	if err != nil {
		return v, err
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return v, err
		}
		v.add(b, o.gap)
	}
	for _, l := range r.Losses() {
		v.Lost = append(v.Lost, viewLoss(l))
	}
	if v.Records > 1 && v.Last > v.First {
		v.Rate = float64(v.Records-1) / (v.Last - v.First)
	}
	if len(v.Lost) > 0 {
		return v, r.Losses()[0].Err
	}
	return v, nil
}

func (v *groupView) add(b *mdf.Block, gap time.Duration) {
	v.Records += uint64(b.N)
	for _, t := range b.Times {
		switch {
		case math.IsNaN(t) || math.IsInf(t, 0):
			continue
		case !v.timed:
			v.First, v.timed = t, true
		case isGap(v.Last, t, gap) && !v.Bus:
			v.Gaps = append(v.Gaps, gapView{From: v.Last, To: t})
		}
		v.Last = t
	}
}

// isGap says that two times are further apart than gap, and not by what they are rounded.
func isGap(from, to float64, gap time.Duration) bool { return to-from > gap.Seconds()*(1+1e-6) }

func (a *app) printFile(v fileView) error {
	state := "finalized"
	if !v.Finalized {
		state = "unfinalized (the recorder was cut off; repaired while reading)"
	}
	fmt.Fprintf(a.stdout, "MDF %s   started %s   %s min   %s   %s\n", v.Version, v.Start.Format(time.RFC3339),
		clockText(time.Duration(v.Seconds*float64(time.Second))), bytesText(v.Bytes), state)
	var rows [][]string
	for _, g := range v.Groups {
		rows = append(rows, g.row())
		for _, c := range g.List {
			rows = append(rows, []string{"", "  " + c.label(), c.Type, "", cmp.Or(c.Error, c.Conversion), c.Unit})
		}
		rows = append(rows, g.blockRows()...)
	}
	if err := table(a.stdout, []string{"", "group", "channels", "samples", "rate", "master"}, rows); err != nil {
		return err
	}
	if err := a.printBus(v.Bus); err != nil {
		return err
	}
	v.printGaps(a.stdout)
	v.printLosses(a.stdout)
	v.printMetadata(a.stdout)
	return nil
}

func (v fileView) printGaps(w io.Writer) {
	for _, g := range v.Groups {
		for k, gap := range g.Gaps {
			if k == 5 {
				fmt.Fprintf(w, "gaps: %s has %d more\n", g.Name, len(g.Gaps)-k)
				break
			}
			fmt.Fprintf(w, "gap: %s %.3f-%.3f s\n", g.Name, gap.From, gap.To)
		}
	}
}

func (g groupView) row() []string {
	rate, master := "-", g.Master
	if g.Rate > 0 && !g.Bus {
		rate = fmt.Sprintf("%.0f Hz", g.Rate)
	}
	if g.Bus {
		master += "   (raw bus: bind its signals with a DBC)"
	}
	return []string{fmt.Sprint(g.Index), g.Name, fmt.Sprint(g.Channels), countText(float64(g.Records)), rate, master}
}
