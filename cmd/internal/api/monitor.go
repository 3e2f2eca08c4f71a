package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
)

// Monitor answers /metrics, /healthz and /readyz, and nothing else, until ctx ends. Unlike Serve it may listen where other
// machines can connect, since it takes no command and shows no result: only names of pipelines and stages, and figures. The
// Server may be one without managers, as a worker's is. The listener is closed in any case.
func (s *Server) Monitor(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &apiError{http.StatusNotFound, guard.Refusal{Message: "only /metrics, /healthz and /readyz are here", Code: "E-not-found"}})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.c.Log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = server.Shutdown(grace)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func healthy(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"status": "ok"}) }
