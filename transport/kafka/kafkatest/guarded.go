package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// An Authority signs certificates, which it writes into a folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one whose own certificate is ca.pem in the folder.
func NewAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	var err error
	a.cert, a.key, err = a.issue("ca", nil)
	return a, err
}

// File is the path of one of its files.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

// Issue writes NAME.pem and NAME.key, and both as NAME.both.
func (a *Authority) Issue(name string, hosts ...string) error {
	_, _, err := a.issue(name, hosts)
	return err
}

// issue makes a certificate; the first one signs itself.
func (a *Authority) issue(name string, hosts []string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for file, data := range map[string][]byte{name + ".pem": cert, name + ".key": secret, name + ".both": append(secret, cert...)} {
		if err := os.WriteFile(a.File(file), data, 0o600); err != nil {
			return nil, nil, err
		}
	}
	parsed, err := x509.ParseCertificate(der)
	return parsed, key, err
}

// What a guarded broker knows.
const (
	User, Password = "milepost", "s3cret"
	HostName       = "kafka.test" // in the server's certificate, in place of its address
)

// StartGuarded starts a broker that asks everybody who he is and what he may: listener LOGIN takes User by every mechanism of SASL
// over TLS, listener MUTUAL the certificate client.pem that this issues. On its plain address everything is allowed, to
// administer it.
func StartGuarded(ctx context.Context, a *Authority) (*Broker, error) {
	if err := errors.Join(a.Issue("server", HostName), a.Issue("client")); err != nil {
		return nil, err
	}
	const login = "org.apache.kafka.common.security."
	return Start(ctx, Options{
		Listeners: map[string]string{"LOGIN": "SASL_SSL", "MUTUAL": "SSL"},
		Format: []string{"--add-scram", fmt.Sprintf("SCRAM-SHA-256=[name=%s,password=%s]", User, Password),
			"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", User, Password)},
		Settings: map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": a.File("server.both"),
			"ssl.truststore.type": "PEM", "ssl.truststore.location": a.File("ca.pem"),
			"listener.name.mutual.ssl.client.auth":               "required",
			"listener.name.login.sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
			"listener.name.login.plain.sasl.jaas.config":         fmt.Sprintf(`%splain.PlainLoginModule required user_%s="%s";`, login, User, Password),
			"listener.name.login.scram-sha-256.sasl.jaas.config": login + "scram.ScramLoginModule required;",
			"listener.name.login.scram-sha-512.sasl.jaas.config": login + "scram.ScramLoginModule required;",
			"listener.name.login.oauthbearer.sasl.jaas.config":   login + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
			"authorizer.class.name":                              "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":                                        "User:ANONYMOUS;User:CN=client",
		},
	})
}
