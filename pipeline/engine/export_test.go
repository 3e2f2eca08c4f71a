package engine

// Sizes are how many entries the engine's maps hold that are about single jobs.
func (e *Engine) Sizes() (n int) {
	e.progress.Range(func(any, any) bool { n++; return true })
	e.flows.mu.Lock()
	n += len(e.flows.all) + len(e.flows.known)
	e.flows.mu.Unlock()
	for _, m := range e.nodes {
		m.held.mu.Lock()
		n += len(m.held.jobs)
		m.held.mu.Unlock()
	}
	for _, l := range e.pipelines {
		l.mu.Lock()
		n += len(l.failed)
		l.mu.Unlock()
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
