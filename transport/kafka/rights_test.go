//go:build kafka

package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// give gives the user rights as doctor prints them.
func give(t *testing.T, admin *kadm.Client, rights []Right) {
	t.Helper()
	for _, r := range rights {
		b := map[string]func(*kadm.ACLBuilder, ...string) *kadm.ACLBuilder{"topic": (*kadm.ACLBuilder).Topics, "group": (*kadm.ACLBuilder).Groups,
			"transactional-id": (*kadm.ACLBuilder).TransactionalIDs}[r.Resource](kadm.NewACLs(), r.Names...)
		for _, word := range r.Operations {
			var o kmsg.ACLOperation
			var pattern kmsg.ACLResourcePatternType
			if err := errors.Join(o.UnmarshalText([]byte(word)), pattern.UnmarshalText([]byte(r.Pattern))); err != nil {
				t.Fatal(err)
			}
			results, err := admin.CreateACLs(t.Context(), b.Operations(o).Allow("User:"+kafkatest.User).ResourcePatternType(pattern))
			for _, r := range results {
				err = errors.Join(err, r.Err)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// denied are the rights that a survey finds missing.
func denied(t *testing.T, b *Broker, u transport.LogUse) []string {
	t.Helper()
	v, err := b.Survey(t.Context(), []transport.LogUse{u})
	if err != nil || len(v.Faults) > 0 {
		t.Fatal(err, v.Faults)
	}
	return v.Denied
}

// TestRights: what RightsFor names is enough for what is to be done, nothing of it can be left out without Survey noticing, and
// what is not named is refused.
func TestRights(t *testing.T) {
	a := newAuthority(t)
	server := guarded(t, a)
	root, err := Connect(t.Context(), Config{Seeds: []string{server.Address}, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	login := Config{Seeds: []string{server.Listeners["LOGIN"]}, Partitions: 1, SASL: Plain(user, password)}
	if login.TLS, err = (transport.TLSFiles{CA: a.File("ca.pem"), ServerName: hostName}).Config(); err != nil {
		t.Fatal(err)
	}
	b, err := Connect(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	look := transport.LogUse{Pipeline: "p", Stage: "seen", Read: true}
	if err := roundTrip(t, root, "seen", 1); err != nil {
		t.Fatal(err)
	}
	if got := denied(t, b, look); !slices.Contains(got, "Read topic mp.p.seen") {
		t.Errorf("without a right %v is missing", got)
	}
	give(t, root.admin, RightsFor("mp.", []transport.LogUse{look}))
	until(t, b, look)
	if err := roundTrip(t, b, "seen", 2); !errors.Is(err, transport.ErrDenied) || !strings.Contains(err.Error(), "transactional ids") {
		t.Errorf("who may only look writes: %v", err)
	}
	l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "seen"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(*log).next(t, schemas.ChainID{Job: "j-1", Stage: "seen"}, 0); err != nil {
		t.Errorf("who may look: %v", err)
	}

	all := transport.LogUse{Pipeline: "p", Stage: "mine", Make: true, Read: true, Write: true, Trim: true, Purge: true, Take: true}
	want := []string{"Create topic mp.p.mine", "Create topic mp.p.mine.dlq", "Create topic mp.p.mine.state", "Read group mp.p.mine.doctor",
		"Write transactional-id mp.p.mine/0"}
	if got := denied(t, b, all); !subset(want[3:], got) {
		t.Errorf("%v are missing, want %v", got, want)
	}
	give(t, root.admin, RightsFor("mp.", []transport.LogUse{all}))
	until(t, b, all)
	if err := roundTrip(t, b, "mine", 1); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if got := denied(t, b, all); len(got) > 0 { // of topics that are there too
		t.Errorf("%v are missing, of what was used", got)
	}
	other := all
	other.Stage = "theirs"
	if got := denied(t, b, other); len(got) < 5 {
		t.Errorf("only %v are missing of a log that the user has no rights to", got)
	}
}

// until waits until the brokers know of rights that were given.
func until(t *testing.T, b *Broker, u transport.LogUse) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := denied(t, b, u); len(got) > 0; got = denied(t, b, u) {
		if ctx.Err() != nil {
			t.Fatalf("%v are still missing", got)
		}
	}
}

func subset(of, all []string) bool {
	return !slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(all, s) })
}

// settle takes a delivery, trims and purges.
func settle(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Subscribe(ctx, transport.Subscription{Durable: "d", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Next(ctx)
	if err == nil {
		err = d.Ack(ctx)
	}
	id := schemas.ChainID{Job: "j-1", Stage: "mine"}
	if err = errors.Join(err, c.Close(), l.Trim(ctx, id, ^schemas.Position(0))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Purge(ctx, id, []schemas.Position{1}); err != nil {
		t.Fatal(err)
	}
}
