package engine

import "fmt"

// Left are the entries of the engine's maps that are about single jobs: what, which job.
func (e *Engine) Left() (all []string) {
	e.progress.Range(func(id, share any) bool { all = append(all, fmt.Sprint("progress ", id, share)); return true })
	e.flows.mu.Lock()
	for k := range e.flows.all {
		all = append(all, fmt.Sprint("flow ", k.producer.name, k.job))
	}
	for k, c := range e.flows.known {
		all = append(all, fmt.Sprint("known ", k.producer.name, k.job, len(c)))
	}
	e.flows.mu.Unlock()
	for _, m := range e.nodes {
		m.held.mu.Lock()
		for id, w := range m.held.jobs {
			all = append(all, fmt.Sprint("held ", m.name, id, w.event, w.failed, len(w.orders)))
		}
		for id := range m.held.over {
			all = append(all, fmt.Sprint("over ", m.name, id))
		}
		m.held.mu.Unlock()
	}
	for _, l := range e.pipelines {
		l.mu.Lock()
		for id := range l.failed {
			all = append(all, fmt.Sprint("failed ", l.spec.Name, id))
		}
		l.mu.Unlock()
	}
	return all
}

// Kept is how many deliveries the process keeps from going to another one.
func (e *Engine) Kept() (n int) {
	for _, m := range e.nodes {
		n += len(m.held.deliveries())
	}
	return n
}

// Remembered is how many jobs' figures the nodes remember.
func (e *Engine) Remembered() (n int) {
	for _, m := range e.nodes {
		m.reach.mu.Lock()
		n += len(m.reach.at)
		m.reach.mu.Unlock()
	}
	return n
}

// Scale is how much smaller than in production the budgets in bytes are in tests.
const Scale = 64

func init() {
	checkpointBytes /= Scale
	edgeBudget /= Scale
	joinBudget /= Scale
	trimStep /= Scale
	edgeWindow /= Scale
}

// EdgeBudget is how many bytes a producer may be ahead of a consumer that is no join.
func EdgeBudget() int64 { return int64(edgeBudget) }

// Durable is the name of the consumer that a node's workers share.
func (e *Engine) Durable(pipelineName, stage string) string {
	for _, n := range e.nodes {
		if n.pipeline == pipelineName && n.name == stage {
			return n.durable()
		}
	}
	return ""
}

// Keeps says whether a node's log is never trimmed because a pipeline that is not run reads it.
func (e *Engine) Keeps(pipelineName, stage string) bool {
	for _, n := range e.nodes {
		if n.pipeline == pipelineName && n.name == stage {
			return n.keeps
		}
	}
	return false
}
