package settle

import (
	"encoding/json"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// A State is what a chain held when it was opened, as the core reads it.
type State struct {
	Out        uint64 // sequence of the last out event, 0 none
	OutBytes   uint64
	Checkpoint *transport.Checkpoint // the last one, nil: none
	Behind     []Record              // the records behind it in order
}

// A Record is one stored record behind the last checkpoint. Letter, Control and End say of which kind it is; with none of
// them it is an out event of a step.
type Record struct {
	Position schemas.Position
	Cursor   *schemas.Cursor // of a dead letter or a control
	Letter   *schemas.DeadLetter
	Control  *schemas.Control
	End      *schemas.End // of an end event
	Sequence uint64       // of an out event
	Hash     schemas.Hash // of an out event
	Bytes    int          // of an out event
}

// StateOf reads a transport's State: the documents of dead letters and controls, the hashes of out events. Behind must hold
// events with their data.
func StateOf(s transport.State) (State, error) {
	st := State{Out: s.Out, OutBytes: s.OutBytes, Checkpoint: s.Checkpoint, Behind: make([]Record, 0, len(s.Behind))}
	for k := range s.Behind {
		r, ok, err := recordOf(&s.Behind[k])
		if err != nil {
			return st, fmt.Errorf("chain %s: %s record at %d: %w", s.Behind[k].Chain, s.Behind[k].Kind, s.Behind[k].Position, err)
		}
		if ok {
			st.Behind = append(st.Behind, r)
		}
	}
	return st, nil
}

func recordOf(s *transport.Stored) (r Record, ok bool, err error) {
	r = Record{Position: s.Position, Cursor: s.Cursor}
	switch s.Kind {
	case transport.Out:
		r.Sequence, r.Hash, r.Bytes = s.Event.Sequence, s.Event.Hash(), s.Bytes
		if s.Event.Type == schemas.TypeEnd {
			err = json.Unmarshal(s.Event.Data, &r.End)
		}
	case transport.DeadLetter:
		err = json.Unmarshal(s.Event.Data, &r.Letter)
	case transport.Control:
		err = json.Unmarshal(s.Event.Data, &r.Control)
	default:
		return r, false, nil
	}
	return r, err == nil, err
}

// A place is what a stage's state has seen and emitted.
type place struct {
	edges    []schemas.EdgeCursor
	inputs   uint64
	hash     schemas.Hash
	out      uint64
	outBytes uint64
}

// startOf is the place before the first input.
func startOf(edges []string) place {
	p := place{edges: make([]schemas.EdgeCursor, len(edges))}
	for k, name := range edges {
		p.edges[k].Stage = name
	}
	return p
}

// placeOf is the place of a checkpoint; an error when it is not one of these edges.
func placeOf(edges []string, c *transport.Checkpoint) (place, error) {
	p, err := placeAt(edges, c.Cursor)
	p.inputs, p.out, p.outBytes = c.Inputs, c.Out, c.OutBytes
	copy(p.hash[:], c.InputHash)
	return p, err
}

func placeAt(edges []string, c schemas.Cursor) (place, error) {
	p := startOf(edges)
	if len(c.Edges) == 0 {
		return p, nil
	}
	if len(c.Edges) != len(edges) {
		return p, fmt.Errorf("a cursor of %d edges, the stage has %d", len(c.Edges), len(edges))
	}
	for k, e := range c.Edges {
		if e.Stage != edges[k] {
			return p, fmt.Errorf("a cursor's edge %d is %s, the stage's is %s", k, e.Stage, edges[k])
		}
		p.edges[k] = e
	}
	return p, nil
}

// set makes p a copy of q, in p's own memory.
func (p *place) set(q *place) {
	edges := append(p.edges[:0], q.edges...)
	*p = *q
	p.edges = edges
}

func (p *place) cursor() schemas.Cursor {
	return schemas.Cursor{Edges: append([]schemas.EdgeCursor(nil), p.edges...)}
}

// ended says whether every edge has.
func (p *place) ended() bool {
	for k := range p.edges {
		if !p.edges[k].Ended {
			return false
		}
	}
	return true
}

// taken is the number of events that the cursor has passed, skipped ones too.
func (p *place) taken() (n uint64) {
	for k := range p.edges {
		n += p.edges[k].Sequence
	}
	return n
}

// pass moves the place behind an input.
func (p *place) pass(e *Event) {
	p.edges[e.Edge].Sequence, p.edges[e.Edge].Position = e.Sequence, e.Position
	p.edges[e.Edge].Ended = e.Kind == End
}

// count takes the input into the count and the running hash that the end event tells.
func (p *place) count(h *schemas.Hash) {
	p.inputs++
	p.hash = fold(p.hash, h)
}

func (p *place) checkpoint() *transport.Checkpoint {
	return &transport.Checkpoint{Cursor: p.cursor(), Out: p.out, OutBytes: p.outBytes, InputHash: append([]byte(nil), p.hash[:]...), Inputs: p.inputs}
}
