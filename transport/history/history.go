// Package history writes down what a process asked of a broker and what it was told, so that a test can judge from outside
// whether all processes together saw what they were promised.
//
// A Recorder's file has one JSON line for a call before it is made and one for its answer, each written at once: of a process
// that is killed in between, the call is known to have no answer. Times are those of the machine's monotonic clock, so that
// lines of several processes on it can be compared whatever becomes of the clock on the wall.
package history

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Op is what a Line is about.
type Op string

// The operations. Calls have an answer: open, append and commit; the others happened.
const (
	Open    Op = "open"    // a chain; its answer says how many out events it holds
	Append  Op = "append"  // records to a chain
	Commit  Op = "commit"  // a checkpoint to a chain
	Answer  Op = "answer"  // to the call of that number
	Deliver Op = "deliver" // an event of a jobs log was handed out under the name of a durable consumer
	Rerun   Op = "rerun"   // an input was taken again after a crash or a takeover
)

// Outcome is what a call was told.
type Outcome string

// The outcomes; "" is that of a call without an answer.
const (
	Done    Outcome = "done"
	Stale   Outcome = "stale"
	Unknown Outcome = "unknown"
	Full    Outcome = "full"
	Refused Outcome = "refused" // for certain not stored: the record breaks a rule, or is too large
	Failed  Outcome = "failed"  // anything else
)

// A Line is one line of the file.
type Line struct {
	Op       Op              `json:"op"`
	At       int64           `json:"at"`               // monotonic, nanoseconds
	Call     uint64          `json:"call,omitempty"`   // number of the call in this process, from 1
	Handle   uint64          `json:"handle,omitempty"` // of append and commit: the call that opened the chain
	Pipeline string          `json:"pipeline,omitempty"`
	Chain    schemas.ChainID `json:"chain,omitzero"`
	Records  []string        `json:"records,omitempty"`  // what is to be stored, in order; see Fingerprint
	Ahead    bool            `json:"ahead,omitempty"`    // of an append: its answer may come before it is stored, see transport.Chain
	Stored   int             `json:"stored,omitempty"`   // of an append's answer: how many were
	Out      uint64          `json:"out,omitempty"`      // of an open's answer: sequence of the last out event
	Outcome  Outcome         `json:"outcome,omitempty"`  // of an answer
	Durable  string          `json:"durable,omitempty"`  // of a delivery
	Sequence uint64          `json:"sequence,omitempty"` // of a delivered event; of an input taken again
	Edge     string          `json:"edge,omitempty"`     // of an input taken again
}

// Fingerprint names a record by its kind, its sequence and its content: "out/17/5f0c…".
func Fingerprint(kind transport.Kind, e *schemas.Event, page *transport.PageData) string {
	if kind == transport.Page {
		return fmt.Sprintf("%s/0/%s", kind, page.Hash)
	}
	h := e.Hash()
	name := fmt.Sprintf("%s/%d/%s", kind, e.Sequence, hex.EncodeToString(h[:8]))
	var c schemas.Control
	if kind == transport.Control && json.Unmarshal(e.Data, &c) == nil {
		name += "/" + string(c.Kind)
	}
	return name
}

// Ends says whether a record with that fingerprint ends its chain.
func Ends(fingerprint string) bool {
	return strings.HasSuffix(fingerprint, "/"+string(schemas.ControlEnd)) || strings.HasSuffix(fingerprint, "/"+string(schemas.ControlCancel))
}

// CheckpointFingerprint names a checkpoint by the out event and the inputs that it stands behind.
func CheckpointFingerprint(c *transport.Checkpoint) string {
	return fmt.Sprintf("%s/%d/%d-%x", transport.Snapshot, c.Out, c.Inputs, c.InputHash)
}

// A Recorder writes lines; safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	file  *os.File
	calls uint64
}

// Create opens a file to append lines to.
func Create(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &Recorder{file: f}, nil
}

// Close closes the file.
func (r *Recorder) Close() error { return r.file.Close() }

// Reran notes an input that was taken again.
func (r *Recorder) Reran(id schemas.ChainID, input schemas.InputRef) {
	r.note(Line{Op: Rerun, Chain: id, Edge: input.Edge, Sequence: input.Sequence})
}

// call writes a call down and numbers it.
func (r *Recorder) call(l Line) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	l.Call = r.calls
	r.write(l)
	return l.Call
}

func (r *Recorder) note(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(l)
}

// write writes one line in one piece; r.mu is held. A history that cannot be written is found to be short by whoever reads it.
func (r *Recorder) write(l Line) {
	l.At = monotonic()
	data, err := json.Marshal(l)
	if err != nil {
		return
	}
	_, _ = r.file.Write(append(data, '\n'))
}

// outcomeOf reads an error of an append or commit.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Done
	case errors.Is(err, transport.ErrStale):
		return Stale
	case errors.Is(err, transport.ErrUnknown):
		return Unknown
	case errors.Is(err, transport.ErrFull):
		return Full
	case errors.Is(err, transport.ErrTooLarge):
		return Refused
	}
	return Failed
}

// Read reads a file's lines; one that a kill cut off at the end is left out.
func Read(path string) (lines []Line, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(lines)+1, err)
		}
		lines = append(lines, l)
	}
}

// Now is the time as Lines have it, for whoever disturbs the processes.
func Now() time.Duration { return time.Duration(monotonic()) }
