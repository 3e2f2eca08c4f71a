package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// ErrOpen: a job's dead letters stay until the job is over for the stage that wrote them.
var ErrOpen = errors.New("its job is not over: what halted it is still needed")

// A Letter is a dead letter as it lies in a stage's log.
type Letter struct {
	ID       string             `json:"id"` // "d-<stage>-<position>", of one pipeline
	Pipeline string             `json:"pipeline"`
	Stage    string             `json:"stage"`
	Job      schemas.JobID      `json:"job"`
	Item     string             `json:"recording"`
	Position schemas.Position   `json:"position"`
	At       time.Time          `json:"at"`
	Letter   schemas.DeadLetter `json:"letter"`
}

// Letters reads the dead letters of a pipeline from its logs, oldest first in each stage.
func (e *Engine) Letters(ctx context.Context, pipelineName string) ([]Letter, error) {
	var letters []Letter
	for _, n := range e.nodes {
		if n.pipeline != pipelineName {
			continue
		}
		list, err := n.letters(ctx, false)
		if err != nil {
			return letters, fmt.Errorf("read the dead letters of %s: %w", n.key(), err)
		}
		letters = append(letters, list...)
	}
	return letters, nil
}

// Skipped is how many inputs of each job the stages of a pipeline gave up and went on behind: of a job that has any, the results
// are without what these would have given.
func (e *Engine) Skipped(ctx context.Context, pipelineName string) (map[schemas.JobID]int, error) {
	skipped := map[schemas.JobID]int{}
	for _, n := range e.nodes {
		if n.pipeline != pipelineName {
			continue
		}
		err := n.eachLetter(ctx, false, func(l Letter) {
			if l.Letter.Decision == schemas.Skip {
				skipped[l.Job]++
			}
		})
		if err != nil {
			return skipped, fmt.Errorf("read the dead letters of %s: %w", n.key(), err)
		}
	}
	return skipped, nil
}

// letters reads the node's dead letters, or only where and how old they are: each holds an input, and there may be thousands.
func (n *node) letters(ctx context.Context, headers bool) (letters []Letter, err error) {
	err = n.eachLetter(ctx, headers, func(l Letter) { letters = append(letters, l) })
	return letters, err
}

// eachLetter is letters, one after the other.
func (n *node) eachLetter(ctx context.Context, headers bool, f func(Letter)) error {
	w := transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}, Headers: headers, Drain: true}
	return transport.Each(ctx, n.out, w, func(s *transport.Stored) error {
		l := Letter{ID: fmt.Sprintf("d-%s-%d", n.name, s.Position), Pipeline: n.pipeline, Stage: n.name, Job: s.Chain.Job,
			Item: s.Event.Item, Position: s.Position, At: s.At}
		if !headers {
			if err := json.Unmarshal(s.Event.Data, &l.Letter); err != nil {
				return fmt.Errorf("dead letter at position %d: %w", s.Position, err)
			}
		}
		f(l)
		return nil
	})
}

// Purge removes a dead letter of a job that is over, ErrOpen otherwise. It is false when there was nothing to remove: somebody
// was faster, or it is the last record of its chain, which stays.
func (e *Engine) Purge(ctx context.Context, l Letter) (bool, error) {
	for _, n := range e.nodes {
		if n.pipeline != l.Pipeline || n.name != l.Stage {
			continue
		}
		over, err := n.isOver(ctx, l.Job)
		if err == nil && !over {
			over, err = n.settleCancelled(ctx, l.Job)
		}
		if err != nil {
			return false, fmt.Errorf("look whether job %s is over: %w", l.Job, err)
		}
		if !over {
			return false, fmt.Errorf("dead letter %s: %w", l.ID, ErrOpen)
		}
		removed, err := n.out.Purge(ctx, schemas.ChainID{Job: l.Job, Stage: n.name}, []schemas.Position{l.Position})
		return removed > 0, err
	}
	return false, fmt.Errorf("dead letter %s: no stage %s/%s", l.ID, l.Pipeline, l.Stage)
}

// isOver says whether the node has ended a job, or heard that it was cancelled.
func (n *node) isOver(ctx context.Context, job schemas.JobID) (bool, error) {
	last, err := n.lastControl(ctx, job)
	return last == schemas.ControlEnd || last == schemas.ControlCancel, err
}

// settleCancelled stores for a job that was cancelled while nobody worked on the stage what its worker would have stored, and
// says whether the job is over then.
func (n *node) settleCancelled(ctx context.Context, job schemas.JobID) (bool, error) {
	e, err := n.newestOf(ctx, job)
	if err != nil || e.State != schemas.JobCancelled || !slices.Contains(n.e.mine, n) {
		return false, err
	}
	w := newHolding()
	w.orders = []order{{cancel: true}}
	w.hears(1, schemas.JobCancelled)
	n.held.perform(ctx, job, w)
	return n.isOver(ctx, job)
}

// Expire removes the dead letters of jobs that are over, older than the dlq.max_age of the stage that wrote them: design.md §6
// rule 9. It returns how many.
func (e *Engine) Expire(ctx context.Context, now time.Time) (removed int, err error) {
	var errs []error
	for _, n := range e.nodes {
		letters, err := n.letters(ctx, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("read the dead letters of %s: %w", n.key(), err))
		}
		for _, l := range letters {
			if now.Sub(l.At) < n.settings.DLQ.MaxAge {
				continue
			}
			gone, err := e.Purge(ctx, l)
			if gone {
				removed++
			}
			if !errors.Is(err, ErrOpen) {
				errs = append(errs, err)
			}
		}
	}
	return removed, errors.Join(errs...)
}
