package engine

import (
	"context"
	"fmt"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// Batches reads all documents that one stage emitted for a job, a batch for each event, from where a sink has stored them.
type Batches func(ctx context.Context, job schemas.JobID, stage string) ([]pipeline.Batch, error)

// Lost says whether a store that a sink of the pipeline had filled for a finished job has its results no more: it was removed, is
// another one, or took those of another configuration since. The job cannot be shown then, only done again.
func (e *Engine) Lost(ctx context.Context, pipelineName string, j job.Job) (bool, error) {
	for _, n := range e.mine {
		if _, restores := n.parts.Sink.(pipeline.RestoringSink); restores || n.pipeline != pipelineName || n.parts.Sink == nil {
			continue // Restore puts back what is gone: no reason to do the job again, nor what a worker wrote to a disk of its own
		}
		if lost, err := n.lost(ctx, j); lost || err != nil {
			return lost, err
		}
	}
	return false, nil
}

// lost says whether a sink's store that was filled for a finished job knows nothing of it.
func (n *node) lost(ctx context.Context, j job.Job) (bool, error) {
	end, ok := j.End(n.name)
	if !ok || len(end.Edges) == 0 || end.Edges[0].Sequence == 0 {
		return false, nil
	}
	c, err := n.parts.Sink.Cursor(ctx, n.chainOf(j))
	if err != nil {
		return false, fmt.Errorf("what %s holds of job %s: %w", n.key(), j.ID, err)
	}
	if len(c.Edges) == 0 {
		return true, nil
	}
	return n.replaced(ctx, j)
}

// Replaced says whether the store of a sink of the pipeline took results of a job, and those of a newer one of its item in their
// place: whatever the job does, it does not take it any more. An earlier state of the same pipeline may have had the job.
func (e *Engine) Replaced(ctx context.Context, pipelineName string, j job.Job) (bool, error) {
	for _, n := range e.mine {
		if n.pipeline != pipelineName || n.parts.Sink == nil {
			continue
		}
		if replaced, err := n.replaced(ctx, j); replaced || err != nil {
			return replaced, err
		}
	}
	return false, nil
}

func (n *node) replaced(ctx context.Context, j job.Job) (bool, error) {
	replaced, err := n.parts.Sink.Replaced(ctx, n.origin(n.chainOf(j), j.Item))
	if err != nil {
		return false, fmt.Errorf("what %s holds of job %s: %w", n.key(), j.ID, err)
	}
	return replaced, nil
}

// Restore has every sink of the pipeline put back what it stored for a finished job and what is not there any more, or is
// another version's by now, and counts that.
func (e *Engine) Restore(ctx context.Context, pipelineName string, j job.Job, read Batches) (restored int, err error) {
	for _, n := range e.mine {
		sink, ok := n.parts.Sink.(pipeline.RestoringSink)
		if _, ended := j.End(n.name); n.pipeline != pipelineName || !ok || !ended {
			continue
		}
		of := n.origin(n.chainOf(j), j.Item)
		all, err := read(ctx, of.Job, of.Stage)
		if err != nil {
			return restored, err
		}
		taken := all[:0]
		for _, b := range all {
			if n.filter().takes(b.Type) {
				b.Job, b.Item, b.Pipeline, b.Stage = of.Job, of.Item, of.Pipeline, of.Stage
				taken = append(taken, b)
			}
		}
		count, err := sink.Restore(ctx, of, taken)
		if err != nil {
			return restored, fmt.Errorf("restore what %s stored of %s: %w", n.key(), j.Item, err)
		}
		restored += count
	}
	return restored, nil
}

// origin is that of a chain that a sink stores.
func (n *node) origin(id schemas.ChainID, item string) pipeline.Origin {
	return pipeline.Origin{ChainID: id, Pipeline: n.inputs[0].pipeline, Item: item}
}

// chainOf is the chain that a sink stores of a job.
func (n *node) chainOf(j job.Job) schemas.ChainID {
	if in := n.inputs[0]; in.pipeline != n.pipeline && j.Upstream != "" {
		return schemas.ChainID{Job: j.Upstream, Stage: in.name}
	}
	return schemas.ChainID{Job: j.ID, Stage: n.inputs[0].name}
}
