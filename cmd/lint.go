package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

func (a *app) lintCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use: "lint [file | folder/...]...", Aliases: []string{"validate"}, Short: "check files without a broker",
		Long: "Lint checks pipelines files without a broker: every fault of every file, with line, column and what was probably meant.\n" +
			"Without arguments these are the files of -f, layered. Each argument is checked by itself: a file, or a folder with /... for\n" +
			"every pipelines file in and below it: pipelines.yaml, NAME.pipelines.yaml, or the same with .yml. Folders whose names begin\n" +
			"with a dot are passed over. Paths in a file are those of the folder that lint is started in.",
		Example: "  milepost lint\n  milepost lint -f pipelines.yaml -f prod.yaml\n  milepost lint ./...",
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if len(args) > 0 && c.Flags().Changed("file") {
				return exit(ExitUsage, errors.New("files stand either behind -f, and are layered, or alone, and are checked each by itself: not both"))
			}
			checked, err := a.lint(c.Context(), args)
			if err != nil {
				return err
			}
			if err := a.printLint(checked); err != nil {
				return err
			}
			if all := sumOf(checked); all.Errors > 0 || strict && len(all.Problems) > 0 {
				return exitError{code: ExitUsage}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return c
}

// lint checks the files of -f as one, or each that the arguments name.
func (a *app) lint(ctx context.Context, args []string) ([]lintResult, error) {
	o := a.loadOptions()
	if len(args) == 0 {
		s, problems := spec.Load(ctx, a.files, o)
		return []lintResult{lintView(a.files, s, problems)}, ctx.Err()
	}
	files, err := lintFiles(args)
	if err != nil {
		return nil, exit(ExitUsage, err)
	}
	o.Missing = "next: milepost lint ./... checks every pipelines file below this folder"
	checked := make([]lintResult, len(files))
	for i, file := range files {
		s, problems := spec.Load(ctx, []string{file}, o)
		checked[i] = lintView([]string{file}, s, problems)
	}
	return checked, ctx.Err()
}

// lintFiles are the files that lint's arguments name, none twice.
func lintFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		found := []string{arg}
		if folder, below := strings.CutSuffix(filepath.ToSlash(arg), "..."); below && (folder == "" || strings.HasSuffix(folder, "/")) {
			if found, err = pipelinesFiles(filepath.Clean(folder)); err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("%s: no pipelines file there (pipelines.yaml, NAME.pipelines.yaml)\n  next: a file of another name is checked by milepost lint FILE", arg)
			}
		}
		for _, f := range found {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// pipelinesFiles finds the pipelines files in and below a folder, in order of their paths.
func pipelinesFiles(folder string) (files []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != folder && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && pipelinesName.MatchString(d.Name()):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

var pipelinesName = regexp.MustCompile(`^(.+\.)?pipelines\.ya?ml$`)

// printLint prints what was found to stdout: it is what lint was asked for.
func (a *app) printLint(checked []lintResult) error {
	all := sumOf(checked)
	if a.structured() {
		return a.document(all)
	}
	if a.output == "name" {
		return printFiles(a.stdout, all.Problems)
	}
	for i, v := range checked {
		if i > 0 && len(v.Problems) > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := v.Problems.Render(a.stdout); err != nil {
			return err
		}
		name := v.Files[len(v.Files)-1]
		if v.resolved {
			name += fmt.Sprintf(": %s, %s, %s", plural(v.Pipelines, "pipeline"), plural(v.Stages, "stage"), plural(v.Sinks, "sink"))
		}
		fmt.Fprintf(a.stdout, "%s: %s, %s\n", name, plural(v.Errors, "error"), plural(v.Warnings, "warning"))
	}
	return nil
}

// sumOf is what was found in all files.
func sumOf(checked []lintResult) lintResult {
	all := lintResult{Files: []string{}, Problems: spec.Problems{}}
	for _, v := range checked {
		all.Files = append(all.Files, v.Files...)
		all.Pipelines, all.Stages, all.Sinks = all.Pipelines+v.Pipelines, all.Stages+v.Stages, all.Sinks+v.Sinks
		all.Errors, all.Warnings = all.Errors+v.Errors, all.Warnings+v.Warnings
		all.Problems = append(all.Problems, v.Problems...)
	}
	return all
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

	resolved bool
}

func lintView(files []string, s *spec.Spec, problems spec.Problems) lintResult {
	v := lintResult{Files: files, Errors: problems.Errors(), Warnings: problems.Warnings(), Problems: problems}
	if s != nil {
		v.resolved = true
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
