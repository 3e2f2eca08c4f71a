// Package linear judges a history: whether all processes together saw chains that grow record by record under one fence.
//
// What a chain promises is a small machine. It holds a number of out events, and knows which of those who opened it have seen its
// last record. Opening it makes one more of them, and tells the number. An append holds only of one of them, and makes all others
// outsiders; of an outsider it is refused. An append without an answer may have happened or not, at any time since. Whether some
// order of all calls, that keeps to what came before what, makes such a machine give just these answers is what porcupine finds
// out. Besides, where a chain's content is still there, every record that was answered must be in it, each once, in order, and no
// record that nobody wrote.
package linear

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/history"
)

// A Life is what one process wrote down.
type Life struct {
	Name  string // of its file, without the ending
	Lines []history.Line
}

// A ChainID names a chain among all pipelines.
type ChainID struct {
	Pipeline string
	schemas.ChainID
}

// String is "<pipeline>/<job>/<stage>".
func (c ChainID) String() string { return c.Pipeline + "/" + c.ChainID.String() }

// Load reads all files of a folder.
func Load(dir string) (lives []Life, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	for _, f := range files {
		lines, err := history.Read(f)
		if err != nil {
			return nil, err
		}
		lives = append(lives, Life{strings.TrimSuffix(filepath.Base(f), ".jsonl"), lines})
	}
	return lives, err
}

// A call is one open, append or commit with its answer.
type call struct {
	line     history.Line
	life     int
	answered bool
	answer   history.Line
}

// calls pairs calls with answers, by chain.
func calls(lives []Life) map[ChainID][]*call {
	all := map[ChainID][]*call{}
	for k, life := range lives {
		open := map[uint64]*call{}
		for _, l := range life.Lines {
			switch l.Op {
			case history.Open, history.Append, history.Commit:
				c := &call{line: l, life: k}
				open[l.Call] = c
				id := ChainID{l.Pipeline, l.Chain}
				all[id] = append(all[id], c)
			case history.Answer:
				if c := open[l.Call]; c != nil {
					c.answered, c.answer = true, l
				}
			}
		}
	}
	return all
}

// confirm takes back the answers that came before what they are about was stored. It was stored when a later append or commit of
// the same holder that waits for that was answered; without one nobody knows.
func confirm(calls []*call) {
	type hold struct {
		life   int
		handle uint64
	}
	stored := map[hold]int64{} // when the earliest of the later ones was answered
	for _, c := range slices.Backward(calls) {
		of := hold{c.life, c.line.Handle}
		switch {
		case c.line.Op == history.Open || c.answer.Outcome != history.Done:
		case !c.line.Ahead:
			stored[of] = c.answer.At
		case stored[of] > 0:
			c.answer.At = stored[of]
		default:
			c.answered, c.answer = false, history.Line{}
		}
	}
}

// A Verdict is what Check found.
type Verdict struct {
	Chains, Operations int
	Violations         []string
}

// judgeFor is how long one chain may be thought about, and mostOperations how long its history may be: longer ones are only looked
// through. There is no chain of which nothing is judged.
const (
	judgeFor       = 20 * time.Second
	mostOperations = 5000
)

// Allowance is what a broker may do besides.
type Allowance struct {
	Ahead     bool // answer before what it answers is stored, where it was told that it may
	Neighbour bool // refuse who holds a chain for what another process writes to a chain beside it
	Compact   bool // keep only the last checkpoint of a chain
}

// Check judges every chain. content has what chains hold now, of those that were not trimmed; see Content.
func Check(lives []Life, content map[ChainID][]string, may Allowance) (v Verdict) {
	all, machine := calls(lives), machineOf(may)
	if may.Ahead {
		for _, calls := range all {
			confirm(calls)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(all), func(a, b ChainID) int { return strings.Compare(a.String(), b.String()) }) {
		v.Chains++
		if held, ok := content[id]; ok {
			for _, what := range unbroken(all[id], held, may) {
				v.Violations = append(v.Violations, fmt.Sprintf("history of %s: %s", id, what))
			}
		}
		operations := operations(all[id])
		v.Operations += len(operations)
		if len(operations) > mostOperations {
			continue
		}
		if porcupine.CheckOperationsTimeout(machine, operations, judgeFor) == porcupine.Illegal {
			v.Violations = append(v.Violations, fmt.Sprintf("history of %s: no order of its %d calls explains their answers", id, len(operations)))
		}
	}
	return v
}

// Content reads what the chains of a history hold: their records in order, pages left out.
func Content(ctx context.Context, b transport.Broker, lives []Life) (map[ChainID][]string, error) {
	content := map[ChainID][]string{}
	logs := map[[2]string]bool{}
	for id := range calls(lives) {
		if strings.HasSuffix(id.Stage, ".floor") { // trimmed whatever else is kept
			continue
		}
		logs[[2]string{id.Pipeline, id.Stage}] = true
		content[id] = nil
	}
	for names := range logs {
		log, err := b.Log(ctx, transport.LogConfig{Pipeline: names[0], Stage: names[1]})
		if err != nil {
			return nil, err
		}
		c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out, transport.DeadLetter, transport.Control, transport.Snapshot}, Drain: true}
		err = transport.Each(ctx, log, c, func(s *transport.Stored) error {
			id, name := ChainID{names[0], s.Chain}, ""
			if s.Kind == transport.Snapshot {
				name = history.CheckpointFingerprint(s.Checkpoint)
			} else {
				name = history.Fingerprint(s.Kind, &s.Event, nil)
			}
			content[id] = append(content[id], name)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return content, nil
}

// unbroken looks through a chain: is all in it that was answered, nothing that nobody wrote, and all in order?
func unbroken(calls []*call, held []string, may Allowance) (wrong []string) {
	place, count := map[string]int{}, map[string]int{}
	next := uint64(1)
	for k, r := range held {
		place[r] = k
		count[r]++
		if n, out := outSequence(r); out {
			if n != next {
				wrong = append(wrong, fmt.Sprintf("out event %d stands where %d should", n, next))
			}
			next = n + 1
		}
	}
	sure, tried := map[string]int{}, map[string]int{}
	var stored []*call
	for _, c := range calls {
		for k, r := range c.line.Records {
			compacted := may.Compact && count[r] == 0 && strings.HasPrefix(r, transport.Snapshot.String()) && laterCheckpoint(calls, c, count)
			if compacted || strings.HasPrefix(r, transport.Page.String()) {
				continue
			}
			tried[r]++
			if c.answered && k < c.answer.Stored {
				sure[r]++
				stored = append(stored, &call{line: history.Line{At: c.line.At, Records: []string{r}}, answer: c.answer})
			}
		}
	}
	for r, n := range sure {
		if count[r] < n {
			wrong = append(wrong, fmt.Sprintf("%s was stored %d times by the answers, and lies there %d times", r, n, count[r]))
		}
	}
	for r, n := range count {
		if tried[r] < n {
			wrong = append(wrong, fmt.Sprintf("%s lies there %d times, and was written %d times", r, n, tried[r]))
		}
	}
	slices.SortFunc(stored, func(a, b *call) int { return place[a.line.Records[0]] - place[b.line.Records[0]] })
	latest := int64(0) // call of a record that lies before
	for _, c := range stored {
		if count[c.line.Records[0]] > 1 { // which of them it is nobody can tell
			continue
		}
		if c.answer.At < latest {
			wrong = append(wrong, fmt.Sprintf("%s lies behind a record that was written after it", c.line.Records[0]))
		}
		latest = max(latest, c.line.At)
	}
	return wrong
}

// laterCheckpoint says whether a checkpoint is held that may have been stored after that of the call.
func laterCheckpoint(calls []*call, c *call, held map[string]int) bool {
	return slices.ContainsFunc(calls, func(o *call) bool {
		return o.line.Op == history.Commit && held[o.line.Records[0]] > 0 && (!o.answered || o.answer.At > c.line.At)
	})
}

// outSequence is the sequence of an out event's fingerprint.
func outSequence(r string) (n uint64, out bool) {
	if !strings.HasPrefix(r, transport.Out.String()+"/") {
		return 0, false
	}
	_, err := fmt.Sscanf(r, "out/%d/", &n)
	return n, err == nil
}

// An input of the machine: an open, or one record of an append.
type input struct {
	open   bool
	holder string
	out    uint64 // sequence of an out event, 0 for any other record
}

// An output of the machine.
type output struct {
	outcome history.Outcome // "" or unknown: nobody knows
	out     uint64          // of an open
}

// operations are the calls as the machine takes them. The records of an append are one each.
func operations(calls []*call) (list []porcupine.Operation) {
	for _, c := range calls {
		l := c.line
		back := int64(math.MaxInt64) // what has no answer may still happen
		if c.answered {
			back = c.answer.At
		}
		if l.Op == history.Open {
			if c.answered && c.answer.Outcome == history.Done {
				list = append(list, porcupine.Operation{ClientId: c.life, Call: l.At, Return: back,
					Input: input{open: true, holder: holder(c.life, l.Call)}, Output: output{history.Done, c.answer.Out}})
			}
			continue
		}
		in := func(k int) input {
			n, _ := outSequence(l.Records[k])
			return input{holder: holder(c.life, l.Handle), out: n}
		}
		for k := range c.answer.Stored {
			list = append(list, porcupine.Operation{ClientId: c.life, Call: l.At, Return: back, Input: in(k), Output: output{outcome: history.Done}})
		}
		if k := c.answer.Stored; k < len(l.Records) {
			switch c.answer.Outcome {
			case history.Stale:
				list = append(list, porcupine.Operation{ClientId: c.life, Call: l.At, Return: back, Input: in(k), Output: output{outcome: history.Stale}})
			case history.Full, history.Refused:
			default:
				for ; k < len(l.Records); k++ {
					list = append(list, porcupine.Operation{ClientId: c.life, Call: l.At, Return: math.MaxInt64, Input: in(k), Output: output{}})
				}
			}
		}
	}
	return list
}

func holder(life int, open uint64) string { return fmt.Sprintf("%d.%d ", life, open) }

// A state of the machine: the out events, and who knows the last record.
type state struct {
	out   uint64
	knows string // holders, each with a blank behind it, in order of opening since the last record
}

func machineOf(may Allowance) porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(s, in, out any) []any { return step(s.(state), in.(input), out.(output), may) },
	}).ToModel()
}

func step(s state, in input, out output, may Allowance) []any {
	if in.open {
		if s.out != out.out {
			return nil
		}
		return []any{state{s.out, s.knows + in.holder}}
	}
	inside := strings.HasPrefix(s.knows, in.holder) || strings.Contains(s.knows, " "+in.holder)
	after := state{s.out, in.holder}
	holds := inside && (in.out == 0 || in.out == s.out+1)
	if in.out > 0 {
		after.out = in.out
	}
	switch {
	case out.outcome == history.Done && holds:
		return []any{after}
	case out.outcome == history.Stale && (!inside || may.Neighbour):
		return []any{s}
	case out.outcome == "" && holds:
		return []any{s, after}
	case out.outcome == "":
		return []any{s}
	}
	return nil
}
