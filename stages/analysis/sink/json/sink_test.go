package jsonsink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

func configOf(folder, form string) Config {
	return Config{Path: folder + "/{pipeline}/{stage}/{item}.json", Form: form, Indent: 1}
}

// dump is all files that users see.
func dump(folder string) (string, error) {
	var out strings.Builder
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && d.Name() == stateFolder {
				return filepath.SkipDir
			}
			return err
		}
		data, err := os.ReadFile(name)
		fmt.Fprintf(&out, "%s\n%s", strings.TrimPrefix(name, folder), data)
		return err
	})
	return out.String(), err
}

func TestSink(t *testing.T) {
	for _, form := range []string{FormLines, FormDocument} {
		t.Run(form, func(t *testing.T) {
			pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
				return storeOf(t, configOf(t.TempDir(), form))
			})
		})
	}
	t.Run("a file of each type", func(t *testing.T) {
		pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
			return storeOf(t, Config{Path: t.TempDir() + "/{type}/{pipeline}-{stage}-{item}.json", Form: FormDocument})
		})
	})
	t.Run("files of each job", func(t *testing.T) {
		pipelinetest.TestSink(t, func(t testing.TB) pipelinetest.Store {
			s := storeOf(t, Config{Path: t.TempDir() + "/{pipeline}/{stage}/{item}/{job}.json", Form: FormLines})
			s.KeepsVersions = true
			return s
		})
	})
}

func storeOf(t testing.TB, c Config) pipelinetest.Store {
	folder := newTemplate(c.Path).folder
	return pipelinetest.Store{
		Open: func() (pipeline.Sink, error) { return Type.Build(t.Context(), c) },
		Dump: func() (string, error) { return dump(folder) },
	}
}

func doc(sequence uint64, text string) pipeline.Batch {
	return pipeline.Batch{Type: "a.v1", Job: "j-1", Pipeline: "p", Stage: "kpi", Item: "drive.mf4", Sequence: sequence, Docs: []pipeline.Doc{pipeline.Doc(text)}}
}

func cursor(sequence uint64) schemas.Cursor {
	if sequence == 0 {
		return schemas.Cursor{}
	}
	return schemas.Cursor{Edges: []schemas.EdgeCursor{{Stage: "kpi", Sequence: sequence}}}
}

var (
	chainID = schemas.ChainID{Job: "j-1", Stage: "kpi"}
	origin  = pipeline.Origin{ChainID: chainID, Pipeline: "p", Item: "drive.mf4"}
)

func originOf(b pipeline.Batch) pipeline.Origin {
	return pipeline.Origin{ChainID: schemas.ChainID{Job: b.Job, Stage: b.Stage}, Pipeline: b.Pipeline, Item: b.Item}
}

// ended is a cursor behind the end of the chain.
func ended(sequence uint64) schemas.Cursor {
	c := cursor(sequence)
	c.Edges[0].Ended = true
	return c
}

type killed struct{}

// killAt runs f until the nth durable step, and says whether it came that far.
func killAt(s *sink, n int, f func() error) (wasKilled bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			wasKilled = true
		}
	}()
	s.store.before = func(string) {
		if n--; n == 0 {
			panic(killed{})
		}
	}
	return false, f()
}

// Killed at any step inside a commit, the folder holds the old content with the old cursor or the new with the new, as soon
// as it is opened again.
func TestKillsInsideCommit(t *testing.T) {
	for _, form := range []string{FormLines, FormDocument} {
		kills := 0
		for n := 1; ; n++ {
			c := configOf(t.TempDir(), form)
			folder := newTemplate(c.Path).folder
			s := mustOpen(t, c)
			must(t, s.Write(t.Context(), doc(1, `{"n":1}`)))
			must(t, s.Commit(t.Context(), origin, cursor(0), cursor(1)))
			contents := map[uint64]string{1: mustDump(t, folder)}
			contents[2] = afterCommit(contents[1], form)
			was, err := killAt(s, n, func() error {
				return errors.Join(s.Write(t.Context(), doc(2, `{"n":2}`)), s.Commit(t.Context(), origin, cursor(1), cursor(2)))
			})
			must(t, err)
			again := mustOpen(t, c)
			got := mustDump(t, folder) // before any call: results are right once the folder is open
			at, err := again.Cursor(t.Context(), chainID)
			must(t, err)
			if want := contents[at.Edges[0].Sequence]; got != want {
				t.Fatalf("%s, killed at step %d: at cursor %d the folder holds\n%s\nwant\n%s", form, n, at.Edges[0].Sequence, got, want)
			}
			if at.Edges[0].Sequence == 1 {
				must(t, again.Write(t.Context(), doc(2, `{"n":2}`)))
				must(t, again.Commit(t.Context(), origin, cursor(1), cursor(2)))
			}
			if got := mustDump(t, folder); got != contents[2] {
				t.Fatalf("%s, killed at step %d: in the end\n%s\nwant\n%s", form, n, got, contents[2])
			}
			if !was {
				break
			}
			kills++
		}
		if kills < 6 {
			t.Errorf("%s: only %d steps in a commit", form, kills)
		}
	}
}

func afterCommit(before, form string) string {
	if form == FormLines {
		return before + "{\"n\":2}\n"
	}
	return strings.Replace(before, `"n": 1`, `"n": 2`, 1)
}

func mustOpen(t *testing.T, c Config) *sink {
	t.Helper()
	s, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustDump(t *testing.T, folder string) string {
	t.Helper()
	d, err := dump(folder)
	must(t, err)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDocumentIsTheLastOfItsTypes(t *testing.T) {
	folder := t.TempDir()
	s := mustOpen(t, Config{Path: folder + "/{item}.json", Form: FormDocument, Indent: 1, Types: []string{"a.v1"}})
	other := doc(3, `{"no":1}`)
	other.Type = "b.v1"
	many := doc(2, `{"n":2}`)
	many.Docs = append(many.Docs, pipeline.Doc(`{"log":"drive.mf4","x":[1.0,null],"e":{},"l":[]}`))
	for _, b := range []pipeline.Batch{doc(1, `{"n":1}`), many, other} {
		must(t, s.Write(t.Context(), b))
	}
	must(t, s.Commit(t.Context(), origin, cursor(0), cursor(3)))
	data, err := os.ReadFile(filepath.Join(folder, "drive.json"))
	must(t, err)
	if want := "{\n \"log\": \"drive.mf4\",\n \"x\": [\n  1.0,\n  null\n ],\n \"e\": {},\n \"l\": []\n}\n"; string(data) != want {
		t.Fatalf("file %q, want %q", data, want)
	}
	must(t, s.WriteFleet(t.Context(), "run-1", doc(0, `{"logs":1}`)))
	if data, err := os.ReadFile(filepath.Join(folder, "fleet.json")); err != nil || string(data) != "{\n \"logs\": 1\n}\n" {
		t.Fatalf("fleet %q, %v", data, err)
	}
}

func TestItemsThatShareAFileAreRefused(t *testing.T) {
	s := mustOpen(t, Config{Path: t.TempDir() + "/{item}.json", Form: FormDocument, Indent: 1})
	must(t, s.Write(t.Context(), doc(1, `{}`)))
	must(t, s.Commit(t.Context(), origin, cursor(0), cursor(1)))
	for name, change := range map[string]func(*pipeline.Batch){
		"another extension": func(b *pipeline.Batch) { b.Item = "drive.MF4" },
		"another pipeline":  func(b *pipeline.Batch) { b.Pipeline = "q" },
		"another stage":     func(b *pipeline.Batch) { b.Stage = "health" },
		"fleet.json":        func(b *pipeline.Batch) { b.Item = "fleet.mf4" },
	} {
		b := doc(1, `{}`)
		b.Job = "j-2"
		change(&b)
		err := s.Write(t.Context(), b)
		if err == nil {
			err = s.Commit(t.Context(), originOf(b), cursor(0), cursor(1))
		}
		if !pipeline.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordingsCannotLeaveTheFolder(t *testing.T) {
	outer := t.TempDir()
	folder := filepath.Join(outer, "results")
	s := mustOpen(t, Config{Path: folder + "/{pipeline}/{name}.json", Form: FormDocument})
	for i, item := range []string{"../../evil.mf4", "..", ".", "/etc/passwd", ".hidden", "a/b.mf4", "Fahrt München.mf4", strings.Repeat("x", 400), "\xff\x00"} {
		b := doc(1, fmt.Sprint(i))
		b.Item, b.Job = item, schemas.JobID(fmt.Sprint("j-", i))
		must(t, s.Write(t.Context(), b))
		must(t, s.Commit(t.Context(), originOf(b), cursor(0), cursor(1)))
	}
	got := mustDump(t, outer)
	if n := strings.Count(got, "/results/p/"); n != 9 || strings.Count(got, "\n") != 18 {
		t.Fatalf("%d files:\n%s", n, got)
	}
	if !strings.Contains(got, "/Fahrt München.mf4.json\n") {
		t.Error("a plain name was encoded", got)
	}
}

func TestALinkOutOfTheFolderIsNotFollowed(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(folder, "p")))
	s := mustOpen(t, Config{Path: folder + "/{pipeline}/{item}.json", Form: FormDocument})
	must(t, s.Write(t.Context(), doc(1, `{}`)))
	if err := s.Commit(t.Context(), origin, cursor(0), cursor(1)); err == nil || mustDump(t, outside) != "" {
		t.Fatalf("written through a link: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	for c, field := range map[string]string{
		`{"Path":"out/all.json","Form":"lines"}`:                         "path: ",
		`{"Path":"out/{itme}.json","Form":"lines"}`:                      "{item}",
		`{"Path":"out/{item.json","Form":"lines"}`:                       "brace",
		`{"Path":"","Form":"lines"}`:                                     "path: ",
		`{"Path":"{item}.json","Form":"list"}`:                           "form: ",
		`{"Path":"{item}.json","Form":"lines","Indent":-1}`:              "indent: ",
		`{"Path":"{item}.json","Form":"lines","Fleet":"{item}.json"}`:    "fleet: ",
		`{"Path":"{item}.json","Form":"lines","Fleet":"./out/{run}/f/"}`: "fleet: ",
	} {
		var config Config
		must(t, json.Unmarshal([]byte(c), &config))
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", c, err)
		}
	}
	if err := (Config{Path: "./out/{pipeline}/{item}.json", Form: FormDocument, Indent: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestFileNamesStayDifferent(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "a/b", "a%2Fb", "a%252Fb", "a b", "A", "ä", ".", "%2E", "..", ".milepost", "%2Emilepost", "a.", "x\x00", "x%00", "x\n"} {
		f := fileName(name)
		if other, taken := seen[f]; taken || f == "." || f == ".." || f == stateFolder || strings.ContainsAny(f, "/\x00") {
			t.Errorf("%q is written as %q, as is %q", name, f, other)
		}
		seen[f] = name
	}
	for _, name := range []string{strings.Repeat("y", 300), strings.Repeat("y", 301), strings.Repeat("ä", 300), strings.Repeat("y", 251)} {
		f, err := newTemplate("{item}.json").file(map[string]string{"item": name})
		if other, taken := seen[f]; taken || err != nil || len(f) > 255 {
			t.Errorf("%q is written as %q, as is %q: %v", name, f, other, err)
		}
		seen[f] = name
	}
}

func TestFilesAreNamedAsRecordings(t *testing.T) {
	for _, name := range []string{"drive 01 ü%.v2", "100%", "a%20b", "it's [1]: \"x\"?*", " edge ", ".hidden", "a\\b", "%C3%BC", strings.Repeat("z", 250)} {
		f, err := newTemplate("out/{item}.json").file(map[string]string{"item": stem(name + ".MF4")})
		if err != nil || f != name+".json" {
			t.Errorf("%q is written as %q, %v", name, f, err)
		}
	}
}

func TestFleetResultsOfPipelinesAndStagesStayApart(t *testing.T) {
	for path, want := range map[string]string{
		"{item}.json":                          "fleet.json",
		"./out/{item}.json":                    "./out/fleet.json",
		"/out/{item}/{stage}.json":             "/out/fleet.{stage}.json",
		"out/{pipeline}/{item}.json":           "out/{pipeline}/fleet.json",
		"out/{pipeline}/{stage}/{name}.json":   "out/{pipeline}/{stage}/fleet.json",
		"out/{pipeline}/{type}/{item}.json":    "out/{pipeline}/fleet.json",
		"out/x-{pipeline}-{item}.{stage}.json": "out/fleet.{pipeline}.{stage}.json",
	} {
		if got := fleetBeside(path); got != want {
			t.Errorf("of %s: %s, want %s", path, got, want)
		}
	}
	folder := t.TempDir()
	s := mustOpen(t, Config{Path: folder + "/{pipeline}/{item}.json", Form: FormDocument})
	for _, name := range []string{"p", "q"} {
		b := doc(1, fmt.Sprintf("%q", name))
		b.Pipeline = name
		must(t, s.WriteFleet(t.Context(), "run-1", b))
	}
	if got, want := mustDump(t, folder), "/p/fleet.json\n\"p\"\n/q/fleet.json\n\"q\"\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAFolderThatCannotBeMadeIsToldWithTheNextStep(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := open(configOf(folder, FormLines))
	if err == nil || !strings.Contains(err.Error(), "make the folder of results "+folder) || !strings.Contains(err.Error(), ": not a directory [E-file]\n  next: a file stands where") {
		t.Error(err)
	}
}

// Two sinks of one stage share a folder: each stores all that it takes, for itself; one file for both is refused.
func TestTwoSinksInOneFolder(t *testing.T) {
	folder := t.TempDir()
	lines := mustOpen(t, Config{Path: folder + "/{item}.jsonl", Form: FormLines})
	document := mustOpen(t, Config{Path: folder + "/{item}.json", Form: FormDocument})
	for _, s := range []*sink{lines, document} {
		at, err := s.Cursor(t.Context(), chainID)
		must(t, err)
		must(t, s.Write(t.Context(), doc(1, `{"n":1}`)))
		must(t, s.Commit(t.Context(), origin, at, cursor(1)))
		must(t, s.Write(t.Context(), doc(2, `{"n":2}`)))
		must(t, s.Commit(t.Context(), origin, cursor(1), ended(2)))
	}
	for name, want := range map[string]string{"drive.jsonl": "{\"n\":1}\n{\"n\":2}\n", "drive.json": "{\"n\":2}\n"} {
		got, err := os.ReadFile(folder + "/" + name)
		must(t, err)
		if string(got) != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	same := mustOpen(t, Config{Path: folder + "/{pipeline}/../{item}.json", Form: FormDocument})
	must(t, same.Write(t.Context(), doc(1, `{"n":1}`)))
	if err := same.Commit(t.Context(), origin, cursor(0), ended(1)); !pipeline.IsPermanent(err) {
		t.Errorf("two sinks write one file: %v", err)
	}
}
