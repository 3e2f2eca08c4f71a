package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// A Login is how a client says who it is, in one way at most. All values are secrets but User; none is ever logged.
type Login struct {
	User, Password string
	Token          string
	NKey           string // seed of a user's nkey, SU…; the file's whole text, comments and all, is fine
	Creds          string // text of a .creds file: a user's JWT and the seed of its nkey
}

// way is the name of the field in transport.nats that says who we are.
func (l Login) way() string {
	switch {
	case l.Creds != "":
		return "creds"
	case l.NKey != "":
		return "nkey"
	case l.Token != "":
		return "token"
	case l.User != "":
		return "user and password"
	}
	return ""
}

// options are the client's. An error never holds what was given.
func (l Login) options() ([]nats.Option, error) {
	switch {
	case l.Creds != "":
		text := []byte(l.Creds)
		if jwt, err := nkeys.ParseDecoratedJWT(text); err != nil || strings.Count(jwt, ".") != 2 || strings.ContainsAny(jwt, " \n") {
			return nil, errors.New("transport.nats.creds: not the text of a .creds file: it holds no user JWT")
		}
		if pair, err := nkeys.ParseDecoratedUserNKey(text); err != nil {
			return nil, errors.New("transport.nats.creds: not the text of a .creds file: it holds no seed of a user's nkey")
		} else {
			pair.Wipe()
		}
		return []nats.Option{nats.UserCredentialBytes(text)}, nil
	case l.NKey != "":
		pair, err := nkeys.ParseDecoratedUserNKey([]byte(l.NKey))
		if err != nil {
			return nil, errors.New("transport.nats.nkey: not the seed of a user's nkey, which begins with SU")
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("transport.nats.nkey: %w", err)
		}
		return []nats.Option{nats.Nkey(public, pair.Sign)}, nil
	case l.Token != "":
		return []nats.Option{nats.Token(l.Token)}, nil
	case l.User != "":
		return []nats.Option{nats.UserInfo(l.User, l.Password)}, nil
	}
	return nil, nil
}

// redact hides passwords and tokens in addresses.
func redact(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, a := range list {
		u, err := url.Parse(strings.TrimSpace(a))
		switch {
		case err != nil || u.User == nil:
		case u.User.String() == u.User.Username(): // one word is a token
			u.User = nil
			list[i] = u.String()
		default:
			list[i] = u.Redacted()
		}
	}
	return strings.Join(list, ",")
}

// MinVersion is the oldest nats-server that will do: the first with batched direct gets, by which chains are read, and with an
// expectation about a subject that is not the message's own, which is the fence.
const MinVersion = "2.11.0"

// A TooOldError says that the server's version is below MinVersion.
type TooOldError struct{ Version string }

// Error names both versions.
func (e *TooOldError) Error() string {
	return fmt.Sprintf("nats-server %s is too old, it has to be %s or later", e.Version, MinVersion)
}

// checkVersion refuses servers older than MinVersion.
func checkVersion(version string) error {
	have, want := versionOf(version), versionOf(MinVersion)
	for i := range want {
		if have[i] != want[i] {
			if have[i] < want[i] {
				return &TooOldError{version}
			}
			return nil
		}
	}
	return nil
}

// versionOf reads major, minor and patch; what stands behind a dash is left out.
func versionOf(version string) (n [3]int) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for i, part := range strings.SplitN(version, ".", len(n)) {
		n[i], _ = strconv.Atoi(part) // what is no number is 0, and too old
	}
	return n
}

// advice is what to change in pipelines.yaml, or on the server, so that a connection comes about; "" when nothing is known.
// What TLS says of client certificates is known by its words alone: it comes from the other side, as an alert.
func advice(err error, c *Config) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	text := err.Error()
	says := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	withoutCertificate := c.TLS == nil || len(c.TLS.Certificates) == 0
	// By TLS 1.3 the handshake is over for us before the server has looked at our certificate, and its alert may be overtaken.
	const closedAfter = "closed by remote after TLS handshake"
	next := ""
	switch {
	case errors.As(err, new(*TooOldError)):
		next = "upgrade the server"
	case errors.As(err, &host):
		next = "connect by a name that the certificate is for, or set transport.nats.tls.server_name to one"
	case errors.As(err, &authority):
		next = "the authority that signed the server's certificate is not known here: set transport.nats.tls.ca to the file with its certificate"
	case errors.As(err, &invalid):
		next = "the server's certificate is not valid (its time may be over, or the clock here wrong): renew it"
	case says("certificate required"), withoutCertificate && says("bad certificate", "handshake failure", closedAfter):
		next = "the server wants a certificate of ours: set transport.nats.tls.cert and key"
	case says("unknown certificate authority", "bad certificate", "remote error: tls", closedAfter):
		next = "the server does not take our certificate: set transport.nats.tls.cert and key to one that its authority signed"
	case errors.Is(err, nats.ErrSecureConnWanted):
		next = "the server has no TLS: remove transport.nats.tls, or give the server a certificate"
	case errors.As(err, &record):
		next = "the server does not speak TLS there: is the port right?"
	case errors.Is(err, nats.ErrAuthExpired), says("authentication expired", "user authentication expired"):
		next = "the user's JWT is over its time: get new transport.nats.creds"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		next = loginAdvice(c)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		next = "enable JetStream for the user's account: accounts { NAME: { jetstream: enabled } }"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		next = "start the server with JetStream: nats-server --jetstream --store_dir DIR"
	default:
		return ""
	}
	return "\n  next: " + next
}

func loginAdvice(c *Config) string {
	way := c.Login.way()
	switch {
	case way != "":
		return "the server does not accept transport.nats." + strings.ReplaceAll(way, " and ", " and transport.nats.") + ": is it a user of this server?"
	case strings.Contains(c.URL, "@"):
		return "the server does not accept the user in the address"
	}
	return "the server wants a login: set transport.nats.creds, nkey, token, or user and password"
}
