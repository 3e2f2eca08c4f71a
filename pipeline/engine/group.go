package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
)

// A member is one stage of a group: of stages chained by edges that are not stored (design.md §6 rule 10). The group is one
// node, with the name, the chain and the settings of its last member.
type member struct {
	pipeline, name string
	inputs         []string // pipeline/stage
	info           pipeline.Info
	when           *spec.Condition
	parts          pipeline.Parts
	meter          *Meter // of what is handed from member to member: In, Out, OutBytes, Rows
}

// A link is a member behind the first, opened for one job.
type link struct {
	*member
	processor pipeline.Processor
	taken     uint64 // events of the member before, numbered as if they were stored
}

// group assembles the members, of which st is the last; nil if nothing is chained to it.
func (b *builder) group(ctx context.Context, st *spec.Stage, wanted bool) (members []*member, err error) {
	stages := b.chainedTo(st)
	if len(stages) == 1 {
		return nil, nil
	}
	for k, s := range stages {
		m := &member{pipeline: s.Pipeline, name: s.Name, info: s.Info, when: s.When, meter: &Meter{}}
		for _, in := range s.Inputs {
			m.inputs = append(m.inputs, in.String())
		}
		if wanted || k == 0 && m.info.Role == pipeline.RoleReader {
			if m.parts, err = s.Type.Assemble(ctx, s.Config); err != nil {
				return nil, fmt.Errorf("stage %s: %w", s.Ref(), err)
			}
		}
		members = append(members, m)
	}
	return members, nil
}

// chainedTo are the stages of the group whose last one is st, st among them.
func (b *builder) chainedTo(st *spec.Stage) []*spec.Stage { return chainedTo(b.s.Spec, st) }

func chainedTo(s *spec.Spec, st *spec.Stage) []*spec.Stage {
	stages := []*spec.Stage{st}
	for len(st.Inputs) == 1 {
		if st = s.Stage(st.Inputs[0]); !st.Chained {
			break
		}
		stages = append(stages, st)
	}
	slices.Reverse(stages)
	return stages
}

// wholeGroups adds the name of the last stage of each group of which some stage is named: a group runs in one process, and so
// does what goes with its last stage.
func wholeGroups(s *spec.Spec, stages []string) []string {
	named := func(st *spec.Stage) bool {
		return slices.Contains(stages, st.Name) || slices.Contains(stages, st.Ref().String())
	}
	all := slices.Clone(stages)
	for _, p := range s.Pipelines {
		part := map[spec.Ref]bool{}
		for _, st := range p.Stages {
			inGroup := named(st) || len(st.Inputs) == 1 && part[st.Inputs[0]]
			if inGroup && st.Chained {
				part[st.Ref()] = true
			} else if inGroup && !named(st) {
				all = append(all, st.Ref().String())
			}
		}
	}
	return all
}

// adopt makes n the node of a group.
func (n *node) adopt(members []*member) {
	first, last := members[0], members[len(members)-1]
	n.members = members
	n.info.Accepts, n.when = first.info.Accepts, first.when
	n.parts = pipeline.Parts{Reader: first.parts.Reader, List: first.parts.List, Processor: first.parts.Processor,
		Fold: last.parts.Fold, FoldOf: last.parts.FoldOf, FoldEmits: last.parts.FoldEmits}
}

// openLinks opens the members behind the first.
func (s *stage) openLinks(ctx context.Context) error {
	for k := 1; k < len(s.n.members); k++ {
		m := s.n.members[k]
		s.at.Store(int32(k))
		p, err := m.parts.Processor(ctx, s.job.item)
		if err != nil {
			return err
		}
		s.links = append(s.links, &link{member: m, processor: p})
	}
	s.at.Store(0)
	return nil
}

// emitter takes what the k-th member emits for the input in: the next member runs at once, on the same goroutine, so that a
// batch is valid until it is done with, as the contract of both says; what the last emits is the step's output.
func (s *stage) emitter(k int, in schemas.Slice, c *collector) pipeline.Emitter {
	return pipeline.EmitterFunc(func(ctx context.Context, b pipeline.Batch) error {
		if b.Slice == (schemas.Slice{}) {
			b.Slice = in
		}
		err := c.err
		switch {
		case err != nil: // it went on after an error that was not its own
		case k == len(s.links):
			err = c.emit(b)
		default:
			err = s.hand(ctx, k, b, c)
		}
		c.err = err
		return err
	})
}

// hand runs a batch of the k-th member through the next one.
func (s *stage) hand(ctx context.Context, k int, b pipeline.Batch, c *collector) error {
	from, to := s.n.members[k], s.links[k]
	if err := from.info.MayEmit(b.Type); err != nil {
		return pipeline.Permanent(err)
	}
	to.taken++
	from.meter.Out.Add(1)
	from.meter.OutBytes.Add(int64(sizeOf(&b)))
	from.meter.Rows.Add(int64(b.Rows()))
	if len(b.Tables) == 0 && len(b.Docs) == 0 {
		return nil // says only how far the stage is
	}
	to.meter.In.Add(1)
	b = asReceived(b, s.job, from, to.taken)
	if ok, err := to.wants(&b); !ok || err != nil {
		return err
	}
	s.at.Store(int32(k + 1))
	if err := to.processor.Process(ctx, b, s.emitter(k+1, b.Slice, c)); err != nil {
		return err // s.at goes on to name who failed
	}
	s.at.Store(int32(k))
	return nil
}

// asReceived is the batch as a stage gets it that reads it from a chain: results are the same whether an edge is stored.
func asReceived(b pipeline.Batch, j work, from *member, sequence uint64) pipeline.Batch {
	b.Job, b.Pipeline, b.Item, b.Stage, b.Sequence, b.Pace = j.id, from.pipeline, j.item.Name, from.name, sequence, 0
	b.Start = b.Start.UTC().Round(0)
	if len(b.Tables) == 0 { // documents travel with their time alone
		b.Slice = schemas.Slice{Start: b.Time()}
	}
	return b
}

// sizeOf is about what the batch's data would take as an event.
func sizeOf(b *pipeline.Batch) (n int) {
	for _, t := range b.Tables {
		n += 8 * t.Rows() * int(t.Record.NumCols())
	}
	for _, d := range b.Docs {
		n += len(d)
	}
	return n
}

// wants is node.wants of what a member is handed.
func (m *member) wants(b *pipeline.Batch) (bool, error) {
	f := filter{accepts: m.info.Accepts, when: m.when}
	e := schemas.Event{Chain: schemas.ChainID{Job: b.Job, Stage: b.Stage}, Sequence: b.Sequence, Pipeline: b.Pipeline, Item: b.Item, Type: b.Type, Time: b.Time()}
	return f.wants(&e, b)
}

// finishLinks ends the members behind the first, one after another: what one emits then is still the next one's input.
func (s *stage) finishLinks(ctx context.Context, c *collector) error {
	for k, l := range s.links {
		s.at.Store(int32(k + 1))
		if err := l.processor.Finish(ctx, s.emitter(k+1, schemas.Slice{}, c)); err != nil {
			return err
		}
	}
	s.at.Store(0)
	return nil
}

// failing is the member that was called last, where the stage is a group.
func (s *stage) failing() string {
	if s == nil || len(s.n.members) == 0 {
		return ""
	}
	return s.n.members[s.at.Load()].name
}

// groupState is the state of a group: of each member its length and its bytes, and before each but the first how many events
// it was handed.
func (s *stage) groupState(ctx context.Context, first []byte) ([]byte, error) {
	state := binary.AppendUvarint(nil, uint64(len(first)))
	state = append(state, first...)
	for k, l := range s.links {
		s.at.Store(int32(k + 1))
		part, err := l.processor.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		state = binary.AppendUvarint(state, l.taken)
		state = binary.AppendUvarint(state, uint64(len(part)))
		state = append(state, part...)
	}
	s.at.Store(0)
	return state, nil
}

var errGroupState = errors.New("the state is not that of these chained stages")

// restoreGroup gives each member its part back.
func (s *stage) restoreGroup(ctx context.Context, state []byte, first func(context.Context, []byte) error) error {
	part, rest, ok := cutPart(state)
	if !ok {
		return errGroupState
	}
	if err := first(ctx, part); err != nil {
		return err
	}
	for k, l := range s.links {
		taken, n := binary.Uvarint(rest)
		if n <= 0 {
			return errGroupState
		}
		if part, rest, ok = cutPart(rest[n:]); !ok {
			return errGroupState
		}
		s.at.Store(int32(k + 1))
		l.taken = taken
		if err := l.processor.Restore(ctx, part); err != nil {
			return err
		}
	}
	s.at.Store(0)
	if len(rest) > 0 {
		return errGroupState
	}
	return nil
}

func cutPart(state []byte) (part, rest []byte, ok bool) {
	size, n := binary.Uvarint(state)
	if n <= 0 || size > uint64(len(state)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return state[n:end:end], state[end:], true
}
