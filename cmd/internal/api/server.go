package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/cmd/internal/api/live"
	"github.com/milepost-dev/milepost/cmd/internal/dashboard"
	"github.com/milepost-dev/milepost/cmd/internal/lineage"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/transport"
)

// Config is what a Server answers from.
type Config struct {
	Spec     *spec.Spec
	Engine   *engine.Engine
	Managers map[string]*job.Manager // by pipeline, one for each that Engine runs
	Store    *view.Store             // the results; nil: none are kept, and their addresses say so
	Broker   transport.Description
	Version  string
	Idle     bool         // nobody works: the process has opened the state to answer, no more
	Token    string       // what commands present; empty: only pages of this server may send commands
	Hosts    []string     // exact values of the Host header; Serve fills an empty list with the listener's loopback names
	Log      *slog.Logger // nil: slog.Default()
	Now      func() time.Time
}

// A Server answers the API and the dashboard's pages. Its methods may be called concurrently.
type Server struct {
	c          Config
	started    time.Time
	hub        *live.Hub
	meters     *meters
	letters    *letterCache
	lineage    lineage.Lineage
	operations *operations
	closing    context.Context // ends with Close
	cancel     context.CancelFunc
	work       sync.WaitGroup // of operations
	ordering   sync.Mutex     // a job is resumed, or its next generation queued: whoever decides which looks at jobs that stay
}

// New makes a server that holds no goroutine yet.
func New(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{c: c, started: c.Now(), hub: live.New(), meters: newMeters(), operations: newOperations(c.Now)}
	s.lineage = lineage.Lineage{Spec: c.Spec, Engine: c.Engine, Managers: c.Managers}
	s.letters = newLetterCache(s.lineage, c.Now)
	s.closing, s.cancel = context.WithCancel(context.Background())
	s.sample()
	return s
}

// Handler answers every request: addresses under /api/v1, /metrics, /healthz, /readyz, and the dashboard's pages. Config.Hosts
// must be set.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.routes(mux)
	mux.Handle("/", dashboard.Handler())
	return guard.New(guard.Config{Hosts: s.c.Hosts, Token: s.c.Token}, logged(s.c.Log, mux))
}

// ErrNotLoopback refuses to listen where other machines could connect: that needs a token for reading, and TLS.
var ErrNotLoopback = errors.New("only loopback addresses are served")

// Serve answers on the listener until ctx ends, then ends the streams, lets other requests finish for five seconds, and
// returns nil. The listener is closed in any case.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !guard.Loopback(l.Addr()) {
		return errors.Join(fmt.Errorf("listen on %s: %w", l.Addr(), ErrNotLoopback), l.Close())
	}
	if len(s.c.Hosts) == 0 {
		s.c.Hosts = guard.LoopbackHosts(l.Addr().(*net.TCPAddr).Port)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.c.Log.Handler(), slog.LevelDebug)}
	server.RegisterOnShutdown(s.Close)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	watched := make(chan struct{})
	run, stop := context.WithCancel(ctx)
	go func() { defer close(watched); s.watch(run) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = server.Shutdown(grace)
	}
	stop()
	<-watched
	s.Close()
	s.work.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends the streams and stops operations between two jobs. It may be called twice.
func (s *Server) Close() {
	s.hub.Close()
	s.cancel()
}

// watch samples the meters, and keeps the store's table of jobs, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	var projections sync.WaitGroup
	defer projections.Wait()
	for name, m := range s.c.Managers {
		if s.c.Store != nil {
			projections.Go(func() { s.project(ctx, name, m) })
		}
	}
	projections.Go(func() { s.look(ctx) })
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.sample()
		}
	}
}

// sample takes the meters.
func (s *Server) sample() {
	jobs := s.everyCurrent()
	standings := s.c.Engine.Standings(jobs)
	var nodes []nodeSample
	for _, n := range s.c.Engine.Status() {
		nodes = append(nodes, nodeSample{n, standings[n.Pipeline+"/"+n.Node].Lag})
	}
	bytes := map[string]int64{}
	for name, list := range jobs {
		bytes[name], _ = s.bytesRead(list)
	}
	s.meters.take(s.c.Now(), nodes, bytes)
}

// logged writes what went wrong on our side; what a client got wrong is its own business.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil || p == http.ErrAbortHandler {
				return
			}
			log.Error("a request failed", "path", r.URL.Path, "panic", p)
			guard.Refusal{Message: "the server failed at this request", Code: "E-internal", Next: "its log has more"}.
				Write(w, http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

// A Status is what is served, by whom, and how it stands: the first thing every page and `milepost status` show.
type Status struct {
	Version     string            `json:"version"`
	PID         int               `json:"pid"`
	Started     time.Time         `json:"started"`
	Working     bool              `json:"working"` // runs the stages; false: it has opened the state to answer, no more
	Files       []string          `json:"files"`
	Transport   TransportStatus   `json:"transport"`
	DeadLetters int               `json:"dead_letters"` // open ones
	Pipelines   []PipelineSummary `json:"pipelines"`
}

// A TransportStatus names the broker.
type TransportStatus struct {
	Kind    string `json:"kind"`
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"`
}

// A PipelineSummary is one pipeline in a line.
type PipelineSummary struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	From        []string  `json:"from"` // pipeline/stage of what it reads; empty: items of its own
	State       string    `json:"state"`
	Jobs        JobCounts `json:"jobs"`
	DeadLetters int       `json:"dead_letters"`
}

func (s *Server) status(ctx context.Context, q query) (any, error) {
	list, err := s.pipelines(ctx, q)
	if err != nil {
		return nil, err
	}
	st := Status{Version: s.c.Version, PID: os.Getpid(), Started: s.started.UTC(), Working: !s.c.Idle, Files: s.c.Spec.Files, Pipelines: []PipelineSummary{},
		Transport: TransportStatus{Kind: s.c.Spec.Transport.Kind(), Address: s.c.Broker.Address, Version: s.c.Broker.Version}}
	for _, p := range list {
		st.Pipelines = append(st.Pipelines, p.PipelineSummary)
		st.DeadLetters += p.DeadLetters
	}
	return st, nil
}
