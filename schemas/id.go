package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A JobID names one item through one pipeline at one version: "j-" and 16 hexadecimal digits, derived by NewJobID, so that
// the same work has the same name whoever submits it.
type JobID string

// NewJobID hashes the parts that make a job's version (design: item identity, resolved pipeline configuration, stage
// versions, generation). Parts are length-prefixed, so no two lists collide by concatenation.
func NewJobID(parts ...string) JobID {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return JobID("j-" + hex.EncodeToString(h.Sum(nil)[:8]))
}

// Version is a short name of a pipeline's configuration, by its identity.
func Version(identity string) string {
	h := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(h[:8])
}

// A ChainID names all that one stage writes for one job. Stage is the node's name inside its pipeline.
type ChainID struct {
	Job   JobID  `json:"job"`
	Stage string `json:"stage"`
}

// String is "<job>/<stage>", the prefix of the ids of the chain's events.
func (c ChainID) String() string { return string(c.Job) + "/" + c.Stage }

// EventID is the CloudEvents id of a chain's event: "<job>/<stage>/<sequence>".
func (c ChainID) EventID(sequence uint64) string {
	return c.String() + "/" + strconv.FormatUint(sequence, 10)
}

// ParseEventID splits an id made by EventID.
func ParseEventID(id string) (ChainID, uint64, error) {
	last := strings.LastIndexByte(id, '/')
	first := strings.IndexByte(id, '/')
	if first <= 0 || last <= first {
		return ChainID{}, 0, fmt.Errorf("event id %q is not <job>/<stage>/<sequence>", id)
	}
	n, err := strconv.ParseUint(id[last+1:], 10, 64)
	if err != nil {
		return ChainID{}, 0, fmt.Errorf("sequence of event id %q: %w", id, err)
	}
	return ChainID{Job: JobID(id[:first]), Stage: id[first+1 : last]}, n, nil
}

// A Position is an event's place in the broker's log of its stage (JetStream: stream sequence; Kafka: offset + 1 in the
// chain's partition). 0 lies before the first. Positions of different logs or partitions are never compared.
type Position uint64

// A Cursor says how far a consumer has read each of its input edges, and holds what the merge of several edges remembers.
// Edges stand in the order of the stage's `from`. It stands in checkpoints, dead letters and control records.
type Cursor struct {
	Edges []EdgeCursor `json:"edges"`
	Merge []byte       `json:"merge,omitempty"` // opaque to all but the engine's merge
}

// An EdgeCursor is the last input taken from one edge: its Sequence in the upstream chain and its Position in the log.
// Sequence is the truth; Position is where to start reading and may be rebuilt from it.
type EdgeCursor struct {
	Stage    string   `json:"stage"`
	Sequence uint64   `json:"sequence"`
	Position Position `json:"position"`
	Ended    bool     `json:"ended,omitempty"` // the edge's end event was taken
}

// Clone returns a copy that shares nothing with c.
func (c Cursor) Clone() Cursor {
	return Cursor{Edges: append([]EdgeCursor(nil), c.Edges...), Merge: append([]byte(nil), c.Merge...)}
}

// Ended says whether the end of every edge was taken.
func (c Cursor) Ended() bool {
	for _, e := range c.Edges {
		if !e.Ended {
			return false
		}
	}
	return len(c.Edges) > 0
}

// SameInput says whether both cursors stand behind the same inputs; positions, which a mirror may change, do not count.
func (c Cursor) SameInput(d Cursor) bool {
	if len(c.Edges) != len(d.Edges) {
		return false
	}
	for i, e := range c.Edges {
		f := d.Edges[i]
		if e.Stage != f.Stage || e.Sequence != f.Sequence || e.Ended != f.Ended {
			return false
		}
	}
	return string(c.Merge) == string(d.Merge)
}
