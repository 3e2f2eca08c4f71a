package cmd

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
)

// openKafka connects to the cluster that the file names.
func openKafka(ctx context.Context, k *spec.Kafka, log *slog.Logger) (transport.Broker, error) {
	c := kafka.Config{Seeds: k.Brokers, Prefix: k.Prefix, Partitions: k.Partitions, Replication: k.Replication, Retention: k.Retention,
		MaxMessageBytes: int(k.MaxMessageBytes), MaxBytes: int64(k.Limits.MaxBytes), AheadEvents: k.Commit.Events, AheadInterval: k.Commit.Interval, Log: log}
	if t := k.TLS; t != nil {
		var err error
		if c.TLS, err = (transport.TLSFiles{Block: "transport.kafka.tls", CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}).Config(); err != nil {
			return nil, exit(ExitUsage, fmt.Errorf("%w [E-transport]", err))
		}
	}
	kafkaLogin(&c, k.SASL)
	b, err := kafka.Connect(ctx, c)
	if err != nil { // not a nil *kafka.Broker in an interface
		return nil, err
	}
	return b, nil
}

func kafkaLogin(c *kafka.Config, s *spec.SASL) {
	switch {
	case s == nil:
	case s.Plain != nil:
		c.SASL = kafka.Plain(s.Plain.User, s.Plain.Password)
	case s.ScramSHA256 != nil:
		c.SASL = kafka.ScramSHA256(s.ScramSHA256.User, s.ScramSHA256.Password)
	case s.ScramSHA512 != nil:
		c.SASL = kafka.ScramSHA512(s.ScramSHA512.User, s.ScramSHA512.Password)
	case s.OAuthBearer != nil && s.OAuthBearer.Token != "":
		c.SASL = kafka.BearerToken(s.OAuthBearer.Token)
	case s.OAuthBearer != nil:
		b := s.OAuthBearer
		c.SASL = kafka.BearerGrant(kafka.ClientGrant{TokenURL: b.TokenURL, ClientID: b.ClientID, ClientSecret: b.ClientSecret, Scopes: b.Scopes})
	}
}
