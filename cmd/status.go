package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
	"github.com/milepost-dev/milepost/schemas"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "one snapshot of pipelines, stages and jobs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.ask(c.Context(), a.printStatus) },
	}
}

func (a *app) printStatus(ctx context.Context, c *api.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	pipelines, err := c.Pipelines(ctx)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.document(struct {
			api.Status
			Detail []api.Pipeline `json:"detail"`
		}{s, pipelines})
	}
	if a.output == "name" {
		for _, p := range pipelines {
			fmt.Fprintln(a.stdout, p.Name)
		}
		return nil
	}
	fmt.Fprintf(a.stdout, "milepost %s   process %d   transport %s %s\n", s.Version, s.PID, s.Transport.Kind, s.Transport.Address)
	for _, p := range pipelines {
		left := ""
		if n := p.Jobs.LeftBehind; n > 0 {
			left = fmt.Sprintf("   left behind by another configuration %d", n)
		}
		fmt.Fprintf(a.stdout, "\n%s   %s   queued %d   started %d   finished %d   failed %d   DLQ %d%s\n", p.Name, p.State, p.Jobs.Queued, p.Jobs.Started,
			p.Jobs.Finished, p.Jobs.Failed, p.DeadLetters, left)
		var rows [][]string
		for _, n := range p.Nodes {
			rows = append(rows, []string{"  " + n.Stage, n.State, countText(n.InRate), countText(n.OutRate), fmt.Sprint(n.Lag),
				fmt.Sprintf("%.1f ms", n.P95), fmt.Sprint(n.Retries), fmt.Sprint(n.DeadLetters)})
		}
		if err := table(a.stdout, []string{"  STAGE", "STATE", "IN/S", "OUT/S", "LAG", "P95", "RETRIES", "DLQ"}, rows); err != nil {
			return err
		}
		for _, n := range p.Nodes {
			for _, line := range heldText(n) {
				fmt.Fprintln(a.stdout, "  "+line)
			}
		}
	}
	return nil
}

// holdersNamed is how many of the jobs that hold room in a full log are named.
const holdersNamed = 5

// heldText says what keeps room in a stage's full log that no consumer gives back, and what to do about it.
func heldText(n api.Node) (lines []string) {
	if n.HeldBy == nil {
		return nil
	}
	what := fmt.Sprintf("the log of %s is full: ", n.Stage)
	if jobs := n.HeldBy.Jobs; len(jobs) > 0 {
		var names, ids []string
		var all int64
		for k, j := range jobs {
			if all += j.Bytes; k < holdersNamed {
				names, ids = append(names, fmt.Sprintf("%s %s", j.Job, bytesText(j.Bytes))), append(ids, string(j.Job))
			}
		}
		if more := len(jobs) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		verb := "hold"
		if len(jobs) == 1 {
			verb = "holds"
		}
		lines = append(lines, fmt.Sprintf("%s%s %s %s   %s", what, plural(len(jobs), "failed job"), verb, bytesText(all), strings.Join(names, ", ")),
			fmt.Sprintf("  next: milepost dlq redrive %s   or   milepost jobs cancel %s", jobs[0].Pipeline, strings.Join(ids, " ")))
	}
	if letters := n.HeldBy.Letters; letters > 0 {
		lines = append(lines, fmt.Sprintf("%sdead letters of jobs that are over hold %s", what, bytesText(letters)),
			fmt.Sprintf("  next: milepost dlq purge %s/%s", n.Pipeline, n.Stage))
	}
	return lines
}

// holdsText says in which full logs a job holds room.
func holdsText(id schemas.JobID, pipelines []api.Pipeline) string {
	var all []string
	for _, p := range pipelines {
		for _, n := range p.Nodes {
			if n.HeldBy == nil {
				continue
			}
			for _, j := range n.HeldBy.Jobs {
				if j.Job == id {
					all = append(all, fmt.Sprintf("%s of the log of %s/%s, which is full", bytesText(j.Bytes), n.Pipeline, n.Stage))
				}
			}
		}
	}
	return strings.Join(all, "; ")
}
