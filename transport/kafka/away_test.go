package kafka

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// written is a log on a fake cluster with three events of a chain in one of its partitions.
func written(t *testing.T, partitions int) (*log, schemas.ChainID) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: partitions, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	id := schemas.ChainID{Job: "j-1", Stage: "s"}
	for l.(*log).partition(id.Job).n != int32(partitions)-1 {
		id.Job += "1"
	}
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Append(t.Context(), outEvent(id, 1), outEvent(id, 2), outEvent(id, 3)); err != nil {
		t.Fatal(err)
	}
	return l.(*log), id
}

// next is what a reader of the chain that begins behind a position is told first.
func (l *log) next(t *testing.T, id schemas.ChainID, from schemas.Position) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := l.Read(ctx, id, from)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Next(ctx)
	return err
}

// TestLostEvents: a reader whose place lies behind the end is told that the log lost events, so that it looks where to go on.
func TestLostEvents(t *testing.T) {
	l, id := written(t, 1)
	if err := l.next(t, id, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.next(t, id, 1000); !errors.Is(err, transport.ErrLost) {
		t.Errorf("error is %v", err)
	}
}

// TestStateLost: who has read further in the state topic than it goes now reads it again.
func TestStateLost(t *testing.T) {
	l, id := written(t, 1)
	x := &l.parts[0].index
	x.at, x.number = 1000, 99
	x.entry(id.Job).head.Number = 99
	if _, s, err := l.Open(t.Context(), id); err != nil || s.Out != 3 || x.newest() != 3 {
		t.Errorf("the chain has %d events, the partition %d records, %v; want 3", s.Out, x.newest(), err)
	}
}

// TestTopicIsGone: one that somebody deleted, or made again with fewer partitions, is named to who reads it.
func TestTopicIsGone(t *testing.T) {
	for name, again := range map[string]bool{"deleted": false, "made again with fewer partitions": true} {
		t.Run(name, func(t *testing.T) {
			l, id := written(t, 2)
			for _, topic := range l.topics {
				if _, err := l.broker.admin.DeleteTopic(t.Context(), topic); err != nil {
					t.Fatal(err)
				}
				if again {
					if _, err := l.broker.admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
						t.Fatal(err)
					}
				}
			}
			err := l.next(t, id, 1)
			if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "topic "+l.topics[outTopic]) {
				t.Errorf("error is %v, and should name the topic", err)
			}
		})
	}
}

// TestTokenIsNotWaitedForLonger: who asks for a token that does not come ends when what it is for ends, and leaves the next one free.
func TestTokenIsNotWaitedForLonger(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked, held := 0, make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			cancel()
			<-held
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"t","token_type":"bearer","expires_in":3000}`))
	}))
	defer s.Close()
	defer close(held)
	grant := BearerGrant(ClientGrant{TokenURL: s.URL, ClientID: "u", ClientSecret: "p"})
	ended := make(chan error, 1)
	go func() {
		_, _, err := grant.Authenticate(ctx, "kafka")
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	case <-time.After(time.Minute): // for it has no end
		t.Fatal("it is waited for without an end")
	}
	for range 2 {
		if _, first, err := grant.Authenticate(t.Context(), "kafka"); err != nil || !strings.Contains(string(first), "Bearer t") {
			t.Errorf("%q, %v", first, err)
		}
	}
	if asked != 2 {
		t.Errorf("it was asked for %d times, want 2", asked)
	}
}
