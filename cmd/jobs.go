package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

func (a *app) jobsCommand() *cobra.Command {
	c := group("jobs", "the jobs of this state directory: one recording through one pipeline each")
	var f api.JobFilter
	ls := &cobra.Command{
		Use: "ls [pipeline]", Short: "list jobs", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.Pipeline = first(args)
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error { return a.listJobs(ctx, client, f) })
		},
	}
	ls.Flags().StringVar(&f.Status, "status", "", "only these states, separated by commas: queued,started,finished,failed,cancelled,left-behind")
	ls.Flags().StringVar(&f.Search, "search", "", "part of the recording, job id or error")
	c.AddCommand(ls, &cobra.Command{
		Use: "show JOB", Short: "one job, by its id or the beginning of it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error { return a.showJob(ctx, client, args[0]) })
		},
	}, &cobra.Command{
		Use: "watch [pipeline]", Short: "print each job as its state changes, until nothing more can change", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f := api.JobFilter{Pipeline: first(args)}
			told := map[string]string{} // also when another process has to be asked
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error { return a.watchJobs(ctx, client, f, told) })
		},
	}, a.cancelCommand(), a.retryCommand())
	return c
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

var jobHeading = []string{"JOB", "PIPELINE", "RECORDING", "STATUS", "PROGRESS", "ATTEMPT", "AGE", "ERROR"}

func jobRow(j api.Job) []string {
	return []string{string(j.ID), j.Pipeline, j.Recording, j.Status, percent(j.Progress), attempt(j), ageText(time.Since(j.Queued)), oneLine(j.Error)}
}

func percent(share float64) string { return fmt.Sprintf("%d%%", int(100*share)) }

// attempt is how often the input that halted a failed job was tried, of how many tries its stage has.
func attempt(j api.Job) string {
	switch {
	case j.Attempts == 0:
		return "-"
	case j.Tries == 0:
		return fmt.Sprint(j.Attempts)
	}
	return fmt.Sprintf("%d/%d", j.Attempts, j.Tries)
}

func oneLine(s string) string {
	const width = 100
	for i, c := range s {
		if c == '\n' || i > width {
			return s[:i] + " …"
		}
	}
	return s
}

func (a *app) listJobs(ctx context.Context, c *api.Client, f api.JobFilter) error {
	l, err := c.Jobs(ctx, f)
	if err != nil {
		return err
	}
	return a.show(l.Jobs, jobHeading, func() (rows [][]string) {
		for _, j := range l.Jobs {
			rows = append(rows, jobRow(j))
		}
		return rows
	})
}

func (a *app) showJob(ctx context.Context, c *api.Client, id string) error {
	j, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.document(j)
	}
	if a.output == "name" {
		_, err := fmt.Fprintln(a.stdout, j.ID)
		return err
	}
	rows := [][]string{{"job", string(j.ID)}, {"pipeline", j.Pipeline}, {"recording", j.Recording}, {"status", j.Status},
		{"run", j.Run}, {"version", version(j)}, {"progress", percent(j.Progress)}, {"attempt", attempt(j)},
		{"queued", j.Queued.Format(time.RFC3339)}, {"resumed", fmt.Sprint(j.Resumed)}}
	if j.Started != nil {
		rows = append(rows, []string{"started", j.Started.Format(time.RFC3339)})
	}
	if j.Ended != nil {
		rows = append(rows, []string{"ended", j.Ended.Format(time.RFC3339)})
	}
	if j.Error != "" {
		rows = append(rows, []string{"stage", j.Stage}, []string{"error", j.Error})
	}
	pipelines, err := c.Pipelines(ctx)
	if err != nil {
		return err
	}
	if holds := holdsText(j.ID, pipelines); holds != "" {
		rows = append(rows, []string{"holds", holds})
	}
	for _, r := range rows {
		fmt.Fprintf(a.stdout, "%-10s %s\n", r[0], r[1])
	}
	return nil
}

// version says which configuration a job was made with.
func version(j api.Job) string {
	if j.Current {
		return j.Version
	}
	return j.Version + " (another configuration than the file has now)"
}

// watchEvery is how often jobs watch asks.
const watchEvery = 500 * time.Millisecond

// watchJobs prints changes of what was told until nothing that it waits for can move: every job is over, or nobody works on those that are not.
func (a *app) watchJobs(ctx context.Context, c *api.Client, f api.JobFilter, told map[string]string) error {
	for {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		l, err := c.Jobs(ctx, f)
		if err != nil {
			return err
		}
		slices.Reverse(l.Jobs)
		open, left, err := a.tellJobs(l.Jobs, told)
		if err != nil {
			return err
		}
		if open == 0 || !st.Working {
			return a.watched(open, left)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// tellJobs prints the jobs whose status is another one than was told, and counts those that are not over.
func (a *app) tellJobs(jobs []api.Job, told map[string]string) (open, left int, err error) {
	for _, j := range jobs {
		switch {
		case j.Status == api.LeftBehind:
			left++
		case !j.State.Over():
			open++
		}
		if told[string(j.ID)] == j.Status {
			continue
		}
		told[string(j.ID)] = j.Status
		if err := a.printJob(j); err != nil {
			return open, left, err
		}
	}
	return open, left, nil
}

// watched says why jobs that are not over are waited for no more.
func (a *app) watched(open, left int) error {
	if left > 0 {
		fmt.Fprintf(a.stderr, "%s left behind by another configuration: they go on when it comes back, or   milepost jobs cancel JOB\n", plural(left, "job"))
	}
	if open > 0 {
		fmt.Fprintf(a.stderr, "%s not over, and no process works on them   milepost run\n", plural(open, "job"))
		return exitError{code: ExitFailed}
	}
	return nil
}

func (a *app) printJob(j api.Job) error {
	if a.structured() {
		return a.document(j)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-10s %s  %s\n", j.ID, j.Status, j.Recording, oneLine(j.Error))
	return err
}

func (a *app) cancelCommand() *cobra.Command {
	var o api.JobOrder
	var all, yes bool
	c := &cobra.Command{
		Use: "cancel [JOB...]", Short: "end jobs that are not over, and failed ones that are named or asked for by --status failed",
		RunE: func(c *cobra.Command, args []string) error {
			many := all || o.Filter.Status != ""
			if len(args) == 0 && !many {
				return exit(ExitUsage, errors.New("name jobs, or give --status or --all"))
			}
			if len(args) > 0 && many {
				return exit(ExitUsage, errors.New("name jobs, or give --status or --all, not both"))
			}
			if many && !yes && !o.DryRun {
				return exit(ExitUsage, errors.New("this cancels many jobs at once: add --yes, or look first with --dry-run"))
			}
			o.Filter.IDs, o.All = jobIDs(args), all
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error {
				op, err := client.CancelJobs(ctx, o)
				return a.finish(ctx, client, op, err, "cancel", "job", args)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every job that is not over")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&o.Filter.Status, "status", "", "every job in these states")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be cancelled")
	return c
}

func (a *app) retryCommand() *cobra.Command {
	var o api.JobOrder
	c := &cobra.Command{
		Use: "retry JOB...", Short: "let failed jobs go on at the input that halted them, and cancelled ones begin again", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Filter.IDs = jobIDs(args)
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error {
				op, err := client.ResumeJobs(ctx, o)
				return a.finish(ctx, client, op, err, "resume", "job", args)
			})
		},
	}
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be resumed")
	return c
}
