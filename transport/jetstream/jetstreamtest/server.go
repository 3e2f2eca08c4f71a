// Package jetstreamtest is a NATS server in the test's process, with a socket, and with a disk that can be made to forget.
package jetstreamtest

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A Server keeps its address and its store over Stop and Start. One goroutine uses it.
type Server struct {
	t    testing.TB
	dir  string
	port int
	s    *server.Server
}

// Start starts a server with an empty store. The test's end stops it.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it again, on what is in its folder.
func (s *Server) Start() {
	s.t.Helper()
	var err error
	s.s, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoSigs: true, NoLog: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.s.Start()
	if !s.s.ReadyForConnections(time.Minute) {
		s.t.Fatal("the server does not come up")
	}
	s.port = s.s.Addr().(*net.TCPAddr).Port
}

// Stop stops it.
func (s *Server) Stop() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

// URL is where clients find it, over Stop and Start too.
func (s *Server) URL() string { return s.s.ClientURL() }

// Dir is its store.
func (s *Server) Dir() string { return s.dir }

// Keep starts it again, and returns a copy of its store as it was meanwhile.
func (s *Server) Keep() (kept string) {
	s.t.Helper()
	s.Stop()
	kept = s.t.TempDir()
	s.copy(kept, s.dir)
	s.Start()
	return kept
}

// Forget has the streams whose names end so, all of them where none is named, hold what they held when they were kept, as after a
// power cut. The server must be stopped.
func (s *Server) Forget(kept string, ends ...string) {
	s.t.Helper()
	if len(ends) == 0 {
		s.replace(kept, "")
	}
	for _, end := range ends {
		found, err := filepath.Glob(filepath.Join(kept, "jetstream", "$G", "streams", "*"+end))
		if err != nil || len(found) != 1 {
			s.t.Fatalf("streams *%s: %q (%v)", end, found, err)
		}
		rel, err := filepath.Rel(kept, found[0])
		if err != nil {
			s.t.Fatal(err)
		}
		s.replace(kept, rel)
	}
}

func (s *Server) replace(kept, rel string) {
	s.t.Helper()
	to := filepath.Join(s.dir, rel)
	if err := os.RemoveAll(to); err != nil {
		s.t.Fatal(err)
	}
	s.copy(to, filepath.Join(kept, rel))
}

func (s *Server) copy(to, from string) {
	s.t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		s.t.Fatal(err)
	}
}
