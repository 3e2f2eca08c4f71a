package cmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages"
)

// natsServer starts a server of this configuration with a socket and a store of its own, and says where.
func (l *line) natsServer(more string) *server.Server {
	l.t.Helper()
	l.write("server.conf", fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\n%s", l.path("store"), more))
	o, err := server.ProcessConfigFile(l.path("server.conf"))
	if err != nil {
		l.t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		l.t.Fatal(err)
	}
	s.Start()
	l.t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		l.t.Fatal("the server does not come up")
	}
	return s
}

func TestARunWhoseEngineCannotStartEndsAndSaysWhy(t *testing.T) {
	l := setup(t)
	s := l.natsServer(`accounts { A { jetstream { max_consumers: 3 }, users [ { user: u, password: p } ] } }
no_auth_user: u
`)
	l.run(1, "run", "--exit", "--listen", "127.0.0.1:0", "--state", l.path("state"), "--transport", s.ClientURL())
	l.wants(l.stderr.String(), "take the jobs of aeb/", "maximum consumers limit reached")
}

// broken is a sink that cannot be closed.
type broken struct{}

func (broken) Cursor(context.Context, schemas.ChainID) (schemas.Cursor, error) {
	return schemas.Cursor{}, nil
}
func (broken) Write(context.Context, pipeline.Batch) error             { return nil }
func (broken) Replaced(context.Context, pipeline.Origin) (bool, error) { return false, nil }
func (broken) Commit(context.Context, pipeline.Origin, schemas.Cursor, schemas.Cursor) error {
	return nil
}
func (broken) Close() error { return errors.New("the disk under the sink is gone") }

func TestAnErrorAtTheEndOfAnInterruptedRunIsTold(t *testing.T) {
	l := setup(t)
	l.write("pipelines.yaml", strings.Replace(l.read("pipelines.yaml"), "{ json: { ", "{ broken: {} }\n  others: { json: { ", 1))
	types := stages.Standard()
	types.Add(pipeline.SinkType[struct{}]{Name: "sink/broken", Summary: "cannot be closed", Version: "1", Accepts: []string{pipeline.Any},
		Build: func(context.Context, struct{}) (pipeline.Sink, error) { return broken{}, nil }})
	ctx, cancel := context.WithCancel(t.Context())
	code := cmd.Run(ctx, types, []string{"run", "--exit", "--listen", "127.0.0.1:0", "--progress", "json", "-f", l.path("pipelines.yaml")},
		strings.NewReader(""), io.Discard, writerFunc(func(p []byte) (int, error) {
			l.stderr.Write(p)
			if bytes.Contains(p, []byte("appends")) {
				cancel()
			}
			return len(p), nil
		}))
	if code != cmd.ExitFailed {
		t.Errorf("exit %d, want %d", code, cmd.ExitFailed)
	}
	l.wants(l.stderr.String(), "the disk under the sink is gone")
}
