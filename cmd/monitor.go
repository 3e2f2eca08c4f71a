package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// DefaultMonitor is where `milepost health` looks.
const DefaultMonitor = "127.0.0.1:9464"

func monitorFlag(c *cobra.Command, address *string) {
	c.Flags().StringVar(address, "metrics", "", "answer /metrics, /healthz and /readyz, and nothing else, on host:port; other machines may reach it, as in 0.0.0.0:9464")
}

// monitor answers on the address of --metrics until stop, where there is one.
func monitor(address string, s *api.Server) (stop func() error, err error) {
	if address == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, exit(ExitUsage, fmt.Errorf("--metrics %s: %w", address, err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Monitor(ctx, l) }()
	return func() error {
		cancel()
		return <-served
	}, nil
}

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use: "health [host:port]", Short: "ask a process started with --metrics whether it is ready", Args: cobra.MaximumNArgs(1),
		Long: "Health asks /readyz at the address of --metrics, " + DefaultMonitor + " without one. Exit code 0: ready, 1: not. It is the\n" +
			"health check of a container image without a shell.",
		RunE: func(c *cobra.Command, args []string) error {
			address := DefaultMonitor
			if len(args) > 0 {
				address = args[0]
			}
			return a.health(c.Context(), address)
		},
	}
}

func (a *app) health(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return exit(ExitUsage, fmt.Errorf("%s: want host:port: %w", address, err))
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return exit(ExitFailed, fmt.Errorf("%w\n  next: is the process started with --metrics %s?", err, address))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", address, answer.Status, body)
	}
	return exit(ExitFailed, err)
}
