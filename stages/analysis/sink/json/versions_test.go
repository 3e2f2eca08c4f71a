package jsonsink

import (
	"context"
	"fmt"
	"io/fs"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// versionOf is a document of one of two types of a job, by sequence: odd ones are of one.
func versionOf(job schemas.JobID, sequence uint64) pipeline.Batch {
	b := doc(sequence, fmt.Sprintf(`{"job":%q,"n":%d}`, job, sequence))
	b.Job, b.Type = job, []string{"b.v1", "a.v1"}[sequence%2]
	return b
}

// advance stores what is not stored yet of a job that emits some documents, a commit each, and ends.
func advance(ctx context.Context, s *sink, job schemas.JobID, sequences ...uint64) error {
	of := pipeline.Origin{ChainID: schemas.ChainID{Job: job, Stage: "kpi"}, Pipeline: "p", Item: "drive.mf4"}
	from, err := s.Cursor(ctx, of.ChainID)
	for i := 0; err == nil && i <= len(sequences); i++ {
		to := ended(100)
		if i < len(sequences) {
			to = cursor(sequences[i])
		}
		if len(from.Edges) > 0 && from.Edges[0].Sequence >= to.Edges[0].Sequence {
			continue
		}
		if i < len(sequences) {
			err = s.Write(ctx, versionOf(job, sequences[i]))
		}
		if err == nil {
			err = s.Commit(ctx, of, from, to)
		}
		from = to
	}
	return err
}

func perType(folder, form string) Config {
	return Config{Path: folder + "/{type}/{pipeline}-{item}.json", Form: form}
}

// Killed at any step of a newer job's commits, the folder shows the older whole result or, when the newer job's end is stored, the
// newer one, as soon as it is opened, or another process that had it open goes on with either job.
func TestKillsInsideReplacing(t *testing.T) {
	for i, form := range []string{FormLines, FormDocument} {
		kills := 0
		for n := 1; killReplacing(t, form, n, (n+i)%2 == 0); n++ {
			kills++
		}
		if kills < 25 {
			t.Errorf("%s: only %d steps", form, kills)
		}
	}
}

func killReplacing(t *testing.T, form string, n int, byAnother bool) (was bool) {
	c := perType(t.TempDir(), form)
	folder := newTemplate(c.Path).folder
	ctx := t.Context()
	s, next := mustOpen(t, c), mustOpen(t, c)
	must(t, advance(ctx, s, "j-late", 1, 2)) // so that there is one more to be removed
	must(t, advance(ctx, s, "j-1", 1, 2, 3))
	older := mustDump(t, folder)
	was, err := killAt(s, n, func() error { return advance(ctx, s, "j-2", 1, 3) })
	must(t, err)
	id := schemas.ChainID{Job: "j-2", Stage: "kpi"}
	if !byAnother {
		next = mustOpen(t, c)
	}
	at, err := next.Cursor(ctx, id) // a job that was killed goes on elsewhere
	must(t, err)
	newer := newerOf(form)
	want := older
	if at.Ended() {
		want = newer
	}
	if got := mustDump(t, folder); got != want {
		t.Fatalf("%s, killed at step %d, ended %v: the folder holds\n%s\nwant\n%s", form, n, at.Ended(), got, want)
	}
	must(t, advance(ctx, next, "j-2", 1, 3))
	if got := mustDump(t, folder); got != newer {
		t.Fatalf("%s, killed at step %d: in the end\n%s\nwant\n%s", form, n, got, newer)
	}
	beside, err := fs.ReadDir(next.store.root.FS(), besideFolder)
	must(t, err)
	if len(beside) > 0 {
		t.Fatalf("%s, killed at step %d: left behind are %v", form, n, beside)
	}
	return was
}

func newerOf(form string) string {
	all := "/a.v1/p-drive.json\n"
	if form == FormLines {
		all += "{\"job\":\"j-2\",\"n\":1}\n"
	}
	return all + "{\"job\":\"j-2\",\"n\":3}\n"
}

// An older job that is half way when a newer one ends: the process that goes on with it has not heard of that, and the newer one's
// was killed with its end stored and nothing else done.
func TestAnOlderJobGoesOnBehindAKilledNewerOne(t *testing.T) {
	for _, form := range []string{FormLines} { // the other form is in no other way behind
		for n := 1; ; n++ {
			c := perType(t.TempDir(), form)
			folder := newTemplate(c.Path).folder
			ctx := t.Context()
			s, other := mustOpen(t, c), mustOpen(t, c)
			from, half := cursor(0), versionOf("j-1", 2)
			must(t, other.Write(ctx, half))
			must(t, other.Commit(ctx, originOf(half), from, cursor(2)))
			was, err := killAt(s, n, func() error { return advance(ctx, s, "j-2", 1, 3) })
			must(t, err)
			must(t, advance(ctx, other, "j-1", 2, 3, 4)) // to its end
			next := mustOpen(t, c)
			must(t, advance(ctx, next, "j-2", 1, 3))
			if got := mustDump(t, folder); got != newerOf(form) {
				t.Fatalf("%s, killed at step %d: in the end\n%s", form, n, got)
			}
			if replaced, err := next.Replaced(ctx, originOf(half)); err != nil || !replaced {
				t.Fatalf("%s, killed at step %d: the older job was replaced: %v, %v", form, n, replaced, err)
			}
			if !was {
				break
			}
		}
	}
}

// Killed at any step of a Restore, the folder shows what was there or what is restored, when it is opened again.
func TestKillsInsideRestore(t *testing.T) {
	for _, form := range []string{FormDocument} { // both forms are put back by the same steps
		for n := 1; ; n++ {
			c := perType(t.TempDir(), form)
			folder := newTemplate(c.Path).folder
			ctx := t.Context()
			s := mustOpen(t, c)
			must(t, advance(ctx, s, "j-2", 1, 3))
			want := mustDump(t, folder)
			must(t, advance(ctx, s, "j-1", 1, 2))
			before := mustDump(t, folder)
			of := originOf(versionOf("j-2", 1))
			restore := func(s *sink) error {
				_, err := s.Restore(ctx, of, []pipeline.Batch{versionOf("j-2", 1), versionOf("j-2", 3)})
				return err
			}
			was, err := killAt(s, n, func() error { return restore(s) })
			must(t, err)
			next := mustOpen(t, c)
			if got := mustDump(t, folder); got != want && got != before || !was && got != want {
				t.Fatalf("%s, killed at step %d: the folder holds\n%s\nwant\n%s\nor\n%s", form, n, got, want, before)
			}
			must(t, restore(next))
			if got := mustDump(t, folder); got != want {
				t.Fatalf("%s, killed at step %d: in the end\n%s\nwant\n%s", form, n, got, want)
			}
			if replaced, err := next.Replaced(ctx, originOf(versionOf("j-1", 1))); err != nil || !replaced {
				t.Fatalf("%s: the other job was replaced: %v, %v", form, replaced, err)
			}
			if !was {
				break
			}
		}
	}
}
