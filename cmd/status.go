package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
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
	}
	return nil
}
