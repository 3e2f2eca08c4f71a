package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// Results reads the documents of one type that one stage emitted for a job, in order, from where a sink has stored them.
type Results func(ctx context.Context, job schemas.JobID, stage, eventType string) ([]pipeline.Doc, error)

// Fleet folds the results of a run's finished jobs into the fleet results of a pipeline, and replaces them in every sink of
// the stage that can hold them, under the run's name. It is recomputed from all results each time, in order of item name:
// sums of floats that come in another order are other sums. A finished job whose results another process has stored is an
// error: what would be folded is not the run's result.
func (e *Engine) Fleet(ctx context.Context, pipelineName, run string, jobs []job.Job, results Results) error {
	var errs []error
	for _, n := range e.mine {
		if n.pipeline != pipelineName || n.parts.Fold == nil {
			continue
		}
		if err := n.fold(ctx, run, jobs, results); err != nil {
			errs = append(errs, fmt.Errorf("fleet result of %s: %w", n.key(), err))
		}
	}
	return errors.Join(errs...)
}

func (n *node) fold(ctx context.Context, run string, jobs []job.Job, read Results) error {
	results, err := n.results(ctx, jobs, read)
	if err != nil || len(results) == 0 {
		return err
	}
	doc, err := n.parts.Fold(results)
	if err != nil {
		return err
	}
	b := pipeline.Batch{Type: n.parts.FoldEmits, Docs: []pipeline.Doc{doc}, Pipeline: n.pipeline, Stage: n.name}
	for _, c := range n.consumers {
		sink, ok := c.parts.Sink.(pipeline.FleetSink)
		if !ok || !c.filter().takes(b.Type) {
			continue
		}
		if err := sink.WriteFleet(ctx, run, b); err != nil {
			return fmt.Errorf("store in %s: %w", c.name, err)
		}
	}
	return nil
}

func (n *node) results(ctx context.Context, jobs []job.Job, read Results) (results []pipeline.Result, err error) {
	var elsewhere []string
	for _, j := range jobs {
		if j.State != schemas.JobFinished {
			continue
		}
		var r pipeline.Result
		if err := json.Unmarshal(j.Source, &r.Item); err != nil {
			return nil, fmt.Errorf("item of job %s: %w", j.ID, err)
		}
		if r.Docs, err = read(ctx, j.ID, n.name, n.parts.FoldOf); err != nil {
			return nil, err
		}
		if len(r.Docs) > 0 {
			results = append(results, r)
			continue
		}
		lost, err := n.elsewhere(ctx, j)
		if err != nil {
			return nil, err
		}
		if lost {
			elsewhere = append(elsewhere, j.Item)
		}
	}
	if len(elsewhere) > 0 {
		slices.Sort(elsewhere)
		return nil, fmt.Errorf("the results of %d of its recordings are with another process, %s first: two runs of this pipeline share the broker\n"+
			"  next: stop one of them, and run the other one again; more processes for the same work are `milepost worker`", len(elsewhere), elsewhere[0])
	}
	slices.SortFunc(results, func(a, b pipeline.Result) int { return strings.Compare(a.Item.Name, b.Item.Name) })
	return results, nil
}

// elsewhere says whether this process's result store knows nothing of what the stage emitted for a finished job.
func (n *node) elsewhere(ctx context.Context, j job.Job) (bool, error) {
	for _, c := range n.consumers {
		if !c.info.Local {
			continue
		}
		if lost, err := c.lost(ctx, j); lost || err != nil {
			return lost, err
		}
	}
	return false, nil
}
