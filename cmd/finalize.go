package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

func (a *app) finalizeCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "finalize FILE -o COPY", Short: "a repaired copy of a recording that was cut off", Args: cobra.ExactArgs(1),
		Long: "Loggers that lose power leave recordings unfinalized: counts and lengths are missing. Milepost repairs them while reading;\n" +
			"finalize writes a copy with all of them filled in, for programs that do not, and warns of what the end of the file has cut off.\n" +
			"The recording itself is not touched. What is readable of a damaged one is got out by milepost export --on-corrupt keep.",
		RunE: func(c *cobra.Command, args []string) error { return a.finalize(c.Context(), args[0], out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the copy to write")
	return c
}

func (a *app) finalize(ctx context.Context, file, out string) error {
	if out == "" {
		return exit(ExitUsage, errors.New("-o is missing: the copy to write"))
	}
	if err := differ(file, out); err != nil {
		return exit(ExitUsage, err)
	}
	f, err := mdf.Open(file)
	if err != nil {
		return exit(ExitFailed, fileError(file, err))
	}
	defer f.Close()
	err = f.Finalize(ctx, out, time.Now(), a.losses(file).add)
	if errors.Is(err, mdf.ErrFinalized) {
		return exit(ExitFailed, fmt.Errorf("%s: %w, nothing is written [E-mf4]\n  next: cp makes a copy; if it is damaged, milepost export %[1]s -o COPY --on-corrupt keep gets out what is readable", file, err))
	}
	if err != nil && damaged(err) {
		return exit(ExitFailed, fmt.Errorf("%w\n  next: milepost export %s -o COPY --on-corrupt keep gets out what is readable", fileError(file, err), file))
	}
	if err != nil {
		return exit(ExitFailed, fileError(file, err))
	}
	return nil
}
