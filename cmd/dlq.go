package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
	"github.com/milepost-dev/milepost/schemas"
)

func jobIDs(args []string) (ids []schemas.JobID) {
	for _, id := range args {
		ids = append(ids, schemas.JobID(id))
	}
	return ids
}

func (a *app) dlqCommand() *cobra.Command {
	c := group("dlq", "dead-lettered events: look, send them back, remove them")
	var f api.LetterFilter
	ls := &cobra.Command{
		Use: "ls [pipeline[/stage]]", Short: "list dead letters", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.Pipeline, f.Stage, _ = strings.Cut(first(args), "/")
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error { return a.listLetters(ctx, client, f) })
		},
	}
	letterFlags(ls, &f)
	var pipeline string
	show := &cobra.Command{
		Use: "show ID", Short: "one dead letter with the input it holds", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error {
				return a.showLetter(ctx, client, pipeline, args[0])
			})
		},
	}
	show.Flags().StringVar(&pipeline, "pipeline", "", "pipeline of the dead letter, where the id is in several")
	c.AddCommand(ls, show, a.redriveCommand(), a.purgeCommand())
	return c
}

func letterFlags(c *cobra.Command, f *api.LetterFilter) {
	c.Flags().StringVar(&f.State, "status", "", "open, skipped, resumed, redriven, superseded (its job was done anew), cancelled, outdated (of another configuration) or all")
	c.Flags().StringVar(&f.Error, "error", "", "part of the error")
	c.Flags().StringVar(&f.Recording, "recording", "", "part of the recording's name")
	c.Flags().StringVar(&f.OlderThan, "older-than", "", "by the last attempt: 5m, 12h, 30d")
	c.Flags().StringVar(&f.NewerThan, "newer-than", "", "likewise")
}

func (a *app) redriveCommand() *cobra.Command {
	var o api.LetterOrder
	c := &cobra.Command{
		Use: "redrive [pipeline[/stage]] [ID...]", Short: "send dead-lettered events back to their stage",
		Long: "Redrive lets each job that an event halted take it again (its attempts restart, id and trace are kept). A job that went on behind\n" +
			"the event (on_error: skip) is made anew from its recording; its results replace the old ones, and what else became of the old job's\n" +
			"dead letters is superseded.",
		RunE: func(c *cobra.Command, args []string) error {
			choose(&o.Filter, args)
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error {
				op, err := client.Redrive(ctx, o)
				return a.finish(ctx, client, op, err, "redrive", "event", chosen(o.Filter))
			})
		},
	}
	letterFlags(c, &o.Filter)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be sent back")
	return c
}

// choose reads [pipeline[/stage]] [ID...].
func choose(f *api.LetterFilter, args []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "d-") {
		f.Pipeline, f.Stage, _ = strings.Cut(args[0], "/")
		args = args[1:]
	}
	f.IDs = args
}

// chosen is the pipeline[/stage] that a bulk command over dead letters names. Ids that it names the server answers one by one.
func chosen(f api.LetterFilter) []string {
	switch {
	case f.Pipeline == "" || len(f.IDs) > 0:
		return nil
	case f.Stage == "":
		return []string{f.Pipeline}
	}
	return []string{f.Pipeline + "/" + f.Stage}
}

func (a *app) purgeCommand() *cobra.Command {
	var o api.LetterOrder
	var yes bool
	c := &cobra.Command{
		Use: "purge [pipeline[/stage]] [ID...]", Short: "remove dead letters of jobs that are over",
		Long: "Purge removes dead letters for good, with the inputs that they hold. Those of jobs that are not over stay: redrive or cancel these\n" +
			"first. It says what it would remove and asks.",
		RunE: func(c *cobra.Command, args []string) error {
			choose(&o.Filter, args)
			return a.ask(c.Context(), func(ctx context.Context, client *api.Client) error { return a.purge(ctx, client, o, yes) })
		},
	}
	letterFlags(c, &o.Filter)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be removed")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// purge asks before it removes anything.
func (a *app) purge(ctx context.Context, c *api.Client, o api.LetterOrder, yes bool) error {
	if !o.DryRun {
		plan := o
		plan.DryRun = true
		op, err := c.Purge(ctx, plan)
		if err != nil {
			return err
		}
		if op.Total > 0 && !yes {
			if err := a.confirm(fmt.Sprintf("remove %s of %s for good?", plural(op.Total, "dead letter"), strings.Join(op.Stages, ", "))); err != nil {
				return err
			}
		}
		if open := op.Matching - op.Total - len(op.Refused); open > 0 {
			fmt.Fprintf(a.stderr, "  %s of jobs that are not over stay: redrive them, or cancel the jobs first (milepost jobs cancel JOB)\n", plural(open, "dead letter"))
		}
	}
	op, err := c.Purge(ctx, o)
	return a.finish(ctx, c, op, err, "purge", "event", chosen(o.Filter))
}

// confirm asks for a yes on stdin; anything else is an error that says so.
func (a *app) confirm(question string) error {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return exit(ExitFailed, fmt.Errorf("read the answer: %w", err))
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return exit(ExitFailed, errors.New("nothing was removed; without a question: --yes"))
	}
	return nil
}

func (a *app) listLetters(ctx context.Context, c *api.Client, f api.LetterFilter) error {
	l, err := c.Letters(ctx, f)
	if err != nil {
		return err
	}
	heading := []string{"ID", "PIPELINE", "STAGE", "RECORDING", "INPUT", "ATTEMPTS", "AGE", "STATE", "ERROR"}
	several := f.Pipeline == "" && len(l.Pipelines) > 1 // an id is unique within its pipeline
	if !several {
		heading = slices.Delete(heading, 1, 2)
	}
	return a.show(l.Letters, heading, func() (rows [][]string) {
		for _, d := range l.Letters {
			row := []string{d.ID, d.Pipeline, d.Stage, d.Recording, fmt.Sprint(d.Input.Sequence), fmt.Sprint(d.Attempts),
				ageText(time.Since(d.Last)), string(d.State), oneLine(d.Error)}
			if !several {
				row = slices.Delete(row, 1, 2)
			}
			rows = append(rows, row)
		}
		return rows
	})
}

func (a *app) showLetter(ctx context.Context, c *api.Client, pipeline, id string) error {
	if pipeline == "" {
		l, err := c.Letters(ctx, api.LetterFilter{State: "all", IDs: []string{id}})
		if err != nil {
			return err
		}
		switch len(l.Letters) {
		case 0:
			return fmt.Errorf("no dead letter %s\n  milepost dlq ls --status all", id)
		case 1:
			pipeline = l.Letters[0].Pipeline
		default:
			return severalLetters(id, l.Letters)
		}
	}
	d, err := c.Letter(ctx, pipeline, id)
	if err != nil {
		return err
	}
	if a.output == "name" {
		_, err := fmt.Fprintln(a.stdout, d.ID)
		return err
	}
	return a.document(d)
}

// severalLetters refuses an id that a dead letter of each of several pipelines has.
func severalLetters(id string, letters []api.Letter) error {
	var in []string
	for _, l := range letters {
		in = append(in, l.Pipeline)
	}
	slices.Sort(in)
	return exit(ExitUsage, fmt.Errorf("pipelines %s have a dead letter %s each\n  next: milepost dlq show --pipeline %s %[2]s", strings.Join(in, ", "), id, in[0]))
}
