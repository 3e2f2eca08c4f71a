package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

type exportOptions struct {
	out      string
	channels []string
	group    string
	pipeline string
	from, to time.Duration
	times    mdf.ExcerptOptions // From and To where they were given
	corrupt  string             // fail or keep
}

func (a *app) exportCommand() *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use: "export FILE -o OUT", Short: "an excerpt of a recording, or what a pipeline makes of it, as .mf4 or .csv", Args: cobra.ExactArgs(1),
		Long: "An excerpt of a recording as .mf4 or .csv. With --pipeline it is the signals that the stages of a pipeline emit for the\n" +
			"recording, a channel group for each table, named stage/table, and their documents as attachments. The pipeline is run again\n" +
			"for that, in this process and as fast as it goes; nothing is stored, and its sinks are left out.\n\n" +
			"A damaged recording is refused. --on-corrupt keep gets out what is readable of it, of finalized ones that were cut off too,\n" +
			"and warns of what is lost: group, records, time range.",
		Example: "  milepost export logs/a.mf4 -o brake.mf4 --from 120s --to 180s --channels 'Veh*,AEB_BrkReq'\n" +
			"  milepost export logs/a.mf4 -o speed.csv --channels VehSpd\n" +
			"  milepost export logs/a.mf4 -o results.mf4 --pipeline aeb-replay\n" +
			"  milepost export logs/cut.mf4 -o rescued.mf4 --on-corrupt keep",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("from") {
				o.times.From = new(o.from.Seconds())
			}
			if c.Flags().Changed("to") {
				o.times.To = new(o.to.Seconds())
			}
			return a.export(c.Context(), args[0], o)
		},
	}
	c.Flags().StringVarP(&o.out, "output", "o", "", "file to write; what it becomes is said by its ending, .mf4 or .csv")
	c.Flags().StringSliceVar(&o.channels, "channels", nil, "channels whose name matches one of these globs; default all")
	c.Flags().StringVar(&o.group, "group", "", "groups whose name matches a glob; default all")
	c.Flags().StringVar(&o.corrupt, "on-corrupt", "fail", "what damage in the recording does: fail, or keep, which writes what is readable and warns of what is lost")
	c.Flags().StringVar(&o.pipeline, "pipeline", "", "the signals of this pipeline's stages instead of the recording's; FILE may be a recording's name then")
	c.Flags().DurationVar(&o.from, "from", 0, "from this time of the recording on, which is negative before its start; default from the first record on")
	c.Flags().DurationVar(&o.to, "to", 0, "up to, but without, this time; default to the end")
	return c
}

func (a *app) export(ctx context.Context, file string, o exportOptions) error {
	if err := o.check(file); err != nil {
		return exit(ExitUsage, err)
	}
	f, remove, err := a.source(ctx, file, o)
	if err != nil {
		return err
	}
	defer remove()
	defer f.Close()
	lost := a.losses(file)
	if o.keep() {
		o.times.Lost = lost.add
	}
	if !o.any(f) {
		return exit(ExitUsage, fmt.Errorf("%s: no channel matches %s [E-channel]\n  next: %s lists them",
			file, o.wanted(), o.listing(file)))
	}
	csv := strings.EqualFold(filepath.Ext(o.out), ".csv")
	o.unreadable(f, csv, lost)
	if csv {
		err = o.writeCSV(ctx, f)
	} else {
		err = o.writeMF4(ctx, f, lost)
	}
	if err != nil {
		return exit(ExitFailed, fmt.Errorf("export %s: %w [E-mf4]%s", file, err, o.rescue(err)))
	}
	if f.Damage != nil {
		lost.warn("lost: the groups behind this damage, if there are any: %v", f.Damage)
	}
	return nil
}

// unreadable warns of chosen channels that cannot be read, or whose values cannot be converted: a table lacks them, a recording
// has at most their raw values.
func (o *exportOptions) unreadable(f *mdf.File, csv bool, lost *lossReport) {
	told := 0
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if c.Err() == nil || !o.takes(c) {
				continue
			}
			if told++; told > maxTold {
				lost.warn("more channels cannot be read; milepost inspect --channels '*' lists them")
				return
			}
			what := "left out: "
			if !csv && c.Conversion != nil && c.Conversion.Err() != nil {
				what = "copied as it is, with a conversion that no program can apply: "
			}
			lost.warn("%schannel %s of group %d: %v", what, c.Name, g.Index, c.Err())
		}
	}
}

// keep says whether damage is passed.
func (o *exportOptions) keep() bool { return o.corrupt == "keep" }

// rescue says what can be done about damage.
func (o *exportOptions) rescue(err error) string {
	if o.keep() || o.pipeline != "" || !damaged(err) {
		return ""
	}
	return "\n  next: with --on-corrupt keep what is readable is written, and what is lost is said"
}

// source is what is exported: a recording, or what a pipeline makes of it, which remove removes.
func (a *app) source(ctx context.Context, file string, o exportOptions) (f *mdf.File, remove func(), err error) {
	if o.pipeline != "" {
		return a.results(ctx, file, o.pipeline)
	}
	if f, err = (mdf.Options{KeepReadable: o.keep()}).Open(file); err != nil {
		return nil, nil, exit(ExitFailed, fmt.Errorf("%w%s", fileError(file, err), o.rescue(err)))
	}
	return f, func() {}, nil
}

// wanted are the globs that were given.
func (o *exportOptions) wanted() string {
	globs := slices.Clone(o.channels)
	if o.group != "" {
		globs = append(globs, "group "+o.group)
	}
	return strings.Join(globs, ", ")
}

// listing is the command that lists the channels there are.
func (o *exportOptions) listing(file string) string {
	if o.pipeline == "" {
		return fmt.Sprintf("milepost inspect %s --channels '*'", file)
	}
	return fmt.Sprintf("milepost export %s --pipeline %s -o all.mf4 && milepost inspect all.mf4 --channels '*'", file, o.pipeline)
}

// check refuses what cannot be meant.
func (o *exportOptions) check(file string) error {
	switch ext := strings.ToLower(filepath.Ext(o.out)); {
	case o.out == "":
		return errors.New("-o is missing: the file to write, .mf4 or .csv")
	case ext != ".mf4" && ext != ".csv":
		return fmt.Errorf("-o %s: want a file that ends in .mf4 or .csv", o.out)
	case o.corrupt != "fail" && o.corrupt != "keep":
		return fmt.Errorf("--on-corrupt %s: want fail or keep", o.corrupt)
	case o.keep() && o.pipeline != "":
		return errors.New("--on-corrupt keep is for what is in a recording; with --pipeline, its reader says `on_corrupt: keep`")
	case o.times.From != nil && o.times.To != nil && o.to <= o.from:
		return fmt.Errorf("--to %v is not behind --from %v", o.to, o.from)
	}
	for _, glob := range append(o.channels, o.group) {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("%q is no glob: %w", glob, err)
		}
	}
	return differ(file, o.out)
}

// differ refuses to write a file over the one that is read.
func differ(in, out string) error {
	a, errA := os.Stat(in)
	b, errB := os.Stat(out)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return fmt.Errorf("-o %s is the file that is read", out)
	}
	return nil
}

// takes says whether a channel is exported.
func (o *exportOptions) takes(c *mdf.Channel) bool {
	if ok, _ := path.Match(o.group, c.Group.AcqName); o.group != "" && !ok {
		return false
	}
	for _, glob := range o.channels {
		if ok, _ := path.Match(glob, c.Name); ok {
			return true
		}
	}
	return len(o.channels) == 0
}

func (o *exportOptions) any(f *mdf.File) bool {
	if len(o.channels) == 0 && o.group == "" {
		return true
	}
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if o.takes(c) {
				return true
			}
		}
	}
	return false
}

func (o *exportOptions) writeMF4(ctx context.Context, f *mdf.File, lost *lossReport) error {
	w, err := mdf.Create(o.out, mdf.WriterOptions{Version: 410, Start: f.Start, LocalTime: f.LocalTime, Comment: f.Comment,
		Compression: mdf.TransposedDeflate, BlockBytes: 4 << 20})
	if err != nil {
		return err
	}
	defer w.Abort()
	opts := o.times
	if len(o.channels) > 0 || o.group != "" {
		opts.Channels = o.takes
	} else if err := attach(ctx, w, f, lost); err != nil {
		return err
	}
	if err := f.Excerpt(ctx, w, opts); err != nil {
		return err
	}
	return w.Close()
}

// maxAttachment bounds what is held of an attachment, twice at a time.
const maxAttachment = 64 << 20

// attach copies the embedded attachments. One that cannot be read is left out: the signals have no use for it.
func attach(ctx context.Context, w *mdf.Writer, f *mdf.File, lost *lossReport) error {
	all, err := f.Attachments()
	if err != nil && !damaged(err) {
		return err
	}
	if err != nil {
		lost.warn("left out: further attachments, if there are any: %v", err)
	}
	for i := range all {
		at := &all[i]
		if !at.Embedded {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := attachment(at)
		if err != nil && !damaged(err) {
			return err
		}
		if err != nil {
			lost.warn("left out: attachment %q: %v", at.Name, err)
			continue
		}
		if err := w.Attach(mdf.AttachmentSpec{Name: at.Name, MIMEType: at.MIMEType, Comment: at.Comment}, data); err != nil {
			return err
		}
	}
	return nil
}

// damaged says whether an error is about what is in a file: not that the file could not be read, which may go well next time.
func damaged(err error) bool {
	var damage *mdf.FormatError
	return errors.As(err, &damage) || errors.Is(err, mdf.ErrLimit)
}

func attachment(at *mdf.Attachment) ([]byte, error) {
	if at.Size > maxAttachment {
		return nil, fmt.Errorf("it has %d bytes: %w", at.Size, mdf.ErrLimit)
	}
	r, err := at.Open()
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	data.Grow(int(at.Size) + bytes.MinRead)
	_, err = data.ReadFrom(r)
	return data.Bytes(), err
}
