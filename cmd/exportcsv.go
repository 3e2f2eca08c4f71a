package cmd

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// writeCSV writes the chosen channels of one group as a table (RFC 4180): a column of times, one for each channel, a row for each
// record. Groups have times of their own, so a table of several would be full of holes.
func (o *exportOptions) writeCSV(ctx context.Context, f *mdf.File) (err error) {
	g, channels, err := o.table(f)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(o.out), "."+filepath.Base(o.out)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(out.Name())
		}
	}()
	b := bufio.NewWriterSize(out, 1<<16)
	w := csv.NewWriter(b)
	if err := o.rows(ctx, w, g, channels); err != nil {
		return err
	}
	w.Flush()
	if err := errors.Join(w.Error(), b.Flush(), out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), o.out)
}

// table finds the group whose channels are chosen.
func (o *exportOptions) table(f *mdf.File) (*mdf.ChannelGroup, []*mdf.Channel, error) {
	var group *mdf.ChannelGroup
	var channels []*mdf.Channel
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if c == g.Master || !o.takes(c) || c.Err() != nil {
				continue
			}
			if group != nil && group != g {
				return nil, nil, fmt.Errorf("a table has the channels of one group, chosen are those of %q (%s) and of %q (%s): narrow --channels or --group",
					group.AcqName, channels[0].Name, g.AcqName, c.Name)
			}
			group, channels = g, append(channels, c)
		}
	}
	if group == nil {
		return nil, nil, errors.New("no channel but the times is chosen that can be read")
	}
	return group, channels, nil
}

func (o *exportOptions) rows(ctx context.Context, w *csv.Writer, g *mdf.ChannelGroup, channels []*mdf.Channel) error {
	r, err := g.Read(mdf.ReadOptions{ColumnsOnly: true, Ahead: 2, SkipDamage: o.keep()}, channels...)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := w.Write(heading(g, channels)); err != nil {
		return err
	}
	row, timed := make([]string, 1+len(channels)), inSeconds(g)
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			for _, l := range r.Losses() {
				if !timed || o.times.Touches(l) {
					o.times.Lost(g, l)
				}
			}
			return nil
		}
		if err != nil {
			return err
		}
		for i := range b.N {
			row[0] = ""
			if b.Times != nil {
				t := b.Times[i]
				if timed && !o.times.Contains(t) {
					continue
				}
				row[0] = strconv.FormatFloat(t, 'g', -1, 64)
			}
			for k := range b.Columns {
				row[k+1] = cell(&b.Columns[k], i)
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
}

// inSeconds says whether the times of a group are times: its master may be an angle or a distance.
func inSeconds(g *mdf.ChannelGroup) bool {
	m := g.Master
	if m == nil && g.RemoteMaster != nil {
		m = g.RemoteMaster.Master
	}
	return m != nil && m.Sync == mdf.SyncTime
}

// heading is the names with their units.
func heading(g *mdf.ChannelGroup, channels []*mdf.Channel) []string {
	names := []string{"time [s]"}
	if m := g.Master; m != nil {
		names[0] = withUnit(m)
	}
	for _, c := range channels {
		names = append(names, withUnit(c))
	}
	return names
}

func withUnit(c *mdf.Channel) string {
	if c.Unit == "" {
		return c.Name
	}
	return c.Name + " [" + c.Unit + "]"
}

// cell is sample i; an invalid one is empty, several numbers are parted by spaces, bytes are hexadecimal.
func cell(c *mdf.Column, i int) string {
	if c.Valid != nil && !c.Valid[i] {
		return ""
	}
	parts := make([]string, max(c.Width, 1))
	for k := range parts {
		parts[k] = value(c, i*len(parts)+k)
	}
	return strings.Join(parts, " ")
}

// value is one of the values of a sample.
func value(c *mdf.Column, i int) string {
	switch {
	case c.Offsets == nil, len(c.At(i)) == 0 && c.Channel.Conversion != nil && c.Channel.Conversion.Mixed():
	case c.Values != nil && c.Kind != mdf.Number && c.Kind != mdf.Numbers: // a text that converts to a number
	case c.Kind == mdf.Bytes || c.Kind == mdf.ByteStrings || c.Kind == mdf.Struct:
		return hex.EncodeToString(c.At(i))
	default:
		return string(c.At(i))
	}
	return strconv.FormatFloat(c.Values[i], 'g', -1, 64)
}
