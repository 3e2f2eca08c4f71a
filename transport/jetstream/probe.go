package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Missing tries every subject of the grant as the user of the configuration, and lists those that the server refuses. Nothing
// happens on the server: what is published names another stream than the one it would go to, nothing to delete, or is no JSON,
// and expects no answer.
func Missing(ctx context.Context, c Config, g Grant) (missing []*DeniedError, err error) {
	closed := make(chan struct{})
	options := append([]nats.Option{}, c.Options...)
	options = append(options, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if d := deniedBy(err); d != nil {
				missing = append(missing, d) // one after another, and all before closed
			}
		}))
	c.Options, c.Log = options, slog.New(slog.DiscardHandler)
	nc, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	err = probe(ctx, nc, g)
	nc.Close()
	<-closed // all that the server said has been handed on by then
	if err != nil {
		return nil, fmt.Errorf("try permissions at %s: %w", redact(c.URL), err)
	}
	return missing, nil
}

// open is a bare connection.
func open(ctx context.Context, c Config) (*nats.Conn, error) {
	login, err := c.Login.options()
	if err != nil {
		return nil, err
	}
	options := append(login, nats.Name("milepost doctor"), nats.CustomInboxPrefix(c.Role.Inbox()))
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	return dial(ctx, c.URL, append(options, c.Options...))
}

func probe(ctx context.Context, nc *nats.Conn, g Grant) error {
	for _, entry := range g.Publish {
		if err := nc.PublishMsg(harmless(entry)); err != nil {
			return err
		}
	}
	for _, entry := range g.Subscribe {
		if _, err := nc.SubscribeSync(instance(entry)); err != nil {
			return err
		}
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	return nc.FlushWithContext(ctx)
}

// instance is a subject under an entry of a list, where nothing lies.
func instance(entry string) string {
	subject := []byte(entry)
	if n := len(subject); subject[n-1] == '>' || subject[n-1] == '*' {
		return string(subject[:n-1]) + "probe"
	}
	return entry
}

// harmless is a message to a subject under the entry that changes nothing there.
func harmless(entry string) *nats.Msg {
	m := &nats.Msg{Subject: instance(entry), Header: nats.Header{}}
	switch {
	case strings.HasPrefix(entry, apiPrefix+"STREAM.PURGE."), strings.HasPrefix(entry, apiPrefix+"STREAM.MSG.DELETE."):
		m.Data = []byte(`{"seq":0,"filter":"` + root + `.probe.probe"}`) // without a filter all would go: nothing lies there
	case strings.HasPrefix(entry, apiPrefix):
		m.Data = []byte("{") // no JSON
	}
	m.Header.Set(jetstream.ExpectedStreamHeader, "probe")
	return m
}

// An Account is what the server says of the user's account and of itself.
type Account struct {
	Version    string
	Cluster    string // its name, "" for a server alone
	Servers    int    // that are known
	MaxPayload int    // bytes of one message, headers included
	Streams    int
	MaxStreams int   // -1: no limit
	Store      int64 // bytes on disk
	MaxStore   int64 // -1: no limit
}

// Account asks for it.
func (b *Broker) Account(ctx context.Context) (Account, error) {
	limited, done := b.limitAPI(ctx, "")
	defer done()
	i, err := b.js.AccountInfo(limited)
	if err != nil {
		return Account{}, whyEnded(limited, err)
	}
	return Account{Version: b.nc.ConnectedServerVersion(), Cluster: b.nc.ConnectedClusterName(), Servers: len(b.nc.Servers()),
		MaxPayload: int(b.nc.MaxPayload()), Streams: i.Streams, MaxStreams: i.Limits.MaxStreams, Store: int64(i.Store), MaxStore: i.Limits.MaxStore}, nil
}

// A LogState is what the server says of a log's stream.
type LogState struct {
	Bytes, MaxBytes int64 // MaxBytes -1: no limit
	Replicas        int
	Behind          []string      // names of replicas that are off line or lag
	Offset          time.Duration // of the server's clock against ours, give or take RoundTrip
	RoundTrip       time.Duration
}

// LogState looks at a log that may not be there: nil then. It makes none.
func (b *Broker) LogState(ctx context.Context, pipeline, stage string) (*LogState, error) {
	stream := newNames(pipeline, stage).stream
	limited, done := b.limitAPI(ctx, stream)
	defer done()
	asked := time.Now()
	s, err := b.js.Stream(limited, stream)
	took := time.Since(asked)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, b.apiError(limited, err)
	}
	i := s.CachedInfo()
	state := &LogState{Bytes: int64(i.State.Bytes), MaxBytes: i.Config.MaxBytes, Replicas: i.Config.Replicas, RoundTrip: took}
	if !i.TimeStamp.IsZero() {
		state.Offset = i.TimeStamp.Sub(asked.Add(took / 2))
	}
	if i.Cluster != nil {
		for _, r := range i.Cluster.Replicas {
			if r.Offline || !r.Current {
				state.Behind = append(state.Behind, r.Name)
			}
		}
	}
	return state, nil
}
