package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api"
	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline/spec"
)

// ask calls f with a client of the process that holds the state directory. When nobody holds it, this process opens the
// directory itself and serves the same API as long as f takes: both ways go through the same code.
func (a *app) ask(ctx context.Context, f func(ctx context.Context, c *api.Client) error) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	dir := a.stateFolder(s)
	if local(s) || a.state != "" {
		if err := noState(dir); err != nil {
			return exit(ExitFailed, err)
		}
	}
	for try := 1; ; try++ {
		x, err := a.openSession(ctx, s, sessionOptions{idle: true}, slog.New(slog.DiscardHandler))
		if h, serving := servedBy(dir); errors.Is(err, errHeld) && serving {
			c := api.NewClient(h.endpoint())
			err = f(ctx, c)
			if hungUp(err) && !c.Ordered() && try < askTries && wait(ctx, lookAgain*time.Duration(try)) {
				continue
			}
			return answered(h.silent(err))
		}
		if err != nil {
			return err
		}
		err = a.alone(ctx, x, f)
		return answered(errors.Join(err, x.close()))
	}
}

// askTries is how often somebody else is asked who ends meanwhile; nobody is, once a command may have arrived.
const askTries = 6

// hungUp says whether a process ended while it was asked.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// silent says whom a question was put to that was not answered in time.
func (h holder) silent(err error) error {
	if late := net.Error(nil); !errors.As(err, &late) || !late.Timeout() {
		return err
	}
	return fmt.Errorf("%w\n  next: process %d at %s takes questions and does not answer: kill -CONT %[2]d if it is stopped, kill %[2]d else", err, h.PID, h.Address)
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answered gives an error the exit code that it stands for: a name or value that cannot be is a fault of usage.
func answered(err error) error {
	if no := (guard.Refusal{}); errors.As(err, &no) && (no.Code == api.CodePipeline || no.Code == api.CodeParam) {
		return exit(ExitUsage, err)
	}
	return exit(ExitFailed, err)
}

// local says whether the events are where no other process reaches them.
func local(s *spec.Spec) bool {
	return s.Transport.Kind() == "embedded" || s.Transport.Kind() == "memory"
}

// alone serves for f and nobody else.
func (a *app) alone(ctx context.Context, x *session, f func(ctx context.Context, c *api.Client) error) error {
	server, err := x.listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, api.NewClient(server.endpoint())), server.close())
}
