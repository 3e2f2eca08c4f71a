package cmd

import "github.com/spf13/cobra"

func (a *app) renderCommand() *cobra.Command {
	return group("render", "write manifests from the same file")
}
