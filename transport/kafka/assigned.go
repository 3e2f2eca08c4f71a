package kafka

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// assigned is a partition that this process has.
type assigned struct {
	next    int64            // all before it were fetched
	skip    int64            // below it only those in open are not acked yet
	open    map[int64]bool   // as the offset's metadata say
	waiting []*kgo.Record    // fetched, not handed out yet
	out     map[int64]*given // by offset

	// Of a group that is new here and begins with the newest events: where the partition ended, and the last event of each chain,
	// by key, of what was fetched up to there. Then they wait like all others.
	until  int64
	newest map[string]*kgo.Record
}

// given is an event handed out; from due on it goes out again.
type given struct {
	record *kgo.Record
	due    time.Time
}

// gathered has the newest events of all chains wait, once nothing is stored behind them.
func (a *assigned) gathered() {
	a.waiting = slices.AppendSeq(a.waiting, maps.Values(a.newest))
	if len(a.newest) > 0 {
		slices.SortFunc(a.waiting, func(x, y *kgo.Record) int { return cmp.Compare(x.Offset, y.Offset) })
	}
	clear(a.newest)
}

// progress is the offset of the first event that is not acked, and which ones up to the last fetched are not either.
func (a *assigned) progress() (base int64, metadata string) {
	var open []int64
	for at := range a.out {
		open = append(open, at)
	}
	for _, r := range a.waiting {
		open = append(open, r.Offset)
	}
	for _, r := range a.newest {
		open = append(open, r.Offset)
	}
	for at := range a.open {
		if at >= a.next {
			open = append(open, at)
		}
	}
	slices.Sort(open)
	open = slices.Compact(open)
	next := max(a.next, a.skip)
	if len(open) == 0 {
		return next, ""
	}
	return open[0], formatOpen(open, next)
}

// formatOpen writes which offsets below next are not acked, as distances; a list that is too long says less.
func formatOpen(open []int64, next int64) string {
	var b strings.Builder
	for i, at := range open {
		d := at - open[0]
		if b.Len() > maxMetadata-40 {
			return fmt.Sprint(d, ":", b.String())
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(d, 36))
	}
	return fmt.Sprint(next-open[0], ":", b.String())
}

// parseOpen undoes formatOpen; text that is not its own says nothing.
func parseOpen(text string, base int64) (next int64, open map[int64]bool) {
	open = map[int64]bool{}
	first, list, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(first, 10, 64)
	if !ok || err != nil {
		return 0, open
	}
	for part := range strings.SplitSeq(list, ",") {
		d, err := strconv.ParseInt(part, 36, 64)
		if err != nil {
			return 0, map[int64]bool{}
		}
		open[base+d] = true
	}
	return base + n, open
}
