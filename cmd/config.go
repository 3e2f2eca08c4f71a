package cmd

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "print the file as resolved: layers, defaults, variables and overrides; secrets masked",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			s, err := a.loadAlone(c.Context())
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.document(json.Marshaler(s))
			}
			_, err = a.stdout.Write(s.YAML())
			return err
		},
	}
}
