// Package cmd is the command line: every verb of milepost over a registry of stage types.
//
// A binary with stage plugins of its own is ten lines: fill a registry, call Main. One file holds one command; what several
// share is in app.go (files, flags, transport), statedir.go (who holds a state directory) and output.go (tables, JSON).
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/transport"
)

// Exit codes.
const (
	ExitDone        = 0
	ExitFailed      = 1 // it ran, but a job failed or an event lies in the DLQ
	ExitUsage       = 2 // usage or configuration
	ExitUnreachable = 3 // the transport
	ExitInterrupted = 130
)

// Main runs the command line of a binary with these stage types and ends the process with its exit code.
func Main(types *pipeline.Registry) {
	limitMemory()
	ctx, stop := interruptible()
	code := Run(ctx, types, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// softLimit is what the process is to stay within: the reader, the bytes in flight and the embedded server's pooled buffers,
// which the server lets grow as long as nobody asks for memory back. Measured with a drive of ten hours, beside the corpus of
// short ones: 208 MiB gave peaks of 241 and 204 MB, 160 MiB 195 and 181, 144 MiB 181 and 170, for a tenth more CPU; GOGC
// does not help (at 25: 225 and 134, for a third more CPU), since what is pooled is not garbage.
const softLimit = 144 << 20

// limitMemory makes the garbage collector keep to softLimit, unless the user set GOMEMLIMIT.
// Where that is too little for what is alive, stages with large states say, the limit follows it: a collector that is held to a
// limit it cannot keep takes half of the machine.
func limitMemory() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(softLimit)
		followLive(&marker{})
	}
}

// A marker is garbage from the beginning: each collection of it tells that the collector has run.
type marker struct{ _ [16]byte }

func followLive(m *marker) {
	runtime.SetFinalizer(m, func(*marker) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		debug.SetMemoryLimit(max(softLimit, int64(live[0].Value.Uint64())*3/2))
		followLive(&marker{})
	})
}

// Run runs one command line and returns its exit code. ctx ends when the user wants it to drain and leave.
func Run(ctx context.Context, types *pipeline.Registry, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	data := &dataWriter{w: stdout}
	a := &app{types: types, stdin: stdin, stdout: data, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if data.err != nil {
		err = exitError{ExitFailed, fmt.Errorf("write the output: %w", data.err)} // whatever else there is to say, it was not read
	}
	return a.exitCode(err)
}

// A dataWriter keeps the first error of writing what a command was asked for, so that no command can forget it.
type dataWriter struct {
	w   io.Writer
	err error
}

func (d *dataWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if d.err == nil {
		d.err = err
	}
	return n, err
}

// exitError is an error with the exit code it stands for. A nil err has been printed already.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// exit gives an error its exit code; one that has one keeps it, and nil stays nil.
func exit(code int, err error) error {
	if err == nil || errors.As(err, new(exitError)) {
		return err
	}
	return exitError{code, err}
}

// exitCode prints an error and says how the process ends. Cobra's own errors are of usage; what says nothing but that the user
// broke it off is an interrupt.
func (a *app) exitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	code := ExitUsage
	var e exitError
	if errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	if cancelled(err) {
		fmt.Fprintln(a.stderr, "interrupted")
		return ExitInterrupted
	}
	fmt.Fprintln(a.stderr, err)
	return code
}

// cancelled says whether an error says nothing but that its context ended, and that therefore nobody knows what became of what was
// under way then: the next run looks.
func cancelled(err error) bool {
	said := false
	for _, e := range leaves(err) {
		switch e {
		case context.Canceled:
			said = true
		case transport.ErrUnknown:
		default:
			return false
		}
	}
	return said
}

// leaves are the errors that an error is made of, those that wrap none.
func leaves(err error) (all []error) {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, leaves(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return leaves(inner)
		}
	}
	return []error{err}
}

// interruptible is a context that ends with the first Ctrl-C or SIGTERM; the second ends the process at once.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals) }
}

// group is a command that only holds others.
func group(use, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			meant := ""
			if near := nearestCommand(c, args[0]); near != "" {
				meant = fmt.Sprintf("did you mean %q?   ", near)
			}
			return exit(ExitUsage, fmt.Errorf("unknown command %q for %q\n  %s%s --help", args[0], c.CommandPath(), meant, c.CommandPath()))
		}
		return c.Help()
	}}
}

func nearestCommand(c *cobra.Command, word string) string {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return pipeline.Nearest(word, names)
}

// wordArguments has every command say with its own usage which arguments it takes.
func wordArguments(c *cobra.Command) {
	for _, sub := range c.Commands() {
		wordArguments(sub)
	}
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		return exit(ExitUsage, fmt.Errorf("%s: want   milepost %s\n  %s --help", c.CommandPath(), strings.TrimPrefix(c.UseLine(), "milepost "), c.CommandPath()))
	}
}

// nameShells has cobra's completion command refuse a shell that it does not know.
func nameShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = nil
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			var shells []string
			for _, sub := range c.Commands() {
				shells = append(shells, sub.Name())
			}
			return exit(ExitUsage, fmt.Errorf("there is no completion for the shell %q; there is for %s", args[0], strings.Join(shells, ", ")))
		}
	}
}

// root is the command that holds all others.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "milepost", Short: "replay recorded drives through declared pipelines",
		Long:         "Milepost replays recorded drives (ASAM MDF, .mf4) through the pipelines that pipelines.yaml declares.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	a.flags(root)
	root.AddCommand(a.runCommand(), a.workerCommand(), a.healthCommand(), a.lintCommand(), a.graphCommand(), a.schemaCommand(), a.stagesCommand(),
		a.inspectCommand(), a.exportCommand(), a.finalizeCommand(), a.jobsCommand(), a.dlqCommand(), a.statusCommand(), a.doctorCommand(), a.mirrorCommand(), a.renderCommand(), a.configCommand(), a.versionCommand())
	wordArguments(root)
	nameShells(root)
	return root
}
