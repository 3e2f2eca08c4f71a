package linear

import (
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/history"
)

// A script writes the history of one chain, a line a nanosecond.
type script struct {
	lives map[string]*Life
	at    int64
	call  uint64
}

var chain = schemas.ChainID{Job: "j-1", Stage: "s"}

func (s *script) line(who string, l history.Line) {
	s.at++
	l.At = s.at
	if s.lives[who] == nil {
		s.lives[who] = &Life{Name: who}
	}
	s.lives[who].Lines = append(s.lives[who].Lines, l)
}

// ask writes a call and its answer.
func (s *script) ask(who string, l, answer history.Line) (call uint64) {
	s.call++
	l.Call, l.Pipeline, l.Chain = s.call, "p", chain
	answer.Op, answer.Call = history.Answer, s.call
	s.line(who, l)
	s.line(who, answer)
	return s.call
}

func (s *script) open(who string, out uint64) uint64 {
	return s.ask(who, history.Line{Op: history.Open}, history.Line{Outcome: history.Done, Out: out})
}

func (s *script) commit(who string, handle uint64, record string) {
	s.ask(who, history.Line{Op: history.Commit, Handle: handle, Records: []string{record}}, history.Line{Outcome: history.Done, Stored: 1})
}

func (s *script) append(who string, handle uint64, ahead bool, records ...string) {
	s.ask(who, history.Line{Op: history.Append, Handle: handle, Ahead: ahead, Records: records}, history.Line{Outcome: history.Done, Stored: len(records)})
}

func (s *script) check(may Allowance, held ...string) []string {
	var lives []Life
	for _, who := range []string{"a", "b"} {
		if l := s.lives[who]; l != nil {
			lives = append(lives, *l)
		}
	}
	return Check(lives, map[ChainID][]string{{"p", chain}: held}, may).Violations
}

// TestAhead: what was answered ahead of being stored may be lost, until something behind it is stored.
func TestAhead(t *testing.T) {
	lost := &script{lives: map[string]*Life{}}
	a := lost.open("a", 0)
	lost.append("a", a, true, "out/1/x")
	lost.append("a", a, true, "out/2/x")
	b := lost.open("b", 0)
	lost.append("b", b, false, "ctl/0/attempt")
	lost.append("b", b, true, "out/1/x")
	lost.append("b", b, false, "out/2/x")
	held := []string{"ctl/0/attempt", "out/1/x", "out/2/x"}
	if wrong := lost.check(Allowance{Ahead: true}, held...); len(wrong) > 0 {
		t.Errorf("what may be lost is held against it: %q", wrong)
	}
	if wrong := lost.check(Allowance{}, held...); len(wrong) == 0 {
		t.Error("a broker that is never ahead lost two events, and nobody minds")
	}
	kept := &script{lives: map[string]*Life{}}
	a = kept.open("a", 0)
	kept.append("a", a, true, "out/1/x")
	kept.append("a", a, false, "ctl/0/attempt")
	if wrong := kept.check(Allowance{Ahead: true}, "ctl/0/attempt"); len(wrong) == 0 || !strings.Contains(wrong[0], "out/1/x") {
		t.Errorf("an event is lost that lay ahead of a stored control: %q", wrong)
	}
}

// TestCompact: a checkpoint may be gone that another one came after, and no other.
func TestCompact(t *testing.T) {
	s := &script{lives: map[string]*Life{}}
	a := s.open("a", 0)
	s.commit("a", a, "ckpt/0/1-x")
	s.append("a", a, false, "out/1/x")
	s.commit("a", a, "ckpt/1/2-x")
	if wrong := s.check(Allowance{Compact: true}, "out/1/x", "ckpt/1/2-x"); len(wrong) > 0 {
		t.Errorf("a compacted checkpoint is missed: %q", wrong)
	}
	if wrong := s.check(Allowance{}, "out/1/x", "ckpt/1/2-x"); len(wrong) == 0 {
		t.Error("a checkpoint is gone that nobody may remove, and nobody minds")
	}
	if wrong := s.check(Allowance{Compact: true}, "ckpt/0/1-x", "out/1/x"); len(wrong) == 0 {
		t.Error("the last checkpoint is gone, and nobody minds")
	}
}

// TestNeighbour: a holder may be refused for what is written beside his chain; a stranger may not be let in.
func TestNeighbour(t *testing.T) {
	s := &script{lives: map[string]*Life{}}
	a := s.open("a", 0)
	s.ask("a", history.Line{Op: history.Append, Handle: a, Records: []string{"out/1/x"}}, history.Line{Outcome: history.Stale})
	if wrong := s.check(Allowance{Neighbour: true}); len(wrong) > 0 {
		t.Errorf("a refusal is held against it: %q", wrong)
	}
	if wrong := s.check(Allowance{}); len(wrong) == 0 {
		t.Error("a holder was refused without a reason, and nobody minds")
	}
	a = s.open("a", 0)
	b := s.open("b", 0)
	s.append("b", b, false, "ctl/0/attempt")
	s.append("a", a, false, "out/1/x")
	if wrong := s.check(Allowance{Neighbour: true}, "ctl/0/attempt", "out/1/x"); len(wrong) == 0 {
		t.Error("a stranger appended, and nobody minds")
	}
}
