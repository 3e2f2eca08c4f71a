package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// A server answers API and dashboard for a session.
type server struct {
	holder
	stop   context.CancelFunc
	served chan error
}

// serve listens on loopback and writes into the state directory where. A taken port is replaced by a free one.
func (a *app) serve(x *session, address string) (*server, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address)
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the dashboard: %w", err)
	}
	h := holder{Address: l.Addr().String(), PID: os.Getpid(), Token: api.NewToken(), Started: time.Now().UTC()}
	if err := x.state.announce(h); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &server{holder: h, stop: stop, served: make(chan error, 1)}
	go func() { s.served <- x.api(h.Token).Serve(ctx, l) }()
	return s, nil
}

// api is the session's HTTP API and dashboard.
func (x *session) api(token string) *api.Server {
	return api.New(api.Config{Spec: x.spec, Engine: x.engine, Managers: x.managers, Store: x.store, Broker: x.broker.Describe(),
		Version: Version, Token: token, Log: x.log})
}

// url is the dashboard's page of a pipeline.
func (s *server) url(pipeline string) string { return s.endpoint().URL() + "/p/" + pipeline }

func (s *server) close() error {
	s.stop()
	return <-s.served
}
