package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

func (a *app) graphCommand() *cobra.Command {
	return &cobra.Command{
		Use: "graph [pipeline...]", Short: "draw the pipelines: -o " + strings.Join(spec.GraphFormats, ", "),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.loadAlone(c.Context())
			if err != nil {
				return err
			}
			format := a.output
			if format == "table" {
				format = "ascii"
			}
			if !slices.Contains(spec.GraphFormats, format) {
				return exit(ExitUsage, fmt.Errorf("-o %s: want %s", format, strings.Join(spec.GraphFormats, ", ")))
			}
			text, err := s.Graph(format, args...)
			if err != nil {
				return exit(ExitUsage, err)
			}
			_, err = fmt.Fprintln(a.stdout, strings.TrimRight(text, "\n"))
			return err
		},
	}
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of this binary, its own plugins included", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := spec.Schema(a.types)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}
