package api

import (
	"context"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// A Pipeline is one pipeline with what its stages do now. Rates are means over three seconds.
type Pipeline struct {
	PipelineSummary
	Bytes      int64   `json:"bytes"` // read in this process, as event data
	BytesPerS  float64 `json:"bytes_per_s"`
	Events     int64   `json:"events"` // stored by its stages in this process
	EventsPerS float64 `json:"events_per_s"`
	Lag        int64   `json:"lag"`
	P95        float64 `json:"p95_ms"`
	Slowest    string  `json:"slowest,omitempty"` // the stage whose p95 that is
	Nodes      []Node  `json:"nodes"`             // inputs before consumers
}

// A Node is one stage or sink of a pipeline.
type Node struct {
	Pipeline     string        `json:"pipeline"`
	Stage        string        `json:"stage"` // of a sink, "<sink>@<stage>"
	Uses         string        `json:"uses"`
	Role         pipeline.Role `json:"role"`
	Inputs       []string      `json:"inputs"` // pipeline/stage
	Parallelism  int           `json:"parallelism"`
	Local        bool          `json:"local"` // runs in this process
	State        string        `json:"state"` // running, retrying, attention, waiting, done, idle, elsewhere
	Active       int64         `json:"active"`
	In           int64         `json:"in"` // events, in this process
	Out          int64         `json:"out"`
	InBytes      int64         `json:"in_bytes"`
	OutBytes     int64         `json:"out_bytes"`
	Rows         int64         `json:"rows"`
	InRate       float64       `json:"in_per_s"`
	OutRate      float64       `json:"out_per_s"`
	OutBytesRate float64       `json:"out_bytes_per_s"`
	Lag          int64         `json:"lag"`
	P50          float64       `json:"p50_ms"`
	P95          float64       `json:"p95_ms"`
	Errors       int64         `json:"errors"`
	Retries      int64         `json:"retries"`
	Reruns       int64         `json:"reruns"`
	DeadLetters  int           `json:"dead_letters"` // open ones
}

// JobCounts counts jobs by state.
type JobCounts struct {
	Queued    int `json:"queued"` // scheduled and deferred ones too
	Started   int `json:"started"`
	Finished  int `json:"finished"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	Expired   int `json:"expired"`
	Total     int `json:"total"`
}

func (c *JobCounts) add(s schemas.JobState) {
	c.Total++
	switch s {
	case schemas.JobStarted:
		c.Started++
	case schemas.JobFinished:
		c.Finished++
	case schemas.JobFailed:
		c.Failed++
	case schemas.JobCancelled:
		c.Cancelled++
	case schemas.JobExpired:
		c.Expired++
	default:
		c.Queued++
	}
}

func countJobs(jobs []job.Job) (c JobCounts) {
	for _, j := range jobs {
		c.add(j.State)
	}
	return c
}

// state sums up a pipeline's jobs in a word.
func (c JobCounts) state() string {
	switch {
	case c.Started > 0:
		return "running"
	case c.Queued > 0:
		return "queued"
	case c.Failed > 0:
		return "failed"
	case c.Total > 0:
		return "done"
	}
	return "idle"
}

func (s *Server) pipelineList(ctx context.Context, q query) (any, error) {
	list, err := s.pipelines(ctx, q)
	return map[string][]Pipeline{"pipelines": list}, err
}

func (s *Server) pipeline(ctx context.Context, q query) (any, error) {
	list, err := s.pipelines(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.Name == q.Get("pipeline") {
			return p, nil
		}
	}
	return nil, s.noPipeline(q.Get("pipeline"))
}

func (s *Server) noPipeline(name string) error {
	return notFound("no pipeline %q; there are %s", name, strings.Join(s.c.Engine.Pipelines(), ", "))
}

// pipelines are those that the engine runs, upstream before downstream.
func (s *Server) pipelines(ctx context.Context, q query) ([]Pipeline, error) {
	letters, err := s.letters.all(ctx, q.streamed())
	if err != nil {
		return nil, err
	}
	open := map[string]int{}
	for _, l := range letters {
		if l.State == LetterOpen {
			open[l.Pipeline+"/"+l.Stage]++
		}
	}
	nodes := s.c.Engine.Status()
	list := []Pipeline{}
	for _, name := range s.c.Engine.Pipelines() {
		list = append(list, s.assemble(name, nodes, open))
	}
	return list, nil
}

func (s *Server) assemble(name string, nodes []engine.NodeStatus, open map[string]int) Pipeline {
	p := Pipeline{PipelineSummary: PipelineSummary{Name: name, From: []string{}}, Nodes: []Node{}}
	if sp := s.c.Spec.Pipeline(name); sp != nil {
		p.Description = sp.Description
		for _, r := range sp.From {
			p.From = append(p.From, r.String())
		}
	}
	if m := s.c.Managers[name]; m != nil {
		p.Jobs = countJobs(m.Jobs())
	}
	p.State = p.Jobs.state()
	for _, st := range nodes {
		if st.Pipeline == name {
			p.add(s.node(st, open[name+"/"+st.Stage], p.State), s.meters.rates(name+"/"+st.Stage))
		}
	}
	return p
}

func (p *Pipeline) add(n Node, r rates) {
	first := len(p.Nodes) == 0
	p.Nodes = append(p.Nodes, n)
	p.DeadLetters += n.DeadLetters
	p.Lag += n.Lag
	if n.P95 > p.P95 {
		p.P95, p.Slowest = n.P95, n.Stage
	}
	if n.Role != pipeline.RoleSink {
		p.Events += n.Out
		p.EventsPerS += n.OutRate
	}
	switch {
	case n.Role == pipeline.RoleReader:
		p.Bytes += n.OutBytes
		p.BytesPerS += r.OutBytes
	case first:
		p.Bytes, p.BytesPerS = n.InBytes, r.InBytes
	}
}

func (s *Server) node(st engine.NodeStatus, letters int, pipelineState string) Node {
	r := s.meters.rates(st.Pipeline + "/" + st.Stage)
	n := Node{Pipeline: st.Pipeline, Stage: st.Stage, Uses: st.Uses, Role: st.Role, Inputs: st.Inputs, Parallelism: st.Parallelism,
		Local: st.Local, Active: st.Active, In: st.In, Out: st.Out, InBytes: st.InBytes, OutBytes: st.OutBytes, Rows: st.Rows,
		InRate: r.In, OutRate: r.Out, OutBytesRate: r.OutBytes, Lag: st.Lag, P50: millis(st.StepP50), P95: millis(st.StepP95),
		Errors: st.Errors, Retries: st.Retries, Reruns: st.Reruns, DeadLetters: letters}
	n.State = nodeState(n, r, pipelineState)
	return n
}

func nodeState(n Node, r rates, pipelineState string) string {
	switch {
	case n.DeadLetters > 0:
		return "attention"
	case r.Retried:
		return "retrying"
	case r.In > 0 || r.Out > 0 || n.Active > 0 && pipelineState == "running":
		return "running"
	case n.Active > 0:
		return "waiting" // holds a job that is halted elsewhere
	case !n.Local:
		return "elsewhere"
	case n.In > 0 || n.Out > 0 || pipelineState == "done":
		return "done"
	}
	return "idle"
}

func (s *Server) history(_ context.Context, q query) (any, error) {
	h, ok := s.meters.history(q.Get("pipeline"), q.Get("stage"))
	if !ok {
		return nil, notFound("no stage %s/%s", q.Get("pipeline"), q.Get("stage"))
	}
	return h, nil
}

// pageHistory is the history of the stage that a page has open, "stage=<pipeline>/<stage>"; null without.
func (s *Server) pageHistory(_ context.Context, q query) (any, error) {
	pipelineName, stage, _ := strings.Cut(q.Get("stage"), "/")
	h, ok := s.meters.history(pipelineName, stage)
	if !ok {
		return nil, nil
	}
	return h, nil
}
