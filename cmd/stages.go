package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

func (a *app) stagesCommand() *cobra.Command {
	c := &cobra.Command{Use: "stages", Short: "what can go after `uses:` and under `sinks:`"}
	c.AddCommand(&cobra.Command{
		Use: "ls", Short: "list the stage types of this binary", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listStages() },
	}, &cobra.Command{
		Use: "describe TYPE", Short: "fields, defaults, event types in and out", Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.types.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.describeStage(args[0]) },
	})
	return c
}

// A stageRow is a stage type as `stages ls -o json` prints it.
type stageRow struct {
	Name    string       `json:"name"`
	Role    string       `json:"role"`
	Summary string       `json:"summary"`
	Accepts []string     `json:"accepts,omitempty"`
	Emits   []string     `json:"emits,omitempty"`
	Fields  []spec.Field `json:"fields,omitempty"`
}

func (a *app) listStages() error {
	var list []stageRow
	for _, name := range a.types.Names() {
		t, _ := a.types.Lookup(name)
		list = append(list, rowOf(t.Info()))
	}
	return a.show(list, []string{"TYPE", "IN", "OUT", "SUMMARY"}, func() (rows [][]string) {
		for _, s := range list {
			rows = append(rows, []string{s.Name, dash(s.Accepts), dash(s.Emits), s.Summary})
		}
		return rows
	})
}

func rowOf(i pipeline.Info) stageRow {
	return stageRow{Name: i.Name, Role: string(i.Role), Summary: i.Summary, Accepts: i.Accepts, Emits: i.Emits}
}

func dash(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ",")
}

func (a *app) describeStage(name string) error {
	t, ok := a.types.Lookup(name)
	if !ok {
		return exit(ExitUsage, fmt.Errorf("no stage type %q [E-stage]\n  milepost stages ls", name))
	}
	s := rowOf(t.Info())
	s.Fields = spec.Describe(t)
	if a.structured() {
		return a.document(s)
	}
	fmt.Fprintf(a.stdout, "%s   %s\n  in   %s   out  %s\n", s.Name, s.Summary, dash(s.Accepts), dash(s.Emits))
	var rows [][]string
	for _, f := range s.Fields {
		rows = append(rows, []string{"  " + f.Path, f.Type, f.Default, f.Doc})
	}
	return table(a.stdout, []string{"  FIELD", "TYPE", "DEFAULT", ""}, rows)
}
