package mf4

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// maxClose is how many close names an error lists.
const maxClose = 3

// A missing is a signal that a recording has no channel for.
type missing struct {
	signal string   // of the pipeline
	names  []string // channels that were looked for, none of which exists (or, of a mean, those that do not)
	reason string   // instead of "no channel …"
	mean   bool     // all names are needed, so adding one to the list does not help
}

// missingError tells all that a recording lacks, at once. It is permanent.
func missingError(recording string, f *mdf.File, all []missing) error {
	var b strings.Builder
	for i, m := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		m.write(&b, recording, f)
	}
	return pipeline.Permanent(errors.New(b.String()))
}

func (m missing) write(b *strings.Builder, recording string, f *mdf.File) {
	if m.reason != "" {
		fmt.Fprintf(b, "%s: %s for signal %s [E-channel]", recording, m.reason, m.signal)
		return
	}
	fmt.Fprintf(b, "%s: no channel %s for signal %s [E-channel]", recording, quoted(m.names), m.signal)
	near := closeChannels(f, m.names)
	if len(near) == 0 {
		b.WriteString("\n  next: `milepost inspect` lists the channels; set `optional: true` if it may be absent")
		return
	}
	b.WriteString("\n  close names: ")
	for i, c := range near {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(describe(c))
	}
	if m.mean {
		fmt.Fprintf(b, "\n  next: name one of them instead, or set `optional: true`")
		return
	}
	list := append(append([]string(nil), m.names...), near[0].Name)
	fmt.Fprintf(b, "\n  next: add one to the list, `channel: [%s]`, or set `optional: true`", strings.Join(list, ", "))
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

// describe is a channel as `name (group, unit)`.
func describe(c *mdf.Channel) string {
	if c.Unit == "" {
		return fmt.Sprintf("%s (%s)", c.Name, groupName(c.Group))
	}
	return fmt.Sprintf("%s (%s, %s)", c.Name, groupName(c.Group), c.Unit)
}

// closeChannels are channels of numbers with names close to those looked for.
func closeChannels(f *mdf.File, names []string) []*mdf.Channel {
	first := map[string]*mdf.Channel{}
	var all []string
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if _, have := first[c.Name]; !have && usable(c) {
				first[c.Name] = c
				all = append(all, c.Name)
			}
		}
	}
	var near []*mdf.Channel
	listed := map[string]bool{}
	for _, name := range names {
		for _, n := range binding.Closest(name, all, maxClose) {
			if !listed[n] && len(near) < maxClose {
				listed[n] = true
				near = append(near, first[n])
			}
		}
	}
	return near
}

// absentError tells which messages of a binding never occurred, at the end of the recording. It is permanent.
func absentError(recording string, all []*message) error {
	var lines []string
	for _, m := range all {
		what := "no frame"
		if m.empty {
			what = "no frame that holds its signals"
		}
		line := fmt.Sprintf("%s: %s with id %d (%#x, %s) on %v for signal %s [E-channel]", recording, what, m.id, m.id, m.name, m.bus,
			strings.Join(m.signals, ", "))
		if on := &m.others.buses; m.bus.given && on.len() > 0 && !on.has(m.bus.bus) {
			line += fmt.Sprintf("\n  there is no %v in the recording, it has %v", m.bus, on)
		}
		if m.elsewhere.len() > 0 {
			line += fmt.Sprintf("\n  the id was seen on %v", &m.elsewhere)
		} else if near := closeIDs(m); near != "" {
			line += "\n  closest ids in the recording: " + near
		}
		lines = append(lines, line+"\n  next: correct bus and id in the binding, or set `optional: true`")
	}
	return pipeline.Permanent(errors.New(strings.Join(lines, "\n")))
}

// ambiguousError tells which messages of a binding without a bus occur on several. It is permanent.
func ambiguousError(recording string, all []*message) error {
	var lines []string
	for _, m := range all {
		lines = append(lines, fmt.Sprintf("%s: frames with id %d (%#x, %s) are on %v, and the binding does not say which of them makes signal %s [E-channel]\n"+
			"  next: add %s to the signal in the binding", recording, m.id, m.id, m.name, &m.on, strings.Join(m.signals, ", "), m.on.list("`bus: %d`", " or ")))
	}
	return pipeline.Permanent(errors.New(strings.Join(lines, "\n")))
}

// closeIDs are the ids of a recording that come closest to one that is missing.
func closeIDs(m *message) string {
	var all []string
	for _, c := range m.dbc.Closest(m.bus.pointer(), m.others.list()) {
		all = append(all, fmt.Sprintf("%v (%s)", c.Frame, c.Why))
	}
	return strings.Join(all, ", ")
}

// fileError is an error of the file system about a recording. Only one that lasts is permanent: a network may come back.
func fileError(recording string, err error) error {
	told := pipeline.FileError(recording, err)
	if pipeline.IsLasting(err) {
		return pipeline.Permanent(told)
	}
	return told
}

// openError says why a recording cannot be opened. What the file holds is permanent.
func openError(recording string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, pipeline.ErrNotRegular) {
		return fileError(recording, err)
	}
	var damage *mdf.FormatError
	if errors.As(err, &damage) {
		why := "its headers are wrong"
		if mdf.IsTruncated(err) {
			why = "it was cut off, or a copy of it was"
		}
		return pipeline.Permanent(fmt.Errorf("%s: %w [E-mf4]\n  nothing of it was read: %s\n  next: `on_corrupt: keep` "+
			"in reader/mf4 uses the groups in front of the damage, if there are any", recording, damage, why))
	}
	return pipeline.Permanent(fmt.Errorf("%s: %w [E-mf4]", recording, err))
}

// distantError says that the times of a group are not those of a recording. It is permanent.
func distantError(recording string, start time.Time, s *source) error {
	master := "time"
	if s.group.Master != nil {
		master = s.group.Master.Name
	}
	text := fmt.Sprintf("%s: the first time in channel %q of group %s is %.3f s, and times count from the recording's start [E-time]",
		recording, master, groupName(s.group), s.distant)
	if at := time.Unix(0, int64(s.distant*1e9)).UTC(); s.distant < 1<<32 {
		text += fmt.Sprintf("\n  it looks like Unix time, %s; the file says it was started %s", at.Format(time.RFC3339), start.Format(time.RFC3339))
	}
	return pipeline.Permanent(errors.New(text + "\n  next: have the tool that writes the file subtract its start from the times, and put that into the file's header"))
}

// changedError says that a recording is not any more what its job was made for. It is permanent.
func changedError(recording string) error {
	return pipeline.Permanent(fmt.Errorf("%s: the recording has changed since it was listed [E-changed]\n"+
		"  next: `milepost run` replays it as it is now, as a job of its own; to go on with this one, put the old file back and redrive", recording))
}

// isDamage says whether the file, not the reading of it, is at fault.
func isDamage(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return false
	}
	var damage *mdf.FormatError
	return errors.As(err, &damage) || errors.Is(err, mdf.ErrUnsupported) || errors.Is(err, mdf.ErrLimit)
}

// damageError says where a recording is damaged and how much of it was read. It is permanent.
func damageError(recording string, s *source, err error) error {
	var damage *mdf.FormatError
	if errors.As(err, &damage) {
		err = damage
	}
	p := s.in.progress()
	read := "read nothing"
	if p.Records > 0 {
		read = "read 0-" + seconds(p.Last) + " s"
	}
	if p.Records > 0 && p.Expected > p.Records {
		// In records: how many seconds they would have taken is a guess, far off where a bus falls silent.
		read += fmt.Sprintf(", %d of %d records,", p.Records, p.Expected)
	}
	read += " from group " + groupName(s.group)
	if mdf.IsTruncated(err) {
		read += "; the recorder was probably cut off"
	}
	return pipeline.Permanent(fmt.Errorf("%s: %w [E-mf4]\n  %s\n  next: `on_corrupt: keep` in reader/mf4 uses what is readable; "+
		"`milepost inspect` shows what is in the file", recording, err, read))
}

// seconds writes a time to a tenth, without a zero behind the point.
func seconds(s float64) string { return strings.TrimSuffix(strconv.FormatFloat(s, 'f', 1, 64), ".0") }
