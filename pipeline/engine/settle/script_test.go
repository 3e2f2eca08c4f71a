package settle

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts of testdata give as what they should give")

// TestScripts runs the stories of testdata: a line is what happened, what follows below ---- is what the core does about it.
// Lines with # are comments. The lines are those of (*script).input.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runScript(t, f) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t}
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		s.block(block)
	}
	switch got := strings.TrimSuffix(s.out.String(), "\n"); {
	case *rewrite:
		err = os.WriteFile(file, []byte(got), 0o644)
	case got != string(text):
		t.Errorf("%s gives\n%s", file, got)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A script is one Instance that is told what happened, line by line.
type script struct {
	t    *testing.T
	core *Instance
	out  strings.Builder
	next schemas.Position
}

func (s *script) block(block string) {
	for _, line := range strings.Split(block, "\n") {
		if line == "----" {
			break
		}
		s.out.WriteString(line + "\n")
		if !strings.HasPrefix(line, "#") {
			s.line(strings.Fields(line))
		}
	}
	s.out.WriteString("\n")
}

func (s *script) line(f []string) {
	s.t.Helper()
	if f[0] == "new" {
		s.core = New(s.config(f[1:]))
		f = []string{"start"}
	}
	in := s.input(f)
	if in.Op == Arrived || in.Op == Gone {
		in.Event.Reading = s.core.queues[in.Event.Edge].reading
	}
	s.out.WriteString("----\n")
	actions := s.core.Handle(in)
	for k := range actions {
		s.out.WriteString(sayAction(&actions[k]) + "\n")
	}
	if len(actions) == 0 {
		s.out.WriteString("(nothing)\n")
	}
}

// config reads: role, then key=value.
func (s *script) config(f []string) (c Config) {
	c.Role = map[string]Role{"processor": Processor, "reader": Reader, "sink": Sink}[f[0]]
	c.Backoff = time.Second
	for _, kv := range f[1:] {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "edges":
			c.Edges = strings.Split(v, ",")
		case "on_error":
			c.OnError = schemas.Decision(v)
		case "attempts":
			c.Attempts = int(s.number(v))
		case "checkpoint":
			c.CheckpointInputs = s.number(v)
		case "progress":
			c.ProgressEvery = s.number(v)
		default:
			s.t.Fatalf("no setting %q", k)
		}
	}
	return c
}

func (s *script) number(v string) uint64 {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// input reads: start, waited | loaded, restored | opened RECORDS | arrived EDGE/SEQUENCE [KIND] [t=TIME] | gone EDGE REASON |
// stepped [SEQUENCE[!]...] [FAILURE|eof] | appended [OUTCOME] | saved [OUTCOME [FAILURE]] | command WANT
// [POSITION of the record it names].
// A step's outputs are named by their sequence, with ! when they come out differently.
func (s *script) input(f []string) (in Input) {
	for k, n := range opNames {
		if n == f[0] {
			in.Op = Op(k)
		}
	}
	switch in.Op {
	case none:
		s.t.Fatalf("nothing is called %q", f[0])
	case Opened:
		in.State = s.state(strings.Split(strings.Join(f[1:], " "), ";"))
	case Arrived:
		in.Event = s.event(f[1:])
	case Gone:
		in.Event.Edge, in.Reason = int(s.number(f[1])), strings.Join(f[2:], " ")
	case Stepped:
		s.stepped(&in, f[1:])
	case Command:
		in.Command.Want = Want(index(wantNames[:], f[1]))
		if len(f) > 2 {
			in.Command.Letter = schemas.Position(s.number(f[2]))
		}
	case Appended, Saved, Loaded:
		if len(f) > 1 {
			in.Outcome = Outcome(index(outcomeNames[:], f[1]))
		}
		if len(f) > 2 {
			in.Failure = Failure(index(failureNames[:], f[2]))
		}
	}
	return in
}

func index(names []string, name string) int {
	for k, n := range names {
		if n == name {
			return k
		}
	}
	panic("no " + name)
}

func (s *script) event(f []string) (e Event) {
	edge, seq, _ := strings.Cut(f[0], "/")
	e.Edge, e.Sequence = int(s.number(edge)), s.number(seq)
	e.Position = schemas.Position(10*e.Sequence + uint64(e.Edge))
	for _, w := range f[1:] {
		if v, ok := strings.CutPrefix(w, "t="); ok {
			e.Time = int64(s.number(v))
			continue
		}
		e.Kind = EventKind(index(kindNames[:], w))
	}
	return e
}

func (s *script) stepped(in *Input, f []string) {
	for _, w := range f {
		switch w {
		case "eof":
			in.EOF = true
		case "temporary", "permanent":
			in.Failure = Failure(index(failureNames[:], w))
		default:
			in.Outputs = append(in.Outputs, Output{Hash: hashOf(w), Bytes: 1})
		}
	}
}

func hashOf(word string) (h schemas.Hash) {
	copy(h[:], word)
	return h
}

// state reads records: ckpt EDGE=SEQUENCE... out=N inputs=N | out SEQUENCE | dlq DECISION EDGE/SEQUENCE |
// ctl KIND [EDGE/SEQUENCE] [N].
func (s *script) state(records []string) (st State) {
	for _, r := range records {
		f := strings.Fields(r)
		if len(f) == 0 {
			continue
		}
		s.next++
		rec := Record{Position: s.next}
		switch f[0] {
		case "ckpt":
			st.Checkpoint, st.Behind = s.checkpoint(f[1:]), nil
			st.Out = max(st.Out, st.Checkpoint.Out)
			continue
		case "out":
			rec.Sequence, rec.Hash = s.number(f[1]), hashOf(f[1])
			st.Out = rec.Sequence
			if len(f) > 2 {
				rec.End = &schemas.End{Out: rec.Sequence}
			}
		case "dlq":
			rec.Letter = &schemas.DeadLetter{Decision: schemas.Decision(f[1]), Input: s.ref(f[2])}
			rec.Cursor = &schemas.Cursor{}
		case "ctl":
			rec.Control = &schemas.Control{Kind: schemas.ControlKind(f[1])}
			if len(f) > 2 {
				rec.Control.Input = s.ref(f[2])
				if rec.Control.Input.Sequence == 0 { // the stage's opening
					rec.Control.Input = schemas.InputRef{}
				}
			}
			if len(f) > 3 {
				rec.Control.Attempt = int(s.number(f[3]))
			}
		}
		st.Behind = append(st.Behind, rec)
	}
	return st
}

func (s *script) ref(v string) schemas.InputRef {
	edge, seq, _ := strings.Cut(v, "/")
	return schemas.InputRef{Edge: edge, Sequence: s.number(seq)}
}

func (s *script) checkpoint(f []string) *transport.Checkpoint {
	c := &transport.Checkpoint{}
	for _, kv := range f {
		k, v, _ := strings.Cut(kv, "=")
		switch n := s.number(v); k {
		case "out":
			c.Out = n
		case "inputs":
			c.Inputs = n
		default:
			c.Cursor.Edges = append(c.Cursor.Edges, schemas.EdgeCursor{Stage: k, Sequence: n, Position: schemas.Position(10 * n)})
		}
	}
	return c
}
