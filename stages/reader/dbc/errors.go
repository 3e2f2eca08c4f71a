package dbc

import (
	"fmt"
	"strings"
)

// A SyntaxError says which line of a database could not be read. Load joins one per bad line.
type SyntaxError struct {
	File   string // as given to Load
	Line   int    // from 1
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// An UnknownError says that a database has no message, or a message no signal, of a name or id, and what comes close.
type UnknownError struct {
	Kind  string   // "message" or "signal"
	Name  string   // what was asked for
	In    string   // the file, or the message
	Close []string // names that differ by a few letters, nearest first; may be empty
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("no %s %q in %s", e.Kind, e.Name, e.In)
	if len(e.Close) > 0 {
		s += "; close names: " + strings.Join(e.Close, ", ")
	}
	return s
}
