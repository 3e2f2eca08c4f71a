package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/transporttest"
)

// listening starts a server with a socket, as users have one elsewhere; port -1 takes any.
func listening(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not come up")
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func connectTo(t testing.TB, url string) *Broker {
	t.Helper()
	b, err := Connect(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConnected(t *testing.T) {
	t.Parallel()
	s := listening(t, t.TempDir(), -1)
	defer stop(s)
	f := features()
	f.Client = func(t testing.TB, b transport.Broker) transport.Broker { return connectTo(t, s.ClientURL()) }
	f.Reopen = nil // the server goes on; TestServerRestarts has more
	transporttest.Run(t, func(t testing.TB) transport.Broker { return connectTo(t, s.ClientURL()) }, f)
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Connect(t.Context(), Config{URL: "nats://" + address})
	if !errors.Is(err, transport.ErrUnreachable) || !strings.Contains(err.Error(), address) {
		t.Fatalf("error is %v", err)
	}
	_, err = Embedded(t.Context(), EmbeddedConfig{Dir: "/dev/null/store"})
	if !errors.Is(err, transport.ErrUnreachable) || !strings.Contains(err.Error(), "/dev/null/store") {
		t.Fatalf("error is %v", err)
	}
	if _, err := Embedded(t.Context(), EmbeddedConfig{Dir: t.TempDir(), Sync: "sometimes"}); err == nil {
		t.Fatal("an unknown sync was taken")
	}
}

func TestServerWithoutJetStream(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer stop(s)
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not come up")
	}
	_, err = Connect(t.Context(), Config{URL: s.ClientURL(), Timeout: 2 * time.Second})
	if !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("error is %v", err)
	}
}

// TestConnectIsGivenUp: who is interrupted while a server that takes the connection says nothing does not wait for it.
func TestConnectIsGivenUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error)
	go func() {
		_, err := Connect(ctx, Config{URL: "nats://" + l.Addr().String(), Timeout: time.Hour})
		given <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestServerRestarts has a reader, a watch and a consumer wait while the server goes away and comes back.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := listening(t, dir, -1)
	port := s.Addr().(*net.TCPAddr).Port
	b := connectTo(t, s.ClientURL())
	defer b.Close()
	log, ch, _, err := openCrash(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	got := follow(t, log)
	var next uint64
	put := func() {
		next++
		ch = insist(t, log, ch, next)
		for what := range 3 {
			if err := <-got[what]; err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	for range 2 {
		stop(s)
		s = listening(t, dir, port)
		put()
		put()
	}
	b.cancelFollowers(t, got)
	stop(s)
}

// cancelFollowers closes the broker and sees every follower end.
func (b *Broker) cancelFollowers(t *testing.T, got [3]chan error) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for what := range got {
		for err := range got[what] {
			if !errors.Is(err, transport.ErrClosed) {
				t.Errorf("follower %d ends with %v", what, err)
			}
		}
	}
}

// follow reads, watches and consumes the chain; each channel tells of every event that was the next one, and of an error.
func follow(t *testing.T, log transport.Log) (got [3]chan error) {
	t.Helper()
	r, err := log.Read(t.Context(), crashID, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := log.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := log.Subscribe(t.Context(), transport.Subscription{Durable: "d", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	for i, next := range []func() (transport.Stored, error){
		func() (transport.Stored, error) { return r.Next(ctx) },
		func() (transport.Stored, error) { return w.Next(ctx) },
		func() (transport.Stored, error) { return consume(ctx, c) },
	} {
		got[i] = make(chan error)
		go expect(next, got[i])
	}
	return got
}

func consume(ctx context.Context, c transport.Consumer) (transport.Stored, error) {
	d, err := c.Next(ctx)
	if err != nil {
		return transport.Stored{}, err
	}
	_ = d.Ack(ctx) // a hint: when it is lost the event comes again, which expect lets pass
	return d.Event(), nil
}

func expect(next func() (transport.Stored, error), got chan<- error) {
	defer close(got)
	for want := uint64(1); ; {
		s, err := next()
		switch {
		case err != nil:
			got <- err
			return
		case s.Event.Sequence == want:
			want++
			got <- nil
		case s.Event.Sequence > want:
			got <- fmt.Errorf("event %d came instead of %d", s.Event.Sequence, want)
			return
		}
	}
}

// insist appends as an engine does: after an error the chain is opened again, and what is stored already is left.
func insist(t *testing.T, log transport.Log, ch transport.Chain, sequence uint64) transport.Chain {
	t.Helper()
	for {
		_, err := ch.Append(t.Context(), crashEvent(sequence))
		if err == nil {
			return ch
		}
		if !errors.Is(err, transport.ErrUnknown) && !errors.Is(err, transport.ErrStale) {
			t.Fatal(err)
		}
		var state transport.State
		for ch = nil; ch == nil; {
			ch, state, err = log.Open(t.Context(), crashID)
			if err != nil && !errors.Is(err, transport.ErrUnreachable) {
				t.Fatal(err)
			}
		}
		if state.Out == sequence {
			return ch
		}
	}
}

// TestOpenAsksNoMore counts the messages that opening a chain takes: the same for a long one.
func TestOpenAsksNoMore(t *testing.T) {
	b := openDir(t, t.TempDir(), SyncLater)
	defer b.Close()
	messages := func(length uint64) (n uint64, size uint64) {
		log, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
		if err != nil {
			t.Fatal(err)
		}
		id := schemas.ChainID{Job: schemas.NewJobID(fmt.Sprint(length)), Stage: "s"}
		ch, _, err := log.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range length {
			r := crashEvent(i + 1)
			r.Event.Chain = id
			if _, err := ch.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if i == length-4 {
				if err := log.Commit(t.Context(), map[transport.Chain]transport.Checkpoint{ch: {Out: i + 1}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := b.nc.Stats()
		if _, s, err := log.Open(t.Context(), id); err != nil || s.Out != length || len(s.Behind) != 3 {
			t.Fatalf("state %+v (%v)", s, err)
		}
		after := b.nc.Stats()
		return after.InMsgs - before.InMsgs, after.InBytes - before.InBytes
	}
	shortN, shortSize := messages(10)
	longN, longSize := messages(1500)
	if longN != shortN || longSize > shortSize+100 {
		t.Fatalf("opening 10 events takes %d messages of %d bytes, 1500 take %d of %d", shortN, shortSize, longN, longSize)
	}
}

// TestAnswersAreNotWaitedForBehindALostConnection: who waits for an answer hears at once that it will not come.
func TestAnswersAreNotWaitedForBehindALostConnection(t *testing.T) {
	t.Parallel()
	s := listening(t, t.TempDir(), -1)
	defer stop(s)
	b, err := Connect(t.Context(), Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	asked := make(chan *nats.Msg, 1)
	if _, err := b.nc.ChanSubscribe("silent", asked); err != nil { // and never answers
		t.Fatal(err)
	}
	answer := make(chan error)
	go func() {
		_, err := b.request(t.Context(), &nats.Msg{Subject: "silent"})
		answer <- err
	}()
	<-asked
	if err := b.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("%v, want %v", err, nats.ErrDisconnected)
	}
}
