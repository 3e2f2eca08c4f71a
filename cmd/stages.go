package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

func (a *app) stagesCommand() *cobra.Command {
	c := group("stages", "what can go after `uses:` and under `sinks:`")
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

// nearestType also finds a type whose role is missing or wrong.
func (a *app) nearestType(word string) string {
	kind := word[strings.LastIndexByte(word, '/')+1:]
	for _, name := range a.types.Names() {
		if strings.HasSuffix(name, "/"+kind) {
			return name
		}
	}
	return pipeline.Nearest(word, a.types.Names())
}

func (a *app) describeStage(name string) error {
	t, ok := a.types.Lookup(name)
	if err := a.checkOutput(); err != nil {
		return err
	}
	if !ok {
		err := fmt.Errorf("unknown stage %q [E-stage]", name)
		if near := a.nearestType(name); near != "" {
			err = fmt.Errorf("%w\n  did you mean %q?", err, near)
		}
		return exit(ExitUsage, fmt.Errorf("%w\n  milepost stages ls", err))
	}
	s := rowOf(t.Info())
	s.Fields = spec.Describe(t)
	if a.structured() {
		return a.document(s)
	}
	if a.output == "name" {
		_, err := fmt.Fprintln(a.stdout, s.Name)
		return err
	}
	fmt.Fprintf(a.stdout, "%s   %s\n  in   %s   out  %s\n", s.Name, s.Summary, dash(s.Accepts), dash(s.Emits))
	var rows [][]string
	for _, f := range s.Fields {
		rows = append(rows, []string{"  " + f.Path, f.Type, f.Default, f.Doc})
	}
	return table(a.stdout, []string{"  FIELD", "TYPE", "DEFAULT", ""}, rows)
}
