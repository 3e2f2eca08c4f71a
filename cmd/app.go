package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/history"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/memory"
)

// An app is one command line: the flags that all commands share, and where they write. Data goes to stdout; progress, logs and
// hints go to stderr.
type app struct {
	types          *pipeline.Registry
	stdin          io.Reader
	stdout, stderr io.Writer

	files     []string
	set       []string
	transport string
	state     string
	output    string
	logLevel  string
	history   string
	role      jetstream.Role    // of this process
	recorder  *history.Recorder // of what this process asks of its broker; nil unless a test wants to know
}

const defaultFile = "pipelines.yaml"

func (a *app) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringArrayVarP(&a.files, "file", "f", []string{defaultFile}, "pipelines file; several are layered, the last wins")
	f.StringArrayVar(&a.set, "set", nil, "path=value, laid over the files")
	f.StringVar(&a.transport, "transport", "", "embedded, memory, nats://host:port or kafka://host:port in place of the file's")
	f.StringVar(&a.state, "state", "", "state directory in place of the file's (transport.embedded.dir, ./.milepost)")
	f.StringVarP(&a.output, "output", "o", "table", "table, json, yaml or name")
	f.StringVar(&a.history, "history", "", "append what the broker was asked and what it said to this file, for tests")
	if err := f.MarkHidden("history"); err != nil {
		panic(err)
	}
	f.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
}

// load reads and checks the pipelines files. Warnings are printed; errors are printed, all of them, and end in exit code 2.
func (a *app) load(ctx context.Context) (*spec.Spec, error) { return a.loadFiles(ctx, false) }

// loadAlone is load for commands that replay no items: it does not ask whether recordings and what else a stage's
// configuration names are there.
func (a *app) loadAlone(ctx context.Context) (*spec.Spec, error) { return a.loadFiles(ctx, true) }

func (a *app) loadOptions() spec.Options {
	return spec.Options{Registry: a.types, Set: a.set, Transport: a.transport, Missing: "next: name another file with -f"}
}

func (a *app) loadFiles(ctx context.Context, alone bool) (*spec.Spec, error) {
	o := a.loadOptions()
	o.NoAdvice = alone
	s, problems := spec.Load(ctx, a.files, o)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(problems) > 0 {
		if err := problems.Render(a.stderr); err != nil {
			return nil, err
		}
	}
	if problems.Errors() > 0 {
		return nil, exitError{code: ExitUsage}
	}
	return s, nil
}

// stateFolder is where run keeps its state.
func (a *app) stateFolder(s *spec.Spec) string {
	switch {
	case a.state != "":
		return a.state
	case s != nil && s.Transport.Embedded != nil && s.Transport.Embedded.Dir != "":
		return s.Transport.Embedded.Dir
	}
	return ".milepost"
}

// broker opens the transport. An unreachable one is exit code 3, with the next step.
func (a *app) broker(ctx context.Context, s *spec.Spec, log *slog.Logger) (transport.Broker, error) {
	b, err := a.open(ctx, s, log)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, transport.ErrUnreachable) {
		what, next, advised := strings.Cut(err.Error(), "\n")
		if !advised {
			next = "  next: is the server up?  milepost doctor\n        no server?         milepost run --transport embedded"
		}
		return nil, exit(ExitUnreachable, errors.New(what+" [E-transport]\n"+next))
	}
	if errors.Is(err, transport.ErrDenied) {
		return nil, exit(ExitUnreachable, err)
	}
	if err == nil && a.history != "" {
		if a.recorder, err = history.Create(a.history); err == nil {
			b = history.Broker(b, a.recorder)
		}
	}
	return b, exit(ExitFailed, err)
}

// reran is what the engine tells of inputs that it takes again.
func (a *app) reran(chain schemas.ChainID, input schemas.InputRef) {
	if a.recorder != nil {
		a.recorder.Reran(chain, input)
	}
}

func (a *app) open(ctx context.Context, s *spec.Spec, log *slog.Logger) (transport.Broker, error) {
	t := s.Transport
	switch {
	case t.NATS != nil:
		return openNATS(ctx, t.NATS, a.role, log)
	case t.Kafka != nil:
		return openKafka(ctx, t.Kafka, log)
	case t.Memory != nil:
		return memory.New(), nil
	}
	sync := jetstream.SyncAlways
	if !t.Embedded.Sync.Always() {
		sync = jetstream.SyncLater
	}
	return jetstream.Embedded(ctx, jetstream.EmbeddedConfig{Dir: filepath.Join(a.stateFolder(s), "jetstream"), Sync: sync,
		SyncEvery: t.Embedded.Sync.Interval, Log: log})
}

// logger writes to stderr at the level asked for.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, exit(ExitUsage, fmt.Errorf("--log-level %s: want debug, info, warn or error", a.logLevel))
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: dropTime})), nil
}

// dropTime leaves the time out of log lines: whoever collects them adds it.
func dropTime(groups []string, at slog.Attr) slog.Attr {
	if len(groups) == 0 && at.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return at
}

// attended says whether w is a terminal that a person looks at.
func attended(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("CI") == ""
}

// redrawn says whether what was written to w may be written over: https://no-color.org, which people also set for terminals and
// screen readers that show every change as new text.
func redrawn(w io.Writer) bool { return attended(w) && os.Getenv("NO_COLOR") == "" }
