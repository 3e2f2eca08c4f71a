package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/schemas"
)

// A LetterOrder is the body of a redrive or a purge: everything that the filter matches and that can take it. Where ids are named
// and no state is, each of them is looked at, and those that cannot take it are answered with the reason.
type LetterOrder struct {
	Filter LetterFilter `json:"filter"`
	DryRun bool         `json:"dry_run,omitempty"`
}

func (s *Server) redrive(ctx context.Context, _ query, body json.RawMessage) (any, error) {
	var order LetterOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, "redrive", order.Filter, func(l Letter) bool { return l.Redrivable }, notRedrivable)
	if err != nil {
		return nil, err
	}
	s.leaveMoot(p)
	return s.overLetters("redrive", order.DryRun, p, s.redriveOne), nil
}

// purge removes dead letters of jobs that are over; those of others are refused. Without a state the filter means all.
func (s *Server) purge(ctx context.Context, _ query, body json.RawMessage) (any, error) {
	var order LetterOrder
	if err := decodeBody(body, &order); err != nil {
		return nil, err
	}
	if order.Filter.State == "" {
		order.Filter.State = "all"
	}
	p, err := s.plan(ctx, "purge", order.Filter, func(l Letter) bool { return l.Purgeable }, notPurgeable)
	if err != nil {
		return nil, err
	}
	p.superseded = 0 // they go like all others
	return s.overLetters("purge", order.DryRun, p, s.purgeOne), nil
}

// letterPlan is what an order comes to.
type letterPlan struct {
	matching   int      // dead letters
	superseded int      // those that a next generation made moot
	refused    []string // of those named, why they cannot take the order
	letters    []Letter // that take it
}

// plan looks at the dead letters that a filter matches. may says of one whether it can take the order, why of another why not.
func (s *Server) plan(ctx context.Context, verb string, f LetterFilter, may func(Letter) bool, why func(Letter) string) (*letterPlan, error) {
	match, err := s.letterMatcher(f)
	if err != nil {
		return nil, err
	}
	all, err := s.letters.all(ctx, false)
	if err != nil {
		return nil, err
	}
	hits := slices.DeleteFunc(slices.Clone(all), func(l Letter) bool { return !match(l) })
	if err := f.eachInOnePipeline(verb, hits); err != nil {
		return nil, err
	}
	p := &letterPlan{}
	named := map[string]bool{}
	for _, l := range hits {
		chosen := f.matchesState(l) || f.State == "" && len(f.IDs) > 0
		if chosen {
			p.matching++
			named[l.ID] = true
		}
		switch {
		case chosen && may(l):
			p.letters = append(p.letters, l)
		case chosen && len(f.IDs) > 0:
			p.refused = append(p.refused, l.ID+": "+why(s.atHome(l)))
		case l.State == LetterSuperseded && (chosen || f.State == ""):
			p.superseded++
		}
	}
	for _, id := range f.IDs {
		if !named[id] {
			p.refused = append(p.refused, fmt.Sprintf("%s: no such dead letter, or none that the filter matches\n    next: milepost dlq ls --status all", id))
		}
	}
	return p, nil
}

// eachInOnePipeline refuses an id that dead letters of several pipelines have: it is unique within one.
func (f LetterFilter) eachInOnePipeline(verb string, hits []Letter) error {
	in := map[string][]string{}
	for _, l := range hits {
		if slices.Contains(f.IDs, l.ID) && !slices.Contains(in[l.ID], l.Pipeline) {
			in[l.ID] = append(in[l.ID], l.Pipeline)
		}
	}
	for _, id := range f.IDs {
		if p := in[id]; len(p) > 1 {
			slices.Sort(p)
			return &apiError{http.StatusBadRequest, guard.Refusal{Message: fmt.Sprintf("pipelines %s have a dead letter %s each: name the pipeline too", commas(p), id),
				Code: CodeParam, Next: fmt.Sprintf("milepost dlq %s %s %s", verb, p[0], id)}}
		}
	}
	return nil
}

// notRedrivable says why a dead letter cannot be sent back, and what can be done instead.
func notRedrivable(l Letter) string {
	switch l.State {
	case LetterSuperseded:
		return fmt.Sprintf("superseded: job %s of %s does its recording anew, this input too\n    next: milepost jobs show %[1]s", l.Successor, l.Home)
	case LetterRedriven:
		return fmt.Sprintf("it was redriven before: job %s of %s does its recording anew\n    next: milepost jobs show %[1]s", l.Successor, l.Home)
	case LetterCancelled:
		return fmt.Sprintf("its job was cancelled\n    next: milepost jobs retry %s does its recording anew", l.Job)
	case LetterOutdated:
		return "its job was made with another configuration\n    next: milepost run does its recording with this one"
	}
	return fmt.Sprintf("it was redriven before: job %s has taken it again\n    next: milepost jobs show %[1]s", l.Job)
}

func notPurgeable(l Letter) string {
	return fmt.Sprintf("its job is not over\n    next: milepost dlq redrive %s %s, or milepost jobs cancel %s", l.Pipeline, l.ID, l.Job)
}

// leaveMoot takes the letters out of a redrive that hold up a job whose next generation it queues, for a letter that was skipped:
// that one takes every input anew.
func (s *Server) leaveMoot(p *letterPlan) {
	again := map[schemas.JobID]bool{} // jobs that read recordings
	source := func(l Letter) schemas.JobID {
		j, _, _ := s.lineage.Source(l.Pipeline, l.Job)
		return j.ID
	}
	for _, l := range p.letters {
		if l.State == LetterSkipped {
			again[source(l)] = true
		}
	}
	before := len(p.letters)
	p.letters = slices.DeleteFunc(p.letters, func(l Letter) bool { return l.State == LetterOpen && again[source(l)] })
	p.superseded += before - len(p.letters)
}

// overLetters starts what a plan says.
func (s *Server) overLetters(verb string, dryRun bool, p *letterPlan, do func(context.Context, Letter) error) Operation {
	several := slices.ContainsFunc(p.letters, func(l Letter) bool { return l.Pipeline != p.letters[0].Pipeline })
	var steps []step
	for _, l := range p.letters {
		name := l.ID
		if several {
			name = l.Pipeline + " " + l.ID
		}
		steps = append(steps, step{name: name, stage: l.Pipeline + "/" + l.Stage, do: func(ctx context.Context) error { return do(ctx, l) }})
	}
	op := Operation{Kind: verb, DryRun: dryRun, Matching: p.matching, Superseded: p.superseded, Refused: p.refused}
	return s.operate(op, steps)
}

func (s *Server) purgeOne(ctx context.Context, l Letter) error {
	_, err := s.c.Engine.Purge(ctx, engine.Letter{ID: l.ID, Pipeline: l.Pipeline, Stage: l.Stage, Job: l.Job, Position: l.position})
	s.letters.forget()
	return err
}

// redriveOne resumes the halted job; after a skip it queues the job's next generation, whose results replace the old. Whether
// that is there already is looked at here, not when the order came: another one may have queued it.
func (s *Server) redriveOne(ctx context.Context, l Letter) error {
	s.ordering.Lock()
	defer s.ordering.Unlock()
	by, is := s.lineage.Successor(l.Pipeline, l.Job)
	switch {
	case is && l.State == LetterSkipped:
		return nil
	case is:
		l.State, l.Successor = LetterSuperseded, by
		return fmt.Errorf("%s", notRedrivable(s.atHome(l)))
	case l.State == LetterOpen:
		return s.c.Managers[l.Pipeline].Resume(ctx, l.Job)
	}
	return s.lineage.Again(ctx, l.Pipeline, l.Job)
}
