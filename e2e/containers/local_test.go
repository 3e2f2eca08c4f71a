//go:build local

package containers

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

func natsSite(t *testing.T) site {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nats-server")
	if err := process.Build(t.Context(), binary, "github.com/nats-io/nats-server/v2"); err != nil {
		t.Fatal(err)
	}
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	p, err := process.Start(t.Context(), process.Config{Name: binary, Args: []string{"-js", "-sd", t.TempDir(), "-a", host, "-p", port}, Wide: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	if !p.Until(process.Contains("Server is ready")) {
		t.Fatalf("nats-server did not start:\n%s", p.Tail())
	}
	p.Drain()
	url := "nats://" + address
	return site{url: url, connect: connectNATS(url), worker: worker(url)}
}

func kafkaSite(t *testing.T) site {
	t.Helper()
	b, err := kafkatest.Start(t.Context(), kafkatest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	url := "kafka://" + b.Address
	return site{url: url, connect: connectKafka(b.Address), worker: worker(url)}
}

// worker is `milepost worker`, a process.
func worker(url string) func(t *testing.T, dir string) func() {
	return func(t *testing.T, dir string) func() {
		t.Helper()
		address, err := process.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, dir, "worker", "--transport", url, "--retain", "--metrics", address)
		if !p.Until(process.Contains("working")) {
			t.Fatalf("the worker did not start:\n%s", p.Tail())
		}
		p.Drain()
		healthy := start(t, dir, "health", address)
		if code, err := healthy.Wait(); err != nil || code != 0 {
			t.Fatalf("health: exit code %d, %v\n%s", code, err, healthy.Tail())
		}
		if answer, err := http.Get(fmt.Sprintf("http://%s/api/v1/jobs", address)); err != nil || answer.StatusCode != http.StatusNotFound {
			t.Errorf("more than figures is told there: %v, %v", answer, err)
		}
		return func() {
			figures, err := get(t.Context(), "http://"+address+"/metrics")
			if err != nil {
				t.Fatal(err)
			}
			looked(t, figures)
			if err := p.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code, err := p.Wait(); err != nil || code != 130 {
				t.Errorf("the worker: exit code %d, want 130, %v\n%s", code, err, p.Tail())
			}
		}
	}
}
