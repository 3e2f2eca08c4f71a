package cmd_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/cmd"
)

func TestHealth(t *testing.T) {
	l := setup(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	gone.Close()
	l.run(cmd.ExitFailed, "health", address)
	l.wants(l.stderr.String(), "is the process started with --metrics "+address)
	status := http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	l.run(cmd.ExitFailed, "health", strings.TrimPrefix(server.URL, "http://"))
	status = http.StatusOK
	l.run(cmd.ExitDone, "health", strings.TrimPrefix(server.URL, "http://"))
}
