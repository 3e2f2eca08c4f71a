package pipelinetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// bystanders are chains that are no versions of chain 1: of another item, another stage and another pipeline.
func bystanders(t testing.TB, s Store) []chain {
	t.Helper()
	of := newChain(t, s, 1).of
	item, stage, pipe := newChain(t, s, 2), newChain(t, s, 3), newChain(t, s, 4)
	item.belong(pipeline.Origin{ChainID: schemas.ChainID{Job: item.of.Job, Stage: of.Stage}, Pipeline: of.Pipeline, Item: item.of.Item})
	stage.belong(pipeline.Origin{ChainID: stage.of.ChainID, Pipeline: of.Pipeline, Item: of.Item})
	pipe.belong(pipeline.Origin{ChainID: schemas.ChainID{Job: pipe.of.Job, Stage: of.Stage}, Pipeline: "another suite", Item: of.Item})
	all := []chain{item, stage, pipe}
	for i := range all { // committed once: they only stand there
		c := &all[i]
		c.calls = slices.DeleteFunc(c.calls, func(k call) bool { return k.write == nil && !k.ended })
	}
	return all
}

// version makes a version of chain 1: of the batches with these indexes.
func version(t testing.TB, s Store, job string, batches ...int) chain {
	t.Helper()
	all := newChain(t, s, 1)
	var c chain
	for n, i := range batches {
		b := all.batches[i]
		b.Sequence = uint64(n + 1)
		for k, d := range b.Docs {
			b.Docs[k] = pipeline.Doc(strings.Replace(string(d), `"chain":1`, mark(job), 1))
		}
		c.batches = append(c.batches, b)
	}
	all.of.Job = schemas.NewJobID(job)
	c.belong(all.of)
	for i := range c.batches {
		c.calls = append(c.calls, call{write: &c.batches[i]})
		if i%2 == 1 {
			c.calls = append(c.calls, call{commit: uint64(i + 1)})
		}
	}
	c.calls = append(c.calls, call{commit: uint64(len(batches)) + 1, ended: true})
	return c
}

// older has documents of both types and tables, newer lacks most of that.
func older(t testing.TB, s Store) chain { return version(t, s, "older", 0, 1, 4, 5, 6, 2) }
func newer(t testing.TB, s Store) chain { return version(t, s, "newer", 3, 2, 6) }

// mark is what the last document of a version shows.
func mark(job string) string { return `"chain":1,"job":"` + job + `"` }

// apply1 makes calls of one chain through a sink of its own, which is abandoned.
func apply1(t testing.TB, s Store, c chain, calls []call) {
	t.Helper()
	if err := c.apply(t.Context(), mustOpen(t, s), calls); err != nil {
		t.Fatalf("%s: %v", c.of, err)
	}
}

// only is the content of a store with bystanders that never saw anything else but, one by one, these chains; of a store that
// keeps versions, all of them.
func only(t testing.TB, fresh func(testing.TB) Store, replaced, left []chain) string {
	t.Helper()
	return into(t, begun(t, fresh), replaced, left)
}

func into(t testing.TB, s Store, replaced, left []chain) string {
	t.Helper()
	if s.KeepsVersions {
		left = append(left, replaced...)
	}
	for _, c := range left {
		apply1(t, s, c, c.calls)
	}
	return mustDump(t, s)
}

// shows fails unless the last document of a version is what users see.
func shows(t testing.TB, s Store, job, when string) {
	t.Helper()
	if d := mustDump(t, s); !strings.Contains(strings.Join(strings.Fields(d), ""), mark(job)) {
		t.Fatalf("%s the result of the %s version is not there:\n%s", when, job, d)
	}
}

func holds(t testing.TB, s Store, want, when string) {
	t.Helper()
	if got := mustDump(t, s); got != want {
		t.Fatalf("%s the store holds\n%s\nwant\n%s", when, got, want)
	}
}

// standing fails unless the sink says which versions were replaced, as it is opened and later.
func standing(t testing.TB, s Store, replaced, left []chain) {
	t.Helper()
	sink := mustOpen(t, s)
	for i, c := range append(replaced[:len(replaced):len(replaced)], left...) {
		was, err := sink.Replaced(t.Context(), c.of)
		if want := i < len(replaced) && !s.KeepsVersions; err != nil || was != want {
			t.Fatalf("%s was replaced: %v, %v; want %v", c.of, was, err, want)
		}
	}
	closeTwice(t, sink)
}

// begun makes a store with bystanders.
func begun(t testing.TB, fresh func(testing.TB) Store) Store {
	t.Helper()
	s := fresh(t)
	for _, c := range bystanders(t, s) {
		apply1(t, s, c, c.calls)
	}
	return s
}

func testNewerReplaces(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	a, b := older(t, s), newer(t, s)
	want := only(t, fresh, []chain{a}, []chain{b})
	apply1(t, s, a, a.calls)
	standing(t, s, nil, append(bystanders(t, s), a, b)) // of b the store knows nothing
	sink := mustOpen(t, s)
	for i := range b.calls {
		shows(t, s, "older", fmt.Sprintf("before call %d of the newer one", i+1))
		if err := b.apply(t.Context(), sink, b.calls[:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, s, want, "when the newer version has ended")
	standing(t, s, []chain{a}, append(bystanders(t, s), b))
	if c, err := sink.Cursor(t.Context(), a.of.ChainID); err != nil || sequenceOf(c) != committed(a.calls) {
		t.Fatalf("the cursor of the older version is at %d, %v", sequenceOf(c), err)
	}
	again := version(t, s, "again", 0, 6) // a third one, of which no more than the second is known
	want = only(t, fresh, []chain{a, b}, []chain{again})
	if err := again.apply(t.Context(), sink, again.calls); err != nil {
		t.Fatal(err)
	}
	holds(t, s, want, "when a third version has ended")
	standing(t, s, []chain{a, b}, []chain{again})
	closeTwice(t, sink)
}

func testEmptyReplaces(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	a, b := older(t, s), version(t, s, "newer")
	want := only(t, fresh, []chain{a}, []chain{b})
	apply1(t, s, a, a.calls)
	apply1(t, s, b, b.calls)
	holds(t, s, want, "when a version without anything has ended")
	standing(t, s, []chain{a}, []chain{b})
}

// testOlderEndsLate has two older versions go on after the newer one ended, with kills; none of their calls may change anything.
func testOlderEndsLate(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	a, b, c := older(t, s), version(t, s, "second", 0, 1, 5, 4), newer(t, s)
	want := only(t, fresh, []chain{a, b}, []chain{c})
	a1, b1 := mustOpen(t, s), mustOpen(t, s)
	must(t, a.apply(t.Context(), a1, a.calls[:4])) // of each a commit and a batch behind it
	must(t, b.apply(t.Context(), b1, b.calls[:4]))
	apply1(t, s, c, c.calls)
	for i := range a.calls {
		if !s.KeepsVersions {
			holds(t, s, want, fmt.Sprintf("before call %d of an older version, behind the end of the newest", i+1))
		}
		if err := a.apply(t.Context(), a1, a.calls[:i+1]); err != nil {
			t.Fatalf("an older version goes on: %v", err)
		}
		if i == 6 {
			a1 = mustOpen(t, s)
		}
	}
	must(t, b.apply(t.Context(), b1, b.calls))
	holds(t, s, want, "when all have ended")
	standing(t, s, []chain{a, b}, []chain{c})
	if cursor, err := b1.Cursor(t.Context(), b.of.ChainID); err != nil || sequenceOf(cursor) != committed(b.calls) {
		t.Fatalf("the cursor of an older version is at %d, %v", sequenceOf(cursor), err)
	}
}

// testOlderBeginsLate has an older version begin behind the first commit of the newer one, which names it, and another behind its end.
func testOlderBeginsLate(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	a, b, c := older(t, s), version(t, s, "second", 0, 1, 5, 4), newer(t, s)
	c.of.After = []schemas.JobID{a.of.Job, b.of.Job}
	want := only(t, fresh, nil, []chain{c})
	if s.KeepsVersions {
		want = only(t, fresh, []chain{a, b}, []chain{c})
	}
	apply1(t, s, c, c.calls[:3]) // its first commit
	apply1(t, s, a, a.calls)
	apply1(t, s, c, c.calls)
	apply1(t, s, b, b.calls)
	holds(t, s, want, "when all have ended")
	standing(t, s, []chain{a, b}, []chain{c})
}

func testOlderEndsFirst(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	a, b := older(t, s), newer(t, s)
	want := only(t, fresh, []chain{a}, []chain{b})
	apply1(t, s, a, a.calls[:3])
	apply1(t, s, b, b.calls[:3]) // its first commit
	apply1(t, s, a, a.calls)
	shows(t, s, "older", "while the newer one is being written")
	standing(t, s, nil, []chain{a, b})
	apply1(t, s, b, b.calls)
	holds(t, s, want, "when both have ended")
}

func testKillsOfNewer(t testing.TB, fresh func(testing.TB) Store) {
	want := ""
	for killed := 0; ; killed++ {
		s := fresh(t)
		a, b := older(t, s), newer(t, s)
		if killed > len(b.calls) {
			break
		}
		if want == "" {
			want = into(t, fresh(t), []chain{a}, []chain{b})
		}
		apply1(t, s, a, a.calls)
		apply1(t, s, b, b.calls[:killed])
		sink := mustOpen(t, s)
		if killed < len(b.calls) {
			shows(t, s, "older", fmt.Sprintf("killed behind call %d of the newer one", killed))
		} else {
			holds(t, s, want, "killed behind the last call of the newer version")
		}
		if err := b.apply(t.Context(), sink, b.calls); err != nil {
			t.Fatalf("after the kill behind call %d: %v", killed, err)
		}
		holds(t, s, want, fmt.Sprintf("killed behind call %d of the newer version, in the end", killed))
		closeTwice(t, sink)
	}
}

// testVersionsAtOnce has processes write versions of one result at the same time: one of them is there in the end, whole.
func testVersionsAtOnce(t testing.TB, fresh func(testing.TB) Store) {
	s := begun(t, fresh)
	all := []chain{older(t, s), newer(t, s), version(t, s, "second", 0, 1, 5, 6)}
	g, ctx := errgroup.WithContext(t.Context())
	for _, c := range all {
		sink := mustOpen(t, s)
		g.Go(func() error { return c.apply(ctx, sink, c.calls) })
	}
	must(t, g.Wait())
	sink := mustOpen(t, s)
	var replaced, left []chain
	for _, c := range all {
		was, err := sink.Replaced(t.Context(), c.of)
		must(t, err)
		if was {
			replaced = append(replaced, c)
		} else {
			left = append(left, c)
		}
	}
	closeTwice(t, sink)
	if want := 1; !s.KeepsVersions && len(left) != want {
		t.Fatalf("%d versions were not replaced, want %d", len(left), want)
	}
	holds(t, s, only(t, fresh, replaced, left), "when versions were written at once")
}
