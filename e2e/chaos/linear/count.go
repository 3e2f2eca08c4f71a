package linear

import (
	"strings"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/history"
)

// Counts are what a history says of how often.
type Counts struct {
	Stale, Unknown int // appends refused by the fence; without a sure answer
	Redelivered    int // deliveries of an event that had been delivered under the same name before
	Reruns         int // inputs taken again
	MostReruns     int // of one opening of a stage's chain
	MostRewrites   int // of one opening of a sink's
}

// Count counts.
func Count(lives []Life) (c Counts) {
	type delivery struct {
		durable string
		chain   ChainID
		n       uint64
	}
	seen := map[delivery]bool{}
	for _, life := range lives {
		reruns := map[schemas.ChainID]map[schemas.InputRef]bool{}
		for _, l := range life.Lines {
			switch l.Op {
			case history.Open:
				reruns[l.Chain] = map[schemas.InputRef]bool{}
			case history.Rerun: // a step that fails is run again from the checkpoint: its inputs count once
				again := reruns[l.Chain]
				if again == nil {
					continue
				}
				again[schemas.InputRef{Edge: l.Edge, Sequence: l.Sequence}] = true
				c.Reruns++
				if strings.Contains(l.Chain.Stage, "@") {
					c.MostRewrites = max(c.MostRewrites, len(again))
				} else {
					c.MostReruns = max(c.MostReruns, len(again))
				}
			case history.Deliver:
				d := delivery{l.Durable, ChainID{l.Pipeline, l.Chain}, l.Sequence}
				if seen[d] {
					c.Redelivered++
				}
				seen[d] = true
			}
		}
	}
	for _, list := range calls(lives) {
		for _, k := range list {
			switch {
			case k.line.Op == history.Open:
			case k.answer.Outcome == history.Stale:
				c.Stale++
			case k.answer.Outcome == history.Unknown, !k.answered:
				c.Unknown++
			}
		}
	}
	return c
}

// Takeovers are how long the chains that a process held when it died had to wait until another one opened them.
func Takeovers(lives []Life, who string, at time.Duration) (list []time.Duration) {
	for id, calls := range calls(lives) {
		if id.Stage == transport.JobStage {
			continue
		}
		held, next := held(lives, calls, who, at)
		if held && next > 0 {
			list = append(list, next-at)
		}
	}
	return list
}

// held says whether the process held the chain: it opened it last, and did not end it; and when somebody else opened it after that.
func held(lives []Life, calls []*call, who string, at time.Duration) (held bool, next time.Duration) {
	last := time.Duration(0)
	for _, c := range calls {
		t := time.Duration(c.line.At)
		mine := lives[c.life].Name == who
		switch {
		case c.line.Op == history.Open && t <= at && t >= last:
			held, last = mine, t
		case c.line.Op == history.Open && t > at && !mine && (next == 0 || t < next):
			next = t
		}
	}
	for _, c := range calls {
		for _, r := range c.line.Records {
			if lives[c.life].Name == who && history.Ends(r) {
				held = false
			}
		}
	}
	return held, next
}
