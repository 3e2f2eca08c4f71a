package settle

import (
	"encoding/hex"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// The mutants of what is around the core.
const (
	NoFence         = FirstSimulated + iota // rule 1: appends are not fenced
	CheckpointApart                         // rule 2: checkpoints are kept apart from the outputs, without their fence
	LetterApart                             // rule 6: so are dead letters
	AckBeforeAppend                         // rule 3: the delivery is acked when it is taken
	ExpiringRecords                         // rule 9: a TTL in the chain
	LastRemoved                             // rule 9: a job that is over is removed, and with it the last record under the prefix
	TrimAhead                               // rule 9: trimming by what consumers have read, not by their checkpoints
	StoreUncompared                         // sinks: commit does not compare the cursor it began with
	StoreApart                              // sinks: rows are stored before, and apart from, the cursor
	TrustOffsets                            // rule 3: reading begins where the broker says that one has read to
	lastMutant
)

// A chain is all that one stage stored, and the store of a sink.
type chain struct {
	records []stored
	archive []ev // every out event ever stored
	trimmed int  // how many of archive are gone

	cursor schemas.Cursor
	rows   map[uint64]uint64
	seen   []uint64 // by edge, what a holder has read; for a mutant
}

type stored struct {
	rec   Record
	ev    ev
	check *transport.Checkpoint
	at    int
	gone  bool
}

func (c *chain) reset() {
	rows := c.rows
	if rows == nil {
		rows = map[uint64]uint64{}
	}
	clear(rows)
	*c = chain{records: c.records[:0], archive: c.archive[:0], rows: rows, seen: c.seen[:0]}
}

// last is the position that an append has to know: that of the last record that is there.
func (c *chain) last() schemas.Position {
	for k := len(c.records) - 1; k >= 0; k-- {
		if !c.records[k].gone {
			return c.records[k].rec.Position
		}
	}
	return 0
}

// state is what Open says.
func (c *chain) state(behind []Record) State {
	s := State{}
	if n := len(c.archive); n > 0 && c.last() > 0 {
		s.Out = c.archive[n-1].seq
	}
	from := 0
	for k := len(c.records) - 1; k >= 0; k-- {
		if r := &c.records[k]; r.check != nil && !r.gone {
			s.Checkpoint, from = r.check, k
			break
		}
	}
	for k := from; k < len(c.records); k++ {
		if r := &c.records[k]; r.check == nil && !r.gone {
			behind = append(behind, r.rec)
		}
	}
	s.Behind = behind
	return s
}

// append stores one record behind the position that the writer knows.
func (w *world) append(c *chain, known *schemas.Position, r stored, fenced bool) bool {
	if fenced && !NoFence.on() && c.last() != *known {
		return false
	}
	w.position += schemas.Position(1 + w.draw(3))
	r.rec.Position, r.ev.pos, r.at = w.position, w.position, w.now
	c.records = append(c.records, r)
	if r.rec.Control == nil && r.rec.Letter == nil && r.check == nil {
		c.archive = append(c.archive, r.ev)
	}
	*known = w.position
	return true
}

// trim removes what nobody needs any more.
func (w *world) trim(n *node) {
	c := w.chains[n.index]
	if LastRemoved.on() && c.over() {
		for k := range c.records {
			c.records[k].gone = true
		}
	}
	n.consumers = n.consumers[:0]
	for _, t := range n.to {
		if !w.chains[t].over() {
			n.consumers = append(n.consumers, w.consumed(w.stages[t], n.index))
		}
	}
	below, ok := Floor(c.ownOut(), c.over(), n.consumers)
	if !ok {
		return
	}
	w.stats.trims++
	last := c.last()
	for k := range c.records {
		r := &c.records[k]
		if r.rec.Position <= below && r.rec.Control == nil && r.rec.Letter == nil && r.check == nil && r.rec.Position != last {
			r.gone = true
			c.trimmed = max(c.trimmed, int(r.ev.seq))
		}
	}
	c.dropCheckpoints()
}

func (c *chain) dropCheckpoints() {
	last := true
	for k := len(c.records) - 1; k >= 0; k-- {
		if c.records[k].check == nil {
			continue
		}
		if !last {
			c.records[k].gone = true
		}
		last = false
	}
}

func (c *chain) ownOut() uint64 {
	if k := c.checkpoint(); k != nil {
		return k.Out
	}
	return 0
}

func (c *chain) checkpoint() *transport.Checkpoint {
	for k := len(c.records) - 1; k >= 0; k-- {
		if r := &c.records[k]; r.check != nil && !r.gone {
			return r.check
		}
	}
	return nil
}

// consumed is the checkpointed cursor of a consumer on the edge from upstream.
func (w *world) consumed(n *node, upstream int) schemas.EdgeCursor {
	c := w.chains[n.index]
	cursor := c.cursor
	if n.cfg.Role != Sink {
		if k := c.checkpoint(); k != nil {
			cursor = k.Cursor
		}
	}
	edge := slices.Index(n.from, upstream)
	if TrimAhead.on() && len(c.seen) > edge && c.seen[edge] > 0 {
		e := w.chains[upstream].archive[c.seen[edge]-1]
		return schemas.EdgeCursor{Sequence: e.seq, Position: e.pos}
	}
	if len(cursor.Edges) == 0 {
		return schemas.EdgeCursor{}
	}
	return cursor.Edges[edge]
}

// over says whether an end or a cancel is stored.
func (c *chain) over() bool {
	for k := len(c.records) - 1; k >= 0; k-- {
		if t := c.records[k].rec.Control; t != nil && (t.Kind == schemas.ControlEnd || t.Kind == schemas.ControlCancel) {
			return true
		}
	}
	return false
}

func (c *chain) has(kind schemas.ControlKind) (n int) {
	for k := range c.records {
		if t := c.records[k].rec.Control; t != nil && t.Kind == kind {
			n++
		}
	}
	return n
}

// expire is what a TTL in a chain would do.
func (w *world) expire() {
	for _, c := range w.chains {
		for k := range c.records {
			if r := &c.records[k]; w.now-r.at > 60 && (r.check != nil || r.rec.Control != nil || r.rec.Letter != nil) {
				r.gone = true
			}
		}
	}
}

// commitStore is a sink's Commit.
func (c *chain) commitStore(from, to schemas.Cursor, rows map[uint64]uint64) bool {
	if !from.SameInput(c.cursor) && !StoreUncompared.on() {
		return false
	}
	for k, v := range rows {
		c.rows[k] = v
	}
	c.cursor = to
	return true
}

func hexOf(h schemas.Hash) string { return hex.EncodeToString(h[:]) }
