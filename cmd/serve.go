package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
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

// checkListen refuses an address that other machines could reach: the dashboard has no passwords.
func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		err = checkPort(port)
	}
	if err != nil {
		return exit(ExitUsage, fmt.Errorf("--listen %s: want host:port: %w\n  next: --listen 127.0.0.1:7070, or 127.0.0.1:0 for any free port", address, err))
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return exit(ExitUsage, fmt.Errorf("--listen %s: %w, as 127.0.0.1, [::1] or localhost", address, api.ErrNotLoopback))
	}
	return nil
}

func checkPort(port string) error {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the port %q is not a number from 0 to 65535", port)
	}
	return nil
}

// serve listens and writes into the state directory where.
func (a *app) serve(x *session, address string) (*server, error) {
	s, err := x.listen(address)
	if err != nil {
		return nil, err
	}
	if err := x.state.announce(s.holder); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// listen answers on loopback. A taken port is replaced by a free one.
func (x *session) listen(address string) (*server, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address)
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the dashboard: %w", err)
	}
	h := holder{Address: l.Addr().String(), PID: os.Getpid(), Token: api.NewToken(), Started: time.Now().UTC()}
	ctx, stop := context.WithCancel(context.Background())
	s := &server{holder: h, stop: stop, served: make(chan error, 1)}
	go func() { s.served <- x.api(h.Token).Serve(ctx, l) }()
	return s, nil
}

// api is the session's HTTP API and dashboard.
func (x *session) api(token string) *api.Server {
	return api.New(api.Config{Spec: x.spec, Engine: x.engine, Managers: x.managers, Store: x.store, Broker: x.broker.Describe(),
		Version: Version, Token: token, Log: x.log, Idle: x.idle})
}

// url is the dashboard's page of a pipeline.
func (s *server) url(pipeline string) string { return s.endpoint().URL() + "/p/" + pipeline }

func (s *server) close() error {
	s.stop()
	return <-s.served
}
