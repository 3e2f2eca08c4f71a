package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

type groupView struct {
	Index    int           `json:"index"`
	Name     string        `json:"name"`
	Channels int           `json:"channels"`
	Records  uint64        `json:"records"`
	First    *float64      `json:"first_s,omitempty"` // smallest and largest time; not of a master that counts something else
	Last     *float64      `json:"last_s,omitempty"`
	Rate     *float64      `json:"rate_hz,omitempty"` // mean
	Master   string        `json:"master,omitempty"`
	Counts   string        `json:"master_counts,omitempty"` // time, angle, distance, index
	Span     *spanView     `json:"master_span,omitempty"`   // of a master that does not count time
	Bus      bool          `json:"bus"`
	Gaps     []gapView     `json:"gaps,omitempty"`
	List     []channelView `json:"list,omitempty"`
	Blocks   []blockView   `json:"blocks,omitempty"`
	Lost     []lostView    `json:"lost,omitempty"` // to damage
}

type spanView struct {
	First float64 `json:"first"`
	Last  float64 `json:"last"`
	Unit  string  `json:"unit"`
}

type gapView struct {
	From float64 `json:"from_s"`
	To   float64 `json:"to_s"`
}

// viewGroup reads the times of one group: how many there are, how fast, and where they pause.
func viewGroup(ctx context.Context, g *mdf.ChannelGroup, o inspectOptions) (groupView, error) {
	v := groupView{Index: g.Index, Name: g.AcqName, Channels: len(g.Channels), Bus: g.BusEvent}
	master := masterOf(g)
	if master != nil {
		v.Master, v.Counts = master.Name, counts(master.Sync)
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
	times := &clock{limit: o.gap.Seconds(), fixed: o.gapGiven}
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			v.take(times, master)
			return v, err
		}
		v.Records += uint64(b.N)
		for _, t := range b.Times {
			times.add(t)
		}
	}
	v.take(times, master)
	for _, l := range r.Losses() {
		v.Lost = append(v.Lost, viewLoss(l))
	}
	if len(v.Lost) > 0 {
		return v, r.Losses()[0].Err
	}
	return v, nil
}

// masterOf is the master of a group, which may be that of another one; nil without.
func masterOf(g *mdf.ChannelGroup) *mdf.Channel {
	if g.Master == nil && g.RemoteMaster != nil {
		return g.RemoteMaster.Master
	}
	return g.Master
}

// counts says what a master counts. Those that do not say it are taken for clocks, as the reader does.
func counts(s mdf.SyncType) string {
	switch s {
	case mdf.SyncAngle:
		return "angle"
	case mdf.SyncDistance:
		return "distance"
	case mdf.SyncIndex:
		return "index"
	}
	return countsTime
}

const countsTime = "time"

// take notes what the values of the master were.
func (v *groupView) take(c *clock, master *mdf.Channel) {
	c.judge()
	switch {
	case c.n == 0 || master == nil:
	case v.Counts != countsTime:
		v.Span = &spanView{First: c.first, Last: c.last, Unit: master.Unit}
	default:
		v.First, v.Last = &c.first, &c.last
		if rate := float64(c.n-1) / (c.last - c.first); rate > 0 {
			v.Rate = finite(rate)
		}
		if !v.Bus {
			v.Gaps = c.gaps
		}
	}
}

// A clock takes the times of a group, in the order of its records, and finds where they pause.
type clock struct {
	limit float64 // longest time between two records that is no gap [s]
	fixed bool    // the user has said it: it holds for slow groups too

	n           uint64
	first, last float64   // smallest and largest
	early       []float64 // until the period is known
	judged      bool
	gaps        []gapView
}

const (
	periodSamples = 21  // from which the period of a group is taken, as analysis/signal-health does it
	periodFactor  = 1.5 // gap of a slow group in its periods: one missing record is one
)

func (c *clock) add(t float64) {
	if math.IsNaN(t) || math.IsInf(t, 0) {
		return
	}
	c.n++
	if c.n == 1 {
		c.first, c.last = t, t
	}
	switch {
	case c.judged:
		c.interval(c.last, t)
	default:
		if c.early = append(c.early, t); len(c.early) == periodSamples {
			c.judge()
		}
	}
	c.first, c.last = min(c.first, t), max(c.last, t)
}

// judge takes the period from the first records, the median, and then looks for gaps among them.
func (c *clock) judge() {
	if c.judged {
		return
	}
	c.judged = true
	if between := intervals(c.early); len(between) > 0 && !c.fixed {
		c.limit = max(c.limit, periodFactor*between[len(between)/2])
	}
	for i, newest := 1, math.Inf(-1); i < len(c.early); i++ {
		newest = max(newest, c.early[i-1])
		c.interval(newest, c.early[i])
	}
	c.early = nil
}

// intervals are the times between each two in a row, the shortest first.
func intervals(times []float64) []float64 {
	var between []float64
	for i := 1; i < len(times); i++ {
		between = append(between, times[i]-times[i-1])
	}
	slices.Sort(between)
	return between
}

// interval looks at two times in a row. Times are rounded to binary fractions, so what is as long as the limit may seem to be longer.
func (c *clock) interval(from, to float64) {
	const ulps = 0x1p-50 // four units in the last place, of numbers of size 1
	if rounding := 1e-9 + ulps*max(math.Abs(from), math.Abs(to)); to-from > c.limit+rounding {
		c.gaps = append(c.gaps, gapView{From: from, To: to})
	}
}

// label is what lines about a group begin with.
func (v groupView) label() string {
	return cmp.Or(v.Name, fmt.Sprintf("group %d", v.Index))
}

func (v groupView) row() []string {
	rate, master := "-", v.Master
	if v.Rate != nil && !v.Bus {
		rate = rateText(*v.Rate)
	}
	if v.Counts != "" && v.Counts != countsTime {
		master += "   (" + v.Counts
		if v.Span != nil {
			master += fmt.Sprintf(" %.6g to %.6g", v.Span.First, v.Span.Last)
			master += strings.TrimRight(" "+v.Span.Unit, " ")
		}
		master += ")"
	}
	if v.Bus {
		master += "   (raw bus: bind its signals with a DBC)"
	}
	return []string{fmt.Sprint(v.Index), v.Name, fmt.Sprint(v.Channels), countText(float64(v.Records)), rate, master}
}

func (v fileView) printGaps(w io.Writer) {
	for _, g := range v.Groups {
		for k, gap := range g.Gaps {
			if k == 5 {
				fmt.Fprintf(w, "gaps: %s has %d more\n", g.label(), len(g.Gaps)-k)
				break
			}
			fmt.Fprintf(w, "gap: %s %s-%s s\n", g.label(), secondsText(gap.From), secondsText(gap.To))
		}
	}
}

// unlisted says that a glob has matched no channel, with names that come close.
func (v fileView) unlisted(f *mdf.File, glob string) []error {
	if glob == "" {
		return nil
	}
	for _, g := range v.Groups {
		if len(g.List) > 0 {
			return nil
		}
	}
	var names []string
	seen := map[string]bool{}
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if !seen[c.Name] {
				seen[c.Name] = true
				names = append(names, c.Name)
			}
		}
	}
	text := fmt.Sprintf("no channel matches --channels %q", glob)
	if near := binding.Closest(strings.Trim(glob, "*"), names, 3); len(near) > 0 {
		text += "; close names: " + strings.Join(near, ", ")
	}
	return []error{errors.New(text)}
}

// aCentury is a span beyond which times are not told as a clock does.
const aCentury = 100 * 365 * 24 * time.Hour

// spanText writes how long a recording is.
func spanText(seconds *float64) string {
	switch {
	case seconds == nil:
		return "endless"
	case *seconds >= aCentury.Seconds():
		return secondsText(*seconds) + " s"
	case *seconds >= 3600:
		return clockText(time.Duration(*seconds*float64(time.Second))) + " h"
	}
	return clockText(time.Duration(*seconds*float64(time.Second))) + " min"
}

// secondsText writes a time in milliseconds, or what is far from any recording's in a few digits.
func secondsText(seconds float64) string {
	if math.Abs(seconds) >= aCentury.Seconds() {
		return fmt.Sprintf("%.6g", seconds)
	}
	return fmt.Sprintf("%.3f", seconds)
}

// rateText writes a rate with as many digits as count.
func rateText(hz float64) string {
	if hz < 9.95 {
		return fmt.Sprintf("%.2g Hz", hz)
	}
	return fmt.Sprintf("%.0f Hz", hz)
}
