package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
			o.gapGiven = c.Flags().Changed("gap")
			if err := a.checkInspect(c.Flags(), o); err != nil {
				return exit(ExitUsage, err)
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
	c.Flags().DurationVar(&o.gap, "gap", 100*time.Millisecond, "report gaps in a group's times longer than this; by default also longer than one and a half of its own periods")
	c.Flags().BoolVar(&o.digest, "digest", false, "print digests of every channel's values as JSON lines; with --dbc, of the bus signals")
	c.Flags().BoolVar(&o.decodeAll, "decode-all", false, "decode every sample and print one JSON line of sums; with --dbc, of the bus signals")
	c.Flags().StringVar(&o.dbc, "dbc", "", "database that describes the CAN frames: list the messages that the recording has")
	return c
}

// checkInspect refuses flags that would be ignored.
func (a *app) checkInspect(flags *pflag.FlagSet, o inspectOptions) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	if _, err := path.Match(o.channels, ""); err != nil {
		return fmt.Errorf("--channels %q is no glob: %w\n  next: quote it, as in --channels 'Veh*'; \\[ is the character [", o.channels, err)
	}
	if o.gap <= 0 {
		return fmt.Errorf("--gap %v: want a duration above 0, such as 250ms", o.gap)
	}
	for _, alone := range []string{"digest", "decode-all"} {
		if !flags.Changed(alone) {
			continue
		}
		for _, other := range []string{"digest", "decode-all", "blocks", "channels", "gap"} {
			if other != alone && flags.Changed(other) {
				return fmt.Errorf("--%s and --%s: want one of them, each prints something else", alone, other)
			}
		}
		if flags.Changed("output") && a.output != "json" {
			return fmt.Errorf("--%s and -o %s: what it prints is JSON", alone, a.output)
		}
	}
	return nil
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
	gapGiven bool
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
	Seconds   *float64    `json:"seconds"` // from the first to the last time of any group; null where that is no number
	Groups    []groupView `json:"groups"`
	Bus       []busView   `json:"bus,omitempty"` // with --dbc

	History     []historyView    `json:"history,omitempty"`
	Attachments []attachmentView `json:"attachments,omitempty"`
	Events      []eventView      `json:"events,omitempty"`

	Error string `json:"error,omitempty"` // what stopped reading, with what lies in front of it above
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
		if view.First != nil {
			first, last = min(first, *view.First), max(last, *view.Last)
		}
		v.Groups = append(v.Groups, view)
	}
	v.Seconds = finite(max(0, last-first))
	if f.Damage != nil {
		v.Error = f.Damage.Error()
	}
	a.warn(file, "W-channel", v.unlisted(f, o.channels))
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

func (a *app) printFile(v fileView) error {
	state := "finalized"
	if !v.Finalized {
		state = "unfinalized (the recorder was cut off; repaired while reading)"
	}
	fmt.Fprintf(a.stdout, "MDF %s   started %s   %s   %s   %s\n", v.Version, v.Start.Format(time.RFC3339), spanText(v.Seconds), bytesText(v.Bytes), state)
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
