package cmd

import (
	"context"
	"errors"
	"log/slog"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// ask calls f with a client of the process that holds the state directory. When nobody holds it, this process opens the
// directory itself and serves the same API as long as f takes: both ways go through the same code.
func (a *app) ask(ctx context.Context, f func(ctx context.Context, c *api.Client) error) error {
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	if dir := a.stateFolder(s); held(dir) {
		h, err := readHolder(dir)
		if err != nil {
			return exit(ExitFailed, err)
		}
		return exit(ExitFailed, f(ctx, api.NewClient(h.endpoint())))
	}
	x, err := a.openSession(ctx, s, sessionOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = a.alone(ctx, x, f)
	return exit(ExitFailed, errors.Join(err, x.close()))
}

func (a *app) alone(ctx context.Context, x *session, f func(ctx context.Context, c *api.Client) error) error {
	server, err := a.serve(x, "127.0.0.1:0")
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, api.NewClient(server.endpoint())), server.close())
}
