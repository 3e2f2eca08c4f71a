package pipelinetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// A Store is what a sink writes into, from outside.
type Store struct {
	// Open makes a sink on the store as a process does that starts. The suite abandons sinks, as a kill does: it never calls
	// Close on those, and opens the next one on the same store.
	Open func() (pipeline.Sink, error)
	// Dump is the whole content that users see, in a form that is equal when the content is equal.
	Dump func() (string, error)
	// Types are the event types of the batches of documents that the suite writes; empty is two types of its own.
	Types []string
	// KeepsVersions says that the store's readers tell jobs apart, so that it keeps the results of all of them.
	KeepsVersions bool
}

// TestSink is the suite of sinks. fresh makes an empty store. The suite writes chains of documents and of tables into it and
// kills between any two calls; what the sink holds must always be what its cursor says, and in the end what an uninterrupted
// run gives. Kills inside a call are the affair of the sink's own tests.
func TestSink(t *testing.T, fresh func(t testing.TB) Store) {
	for _, c := range sinkCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh) })
	}
}

var sinkCases = []struct {
	name string
	run  func(t testing.TB, fresh func(t testing.TB) Store)
}{
	{"a kill between any two calls changes nothing", testKills},
	{"a batch written again replaces itself", testRewrites},
	{"a commit from another cursor is stale and stores nothing", testStale},
	{"a commit again is stale", testCommitAgain},
	{"what was not committed is not there", testUncommitted},
	{"chains at the same time", testConcurrent},
	{"a newer version replaces an older one", testNewerReplaces},
	{"a newer version of nothing replaces an older one", testEmptyReplaces},
	{"an older version that ends late does not come back", testOlderEndsLate},
	{"an older version that begins late does not come in", testOlderBeginsLate},
	{"an older version that ends first is there until the newer one ends", testOlderEndsFirst},
	{"a kill between any two calls of a newer version", testKillsOfNewer},
	{"versions at the same time", testVersionsAtOnce},
	{"fleet results replace each other", testFleet},
	{"close may be called twice", testClose},
}

// A call is one call on a sink: a Write, or a Commit of all up to a sequence.
type call struct {
	write  *pipeline.Batch
	commit uint64
	ended  bool
}

// A chain is what one stage emitted for one job, and the calls that the engine makes to store it.
type chain struct {
	of      pipeline.Origin
	batches []pipeline.Batch
	calls   []call
}

// newChain makes a chain of documents of two types, tables, and batches of nothing, committed at uneven distances.
func newChain(t testing.TB, s Store, n int) chain {
	t.Helper()
	types := s.Types
	if len(types) == 0 {
		types = []string{"suite.one.v1", "suite.two.v1"}
	}
	c := chain{of: pipeline.Origin{ChainID: schemas.ChainID{Job: schemas.NewJobID("job", itoa(n)), Stage: "stage-" + itoa(n)}, Pipeline: "suite", Item: "drive " + itoa(n) + ".mf4"}}
	signals := Batches(t, schemas.Signals, "t v w\n 0 1 10\n 0.1 2 -\n 0.25 3 30\n [slow]\n t x\n 0 5", "t v w\n 0.31 4 -\n 1.5 - 50", "t v w\n 70 6 60")
	doc := func(eventType, text string) pipeline.Batch {
		return pipeline.Batch{Type: eventType, Slice: signals[0].Slice, Docs: []pipeline.Doc{pipeline.Doc(text)}}
	}
	last := types[len(types)-1]
	c.batches = []pipeline.Batch{signals[0], doc(types[0], `{"n":1,"text":"ä \"<>"}`), signals[1], {Type: schemas.TypeProgress, Slice: signals[1].Slice},
		doc(last, fmt.Sprintf(`{"chain":%d,"x":[1.5,null]}`, n)), signals[2], doc(types[0], fmt.Sprintf(`{"n":2,"chain":%d}`, n))}
	c.batches[1].Docs = append(c.batches[1].Docs, pipeline.Doc(`{"n":1.5}`))
	for i := range c.batches {
		b := &c.batches[i]
		b.Sequence = uint64(i + 1)
		c.calls = append(c.calls, call{write: b})
		if i == 1 || i == 2 || i == 5 {
			c.calls = append(c.calls, call{commit: b.Sequence})
		}
	}
	end := uint64(len(c.batches)) + 1 // the end event, which sinks do not see
	c.calls = append(c.calls, call{commit: end - 1}, call{commit: end, ended: true})
	c.belong(c.of)
	return c
}

func (c *chain) cursor(sequence uint64, ended bool) schemas.Cursor {
	if sequence == 0 {
		return schemas.Cursor{}
	}
	edge := schemas.EdgeCursor{Stage: c.of.Stage, Sequence: sequence, Position: schemas.Position(sequence * 10), Ended: ended}
	return schemas.Cursor{Edges: []schemas.EdgeCursor{edge}}
}

func mustOpen(t testing.TB, s Store) pipeline.Sink {
	t.Helper()
	sink, err := s.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return sink
}

func mustDump(t testing.TB, s Store) string {
	t.Helper()
	d, err := s.Dump()
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	return d
}

// apply makes calls as the engine does, from the cursor that the store has; it returns the cursor it left.
func (c *chain) apply(ctx context.Context, sink pipeline.Sink, calls []call) error {
	from, err := sink.Cursor(ctx, c.of.ChainID)
	if err != nil {
		return fmt.Errorf("cursor: %w", err)
	}
	for _, k := range calls {
		done := sequenceOf(from)
		if k.write != nil {
			if k.write.Sequence <= done {
				continue
			}
			if err := sink.Write(ctx, *k.write); err != nil {
				return fmt.Errorf("write %d: %w", k.write.Sequence, err)
			}
			continue
		}
		if k.commit <= done {
			continue
		}
		to := c.cursor(k.commit, k.ended)
		if err := sink.Commit(ctx, c.of, from, to); err != nil {
			return fmt.Errorf("commit to %d: %w", k.commit, err)
		}
		from = to
	}
	return nil
}

func sequenceOf(c schemas.Cursor) uint64 {
	if len(c.Edges) == 0 {
		return 0
	}
	return c.Edges[0].Sequence
}

// reference runs uninterrupted and returns the content behind each committed sequence.
func reference(t testing.TB, s Store, c chain) map[uint64]string {
	t.Helper()
	sink := mustOpen(t, s)
	defer func() { closeTwice(t, sink) }()
	contents := map[uint64]string{0: mustDump(t, s)}
	at := 0
	for i, k := range c.calls {
		if k.write != nil {
			continue
		}
		if err := c.apply(t.Context(), sink, c.calls[at:i+1]); err != nil {
			t.Fatal(err)
		}
		at = i + 1
		contents[k.commit] = mustDump(t, s)
	}
	if contents[0] == contents[uint64(len(c.batches))] {
		t.Fatal("the store looks the same with the whole chain in it as it did empty")
	}
	return contents
}

func testKills(t testing.TB, fresh func(testing.TB) Store) {
	c := newChain(t, fresh(t), 1)
	want := reference(t, fresh(t), c)
	end := uint64(len(c.batches)) + 1
	for killed := range len(c.calls) + 1 {
		s := fresh(t)
		if err := c.apply(t.Context(), mustOpen(t, s), c.calls[:killed]); err != nil {
			t.Fatalf("before the kill behind call %d: %v", killed, err)
		}
		sink := mustOpen(t, s)
		cursor, err := sink.Cursor(t.Context(), c.of.ChainID)
		if err != nil {
			t.Fatal(err)
		}
		if got := sequenceOf(cursor); got != committed(c.calls[:killed]) {
			t.Fatalf("killed behind call %d the cursor is at %d, want %d", killed, got, committed(c.calls[:killed]))
		}
		if got := mustDump(t, s); got != want[sequenceOf(cursor)] {
			t.Fatalf("killed behind call %d, the cursor is at %d, the store holds\n%s\nwant\n%s", killed, sequenceOf(cursor), got, want[sequenceOf(cursor)])
		}
		if err := c.apply(t.Context(), sink, c.calls); err != nil {
			t.Fatalf("after the kill behind call %d: %v", killed, err)
		}
		if got := mustDump(t, s); got != want[end] {
			t.Fatalf("killed behind call %d, in the end the store holds\n%s\nwant\n%s", killed, got, want[end])
		}
		closeTwice(t, sink)
	}
}

func committed(calls []call) (sequence uint64) {
	for _, k := range calls {
		sequence = max(sequence, k.commit)
	}
	return sequence
}

// testRewrites writes every batch twice, in other groups than the reference, and some again after their commit.
func testRewrites(t testing.TB, fresh func(testing.TB) Store) {
	s := fresh(t)
	c := newChain(t, s, 1)
	want := reference(t, fresh(t), c)
	sink := mustOpen(t, s)
	end := uint64(len(c.batches)) + 1
	from := schemas.Cursor{}
	for i, b := range c.batches {
		for range 2 {
			must(t, sink.Write(t.Context(), b))
		}
		if i != 3 {
			continue
		}
		to := c.cursor(b.Sequence, false)
		must(t, sink.Commit(t.Context(), c.of, from, to))
		from = to
		for _, again := range c.batches[1 : i+1] {
			must(t, sink.Write(t.Context(), again))
		}
	}
	must(t, sink.Commit(t.Context(), c.of, from, c.cursor(end, true)))
	if got := mustDump(t, s); got != want[end] {
		t.Fatalf("written again the store holds\n%s\nwant\n%s", got, want[end])
	}
	closeTwice(t, sink)
}

func testStale(t testing.TB, fresh func(testing.TB) Store) {
	s := fresh(t)
	c := newChain(t, s, 1)
	want := reference(t, fresh(t), c)
	zombie, owner := mustOpen(t, s), mustOpen(t, s)
	for _, sink := range []pipeline.Sink{zombie, owner} {
		if _, err := sink.Cursor(t.Context(), c.of.ChainID); err != nil {
			t.Fatal(err)
		}
	}
	must(t, c.apply(t.Context(), owner, c.calls[:3])) // two batches and their commit
	for _, from := range []schemas.Cursor{{}, c.cursor(1, false), c.cursor(3, false), c.cursor(2, true)} {
		before := mustDump(t, s)
		for _, b := range c.batches[:5] {
			must(t, zombie.Write(t.Context(), b))
		}
		if err := zombie.Commit(t.Context(), c.of, from, c.cursor(4, false)); !errors.Is(err, pipeline.ErrStale) {
			t.Fatalf("commit from %v, the store is at 2: %v", from, err)
		}
		if got := mustDump(t, s); got != before {
			t.Fatalf("a stale commit stored\n%s\nbefore it was\n%s", got, before)
		}
	}
	// As the engine does: look, and go on from there.
	must(t, c.apply(t.Context(), zombie, c.calls))
	if got, end := mustDump(t, s), uint64(len(c.batches))+1; got != want[end] {
		t.Fatalf("after a stale commit the store holds\n%s\nwant\n%s", got, want[end])
	}
	closeTwice(t, zombie, owner)
}

func testCommitAgain(t testing.TB, fresh func(testing.TB) Store) {
	s := fresh(t)
	c := newChain(t, s, 1)
	sink := mustOpen(t, s)
	must(t, c.apply(t.Context(), sink, c.calls[:3]))
	before := mustDump(t, s)
	if err := sink.Commit(t.Context(), c.of, schemas.Cursor{}, c.cursor(2, false)); !errors.Is(err, pipeline.ErrStale) {
		t.Fatalf("the same commit again: %v", err)
	}
	if got := mustDump(t, s); got != before {
		t.Fatalf("the same commit again changed the store to\n%s\nfrom\n%s", got, before)
	}
	closeTwice(t, sink)
}

// testUncommitted abandons batches that were written but not committed, also to an instance that goes on.
func testUncommitted(t testing.TB, fresh func(testing.TB) Store) {
	s := fresh(t)
	c := newChain(t, s, 1)
	want := reference(t, fresh(t), c)
	sink := mustOpen(t, s)
	must(t, c.apply(t.Context(), sink, c.calls[:3]))
	for _, b := range c.batches[2:] {
		must(t, sink.Write(t.Context(), b))
	}
	if _, err := sink.Cursor(t.Context(), c.of.ChainID); err != nil { // the engine drops the instance and looks again
		t.Fatal(err)
	}
	must(t, sink.Commit(t.Context(), c.of, c.cursor(2, false), c.cursor(3, false)))
	must(t, sink.Commit(t.Context(), c.of, c.cursor(3, false), c.cursor(2, false)))
	if got := mustDump(t, s); got != want[2] {
		t.Fatalf("what was written before Cursor is stored:\n%s\nwant\n%s", got, want[2])
	}
	closeTwice(t, sink)
}

func testConcurrent(t testing.TB, fresh func(testing.TB) Store) {
	const chains = 6
	want, got := fresh(t), fresh(t)
	var all []chain
	for n := range chains {
		all = append(all, newChain(t, got, n))
	}
	stage := all[0].of // of the same job
	stage.Stage = all[1].of.Stage
	all[1].belong(stage)
	for _, c := range all {
		sink := mustOpen(t, want)
		must(t, c.apply(t.Context(), sink, c.calls))
		closeTwice(t, sink)
	}
	sinks := []pipeline.Sink{mustOpen(t, got), mustOpen(t, got)}
	g, ctx := errgroup.WithContext(t.Context())
	for n, c := range all {
		g.Go(func() error { return c.apply(ctx, sinks[n%2], c.calls) })
	}
	must(t, g.Wait())
	if w, g := mustDump(t, want), mustDump(t, got); w != g {
		t.Fatalf("chains at the same time give\n%s\none by one\n%s", g, w)
	}
	visible := strings.Join(strings.Fields(mustDump(t, got)), "")
	for n := range all {
		if !strings.Contains(visible, fmt.Sprintf(`"chain":%d`, n)) {
			t.Errorf("no document of chain %d is in the store:\n%s", n, mustDump(t, got))
		}
	}
	closeTwice(t, sinks...)
}

// belong makes the chain another one's.
func (c *chain) belong(of pipeline.Origin) {
	c.of = of
	for i := range c.batches {
		b := &c.batches[i]
		b.Job, b.Stage, b.Pipeline, b.Item = of.Job, of.Stage, of.Pipeline, of.Item
	}
}

func testFleet(t testing.TB, fresh func(testing.TB) Store) {
	s := fresh(t)
	sink := mustOpen(t, s)
	defer func() { closeTwice(t, sink) }()
	fleet, ok := sink.(pipeline.FleetSink)
	if !ok {
		return // not every store takes them
	}
	batch := func(n int) pipeline.Batch {
		return pipeline.Batch{Type: "suite.fleet.v1", Pipeline: "suite", Stage: "fold", Docs: []pipeline.Doc{json.RawMessage(fmt.Sprintf(`{"jobs":%d}`, n))}}
	}
	must(t, fleet.WriteFleet(t.Context(), "run-1", batch(2)))
	once := mustDump(t, s)
	var contents []string
	for _, n := range []int{1, 3, 2} {
		must(t, fleet.WriteFleet(t.Context(), "run-1", batch(n)))
		contents = append(contents, mustDump(t, s))
	}
	if contents[2] != once || slices.Contains(contents[:2], once) {
		t.Fatalf("fleet results do not replace each other:\n%s\nthen %q", once, contents)
	}
}

func testClose(t testing.TB, fresh func(testing.TB) Store) {
	closeTwice(t, mustOpen(t, fresh(t)))
}

func closeTwice(t testing.TB, sinks ...pipeline.Sink) {
	t.Helper()
	for _, s := range sinks {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("close, twice: %v", err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
