package settle

import (
	"encoding/binary"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// reopen looks at what is stored, after the start and whenever it is in doubt. A sink's store is read before the chain, so
// that whatever the store's cursor rests on, a skip for one, is known.
func (i *Instance) reopen() bool {
	i.known, i.again, i.intent = false, false, outputs
	i.lose()
	if i.cfg.Role == Sink && !ChainBeforeStore.on() {
		return i.ask(Loaded, Action{Do: Load})
	}
	return i.ask(Opened, Action{Do: Open})
}

// lose forgets the stage's instance and the events that wait for it.
func (i *Instance) lose() {
	i.restored, i.dirty = false, false
	for k := range i.queues {
		i.queues[k].reading = 0
	}
	i.do(Action{Do: Drop})
}

func (i *Instance) loaded(in *Input) bool {
	if in.Outcome != Done {
		return i.failing()
	}
	i.store = in.Cursor.Clone()
	if ChainBeforeStore.on() {
		return i.look(i.opened0)
	}
	return i.ask(Opened, Action{Do: Open})
}

func (i *Instance) open(in *Input) bool {
	if in.Outcome != Done {
		return i.failing()
	}
	if (i.cfg.Naive || UnknownAgain.on() && i.again) && i.known {
		return true
	}
	if ChainBeforeStore.on() && i.cfg.Role == Sink {
		i.opened0 = in.State
		return i.ask(Loaded, Action{Do: Load})
	}
	return i.look(in.State)
}

// failing waits before broker or store are asked again.
func (i *Instance) failing() bool {
	i.fails++
	return i.pause(i.fails)
}

// look reads what the chain holds, and leaves a job that is over.
func (i *Instance) look(st State) bool {
	over, err := i.learn(&st)
	switch {
	case err != nil && i.want.cancel:
		i.halt, i.end = nil, nil
		i.base = i.unread(&st)
	case err != nil:
		return i.leave(Broken, err.Error())
	case over != 0:
		return i.leave(over, "")
	}
	i.reopened = i.opened
	if !i.opened {
		i.opened, i.count, i.untried = true, i.counting(&st), st.untried()
		i.careful = i.count == countEach
	}
	// What a resume was for may not be there any more; one that names a letter may know more than this State.
	i.want.resume = i.want.resume && (i.halt != nil || i.want.of.Letter != 0)
	i.known, i.claimed = true, false
	return true
}

// unread is the place of the last checkpoint, or of a sink's store, as it is written, on a chain that makes no sense: what is
// yet to be stored there is that its job was cancelled, and whatever else it says stays as it is.
func (i *Instance) unread(st *State) place {
	p, at := startOf(i.cfg.Edges), i.store
	switch {
	case i.cfg.Role == Sink && len(at.Merge) == standBytes:
		i.epoch = binary.LittleEndian.Uint64(at.Merge)
	case i.cfg.Role != Sink && st.Checkpoint != nil:
		at = st.Checkpoint.Cursor
	}
	if len(at.Edges) > 0 {
		p.edges = at.Clone().Edges
	}
	return p
}

// counting: on a chain that holds nothing only the first step is counted, to leave a trace.
func (i *Instance) counting(st *State) counting {
	switch {
	case i.cfg.Naive || NoAttempt.on():
		return countNone
	case st.Out == 0 && st.Checkpoint == nil && len(st.Behind) == 0 && len(i.store.Edges) == 0:
		return countOnce
	}
	return countEach
}

// untried says whether all that the chain tells is that the stage was opened.
func (s *State) untried() bool {
	for k := range s.Behind {
		if c := s.Behind[k].Control; c == nil || c.Kind != schemas.ControlAttempt || c.Input != (schemas.InputRef{}) {
			return false
		}
	}
	return s.Out == 0 && s.Checkpoint == nil
}

func (i *Instance) learn(st *State) (over Ending, err error) {
	i.ledger.forget()
	i.halt, i.end, i.outs, i.stored, i.opens = nil, nil, i.outs[:0], st.Out, 0
	if over = st.over(); over != 0 { // of such a chain anything may be trimmed
		return over, nil
	}
	if i.base, err = i.begin(st); err != nil {
		return 0, err
	}
	for k := range st.Behind {
		if err = i.record(&st.Behind[k]); err != nil {
			return 0, err
		}
	}
	if i.compares() && i.base.out+uint64(len(i.outs)) != i.stored {
		return 0, fmt.Errorf("the chain's out events %d to %d are not all there", i.base.out+1, i.stored)
	}
	i.ledger.settle(&i.base)
	return 0, nil
}

// over says whether an end or a cancel is stored.
func (s *State) over() Ending {
	for k := len(s.Behind) - 1; k >= 0; k-- {
		switch c := s.Behind[k].Control; {
		case c == nil:
		case c.Kind == schemas.ControlEnd:
			return Ended
		case c.Kind == schemas.ControlCancel:
			return Cancelled
		}
	}
	return 0
}

// begin is the place of the last checkpoint.
func (i *Instance) begin(st *State) (p place, err error) {
	i.point = st.Checkpoint
	switch {
	case i.cfg.Role == Sink:
		return i.stand()
	case st.Checkpoint == nil:
		p = startOf(i.cfg.Edges)
	default:
		p, err = placeOf(i.cfg.Edges, st.Checkpoint)
	}
	if i.cfg.Naive {
		i.point, p.out, p.outBytes = nil, st.Out, st.OutBytes
	}
	return p, err
}

// compares says whether regenerated events are compared with stored ones.
func (i *Instance) compares() bool { return i.cfg.Role != Sink && !i.cfg.Naive }

// record takes one record in; the last one about an input wins.
func (i *Instance) record(r *Record) error {
	switch {
	case r.Letter != nil:
		return i.readLetter(r)
	case r.Control != nil:
		return i.readControl(r)
	}
	if n := i.base.out + uint64(len(i.outs)) + 1; i.compares() && r.Sequence != n {
		return fmt.Errorf("out event %d stands where %d is due", r.Sequence, n)
	}
	i.outs, i.opens = append(i.outs, Output{Hash: r.Hash, Bytes: r.Bytes}), 0
	if r.End != nil {
		i.end = r.End
	}
	return nil
}

func (i *Instance) about(ref schemas.InputRef) (*entry, error) {
	edge := i.cfg.edge(ref.Edge)
	if edge < 0 {
		return nil, fmt.Errorf("a record about %s/%d, which is no input of this stage", ref.Edge, ref.Sequence)
	}
	e := i.ledger.at(inputKey{edge, ref.Sequence})
	e.recorded = true
	return e, nil
}

func (i *Instance) readLetter(r *Record) error {
	e, err := i.about(r.Letter.Input)
	if err != nil {
		return err
	}
	e.skip = r.Letter.Decision == schemas.Skip
	if !e.skip && !TwoRecords.on() {
		halt := *r
		i.halt = &halt
	}
	return nil
}

func (i *Instance) readControl(r *Record) error {
	c := r.Control
	switch c.Kind {
	case schemas.ControlHalt:
		halt := *r
		i.halt = &halt
		return nil
	case schemas.ControlResume:
		i.halt, i.opens = nil, 0
	case schemas.ControlAttempt:
		if c.Input == (schemas.InputRef{}) {
			i.opens = c.Attempt
		}
	}
	if c.Input == (schemas.InputRef{}) {
		return nil
	}
	e, err := i.about(c.Input)
	if err != nil {
		return err
	}
	e.skip, e.attempt = ResumeBehind.on() && c.Kind == schemas.ControlResume, c.Attempt
	return nil
}

// A sink's Cursor.Merge: epoch, number of inputs, running hash.
const standBytes = 8 + 8 + len(schemas.Hash{})

// stand is the place that a sink's store says.
func (i *Instance) stand() (place, error) {
	p, err := placeAt(i.cfg.Edges, i.store)
	m := i.store.Merge
	if err != nil || len(i.store.Edges) == 0 && len(m) == 0 {
		i.epoch = 0
		return p, err
	}
	if len(m) != standBytes {
		return p, fmt.Errorf("the store's cursor holds %d bytes of ours, not %d", len(m), standBytes)
	}
	i.epoch = binary.LittleEndian.Uint64(m)
	p.inputs = binary.LittleEndian.Uint64(m[8:])
	copy(p.hash[:], m[16:])
	return p, nil
}

// standing is the cursor that a sink's store is to hold for a place.
func standing(p *place, epoch uint64) schemas.Cursor {
	c := p.cursor()
	c.Merge = make([]byte, standBytes)
	binary.LittleEndian.PutUint64(c.Merge, epoch)
	binary.LittleEndian.PutUint64(c.Merge[8:], p.inputs)
	copy(c.Merge[16:], p.hash[:])
	return c
}

// restore opens the stage's instance anew at the last checkpoint and reads all edges from there.
func (i *Instance) restore() bool {
	if i.cfg.Role == Sink && i.dirty { // what was written but not committed is dropped by asking for the cursor
		return i.reopen()
	}
	i.lose()
	i.at.set(&i.base)
	i.ledger.settle(&i.base)
	i.since.inputs, i.since.bytes, i.failed, i.ran = 0, 0, OK, Event{}
	if i.cfg.Role == Sink {
		i.restored = true
	} else {
		i.ask(Restored, Action{Do: Restore, Checkpoint: i.point})
	}
	if i.cfg.Role == Reader {
		return true
	}
	for k := range i.queues {
		if !i.at.edges[k].Ended {
			i.queues[k].reset(i.at.edges[k])
			i.read(k, &i.queues[k])
		}
	}
	return true
}
