package cmd

import (
	"encoding/json"
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
			if formats := append(slices.Clone(spec.GraphFormats), "table", "yaml", "name"); !slices.Contains(formats, a.output) {
				return exit(ExitUsage, fmt.Errorf("-o %s: want %s", a.output, strings.Join(formats, ", ")))
			}
			s, err := a.loadAlone(c.Context())
			if err != nil {
				return err
			}
			if err := s.CheckNames(args); err != nil {
				return exit(ExitUsage, err)
			}
			return a.printGraph(s, args)
		},
	}
}

func (a *app) printGraph(s *spec.Spec, names []string) error {
	format := a.output
	switch format {
	case "name":
		for _, p := range s.Pipelines {
			if len(names) == 0 || slices.Contains(names, p.Name) {
				fmt.Fprintln(a.stdout, p.Name)
			}
		}
		return nil
	case "yaml":
		format = "json"
	case "table":
		format = "ascii"
	}
	text, err := s.Graph(format, names...)
	if err != nil {
		return err
	}
	if a.output == "yaml" {
		return a.document(json.RawMessage(text))
	}
	_, err = fmt.Fprintln(a.stdout, strings.TrimRight(text, "\n"))
	return err
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of this binary, its own plugins included", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			text, err := spec.Schema(a.types)
			if err != nil {
				return err
			}
			if a.output == "name" {
				var schema struct {
					Title string `json:"title"`
				}
				if err := json.Unmarshal(text, &schema); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.stdout, schema.Title)
				return err
			}
			if a.output == "yaml" {
				return a.document(json.RawMessage(text))
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}
