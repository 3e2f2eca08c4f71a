package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles name certificates by file, as PEM; all are optional.
type TLSFiles struct {
	Block      string // of pipelines.yaml, for errors: transport.nats.tls
	CA         string // authorities that servers are checked against; empty is the system's
	Cert, Key  string // ours, for servers that ask
	ServerName string // to expect in the server's certificate, if not that of the address
}

// Config reads the files.
func (f TLSFiles) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read %s.ca: %w", f.Block, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.ca: %s holds no certificate in PEM", f.Block, f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New(f.Block + ": cert and key go together")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read %s.cert and key: %w", f.Block, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
