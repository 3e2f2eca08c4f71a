package signalhealth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The kinds of findings.
const (
	KindGap     = "gap"       // no sample for too long
	KindFrozen  = "frozen"    // one value for too long
	KindRange   = "range"     // values that cannot be
	KindInvalid = "invalid"   // too many samples marked invalid
	KindBack    = "step_back" // samples behind the newest one
	KindTime    = "time"      // samples without a usable time
	KindCut     = "cut"       // the recording is damaged
)

// A Finding is one fault of one signal, or of a whole table (time base), whose Signal is then the table's name: the document
// of type health.finding.v1.
type Finding struct {
	Kind     string   `json:"kind"`
	Table    string   `json:"table"`
	Signal   string   `json:"signal"` // table.column, or the table
	T        float64  `json:"t"`      // where it begins [s since the recording's start]
	TNS      int64    `json:"t_ns"`
	TEndNS   int64    `json:"t_end_ns"`
	Duration float64  `json:"duration_s"`
	Count    int64    `json:"count"`           // samples concerned
	Value    *float64 `json:"value,omitempty"` // the worst one; of gaps, steps back [s] and invalid samples [share], how much
	Limit    *float64 `json:"limit,omitempty"` // what it should not be beyond, in the same unit
	Text     string   `json:"text"`            // in words

	found int64 // time at which it is known, for the order of findings
}

// span makes a finding over a stretch of time, both ends included.
func finding(kind, table, signal string, from, to, count int64) Finding {
	return Finding{Kind: kind, Table: table, Signal: signal, T: float64(from) / 1e9, TNS: from, TEndNS: to,
		Duration: float64(to-from) / 1e9, Count: count, found: to}
}

func (f Finding) with(value, limit float64, format string, args ...any) Finding {
	f.Value, f.Limit, f.Text = &value, &limit, fmt.Sprintf(format, args...)
	return f
}

// inOrder sorts findings by the time at which they are known, so that their order does not depend on how rows are cut into
// batches.
func inOrder(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.found, b.found), strings.Compare(a.Table, b.Table), strings.Compare(a.Signal, b.Signal), strings.Compare(a.Kind, b.Kind), cmp.Compare(a.TNS, b.TNS))
	})
}

// A Summary is what was found in one recording: the document of type health.summary.v1.
type Summary struct {
	Recording string           `json:"recording"`
	Findings  int64            `json:"findings"`   // those not reported one by one included
	Reported  int64            `json:"reported"`   // one by one
	ByKind    map[string]int64 `json:"by_kind"`    // kinds that were found
	DurationS float64          `json:"duration_s"` // from the first to the last sample
	Tables    []TableSummary   `json:"tables"`     // by name
}

// A TableSummary is one time base.
type TableSummary struct {
	Table        string          `json:"table"`
	Rows         int64           `json:"rows"`
	FirstNS      int64           `json:"first_ns"`
	LastNS       int64           `json:"last_ns"`
	PeriodS      float64         `json:"period_s"` // median of the first intervals; 0 unknown
	Gaps         int64           `json:"gaps"`
	LongestGapS  float64         `json:"longest_gap_s"` // longest time between two samples, be it a gap or not
	Invalid      int64           `json:"invalid"`       // samples marked invalid
	InvalidShare float64         `json:"invalid_share"`
	StepsBack    int64           `json:"steps_back"`
	Dropped      int64           `json:"dropped"` // samples that no stage sees: invalid, or too far back in time
	Cut          bool            `json:"cut"`     // damaged
	Signals      []SignalSummary `json:"signals"`
}

// A SignalSummary is one column. Min and Max are null where no value was.
type SignalSummary struct {
	Signal     string   `json:"signal"`
	Values     int64    `json:"values"`
	Min        *float64 `json:"min"`
	Max        *float64 `json:"max"`
	Frozen     int64    `json:"frozen"`       // findings
	OutOfRange int64    `json:"out_of_range"` // values
}
