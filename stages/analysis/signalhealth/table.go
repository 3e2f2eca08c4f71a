package signalhealth

import (
	"fmt"
	"math"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
)

const (
	periodSamples = 21            // from which the period of a table is taken
	periodFactor  = 1.5           // gap of a slow table in its periods: one missing sample is one
	joinFaults    = 1_000_000_000 // ns: faults of samples nearer than that are one finding
)

// table is the state of one time base. Fields are exported for JSON.
type table struct {
	Name    string
	Rows    int64
	First   int64
	Last    int64
	Early   []int64 `json:",omitempty"` // times of the first rows, until the period is known
	Period  int64   // ns; with Judged
	Judged  bool    // gaps are looked for
	Longest int64   // ns
	Gaps    int64
	Columns []column

	Invalid, Dropped, Back int64
	Cut                    bool
	Steps                  run
	Untimed                run
	FirstBad, LastBad      int64 // invalid samples
}

// run is a stretch of samples with one fault.
type run struct {
	Open     bool
	From, To int64
	Count    int64
	Worst    float64
}

// extend adds a sample, or begins the run with it.
func (r *run) extend(t int64, v float64, worse bool) {
	if !r.Open {
		*r = run{Open: true, From: t, To: t, Count: 1, Worst: v}
		return
	}
	r.To = t
	r.Count++
	if worse {
		r.Worst = v
	}
}

// column is the state of one signal.
type column struct {
	Name     string
	Values   int64
	Min, Max float64 // with Values
	Varied   bool    // had a value other than 0 and 1: it is no switch
	Same     run     // of one value
	Outside  run
	Frozen   int64
	Out      int64
}

// observe looks at the rows of a batch.
func (h *health) observe(b *table, t schemas.Table) {
	times := t.Times()
	for _, at := range times {
		h.clock(b, at)
	}
	valid := t.Float64(schemas.ColValid)
	for _, name := range t.Signals() {
		values := t.Float64(name)
		if values == nil {
			continue // no number of the kind that has a range
		}
		c := b.column(name)
		l := h.c.of(b.Name, name, valid != nil)
		rows := valid
		if name == schemas.ColValid {
			rows = nil
		}
		for i, v := range values {
			if rows != nil && rows[i] == 0 {
				v = math.NaN() // the slot is empty: what stands there is no value
			}
			h.value(b, c, l, times[i], v)
		}
	}
}

func (b *table) column(name string) *column {
	i := slices.IndexFunc(b.Columns, func(c column) bool { return c.Name == name })
	if i < 0 {
		i = len(b.Columns)
		b.Columns = append(b.Columns, column{Name: name})
	}
	return &b.Columns[i]
}

// clock takes the time of the next row.
func (h *health) clock(b *table, t int64) {
	if b.Rows == 0 {
		b.First = t
	}
	b.Rows++
	if !b.Judged {
		b.Early = append(b.Early, t)
		if len(b.Early) == periodSamples {
			h.judge(b, t)
		}
	} else {
		h.interval(b, b.Last, t, t)
	}
	b.Last = t
}

// judge takes the period from the first rows and then looks for gaps among them.
func (h *health) judge(b *table, found int64) {
	b.Judged = true
	var between []int64
	for i := 1; i < len(b.Early); i++ {
		between = append(between, b.Early[i]-b.Early[i-1])
	}
	if len(between) > 0 {
		slices.Sort(between)
		b.Period = between[len(between)/2]
	}
	if len(b.Early) > 0 {
		h.gap(b, h.First, b.Early[0], found, "no sample of %s until %.3f s after the recording's first (limit %.3g s)")
	}
	for i := 1; i < len(b.Early); i++ {
		h.interval(b, b.Early[i-1], b.Early[i], found)
	}
	b.Early = nil
}

// limit is the longest time between two rows that is no gap.
func (h *health) limit(b *table) int64 {
	return max(h.c.maxGap(b.Name), int64(periodFactor*float64(b.Period)))
}

func (h *health) interval(b *table, from, to, found int64) {
	b.Longest = max(b.Longest, to-from)
	h.gap(b, from, to, found, "no sample of %s for %.3f s (limit %.3g s)")
}

func (h *health) gap(b *table, from, to, found int64, format string) {
	limit := h.limit(b)
	if to-from <= limit {
		return
	}
	b.Gaps++
	length := float64(to-from) / 1e9
	f := finding(KindGap, b.Name, b.Name, from, to, 0).with(length, float64(limit)/1e9, format, b.Name, length, float64(limit)/1e9)
	f.found = found
	h.report(f)
}

// value takes the next value of a column; NaN is none.
func (h *health) value(b *table, c *column, l limits, t int64, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		h.closeSame(b, c, l, t)
		h.closeOutside(b, c, l, t)
		return
	}
	if c.Values == 0 {
		c.Min, c.Max = v, v
	}
	c.Values++
	c.Min, c.Max = min(c.Min, v), max(c.Max, v)
	c.Varied = c.Varied || v != 0 && v != 1
	if c.Same.Open && (c.Same.Worst != v || t-c.Same.To >= l.frozen) {
		h.closeSame(b, c, l, t) // a silence is no frozen signal
	}
	c.Same.extend(t, v, false)
	if v >= l.min && v <= l.max {
		h.closeOutside(b, c, l, t)
		return
	}
	c.Out++
	c.Outside.extend(t, v, beyond(l, v) > beyond(l, c.Outside.Worst))
}

// beyond is how far a value lies outside.
func beyond(l limits, v float64) float64 { return max(l.min-v, v-l.max) }

// closeSame ends a run of one value. 0 is what a standing car, an idle sensor and an open switch say for as long as they like.
func (h *health) closeSame(b *table, c *column, l limits, found int64) {
	r := c.Same
	c.Same = run{}
	if !r.Open || r.Worst == 0 || !c.Varied || l.frozen == 0 || r.To-r.From < l.frozen {
		return
	}
	c.Frozen++
	limit := float64(l.frozen) / 1e9
	f := finding(KindFrozen, b.Name, b.Name+"."+c.Name, r.From, r.To, r.Count)
	f = f.with(r.Worst, limit, "%s.%s is %.6g for %.3f s (limit %.3g s)", b.Name, c.Name, r.Worst, f.Duration, limit)
	f.found = found
	h.report(f)
}

func (h *health) closeOutside(b *table, c *column, l limits, found int64) {
	r := c.Outside
	c.Outside = run{}
	if !r.Open {
		return
	}
	limit := l.max
	if r.Worst < l.min {
		limit = l.min
	}
	f := finding(KindRange, b.Name, b.Name+"."+c.Name, r.From, r.To, r.Count)
	f = f.with(r.Worst, limit, "%s.%s is %.6g, which cannot be (%s)", b.Name, c.Name, r.Worst, l.words())
	f.found = found
	h.report(f)
}

// fault takes rows of a table of faults.
func (h *health) fault(b *table, t schemas.Table) {
	behind, invalid, dropped, cut := t.Float64(schemas.ColBehind), t.Float64(schemas.ColInvalid), t.Float64(schemas.ColDropped), t.Float64(schemas.ColCut)
	for i, at := range t.Times() {
		if at64(dropped, i) != 0 {
			b.Dropped++
		}
		if at64(invalid, i) != 0 {
			if b.Invalid == 0 {
				b.FirstBad = at
			}
			b.Invalid++
			b.LastBad = at
		}
		switch v := at64(behind, i); {
		case v > 0:
			h.stepBack(b, at, v)
		case math.IsNaN(v):
			h.untimed(b, at)
		}
		if at64(cut, i) != 0 {
			b.Cut = true
			h.report(cutFinding(b.Name, at, at64(t.Float64(schemas.ColLost), i), at64(t.Float64(schemas.ColUntil), i), int(at64(t.Float64(schemas.ColGroup), i))))
		}
	}
}

// cutFinding says what is lost of a table: how many records of which channel group, from when to when. until is NaN where nothing
// behind the damage can be read.
func cutFinding(table string, from int64, lost, until float64, group int) Finding {
	to := from
	records := "an unknown number of records are"
	switch {
	case lost == 1:
		records = "1 record is"
	case lost >= 0:
		records = fmt.Sprintf("%.0f records are", lost)
	}
	text := fmt.Sprintf("the recording is damaged; of %s (channel group %d) this is the last that can be read", table, group)
	if lost > 0 {
		text += "; " + records + " lost behind it"
	}
	if until > 0 {
		to = max(from, int64(until*1e9))
		text = fmt.Sprintf("the recording is damaged; of %s (channel group %d) %s lost, from %.3f to %.3f s", table, group, records,
			float64(from)/1e9, float64(to)/1e9)
	}
	f := finding(KindCut, table, table, from, to, int64(max(lost, 0)))
	f.Text, f.found = text, from
	return f
}

// at64 is element i of a column that may be missing.
func at64(column []float64, i int) float64 {
	if column == nil {
		return 0
	}
	return column[i]
}

func (h *health) stepBack(b *table, t int64, behind float64) {
	b.Back++
	if b.Steps.Open && t-b.Steps.To > joinFaults {
		h.closeSteps(b, t)
	}
	b.Steps.extend(t, behind, behind > b.Steps.Worst)
}

func (h *health) closeSteps(b *table, found int64) {
	r := b.Steps
	b.Steps = run{}
	if !r.Open {
		return
	}
	f := finding(KindBack, b.Name, b.Name, r.From, r.To, r.Count).with(r.Worst, 0, "samples of %s that step back in time: %d, by up to %.6g s", b.Name, r.Count, r.Worst)
	f.found = found
	h.report(f)
}

// untimed takes a sample that nobody knows the time of; t is the newest one known then.
func (h *health) untimed(b *table, t int64) {
	if b.Untimed.Open && t-b.Untimed.To > joinFaults {
		h.closeUntimed(b, t)
	}
	b.Untimed.extend(t, 0, false)
}

func (h *health) closeUntimed(b *table, found int64) {
	r := b.Untimed
	b.Untimed = run{}
	if !r.Open {
		return
	}
	f := finding(KindTime, b.Name, b.Name, r.From, r.To, r.Count)
	f.Text = fmt.Sprintf("samples of %s whose time is no number, or none that a recording can have: %d, the first behind %.3f s; they are left out", b.Name, r.Count, f.T)
	f.found = found
	h.report(f)
}

// finish closes what is open at the end of the recording.
func (h *health) finish(b *table) {
	if !b.Judged {
		h.judge(b, h.Last)
	}
	if b.Rows > 0 {
		h.gap(b, b.Last, h.Last, h.Last, "no sample of %s for %.3f s before the recording's end (limit %.3g s)")
	}
	valid := slices.ContainsFunc(b.Columns, func(c column) bool { return c.Name == schemas.ColValid })
	for i := range b.Columns {
		c := &b.Columns[i]
		l := h.c.of(b.Name, c.Name, valid)
		h.closeSame(b, c, l, h.Last)
		h.closeOutside(b, c, l, h.Last)
	}
	h.closeSteps(b, h.Last)
	h.closeUntimed(b, h.Last)
	if share := b.invalidShare(); share > h.c.MaxInvalid {
		f := finding(KindInvalid, b.Name, b.Name, b.FirstBad, b.LastBad, b.Invalid)
		f = f.with(share, h.c.MaxInvalid, "%.3g %% of the samples of %s are marked invalid (limit %.3g %%)", 100*share, b.Name, 100*h.c.MaxInvalid)
		f.found = h.Last
		h.report(f)
	}
}

// invalidShare is the part of the samples marked invalid. Those that were dropped are not among the rows.
func (b *table) invalidShare() float64 {
	if b.Invalid == 0 {
		return 0
	}
	return float64(b.Invalid) / float64(max(b.Rows+b.Dropped, b.Invalid))
}
