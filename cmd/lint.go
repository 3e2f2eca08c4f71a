package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

func (a *app) lintCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use: "lint [file...]", Aliases: []string{"validate"}, Short: "check files without a broker",
		Long: "Lint checks pipelines files without a broker: every fault of every file, with line, column and what was probably meant.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.files = args
			}
			s, problems := spec.Load(c.Context(), a.files, spec.Options{Registry: a.types, Set: a.set, Transport: a.transport})
			if err := a.printProblems(s, problems); err != nil {
				return err
			}
			if problems.Errors() > 0 || strict && len(problems) > 0 {
				return exitError{code: ExitUsage}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return c
}

// printProblems prints the problems to stdout: they are what lint was asked for.
func (a *app) printProblems(s *spec.Spec, problems spec.Problems) error {
	if a.output == "json" {
		return problems.WriteJSON(a.stdout)
	}
	if err := problems.Render(a.stdout); err != nil {
		return err
	}
	if s != nil {
		stages := 0
		for _, p := range s.Pipelines {
			stages += len(p.Stages)
		}
		fmt.Fprintf(a.stdout, "%s: %s, %s, %s: ", a.files[len(a.files)-1], plural(len(s.Pipelines), "pipeline"), plural(stages, "stage"), plural(len(s.Sinks), "sink"))
	}
	fmt.Fprintf(a.stdout, "%s, %s\n", plural(problems.Errors(), "error"), plural(problems.Warnings(), "warning"))
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
