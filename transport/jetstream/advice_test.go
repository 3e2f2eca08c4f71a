package jetstream

import (
	"crypto/tls"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
)

// A server that has closed the connection may be written to before its alert is read: then nothing says more than that it closed.
func TestAClosedConnectionAfterTheHandshakeIsAboutOurCertificate(t *testing.T) {
	err := fmt.Errorf("%w: connection closed by remote after TLS handshake: %w", nats.ErrTLS, syscall.EPIPE)
	for want, c := range map[string]*Config{
		"wants a certificate of ours":       {TLS: &tls.Config{}},
		"does not take our certificate":     {TLS: &tls.Config{Certificates: []tls.Certificate{{}}}},
		"set transport.nats.tls.cert and k": {},
	} {
		if got := advice(err, c); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
