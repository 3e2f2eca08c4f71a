package jetstream

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/milepost-dev/milepost/transport"
)

// serve starts a server with these options, on loopback and with JetStream unless they say otherwise.
func serve(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", -1, true, true
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stop(s) })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not come up")
	}
	return s
}

// enters connects and makes a log, or says why not.
func enters(t *testing.T, c Config) error {
	t.Helper()
	var words bytes.Buffer
	c.Log, c.Timeout = slog.New(slog.NewTextHandler(&words, nil)), 5*time.Second
	b, err := Connect(t.Context(), c)
	if err == nil {
		_, err = b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
		b.Close()
	}
	said := words.String()
	if err != nil {
		said += err.Error()
	}
	for _, secret := range []string{c.Login.Password, c.Login.Token, seedIn(c.Login.NKey), seedIn(c.Login.Creds)} {
		if secret != "" && strings.Contains(said, secret) {
			t.Errorf("a secret is told: %s", said)
		}
	}
	return err
}

// seedIn is the seed of a user's nkey that stands in a text.
func seedIn(text string) string {
	for word := range strings.FieldsSeq(text) {
		if strings.HasPrefix(word, "SU") {
			return word
		}
	}
	return ""
}

// refuses wants ErrUnreachable with these words.
func refuses(t *testing.T, c Config, words ...string) {
	t.Helper()
	err := enters(t, c)
	if !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("error is %v", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
}

func TestUserAndToken(t *testing.T) {
	t.Parallel()
	users := serve(t, server.Options{JetStream: true, Username: "drive", Password: "pa55word"}).ClientURL()
	if err := enters(t, Config{URL: users, Login: Login{User: "drive", Password: "pa55word"}}); err != nil {
		t.Error(err)
	}
	refuses(t, Config{URL: users, Login: Login{User: "drive", Password: "wrong-one"}}, "transport.nats.user and transport.nats.password")
	refuses(t, Config{URL: users}, "the server wants a login", "transport.nats.creds")
	in := strings.Replace(users, "//", "//drive:pa55word@", 1)
	if err := enters(t, Config{URL: in}); err != nil {
		t.Error(err)
	}
	wrong := strings.Replace(users, "//", "//drive:no-pass@", 1)
	refuses(t, Config{URL: wrong}, "does not accept the user in the address")
	if err := enters(t, Config{URL: wrong}); strings.Contains(err.Error(), "no-pass") {
		t.Errorf("the password is told: %v", err)
	}
	tokens := serve(t, server.Options{JetStream: true, Authorization: "t0ken"}).ClientURL()
	if err := enters(t, Config{URL: tokens, Login: Login{Token: "t0ken"}}); err != nil {
		t.Error(err)
	}
	refuses(t, Config{URL: tokens, Login: Login{Token: "another"}}, "transport.nats.token")
}

func userPair(t *testing.T) (public, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public, string(text)
}

func TestNKey(t *testing.T) {
	t.Parallel()
	public, seed := userPair(t)
	_, stranger := userPair(t)
	url := serve(t, server.Options{JetStream: true, Nkeys: []*server.NkeyUser{{Nkey: public}}}).ClientURL()
	for _, text := range []string{seed, "-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------\n"} {
		if err := enters(t, Config{URL: url, Login: Login{NKey: text}}); err != nil {
			t.Error(err)
		}
	}
	refuses(t, Config{URL: url, Login: Login{NKey: stranger}}, "transport.nats.nkey")
	if err := enters(t, Config{URL: url, Login: Login{NKey: "secrets/user.nk"}}); err == nil || !strings.Contains(err.Error(), "begins with SU") {
		t.Errorf("error is %v", err)
	}
}

// An operator with one account, whose users come with JWTs.
type operator struct {
	t       *testing.T
	account nkeys.KeyPair
	options server.Options
}

func newOperator(t *testing.T, jetStream bool) *operator {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	op, err := nkeys.CreateOperator()
	must(err)
	account, err := nkeys.CreateAccount()
	must(err)
	system, err := nkeys.CreateAccount()
	must(err)
	public := func(k nkeys.KeyPair) string { p, err := k.PublicKey(); must(err); return p }
	oc := jwt.NewOperatorClaims(public(op))
	oc.SystemAccount = public(system)
	text, err := oc.Encode(op)
	must(err)
	trusted, err := jwt.DecodeOperatorClaims(text)
	must(err)
	resolver := &server.MemAccResolver{}
	for _, k := range []nkeys.KeyPair{account, system} {
		ac := jwt.NewAccountClaims(public(k))
		if k == account && jetStream {
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		text, err := ac.Encode(op)
		must(err)
		must(resolver.Store(public(k), text))
	}
	return &operator{t, account, server.Options{JetStream: true, TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: resolver,
		SystemAccount: public(system)}}
}

// creds is the text of a .creds file.
func (o *operator) creds(change func(*jwt.UserClaims)) string {
	o.t.Helper()
	public, seed := userPair(o.t)
	u := jwt.NewUserClaims(public)
	if change != nil {
		change(u)
	}
	text, err := u.Encode(o.account)
	if err != nil {
		o.t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(text, []byte(seed))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(creds)
}

func TestCreds(t *testing.T) {
	t.Parallel()
	o := newOperator(t, true)
	url := serve(t, o.options).ClientURL()
	if err := enters(t, Config{URL: url, Login: Login{Creds: o.creds(nil)}}); err != nil {
		t.Error(err)
	}
	refuses(t, Config{URL: url, Login: Login{Creds: o.creds(func(u *jwt.UserClaims) { u.Expires = time.Now().Add(-time.Hour).Unix() })}}, "transport.nats.creds")
	refuses(t, Config{URL: url, Login: Login{Creds: newOperator(t, true).creds(nil)}}, "transport.nats.creds")
	for _, text := range []string{"secrets/nats.creds", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n"} {
		if err := enters(t, Config{URL: url, Login: Login{Creds: text}}); err == nil || !strings.Contains(err.Error(), "not the text of a .creds file") {
			t.Errorf("error is %v", err)
		}
	}
	without := newOperator(t, false)
	refuses(t, Config{URL: serve(t, without.options).ClientURL(), Login: Login{Creds: without.creds(nil)}}, "enable JetStream for the user's account")
}

// An authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

// sign writes <name>.pem and <name>.key.
func (a *authority) sign(name string, c *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore = time.Now().Add(-2 * time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) leaf(name string, c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	a.sign(name, c, a)
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// files is a client's configuration, read from files as cmd does.
func (a *authority) files(t *testing.T, f transport.TLSFiles) *tls.Config {
	t.Helper()
	f.CA = filepath.Join(a.dir, "ca.pem")
	c, err := f.Config()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	local := func() *x509.Certificate { return &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}} }
	with := func(pair tls.Certificate) string {
		return serve(t, server.Options{JetStream: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}).ClientURL()
	}
	good := with(a.leaf("server", local()))
	if err := enters(t, Config{URL: good, TLS: a.files(t, transport.TLSFiles{})}); err != nil {
		t.Error(err)
	}
	refuses(t, Config{URL: good, TLS: other.files(t, transport.TLSFiles{})}, "transport.nats.tls.ca", "unknown authority")
	refuses(t, Config{URL: good}, "transport.nats.tls.ca")
	named := with(a.leaf("named", &x509.Certificate{DNSNames: []string{"nats.example"}}))
	refuses(t, Config{URL: named, TLS: a.files(t, transport.TLSFiles{})}, "transport.nats.tls.server_name")
	refuses(t, Config{URL: named, TLS: a.files(t, transport.TLSFiles{ServerName: "else.example"})}, "transport.nats.tls.server_name", "nats.example")
	if err := enters(t, Config{URL: named, TLS: a.files(t, transport.TLSFiles{ServerName: "nats.example"})}); err != nil {
		t.Error(err)
	}
	expired := local()
	expired.NotAfter = time.Now().Add(-time.Hour)
	refuses(t, Config{URL: with(a.leaf("expired", expired)), TLS: a.files(t, transport.TLSFiles{})}, "renew it", "expired")
	refuses(t, Config{URL: serve(t, server.Options{JetStream: true}).ClientURL(), TLS: a.files(t, transport.TLSFiles{})}, "the server has no TLS")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		url := serve(t, server.Options{JetStream: true, TLSVerify: true, TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{a.leaf("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})},
			ClientCAs:    a.pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: version, MaxVersion: version}}).ClientURL()
		pair := func(of *authority) transport.TLSFiles {
			of.leaf("client", &x509.Certificate{})
			return transport.TLSFiles{Cert: filepath.Join(of.dir, "client.pem"), Key: filepath.Join(of.dir, "client.key")}
		}
		if err := enters(t, Config{URL: url, TLS: a.files(t, pair(a))}); err != nil {
			t.Error(err)
		}
		refuses(t, Config{URL: url, TLS: a.files(t, transport.TLSFiles{})}, "transport.nats.tls.cert and key")
		refuses(t, Config{URL: url, TLS: a.files(t, pair(other))}, "does not take our certificate", "transport.nats.tls.cert")
	}
}

func TestTLSFiles(t *testing.T) {
	a := newAuthority(t)
	ca := filepath.Join(a.dir, "ca.pem")
	for want, f := range map[string]transport.TLSFiles{
		"read transport.nats.tls.ca":           {CA: filepath.Join(a.dir, "none.pem")},
		"holds no certificate":                 {CA: filepath.Join(a.dir, "ca.key")},
		"cert and key go together":             {CA: ca, Cert: ca},
		"read transport.nats.tls.cert and key": {Cert: ca, Key: ca},
	} {
		f.Block = "transport.nats.tls"
		if _, err := f.Config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, not %s", err, want)
		}
	}
}

// older is a real server behind a door that says it is an older one.
func older(t *testing.T, version string) string {
	t.Helper()
	s := serve(t, server.Options{JetStream: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go relabel(in, s.Addr().String(), version)
		}
	}()
	return "nats://" + l.Addr().String()
}

// relabel passes a connection on, and changes the version in the server's first line.
func relabel(in net.Conn, address, version string) {
	defer in.Close()
	out, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { _, _ = io.Copy(out, in); out.Close() }()
	r := bufio.NewReader(out)
	info, err := r.ReadString('\n')
	if err != nil {
		return
	}
	if _, err := io.WriteString(in, strings.Replace(info, `"version":"`+server.VERSION, `"version":"`+version, 1)); err == nil {
		_, _ = io.Copy(in, r)
	}
}

func TestServerTooOld(t *testing.T) {
	t.Parallel()
	refuses(t, Config{URL: older(t, "2.10.29")}, "nats-server 2.10.29 is too old", MinVersion, "upgrade the server")
	if err := enters(t, Config{URL: older(t, "2.11.0-RC.1")}); err != nil {
		t.Error(err)
	}
	for version, ok := range map[string]bool{"2.11.0": true, "2.9.25": false, "3.0.0": true, "v2.12.1": true, "2.11.4-binary": true, "": false, "1.99.99": false} {
		if err := checkVersion(version); (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestBackoffHasJitter(t *testing.T) {
	for attempt := range 30 {
		most := min(20*time.Millisecond<<min(max(attempt-1, 0), 10), 5*time.Second)
		seen := map[time.Duration]bool{}
		for range 100 {
			d := backoff(attempt)
			if d < most/2 || d > most {
				t.Fatalf("try %d waits %s of %s", attempt, d, most)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("try %d: %d different waits of 100", attempt, len(seen))
		}
	}
}

// lines is a writer that calls a function with all that is written.
type lines func(line string)

func (f lines) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }

// reload gives a running server other options.
func reload(t *testing.T, s *server.Server, o server.Options) {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", s.Addr().(*net.TCPAddr).Port, true, true
	if err := s.ReloadOptions(&o); err != nil {
		t.Fatal(err)
	}
}

// TestLockedOutForAWhile: a user that the server does not know for a while is let in again, on the same connection.
func TestLockedOutForAWhile(t *testing.T) {
	t.Parallel()
	o := server.Options{JetStream: true, Username: "u", Password: "one", StoreDir: t.TempDir()}
	s := serve(t, o)
	refused := make(chan struct{}, 100)
	words := slog.New(slog.NewTextHandler(lines(func(line string) {
		if strings.Contains(line, "authorization violation") {
			refused <- struct{}{}
		}
	}), nil))
	b, err := Connect(t.Context(), Config{URL: s.ClientURL(), Login: Login{User: "u", Password: "one"}, Log: words})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	o.Password = "two"
	reload(t, s, o)
	for range 3 { // the client by itself gives up at the second
		<-refused
	}
	o.Password = "one"
	reload(t, s, o)
	ch, _, err := log.Open(t.Context(), crashID)
	for errors.Is(err, transport.ErrUnreachable) {
		ch, _, err = log.Open(t.Context(), crashID)
	}
	if err != nil {
		t.Fatal(err)
	}
	insist(t, log, ch, 1)
}
