package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// progressEvery is how many inputs without an output end in a progress event, on a path into a join: each. Then no edge of a join
// lags behind what was read by more than one input, however much the stages of the other edges make of theirs, and a log that
// holds two events of each job never waits for a silence to end. The rule must not depend on a broker's limits: progress
// events are part of the results.
const progressEvery = 1

// Variables for the tests of this package alone: small ones fill up sooner.
var (
	checkpointBytes uint64 = 4 << 20  // of inputs: half of what a producer may be ahead, and less
	edgeBudget      uint64 = 16 << 20 // bytes that a chain may be ahead of its slowest consumer's checkpoint
	joinBudget      uint64 = 64 << 20 // the same on an edge into a join, whose faster side runs ahead of the slower one
	trimStep        uint64 = 8 << 20  // bytes that make a trim worth its while
	edgeWindow             = 4 << 20  // bytes of one edge's events that an instance holds before it reads on: what waits in a join, mostly
)

// execute does what one action says; ok is false for actions that have no answer.
func (i *instance) execute(ctx context.Context, a settle.Action) (answer settle.Input, ok bool) {
	switch a.Do {
	case settle.Load:
		return i.load(ctx), true
	case settle.Open:
		return i.open(ctx), true
	case settle.Drop:
		i.drop()
	case settle.Restore:
		return i.restore(ctx, a.Checkpoint), true
	case settle.Read:
		i.edges[a.Edge].read(ctx, place{a.Position, a.Sequence}, a.Reading, i.arrivals)
	case settle.Step:
		return i.step(ctx, a.Step), true
	case settle.Append:
		return i.append(ctx, a.Append), true
	case settle.SaveCheckpoint:
		return i.save(ctx, a), true
	case settle.CommitStore:
		return i.commit(ctx, a.From, a.To), true
	case settle.Wait:
		i.release()
		i.sleep(max(a.After, time.Millisecond))
		return settle.Input{Op: settle.Waited}, true
	}
	return settle.Input{}, false
}

// load asks the sink what it has stored of the chain.
func (i *instance) load(ctx context.Context) settle.Input {
	var c schemas.Cursor
	err := i.store.call(ctx, func(ctx context.Context) error {
		at, err := i.store.sink.Cursor(ctx, i.store.of.ChainID)
		if ctx.Err() == nil { // one that was given up may come back later
			c = at
		}
		return err
	})
	if err == nil {
		if c, err = i.placed(ctx, c); err != nil {
			return settle.Input{Op: settle.Loaded, Outcome: i.outcomeOf("find the store's place in the chain", err)}
		}
	}
	if err != nil && i.store.failed(err, i.n.settings.Retry.Attempts) {
		// Nothing is known of what it holds: the first input that it would have to take is given up with this error.
		return settle.Input{Op: settle.Loaded}
	}
	if err == nil {
		i.consumed(c, true)
	}
	return settle.Input{Op: settle.Loaded, Cursor: c, Outcome: i.outcomeOf("read the store's cursor", err)}
}

// placed is the store's cursor with positions of this broker. A store outlives a move to another one (milepost mirror), where its
// position may be that of a later event, behind which nothing would ever come; any other wrong one is noticed by reading on.
func (i *instance) placed(ctx context.Context, c schemas.Cursor) (schemas.Cursor, error) {
	for k := range min(len(c.Edges), len(i.edges)) {
		at := c.Edges[k]
		if at.Sequence == 0 || at.Ended {
			continue
		}
		var last transport.Stored
		err := newest(ctx, i.edges[k].from.out, i.edges[k].id, func(s *transport.Stored) { last = *s }, transport.Out)
		if err != nil {
			return c, err
		}
		if last.Position != at.Position || last.Event.Sequence == at.Sequence {
			continue
		}
		c = c.Clone()
		if c.Edges[k].Position, err = i.edges[k].find(ctx, at.Sequence); err != nil {
			return c, err
		}
	}
	return c, nil
}

// open opens the job's chain at this node, and the account of what its consumers have yet to take.
func (i *instance) open(ctx context.Context) settle.Input {
	chain, state, err := i.n.out.Open(ctx, schemas.ChainID{Job: i.w.id, Stage: i.n.name})
	var st settle.State
	if err == nil {
		st, err = settle.StateOf(state)
	}
	switch {
	case err != nil || i.store != nil:
	case i.flow == nil:
		i.flow, err = i.n.e.flows.open(ctx, i.n, i.w.id, state.Out, state.OutBytes)
	default:
		i.flow.catchUp(state.Behind)
	}
	i.n.reach.emitted(i.w.id, state.Out)
	i.chain, i.pages = chain, map[transport.PageHash]bool{}
	i.before = triedBefore(&st)
	if state.Checkpoint != nil {
		i.savedOut, i.stateBytes, i.outdated = state.Checkpoint.Out, 0, 1 // how many lie before it is not known
		i.consumed(state.Checkpoint.Cursor, true)
		for _, h := range state.Checkpoint.Pages {
			i.pages[h] = true
		}
	}
	return settle.Input{Op: settle.Opened, State: st, Outcome: i.outcomeOf("open the chain", err)}
}

func (i *instance) drop() {
	i.stage.close()
	i.stage = nil
	for _, e := range i.edges {
		e.close()
	}
}

func (i *instance) restore(ctx context.Context, c *transport.Checkpoint) settle.Input {
	i.stage.close()
	i.stage = nil
	i.saved, i.taken = time.Now(), 0
	for !i.acquire() {
		if i.hear() || i.stopping() { // the core hears of it before it makes a step
			return settle.Input{Op: settle.Restored}
		}
	}
	var state []byte
	if c != nil {
		state = c.Snapshot
	}
	var err error
	i.stage, err = i.n.open(ctx, i.w, state, i.of.cancelled)
	return settle.Input{Op: settle.Restored, Failure: i.failure(err)}
}

// step runs one input through the stage, when its consumers have room for what it may emit.
func (i *instance) step(ctx context.Context, c settle.Call) settle.Input {
	if !i.room(ctx) {
		return settle.Input{Op: settle.Stepped, Failure: settle.NotBegun}
	}
	if !i.acquire() {
		return settle.Input{Op: settle.Stepped, Failure: settle.NotBegun}
	}
	i.taken++
	i.stepped = true
	i.outputs = nil
	if ref := i.refOf(c.Event); i.before.again(c, ref) {
		i.n.reran(i.w.id, ref)
	}
	in := settle.Input{Op: settle.Stepped}
	outputs, err := i.call(ctx, c)
	if err == errEnd {
		in.EOF, err = true, nil
	}
	if err == nil {
		err = i.fits(c, outputs)
	}
	if in.Failure = i.failed(c, err); in.Failure != settle.OK {
		return in
	}
	if len(outputs) == 0 && !in.EOF && (c.Progress || i.n.info.Nondeterministic && c.Method == settle.CallProcess) {
		outputs = append(outputs, output{event: i.n.progress(i.w, c.First, time.Unix(0, c.Event.Time).UTC())})
	}
	for k := range outputs {
		e := &outputs[k].event
		in.Outputs = append(in.Outputs, settle.Output{Hash: e.Hash(), Bytes: len(e.Data)})
	}
	i.outputs = outputs
	i.keepPace()
	return in
}

// call decodes the input and calls what the core says.
func (i *instance) call(ctx context.Context, c settle.Call) ([]output, error) {
	if c.Method == settle.CallRead {
		start := time.Now()
		outputs, err := i.stage.step(ctx, pipeline.Batch{}, c.First)
		i.n.meter.Step.Since(start)
		if p, ok := i.stage.reader.(pipeline.Progresser); ok && !i.stage.lost {
			i.n.e.progress.Store(i.w.id, p.Progress())
		}
		return outputs, err
	}
	if err := i.take(c.Event); err != nil {
		return nil, err
	}
	start := time.Now()
	batch, err := decode(i.input)
	i.n.meter.Decode.Since(start)
	if err != nil {
		return nil, err
	}
	defer i.n.meter.Step.Since(time.Now())
	switch {
	case c.Method == settle.CallFinish:
		batch.Type, batch.Docs = "", nil
		return i.stage.finish(ctx, batch, c.First)
	case c.Method == settle.CallNothing:
		return nil, nil
	}
	if ok, err := i.n.filter().wants(&i.input.Event, &batch); !ok || err != nil {
		return nil, err
	}
	if c.Method == settle.CallWrite {
		if i.store.refused != nil {
			return nil, pipeline.Permanent(i.store.refused)
		}
		return nil, i.store.call(ctx, func(ctx context.Context) error { return i.store.sink.Write(ctx, batch) })
	}
	return i.stage.step(ctx, batch, c.First)
}

// take fetches the input from its edge.
func (i *instance) take(e settle.Event) error {
	s, ok := i.edges[e.Edge].take(e.Sequence)
	if !ok {
		return fmt.Errorf("input %d of %s is not at hand", e.Sequence, i.edges[e.Edge].id)
	}
	i.input = s
	i.n.reach.took(i.w.id, e.Edge, e.Sequence)
	if !s.Event.Marks() {
		i.n.meter.In.Add(1)
		i.n.meter.InBytes.Add(int64(len(s.Event.Data)))
	}
	return nil
}

// fits refuses an event that the broker does not take, and a second one of a non-deterministic step, which is settled by its
// one event (rule 8).
func (i *instance) fits(c settle.Call, outputs []output) error {
	limit, whose := i.n.e.maxEvent, "the broker takes"
	if most := i.n.e.maxLog / logEvent; most > 0 && (limit == 0 || most < int64(limit)) {
		limit, whose = int(most), "a log of limits.max_bytes takes"
	}
	if n := len(outputs); n > 1 && i.n.info.Nondeterministic && c.Method == settle.CallProcess {
		return pipeline.Permanent(fmt.Errorf("%s emitted %d batches for one input, and may emit one: its outputs differ each time", i.n.info.Name, n))
	}
	for k := range outputs {
		if n := len(outputs[k].event.Data); limit > 0 && n > limit {
			return pipeline.Permanent(fmt.Errorf("an event of type %s has %d bytes, %s %d: emit smaller batches", outputs[k].event.Type, n, whose, limit))
		}
	}
	return nil
}

// keepPace waits until a paced reader's batch is due.
func (i *instance) keepPace() {
	if i.stage == nil || i.stage.pace == 0 && !i.paced {
		return
	}
	pace := i.stage.pace
	if !i.paced {
		i.paced, i.began, i.origin = true, time.Now(), pace
	}
	i.sleep(time.Until(i.began.Add(pace - i.origin)))
}

// failed books a step's error for the dead letter it may become.
func (i *instance) failed(c settle.Call, err error) settle.Failure {
	i.err = err
	ref := i.refOf(c.Event)
	switch {
	case err == nil:
		delete(i.fails, ref)
		return settle.OK
	case errors.Is(err, errInterrupted):
		return settle.Interrupted
	}
	f := i.fails[ref]
	f.stage = i.stage.failing()
	f.last = time.Now().UTC()
	if f.first.IsZero() {
		f.first = f.last
	} else {
		i.n.meter.Retries.Add(1)
	}
	i.fails[ref] = f
	i.n.meter.Errors.Add(1)
	i.n.log.Debug("a step failed", "recording", i.w.item.Name, "sequence", c.Event.Sequence, "error", err)
	return i.failure(err)
}

func (i *instance) failure(err error) settle.Failure {
	switch {
	case err == nil:
		return settle.OK
	case pipeline.IsPermanent(err):
		i.err = err
		return settle.Permanent
	}
	i.err = err
	return settle.Temporary
}

func (i *instance) refOf(e settle.Event) schemas.InputRef {
	if len(i.edges) == 0 {
		return schemas.InputRef{Sequence: e.Sequence}
	}
	return schemas.InputRef{Edge: i.edges[e.Edge].from.name, Sequence: e.Sequence}
}

// append stores what the core decided: outputs of the step in hand, or one record.
func (i *instance) append(ctx context.Context, w settle.Write) settle.Input {
	if w.Kind == settle.WriteControl && w.Control == schemas.ControlAttempt && w.Input.Sequence > 0 && !i.room(ctx) {
		return settle.Input{Op: settle.Appended, Outcome: settle.Withheld} // its step would have to wait
	}
	if suspected(&w) && !i.isolate() {
		return settle.Input{Op: settle.Appended, Outcome: settle.Withheld}
	}
	records, err := i.records(w)
	if err != nil {
		return settle.Input{Op: settle.Appended, Outcome: i.outcomeOf("make a record", err)}
	}
	start := time.Now()
	n, err := i.chain.Append(ctx, records...)
	if w.Kind == settle.WriteLetter && errors.Is(err, transport.ErrTooLarge) {
		if records, err = i.lean(w); err == nil {
			n, err = i.chain.Append(ctx, records...)
		}
	}
	i.n.meter.Append.Since(start)
	i.n.stored(n)
	for _, r := range records[:n] {
		i.stored(r)
	}
	if err != nil || !suspected(&w) {
		i.cleared()
	}
	switch {
	case errors.Is(err, transport.ErrFull):
		i.isFull(ctx)
	case err == nil && w.Kind == settle.WriteOutputs:
		i.n.full.end()
	}
	if err == nil && w.Kind == settle.WriteEnd && i.n.parts.Reader != nil {
		i.wasRead = true
		i.n.line.wasRead(i.w.id) // before the end control, which may end the job
	}
	if err == nil && w.Kind == settle.WriteLetter {
		delete(i.fails, w.Input)
		i.n.meter.DeadLetters.Add(1)
		i.n.log.Warn("an input was given up", "recording", i.w.item.Name, "sequence", w.Input.Sequence, "decision", w.Decision, "error", i.reason(w))
	}
	return settle.Input{Op: settle.Appended, N: n, Outcome: i.outcomeOf("append to the chain", err)}
}

// stored books one record that the broker has.
func (i *instance) stored(r transport.Record) {
	if r.Kind != transport.Out {
		return
	}
	i.n.reach.emitted(i.w.id, r.Event.Sequence)
	if !r.Event.Marks() {
		i.n.meter.Out.Add(1)
		i.n.meter.OutBytes.Add(int64(len(r.Event.Data)))
	}
	if i.flow != nil {
		i.flow.produced(r.Event.Sequence, len(r.Event.Data))
	}
	// Of what lies behind the last checkpoint nothing can be trimmed: where the log is small, checkpoints come sooner. All jobs
	// that are at work share the log: what lies behind all their checkpoints must leave room.
	i.unsavedBytes += int64(len(r.Event.Data))
	if share := i.n.share(); share > 0 && i.unsavedBytes > share {
		i.due = true
	}
}

// records makes the records of one append.
func (i *instance) records(w settle.Write) ([]transport.Record, error) {
	switch w.Kind {
	case settle.WriteOutputs:
		records := make([]transport.Record, 0, w.To-w.From)
		for k := w.From; k < w.To; k++ {
			i.n.meter.Rows.Add(int64(i.outputs[k].rows))
			records = append(records, transport.Record{Kind: transport.Out, Event: i.outputs[k].event, Sync: w.Sync})
		}
		return records, nil
	case settle.WriteEnd:
		return i.record(transport.Out, schemas.TypeEnd, w, w.End)
	case settle.WriteLetter:
		letter, err := i.letter(w)
		if err != nil {
			return nil, err
		}
		return i.record(transport.DeadLetter, schemas.TypeDeadLetter, w, letter)
	}
	return i.record(transport.Control, schemas.TypeControl, w, schemas.Control{
		Kind: w.Control, Input: w.Input, Attempt: w.Attempts, Reason: w.Reason, End: w.End, At: time.Now().UTC()})
}

// record makes one record that holds a document. An end event has no time: it must be the same whenever it is made.
func (i *instance) record(kind transport.Kind, eventType string, w settle.Write, doc any) ([]transport.Record, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	e := i.n.decision(i.w, eventType, w.Sequence, data)
	if kind != transport.Out {
		e.Time = time.Now().UTC()
	}
	return []transport.Record{{Kind: kind, Cursor: w.Cursor, Event: e}}, nil
}

// letter makes the dead letter of an input, with the event untouched.
func (i *instance) letter(w settle.Write) (schemas.DeadLetter, error) {
	d := i.letterOf(w)
	s, ok := i.inputOf(w)
	if !ok {
		return d, nil
	}
	var err error
	d.Event, err = structured(&s.Event)
	return d, err
}

// lean makes the record of a dead letter that the broker found too large: with the place of the event's data in its stead.
func (i *instance) lean(w settle.Write) ([]transport.Record, error) {
	d := i.letterOf(w)
	if s, ok := i.inputOf(w); ok {
		e := s.Event
		d.Left = &schemas.EventPlace{Pipeline: i.edges[w.Event.Edge].from.pipeline, ID: e.ID(), Position: s.Position, Bytes: len(e.Data)}
		e.Data = nil
		var err error
		if d.Event, err = structured(&e); err != nil {
			return nil, err
		}
	}
	return i.record(transport.DeadLetter, schemas.TypeDeadLetter, w, d)
}

// inputOf is the event that a dead letter is about; a reader's has none.
func (i *instance) inputOf(w settle.Write) (transport.Stored, bool) {
	if len(i.edges) == 0 {
		return transport.Stored{}, false
	}
	return i.edges[w.Event.Edge].take(w.Event.Sequence)
}

// letterOf is the dead letter of an input without the event.
func (i *instance) letterOf(w settle.Write) schemas.DeadLetter {
	f := i.fails[w.Input]
	if f.stage == "" {
		f.stage = i.stage.failing()
	}
	if f.first.IsZero() {
		f.first = time.Now().UTC()
		f.last = f.first
	}
	return schemas.DeadLetter{Decision: w.Decision, Input: w.Input, Stage: f.stage, Error: shorten(i.reason(w)), Permanent: w.Permanent,
		Attempts: w.Attempts, First: f.first, Last: f.last}
}

// maxReason is how much of an error's text a dead letter holds, in bytes: some errors quote all that they cannot read.
const maxReason = 64 << 10

func shorten(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason], "") + fmt.Sprintf(" ... (%d bytes in all)", len(reason))
}

func (i *instance) reason(w settle.Write) string {
	switch {
	case w.Reason != "":
		return w.Reason
	case w.Killed:
		return fmt.Sprintf("the worker died on this input %d times", w.Attempts)
	case w.Control != "" && w.Reason == "":
		return ""
	case i.err != nil:
		return i.err.Error()
	}
	return "given up"
}

// outcomeOf is how the core reads an error of a broker or store; what it cannot name it is told as a failure, and the log
// tells the user.
func (i *instance) outcomeOf(doing string, err error) settle.Outcome {
	switch {
	case err == nil:
		return settle.Done
	case errors.Is(err, transport.ErrStale):
		return settle.Stale
	case errors.Is(err, transport.ErrFull):
		return settle.Full
	case errors.Is(err, transport.ErrUnknown):
		return settle.Unknown
	}
	i.n.log.Warn(doing, "recording", i.w.item.Name, "error", err)
	return settle.Failed
}
