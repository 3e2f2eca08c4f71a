package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/memory"
	"github.com/milepost-dev/milepost/transport/mirror"
)

var logs = []transport.LogConfig{{Pipeline: "p", Stage: transport.JobStage}, {Pipeline: "p", Stage: "read"}, {Pipeline: "p", Stage: "kpi"}}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func event(id schemas.ChainID, sequence uint64, data string) schemas.Event {
	return schemas.Event{Chain: id, Sequence: sequence, Pipeline: "p", Item: "a.mf4", Type: "x.v1", Data: []byte(data)}
}

func out(id schemas.ChainID, sequence uint64) transport.Record {
	return transport.Record{Kind: transport.Out, Event: event(id, sequence, fmt.Sprintf("%s %d", id, sequence))}
}

// A source is a broker with the jobs log and two stages of a pipeline, whose logs hold other chains' records between.
type source struct {
	t *testing.T
	transport.Broker
	logs map[string]transport.Log
}

func newSource(t *testing.T) *source {
	s := &source{t, memory.New(), map[string]transport.Log{}}
	for _, c := range logs {
		l, err := s.Log(t.Context(), c)
		must(t, err)
		s.logs[c.Stage] = l
	}
	return s
}

func (s *source) open(job schemas.JobID, stage string) transport.Chain {
	s.t.Helper()
	ch, _, err := s.logs[stage].Open(s.t.Context(), schemas.ChainID{Job: job, Stage: stage})
	must(s.t, err)
	return ch
}

// at is where an event lies.
func at(t *testing.T, l transport.Log, id schemas.ChainID, kind transport.Kind, sequence uint64) (found schemas.Position) {
	t.Helper()
	w, err := l.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{kind}, Chain: &id, Headers: true, Drain: true})
	must(t, err)
	defer w.Close()
	for {
		e, err := w.Next(t.Context())
		if err != nil {
			return found
		}
		if kind != transport.Out || e.Event.Sequence == sequence {
			found = e.Position
		}
	}
}

func (s *source) cursor(job schemas.JobID, sequence uint64) schemas.Cursor {
	return schemas.Cursor{Edges: []schemas.EdgeCursor{{Stage: "read", Sequence: sequence, Position: at(s.t, s.logs["read"], schemas.ChainID{Job: job, Stage: "read"}, transport.Out, sequence)}}}
}

// fill writes two jobs: j-one with a checkpoint in pages, trimmed, a dead letter that was resumed, and events behind; j-two without
// a checkpoint.
func (s *source) fill() {
	t := s.t
	ctx := t.Context()
	one, two := schemas.JobID("j-one"), schemas.JobID("j-two")
	r1, r2 := s.open(one, "read"), s.open(two, "read")
	for n := uint64(1); n <= 6; n++ {
		_, err := r1.Append(ctx, out(r1.ID(), n))
		must(t, err)
		_, err = r2.Append(ctx, out(r2.ID(), n))
		must(t, err)
	}
	k1, k2 := s.open(one, "kpi"), s.open(two, "kpi")
	_, err := k1.Append(ctx, out(k1.ID(), 1), out(k1.ID(), 2))
	must(t, err)
	c := s.cursor(one, 3)
	letter := transport.Record{Kind: transport.DeadLetter, Cursor: &c, Event: event(k1.ID(), 1, `{"decision":"halt"}`)}
	_, err = k1.Append(ctx, letter)
	must(t, err)
	_, err = k1.Append(ctx, transport.Record{Kind: transport.Control, Cursor: &c, Event: event(k1.ID(), 2, `{"kind":"resume"}`)})
	must(t, err)
	state := bytes.Repeat([]byte("state "), 100_000)
	save := transport.Checkpoint{Cursor: s.cursor(one, 4), Out: 2, OutBytes: 20, Inputs: 4, InputHash: []byte("hash")}
	for _, p := range transport.SplitPages(state) {
		_, err := k1.Append(ctx, transport.Record{Kind: transport.Page, Page: &p})
		must(t, err)
		save.Pages = append(save.Pages, p.Hash)
	}
	must(t, s.logs["kpi"].Commit(ctx, map[transport.Chain]transport.Checkpoint{k1: save}))
	_, err = k1.Append(ctx, out(k1.ID(), 3))
	must(t, err)
	c2 := s.cursor(two, 2)
	_, err = k2.Append(ctx, out(k2.ID(), 1), transport.Record{Kind: transport.Control, Cursor: &c2, Event: event(k2.ID(), 1, `{"kind":"attempt"}`)}, out(k2.ID(), 2))
	must(t, err)
	must(t, s.logs["kpi"].Trim(ctx, k1.ID(), at(t, s.logs["kpi"], k1.ID(), transport.Out, 1)))
	must(t, s.logs["read"].Trim(ctx, r1.ID(), at(t, s.logs["read"], r1.ID(), transport.Out, 3)))
	halt := at(t, s.logs["kpi"], k1.ID(), transport.DeadLetter, 0)
	for _, job := range []schemas.JobID{two, one} {
		j := s.open(job, transport.JobStage)
		for n, e := range []schemas.JobEvent{{State: schemas.JobQueued, Item: json.RawMessage(`{"Name":"a"}`)}, {State: schemas.JobStarted, Resume: &schemas.ResumeOrder{Stage: "kpi", Letter: halt}}} {
			if job == two {
				e.Resume = nil
			}
			data, err := json.Marshal(e)
			must(t, err)
			_, err = j.Append(ctx, transport.Record{Kind: transport.Out, Event: event(j.ID(), uint64(n+1), string(data))})
			must(t, err)
		}
	}
}

// content is all that a broker's chains hold, positions given by what they name.
func content(t *testing.T, b transport.Broker) (lines []string) {
	t.Helper()
	for _, c := range logs {
		l, err := b.Log(t.Context(), c)
		must(t, err)
		for _, job := range []schemas.JobID{"j-one", "j-two"} {
			id := schemas.ChainID{Job: job, Stage: c.Stage}
			_, s, err := l.Open(t.Context(), id)
			must(t, err)
			lines = append(lines, fmt.Sprintf("%s: out %d, %d bytes, %d behind", id, s.Out, s.OutBytes, len(s.Behind)))
			if k := s.Checkpoint; k != nil {
				lines = append(lines, fmt.Sprintf("%s: saved out %d, %d bytes, inputs %d %s, state %d %x, %s", id, k.Out, k.OutBytes, k.Inputs, k.InputHash, len(k.Snapshot), k.Snapshot[:20], where(t, b, job, &k.Cursor)))
			}
			w, err := l.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &id, Drain: true})
			must(t, err)
			for e, err := w.Next(t.Context()); err == nil; e, err = w.Next(t.Context()) {
				lines = append(lines, fmt.Sprintf("%s: event %s %s", id, e.Event.ID(), data(t, b, job, &e)))
			}
			for _, e := range s.Behind {
				lines = append(lines, fmt.Sprintf("%s: behind %s %d %s", id, e.Kind, e.Event.Sequence, where(t, b, job, e.Cursor)))
			}
		}
	}
	return lines
}

// where says what a cursor's positions name: the event, or nothing.
func where(t *testing.T, b transport.Broker, job schemas.JobID, c *schemas.Cursor) string {
	if c == nil {
		return "-"
	}
	e := c.Edges[0]
	l, err := b.Log(t.Context(), logs[1])
	must(t, err)
	id := schemas.ChainID{Job: job, Stage: "read"}
	right := e.Position == at(t, l, id, transport.Out, e.Sequence)
	return fmt.Sprintf("%s %d found %v", e.Stage, e.Sequence, right)
}

// data is an event's, the place of a letter given by whether it is one.
func data(t *testing.T, b transport.Broker, job schemas.JobID, s *transport.Stored) string {
	var j schemas.JobEvent
	if s.Chain.Stage != transport.JobStage || json.Unmarshal(s.Event.Data, &j) != nil || j.Resume == nil {
		return string(s.Event.Data)
	}
	l, err := b.Log(t.Context(), logs[2])
	must(t, err)
	return fmt.Sprint("resumes the letter: ", j.Resume.Letter == at(t, l, schemas.ChainID{Job: job, Stage: "kpi"}, transport.DeadLetter, 0))
}

func embedded(t *testing.T) transport.Broker {
	t.Helper()
	b, err := jetstream.Embedded(t.Context(), jetstream.EmbeddedConfig{Dir: t.TempDir(), Sync: jetstream.SyncLater})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d differs:\n got %q\nwant %q", i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}

// thereAndBack copies what s holds to a broker and from there to a third one, twice each: the same has to be everywhere, and a second
// copy writes nothing.
func thereAndBack(t *testing.T, s *source, there transport.Broker) (want []string) {
	t.Helper()
	want = content(t, s)
	back := memory.New()
	for _, way := range [][2]transport.Broker{{s, there}, {there, back}} {
		sum, err := mirror.Copy(t.Context(), mirror.Settings{From: way[0], To: way[1], Logs: logs})
		must(t, err)
		if sum.Records == 0 || sum.Present != 0 {
			t.Errorf("copied %+v", sum)
		}
		same(t, content(t, way[1]), want)
		again, err := mirror.Copy(t.Context(), mirror.Settings{From: way[0], To: way[1], Logs: logs})
		must(t, err)
		if again.Records != 0 || again.Present == 0 {
			t.Errorf("copied again %+v after %+v", again, sum)
		}
	}
	return want
}

// TestCopy: what is copied there and back again is the same, names the same events, and a second copy writes nothing.
func TestCopy(t *testing.T) {
	s := newSource(t)
	s.fill()
	want := thereAndBack(t, s, embedded(t))
	if !slices.ContainsFunc(want, func(l string) bool { return bytes.Contains([]byte(l), []byte("found true")) }) {
		t.Errorf("no position was compared: %q", want)
	}
}

func fake(t *testing.T) transport.Broker {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	must(t, err)
	t.Cleanup(c.Close)
	b, err := kafka.Connect(t.Context(), kafka.Config{Seeds: c.ListenAddrs(), Partitions: 1})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// TestCopyOfAChainThatIsOver: of one that has ended and was trimmed, no checkpoint says any more what lies before and what behind.
func TestCopyOfAChainThatIsOver(t *testing.T) {
	for name, open := range map[string]func(*testing.T) transport.Broker{"jetstream": embedded, "kafka": fake} {
		t.Run(name, func(t *testing.T) {
			s, from, to := newSource(t), open(t), memory.New()
			s.fill()
			k, c := s.open("j-two", "kpi"), s.cursor("j-two", 6)
			must(t, s.logs["kpi"].Commit(t.Context(), map[transport.Chain]transport.Checkpoint{k: {Cursor: c, Out: 2, Inputs: 6, Snapshot: bytes.Repeat([]byte("x"), 30)}}))
			_, err := k.Append(t.Context(), transport.Record{Kind: transport.Control, Cursor: &c, Event: event(k.ID(), 2, `{"kind":"end"}`)})
			must(t, err)
			_, err = mirror.Copy(t.Context(), mirror.Settings{From: s, To: from, Logs: logs})
			must(t, err)
			l, err := from.Log(t.Context(), logs[2])
			must(t, err)
			must(t, l.Trim(t.Context(), k.ID(), ^schemas.Position(0)))
			for range 2 {
				_, err = mirror.Copy(t.Context(), mirror.Settings{From: from, To: to, Logs: logs})
				must(t, err)
			}
			l, err = to.Log(t.Context(), logs[2])
			must(t, err)
			_, state, err := l.Open(t.Context(), k.ID())
			must(t, err)
			var decisions []transport.Stored
			for _, r := range state.Behind {
				if r.Kind == transport.Control {
					decisions = append(decisions, r)
				}
			}
			if n := len(decisions); state.Out != 2 || state.Checkpoint != nil || n != 2 || !decisions[1].Over() {
				t.Errorf("out %d, checkpoint %v, decisions %+v", state.Out, state.Checkpoint, decisions)
			}
		})
	}
}

// A mortal is a broker that dies at an append.
type mortal struct {
	transport.Broker
	left *int
}

var errDead = errors.New("killed")

func (b mortal) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := b.Broker.Log(ctx, c)
	return mortalLog{l, b.left}, err
}

type mortalLog struct {
	transport.Log
	left *int
}

type mortalChain struct {
	transport.Chain
	left *int
}

func (l mortalLog) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	c, s, err := l.Log.Open(ctx, id)
	return &mortalChain{c, l.left}, s, err
}

func (l mortalLog) Adopt(ctx context.Context, id schemas.ChainID, out, bytes uint64) (transport.Chain, error) {
	c, err := l.Log.(transport.Adopter).Adopt(ctx, id, out, bytes)
	return &mortalChain{c, l.left}, err
}

func (l mortalLog) Commit(ctx context.Context, all map[transport.Chain]transport.Checkpoint) error {
	for c, k := range all {
		if *l.left--; *l.left < 0 {
			return errDead
		}
		if err := l.Log.Commit(ctx, map[transport.Chain]transport.Checkpoint{c.(*mortalChain).Chain: k}); err != nil {
			return err
		}
	}
	return nil
}

func (c *mortalChain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	if *c.left--; *c.left < 0 {
		return 0, errDead
	}
	return c.Chain.Append(ctx, records...)
}

// TestKilledAnywhere has a copy die at each of its records, and go on.
func TestKilledAnywhere(t *testing.T) {
	s := newSource(t)
	s.fill()
	want := content(t, s)
	for n := 0; ; n++ {
		to := memory.New()
		left := n
		_, err := mirror.Copy(t.Context(), mirror.Settings{From: s, To: mortal{to, &left}, Logs: logs})
		if err == nil {
			if n < 20 {
				t.Fatalf("all was copied with %d appends", n)
			}
			return
		}
		if !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		_, err = mirror.Copy(t.Context(), mirror.Settings{From: s, To: to, Logs: logs})
		must(t, err)
		same(t, content(t, to), want)
	}
}

// TestSourceMovesOn: a second copy adds what came meanwhile; a destination that went its own way is refused.
func TestSourceMovesOn(t *testing.T) {
	s := newSource(t)
	s.fill()
	to := embedded(t)
	_, err := mirror.Copy(t.Context(), mirror.Settings{From: s, To: to, Logs: logs})
	must(t, err)
	k := s.open("j-one", "kpi")
	_, err = k.Append(t.Context(), out(k.ID(), 4))
	must(t, err)
	must(t, s.logs["kpi"].Commit(t.Context(), map[transport.Chain]transport.Checkpoint{k: {Cursor: s.cursor("j-one", 6), Out: 4, Inputs: 6, Snapshot: bytes.Repeat([]byte("x"), 30)}}))
	_, err = mirror.Copy(t.Context(), mirror.Settings{From: s, To: to, Logs: logs})
	must(t, err)
	same(t, content(t, to), content(t, s))
	l, err := to.Log(t.Context(), logs[1])
	must(t, err)
	ch, _, err := l.Open(t.Context(), schemas.ChainID{Job: "j-two", Stage: "read"})
	must(t, err)
	_, err = ch.Append(t.Context(), out(ch.ID(), 7))
	must(t, err)
	if _, err = mirror.Copy(t.Context(), mirror.Settings{From: s, To: to, Logs: logs}); !errors.Is(err, mirror.ErrElsewhere) {
		t.Errorf("error is %v", err)
	}
}
