package cmd

import (
	"fmt"
	"io"
	"slices"

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
			if err := a.checkOutput(); err != nil {
				return err
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
	if a.structured() {
		return a.document(lintView(a.files, s, problems))
	}
	if a.output == "name" {
		return printFiles(a.stdout, problems)
	}
	if err := problems.Render(a.stdout); err != nil {
		return err
	}
	v := lintView(a.files, s, problems)
	if s != nil {
		fmt.Fprintf(a.stdout, "%s: %s, %s, %s: ", a.files[len(a.files)-1], plural(v.Pipelines, "pipeline"), plural(v.Stages, "stage"), plural(v.Sinks, "sink"))
	}
	fmt.Fprintf(a.stdout, "%s, %s\n", plural(v.Errors, "error"), plural(v.Warnings, "warning"))
	return nil
}

// A lintResult is what `lint -o json` prints. The counts of a file with errors are 0: it is not resolved.
type lintResult struct {
	Files     []string      `json:"files"`
	Pipelines int           `json:"pipelines"`
	Stages    int           `json:"stages"`
	Sinks     int           `json:"sinks"`
	Errors    int           `json:"errors"`
	Warnings  int           `json:"warnings"`
	Problems  spec.Problems `json:"problems"`
}

func lintView(files []string, s *spec.Spec, problems spec.Problems) lintResult {
	v := lintResult{Files: files, Errors: problems.Errors(), Warnings: problems.Warnings(), Problems: problems}
	if v.Problems == nil {
		v.Problems = spec.Problems{}
	}
	if s != nil {
		v.Pipelines, v.Sinks = len(s.Pipelines), len(s.Sinks)
		for _, p := range s.Pipelines {
			v.Stages += len(p.Stages)
		}
	}
	return v
}

// printFiles prints the names of the files that have problems.
func printFiles(w io.Writer, problems spec.Problems) error {
	var told []string
	for _, p := range problems {
		if !slices.Contains(told, p.File) {
			told = append(told, p.File)
			if _, err := fmt.Fprintln(w, p.File); err != nil {
				return err
			}
		}
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
