package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// summary prints what came out, and what to do next.
func (a *app) summary(ctx context.Context, x *session, took time.Duration) {
	for _, name := range x.engine.Pipelines() {
		jobs, others := x.jobs(name), x.others(name)
		skipped, err := x.engine.Skipped(ctx, name)
		if err != nil {
			fmt.Fprintf(a.stderr, "  inputs that were skipped are not counted: %v\n", err)
		}
		holes := func(of []job.Job) string { return holesText(of, skipped) }
		fmt.Fprintf(a.stderr, "done  %s  %s, %s, in %s%s\n", name, plural(len(jobs), "recording"), endedText(jobs)+holes(jobs), clockText(took), x.headline(ctx, name))
		if len(others) > 0 {
			fmt.Fprintf(a.stderr, "  and %s of recordings that are not listed now: %s\n", plural(len(others), "job"), endedText(others)+holes(others))
		}
		a.reasons(name, slices.Concat(jobs, others), skipped)
	}
}

// endedText says how many jobs did not finish.
func endedText(jobs []job.Job) string {
	n := count(jobs)
	text := fmt.Sprintf("%d failed", n[schemas.JobFailed])
	for _, s := range []schemas.JobState{schemas.JobCancelled, schemas.JobExpired} {
		if n[s] > 0 {
			text += fmt.Sprintf(", %d %s", n[s], s)
		}
	}
	return text
}

// holesText says of how many recordings the results lack what inputs that were skipped would have given.
func holesText(jobs []job.Job, skipped map[schemas.JobID]int) string {
	n := 0
	for _, j := range jobs {
		if skipped[j.ID] > 0 {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d with a hole", n)
}

// reasons prints why jobs did not finish: each failure, and each reason for cancelled ones with how many it ended; and how many
// events were given up.
func (a *app) reasons(name string, jobs []job.Job, skips map[schemas.JobID]int) {
	letters, skipped, cancelled, others := 0, 0, map[string]int{}, "; the others went on"
	if slices.ContainsFunc(jobs, func(j job.Job) bool { return j.Stopped() }) {
		others = ""
	}
	for _, j := range jobs {
		skipped += skips[j.ID]
		switch {
		case j.State == schemas.JobCancelled:
			cancelled[j.Error]++
		case j.Bereft():
			fmt.Fprintf(a.stderr, "  %s: %s\n", j.Item, reasonText(j.Item, j.Error))
		case j.State == schemas.JobFailed:
			if !j.NonDeterministic() {
				letters++
			}
			fmt.Fprintf(a.stderr, "  %s: %s\n    the job failed at stage %s%s\n", j.Item, reasonText(j.Item, j.Error), j.Stage, others)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(cancelled)) {
		fmt.Fprintf(a.stderr, "  %s cancelled: %s\n", plural(cancelled[reason], "recording"), reason)
	}
	if len(cancelled) > 0 {
		fmt.Fprintf(a.stderr, "    once more: milepost jobs retry JOB; those of a stopped run go again with the next milepost run\n")
	}
	if letters+skipped > 0 {
		without := ""
		if skipped > 0 {
			without = fmt.Sprintf(", %d of them skipped: the results are without what these would have given", skipped)
		}
		fmt.Fprintf(a.stderr, "  %s in the DLQ%s   milepost dlq ls %s\n", plural(letters+skipped, "event"), without, name)
	}
}

// maxFaults is how many of the faults of one recording a summary shows.
const maxFaults = 3

// reasonText is an error of several lines below its recording's name: indented, the name not repeated, advice that several
// faults have in common once and last, and of many faults the first few.
func reasonText(item, text string) string {
	var lines, advice []string
	faults := 0
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "next: "):
			if !slices.Contains(advice, trimmed) && faults <= maxFaults {
				advice = append(advice, trimmed)
			}
			continue
		case i == 0 || !strings.HasPrefix(line, " "):
			faults++
		}
		if faults <= maxFaults {
			lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), item+": "))
		}
	}
	if more := faults - maxFaults; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: milepost jobs show JOB lists all", more))
	}
	return strings.Join(append(lines, advice...), "\n    ")
}

// headline is what a fleet result of the AEB function says in a few words; empty without one.
func (x *session) headline(ctx context.Context, name string) string {
	fleets, err := x.store.Fleets(ctx, x.run)
	if err != nil {
		return ""
	}
	for _, f := range fleets {
		var doc struct {
			Fleet struct {
				All struct {
					Warnings int      `json:"events"`
					Brakings int      `json:"events_partial"`
					MinTTC   *float64 `json:"min_ttc"`
					False    *float64 `json:"unconfirmed_per_1000km"`
				} `json:"all"`
			} `json:"fleet"`
		}
		if f.Type != schemas.AEBFleet || f.Pipeline != name || json.Unmarshal(f.Doc, &doc) != nil {
			continue
		}
		text := fmt.Sprintf("   AEB events %d, %d with braking", doc.Fleet.All.Warnings, doc.Fleet.All.Brakings)
		if t := doc.Fleet.All.MinTTC; t != nil {
			text += fmt.Sprintf("   min TTC %.2f s", *t)
		}
		if r := doc.Fleet.All.False; r != nil {
			text += fmt.Sprintf("   false positives %.1f per 1000 km", *r)
		}
		return text
	}
	return ""
}

func count(jobs []job.Job) map[schemas.JobState]int {
	n := map[schemas.JobState]int{}
	for _, j := range jobs {
		n[j.State]++
	}
	return n
}
