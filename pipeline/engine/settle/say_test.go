package settle

import (
	"fmt"
	"strings"

	"github.com/milepost-dev/milepost/schemas"
)

var doNames = [...]string{"", "load", "open", "drop", "restore", "read", "step", "append", "checkpoint", "commit", "wait", "leave"}
var endingNames = [...]string{"", "ended", "halted", "stopped", "cancelled", "drained", "lost", "broken"}
var opNames = [...]string{"", "start", "loaded", "opened", "restored", "arrived", "gone", "stepped", "appended", "saved", "waited", "command"}
var outcomeNames = [...]string{"done", "stale", "unknown", "full", "failed", "withheld"}
var failureNames = [...]string{"ok", "temporary", "permanent", "not begun", "interrupted"}
var methodNames = [...]string{"process", "read", "write", "finish", "nothing"}
var wantNames = [...]string{"checkpoint", "drain", "cancel", "resume"}
var kindNames = [...]string{"data", "progress", "end"}

// sayAction is one line of a script.
func sayAction(a *Action) string {
	s := doNames[a.Do]
	switch a.Do {
	case Restore:
		if a.Checkpoint == nil {
			return s + " fresh"
		}
		return s + fmt.Sprintf(" %s out %d", sayCursor(a.Checkpoint.Cursor.Edges), a.Checkpoint.Out)
	case Read:
		return s + fmt.Sprintf(" edge %d behind %d", a.Edge, a.Position)
	case Step:
		c := &a.Step
		s += fmt.Sprintf(" %s %d/%d first %d", methodNames[c.Method], c.Event.Edge, c.Event.Sequence, c.First)
		if c.Progress {
			s += " progress"
		}
	case Append:
		return s + " " + sayWrite(&a.Append)
	case SaveCheckpoint:
		return s + fmt.Sprintf(" %s out %d inputs %d", sayCursor(a.Checkpoint.Cursor.Edges), a.Checkpoint.Out, a.Checkpoint.Inputs)
	case CommitStore:
		return s + fmt.Sprintf(" %s to %s epoch %d", sayCursor(a.From.Edges), sayCursor(a.To.Edges), a.To.Merge[0])
	case Wait:
		return s + " " + a.After.String()
	case Leave:
		return strings.TrimSpace(s + " " + endingNames[a.Ending] + " " + a.Reason)
	}
	return s
}

func sayWrite(a *Write) string {
	switch a.Kind {
	case WriteOutputs:
		return fmt.Sprintf("outputs %d to %d", a.From, a.To)
	case WriteEnd:
		return fmt.Sprintf("end event %d consumed %d", a.Sequence, a.End.Consumed)
	case WriteLetter:
		return fmt.Sprintf("dead letter %s %s/%d attempts %d %s", a.Decision, a.Input.Edge, a.Input.Sequence, a.Attempts, sayCursor(a.Cursor.Edges))
	}
	return strings.TrimSpace(fmt.Sprintf("control %s %s/%d n %d %s", a.Control, a.Input.Edge, a.Input.Sequence, a.Attempts, a.Reason))
}

func sayCursor(edges []schemas.EdgeCursor) string {
	var b strings.Builder
	for _, e := range edges {
		fmt.Fprintf(&b, " %s/%d", e.Stage, e.Sequence)
		if e.Ended {
			b.WriteString(" ended")
		}
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}

func sayInput(in *Input) string {
	s := opNames[in.Op]
	switch in.Op {
	case Arrived:
		return s + fmt.Sprintf(" %d/%d %s time %d", in.Event.Edge, in.Event.Sequence, kindNames[in.Event.Kind], in.Event.Time)
	case Opened:
		return s + fmt.Sprintf(" %s out %d behind %d", outcomeNames[in.Outcome], in.State.Out, len(in.State.Behind))
	case Stepped:
		return s + fmt.Sprintf(" %s outputs %d eof %v", failureNames[in.Failure], len(in.Outputs), in.EOF)
	case Command:
		return s + " " + wantNames[in.Command.Want]
	case Appended, Saved, Loaded:
		return s + fmt.Sprintf(" %s %d", outcomeNames[in.Outcome], in.N)
	}
	return s
}
