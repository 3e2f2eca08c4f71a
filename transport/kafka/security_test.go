//go:build kafka

package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

const (
	user, password = kafkatest.User, kafkatest.Password
	hostName       = kafkatest.HostName
)

func newAuthority(t *testing.T) *kafkatest.Authority {
	t.Helper()
	a, err := kafkatest.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func guarded(t *testing.T, a *kafkatest.Authority) *kafkatest.Broker {
	t.Helper()
	b, err := kafkatest.StartGuarded(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// token is an unsecured JWS, as a broker takes it that is not told otherwise.
func token() string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Unix()
	return part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"sub": user, "iat": now - 10, "exp": now + 3000}) + "."
}

// tokens is an authorization server.
func tokens(t *testing.T) ClientGrant {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.FormValue("grant_type") != "client_credentials" || id != user || secret != password || r.FormValue("scope") != "kafka" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token(), "token_type": "bearer", "expires_in": 3000})
	}))
	t.Cleanup(s.Close)
	return ClientGrant{TokenURL: s.URL, ClientID: user, ClientSecret: password, Scopes: []string{"kafka"}}
}

// allow gives the user rights, as an administrator would.
func allow(t *testing.T, b *kafkatest.Broker, acls *kadm.ACLBuilder) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	results, err := kadm.NewClient(c).CreateACLs(t.Context(), acls.Allow("User:"+user).ResourcePatternType(kadm.ACLPatternPrefixed))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err, r.ErrMessage)
		}
	}
}

func everythingButTopics() *kadm.ACLBuilder {
	return kadm.NewACLs().TransactionalIDs("mp.").Groups("mp.").Operations(kmsg.ACLOperationAll)
}

// roundTrip appends to a chain and reads it back.
func roundTrip(t *testing.T, b *Broker, stage string, sequence uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: stage})
	if err != nil {
		return err
	}
	id := schemas.ChainID{Job: "j-1", Stage: stage}
	ch, s, err := log.Open(ctx, id)
	if err != nil {
		return err
	}
	if s.Out != sequence-1 {
		t.Errorf("the chain holds %d events, want %d", s.Out, sequence-1)
	}
	_, err = ch.Append(ctx, transport.Record{Kind: transport.Out, Event: schemas.Event{Chain: id, Sequence: sequence, Pipeline: "p", Type: "x.v1", Data: []byte("x")}})
	if err != nil {
		return err
	}
	r, err := log.Read(ctx, id, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	for n := range sequence {
		e, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if e.Event.Sequence != n+1 {
			t.Errorf("event %d is %d", n+1, e.Event.Sequence)
		}
	}
	return nil
}

func TestSecurity(t *testing.T) {
	a := newAuthority(t)
	b := guarded(t, a)
	allow(t, b, everythingButTopics())
	allow(t, b, kadm.NewACLs().Topics("mp.p.open").Operations(kmsg.ACLOperationAll))
	files := transport.TLSFiles{CA: a.File("ca.pem"), ServerName: hostName}
	open := func(t *testing.T, listener string, f transport.TLSFiles, m sasl.Mechanism) (*Broker, error) {
		t.Helper()
		c := Config{Seeds: []string{b.Listeners[listener]}, Partitions: 1, SASL: m}
		var err error
		if c.TLS, err = f.Config(); err != nil {
			t.Fatal(err)
		}
		return Connect(t.Context(), c)
	}
	n := uint64(0)
	for name, m := range map[string]sasl.Mechanism{"PLAIN": Plain(user, password), "SCRAM-SHA-256": ScramSHA256(user, password),
		"SCRAM-SHA-512": ScramSHA512(user, password), "OAUTHBEARER": BearerToken(token()), "OAUTHBEARER by grant": BearerGrant(tokens(t))} {
		t.Run(name, func(t *testing.T) {
			client, err := open(t, "LOGIN", files, m)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			n++
			if err := roundTrip(t, client, "open", n); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("certificates on both sides", func(t *testing.T) {
		f := files
		f.Cert, f.Key = a.File("client.pem"), a.File("client.key")
		client, err := open(t, "MUTUAL", f, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := roundTrip(t, client, "mutual", 1); err != nil {
			t.Error(err)
		}
	})
	refused := func(name, listener string, f transport.TLSFiles, m sasl.Mechanism, want string) {
		t.Run(name, func(t *testing.T) {
			client, err := open(t, listener, f, m)
			if err == nil {
				client.Close()
				t.Fatal("the broker let us in")
			}
			if !strings.Contains(err.Error(), "\n  next: ") || !strings.Contains(err.Error(), want) || !errors.Is(err, transport.ErrUnreachable) {
				t.Errorf("error is %v, and should say %q", err, want)
			}
		})
	}
	refused("a wrong password", "LOGIN", files, ScramSHA256(user, "other"), "transport.kafka.sasl")
	refused("a wrong CA", "LOGIN", transport.TLSFiles{CA: newAuthority(t).File("ca.pem"), ServerName: hostName}, Plain(user, password), "transport.kafka.tls.ca")
	refused("a wrong name", "LOGIN", transport.TLSFiles{CA: a.File("ca.pem")}, Plain(user, password), "transport.kafka.tls.server_name")
	refused("no certificate of ours", "MUTUAL", files, nil, "transport.kafka.tls.cert")
	t.Run("no permission on one topic", func(t *testing.T) { unpermitted(t, b, open, files) })
}

// unpermitted is told what to allow, and goes on once it is allowed, with nothing lost or twice.
func unpermitted(t *testing.T, b *kafkatest.Broker, open func(*testing.T, string, transport.TLSFiles, sasl.Mechanism) (*Broker, error), files transport.TLSFiles) {
	client, err := open(t, "LOGIN", files, Plain(user, password))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = roundTrip(t, client, "closed", 1)
	if err == nil || !strings.Contains(err.Error(), "--topic mp.p.closed --partitions 1 --replication-factor 1 --config cleanup.policy=delete") &&
		!strings.Contains(err.Error(), "allow the user") {
		t.Fatalf("error is %v, and should say how the topics are made", err)
	}
	admin, err := Connect(t.Context(), Config{Seeds: []string{b.Address}, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := roundTrip(t, admin, "closed", 1); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", ".dlq"} {
		allow(t, b, kadm.NewACLs().Topics("mp.p.closed"+suffix).Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDescribe))
	}
	allow(t, b, kadm.NewACLs().Topics("mp.p.closed.state").Operations(kmsg.ACLOperationAll))
	if err := roundTrip(t, client, "closed", 2); err == nil || !errors.Is(err, transport.ErrDenied) || !strings.Contains(err.Error(), "allow the user READ, WRITE and DESCRIBE") {
		t.Fatalf("error is %v, and should say what to allow", err)
	}
	allow(t, b, kadm.NewACLs().Topics("mp.p.closed").Operations(kmsg.ACLOperationWrite))
	if err := roundTrip(t, client, "closed", 2); err != nil {
		t.Fatal(err)
	}
}
