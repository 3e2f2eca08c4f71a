package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

// An outcome is what one round gave.
type outcome struct {
	round       int
	retained    bool
	from        time.Time
	took        time.Duration
	deaths      []death
	zombies     int
	kills       int
	struck      []stroke
	stuck       string // what the processes said when nothing moved; empty: all came to its end
	differences []string
	wrong       int
	chains      int
	sampled     int
	refused     int // appends of those who had been taken for dead
	unknown     int // appends nobody knows the outcome of
	redelivered int
	reruns      int
	mostReruns  int             // of one takeover, of a stage
	mostWrites  int             // of a sink
	takeovers   []time.Duration // after kills while nothing else happened
	tails       []string
}

func (o *outcome) bad() bool { return o.wrong > 0 || o.stuck != "" }

func (o *outcome) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "round %d, %s, retained %v\n", o.round, o.took.Round(time.Second), o.retained)
	for _, d := range o.differences {
		fmt.Fprintln(&b, d)
	}
	for _, s := range o.struck {
		fmt.Fprintf(&b, "%12s %8s %s\n", s.from, (s.to - s.from).Round(time.Millisecond), s.name)
	}
	for _, d := range o.deaths {
		fmt.Fprintf(&b, "%12s death of %s\n", d.at, d.who)
	}
	fmt.Fprintf(&b, "%s\n%s\n", strings.Join(o.tails, "\n"), o.stuck)
	return b.String()
}

// crew takes over what happened to the processes.
func (o *outcome) crew(c *crew, s system) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.deaths, o.zombies, o.kills = c.deaths, c.frozen, s.kills()
	for _, m := range c.members {
		o.tails = append(o.tails, m.tails...)
	}
}

// history takes over what the processes wrote down.
func (o *outcome) history(lives []linear.Life) {
	s := linear.Count(lives)
	o.refused, o.unknown, o.redelivered, o.reruns, o.mostReruns, o.mostWrites = s.Stale, s.Unknown, s.Redelivered, s.Reruns, s.MostReruns, s.MostRewrites
	for _, d := range o.deaths {
		quiet := !slices.ContainsFunc(o.deaths, func(e death) bool { return e.who != d.who && e.at > d.at-time.Second && e.at < d.at+6*time.Second })
		for _, s := range o.struck {
			quiet = quiet && (s.to < d.at || s.from > d.at+6*time.Second)
		}
		if quiet {
			o.takeovers = append(o.takeovers, linear.Takeovers(lives, d.who, d.at)...)
		}
	}
}

// A report adds up the rounds.
type report struct {
	began    time.Time
	outcomes []outcome
	deaths   int
	kills    int
}

func (r *report) add(o outcome) {
	r.outcomes = append(r.outcomes, o)
	r.deaths += len(o.deaths)
	r.kills += o.kills
	verdict := "right"
	if o.wrong > 0 {
		verdict = fmt.Sprintf("WRONG: %d results", o.wrong)
	}
	if o.stuck != "" {
		verdict += ", STUCK"
	}
	fmt.Printf("round %2d  %4.0f s  %2d deaths  %2d server kills  %2d zombies  %s\n", o.round, o.took.Seconds(), len(o.deaths), o.kills, o.zombies, verdict)
	for _, d := range o.differences {
		fmt.Println("   ", d)
	}
	if o.stuck != "" && o.wrong == 0 {
		fmt.Println(lastLines(o.stuck, 60))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// wrong says whether anything came out wrong, or, of the mode that is to come out right, did not come out at all.
func (r *report) wrong(naive bool) bool {
	return slices.ContainsFunc(r.outcomes, func(o outcome) bool { return o.wrong > 0 || !naive && o.stuck != "" })
}

// print is the closing table.
func (r *report) print(w io.Writer, o options) {
	sum := outcome{}
	blows := map[string]int{}
	self, stuck := 0, 0
	for _, one := range r.outcomes {
		sum.zombies += one.zombies
		sum.wrong += one.wrong
		sum.chains += one.chains
		sum.sampled += one.sampled
		sum.refused += one.refused
		sum.unknown += one.unknown
		sum.redelivered += one.redelivered
		sum.reruns += one.reruns
		sum.mostReruns = max(sum.mostReruns, one.mostReruns)
		sum.mostWrites = max(sum.mostWrites, one.mostWrites)
		sum.takeovers = append(sum.takeovers, one.takeovers...)
		if one.stuck != "" {
			stuck++
		}
		for _, s := range one.struck {
			blows[s.name]++
		}
		for _, d := range one.deaths {
			if d.self {
				self++
			}
		}
	}
	row := func(what, format string, args ...any) {
		fmt.Fprintf(w, "| %-52s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "\n| %-52s | %s, %d rounds in %s |\n|---|---|\n", "chaos", o.broker, len(r.outcomes), time.Since(r.began).Round(time.Second))
	row("seed", "%d", o.seed)
	row("worker deaths (of them by poisoned inputs)", "%d (%d)", r.deaths, self)
	if o.broker == "embedded" {
		row("server kills (the server dies with its worker)", "%d", r.deaths)
	} else {
		row("server kills", "%d", r.kills)
	}
	row("zombies (frozen beyond the ack wait, then thawed)", "%d", sum.zombies)
	row("appends refused by the fence", "%d", sum.refused)
	row("appends of unknown outcome", "%d", sum.unknown)
	row("redeliveries", "%d", sum.redelivered)
	row("inputs run again", "%d", sum.reruns)
	row("most for one takeover of a stage (of its checkpoints')", "%d of %d", sum.mostReruns, checkpointInputs)
	row("most for one takeover of a sink (of its commits')", "%d of %d", sum.mostWrites, spec.DefaultSettings().Checkpoint.Inputs)
	if slices.Sort(sum.takeovers); len(sum.takeovers) > 0 {
		row("jobs go on after a SIGKILL, median and last", "%.1f s, %.1f s of %d", sum.takeovers[len(sum.takeovers)/2].Seconds(), sum.takeovers[len(sum.takeovers)-1].Seconds(), len(sum.takeovers))
	}
	for _, name := range slices.Sorted(maps.Keys(blows)) {
		row(name, "%d", blows[name])
	}
	row("chains whose history was judged (operations)", "%d (%d)", sum.chains, sum.sampled)
	row("rounds that did not come to their end", "%d", stuck)
	row("wrong results", "%d", sum.wrong)
}
