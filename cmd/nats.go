package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// openNATS connects to the cluster that the file names, as a process of the role.
func openNATS(ctx context.Context, n *spec.NATS, role jetstream.Role, log *slog.Logger) (transport.Broker, error) {
	c, err := natsConfig(n)
	if err != nil {
		return nil, exit(ExitUsage, fmt.Errorf("%w [E-transport]", err))
	}
	c.Role, c.Log = role, log
	b, err := jetstream.Connect(ctx, c)
	if err != nil { // not a nil *jetstream.Broker in an interface
		if !errors.Is(err, transport.ErrUnreachable) && !errors.Is(err, transport.ErrDenied) {
			err = exit(ExitUsage, fmt.Errorf("%w [E-transport]", err))
		}
		return nil, err
	}
	return b, nil
}

func natsConfig(n *spec.NATS) (jetstream.Config, error) {
	c := jetstream.Config{URL: strings.Join(n.URL, ","), Replicas: n.Replicas,
		Login: jetstream.Login{User: n.User, Password: n.Password, Token: n.Token, NKey: n.NKey, Creds: n.Creds}}
	if t := n.TLS; t != nil {
		var err error
		c.TLS, err = transport.TLSFiles{Block: "transport.nats.tls", CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}.Config()
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
