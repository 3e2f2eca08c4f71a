package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// A NodeStatus is one node of the graph for users' eyes: what it is, what it reads, what it has done in this process.
// How far the jobs are, whoever works on them, is a Standing.
type NodeStatus struct {
	Pipeline    string        `json:"pipeline"`
	Stage       string        `json:"stage"` // of a sink, "<sink>@<stage>"
	Node        string        `json:"node"`  // the name under which its chains lie: that of the result store, and of a group's members, differs
	Takes       bool          `json:"takes"` // what its node takes; false only of a group's members behind the first
	Uses        string        `json:"uses"`
	Role        pipeline.Role `json:"role"`
	Inputs      []string      `json:"inputs"` // pipeline/stage
	Parallelism int           `json:"parallelism"`
	Chained     bool          `json:"chained,omitempty"` // what it emits is handed on without being stored
	Local       bool          `json:"local"`             // runs in this process
	Active      int64         `json:"active"`
	In          int64         `json:"in"`
	Out         int64         `json:"out"`
	InBytes     int64         `json:"in_bytes"`
	OutBytes    int64         `json:"out_bytes"`
	Rows        int64         `json:"rows"`
	Appends     int64         `json:"appends"`
	Checkpoints int64         `json:"checkpoints"`
	Errors      int64         `json:"errors"`
	Retries     int64         `json:"retries"`
	DeadLetters int64         `json:"dead_letters"`
	Reruns      int64         `json:"reruns"`
	Full        bool          `json:"full,omitempty"`    // its log takes no more events: it waits for its consumers
	HeldBy      *Held         `json:"held_by,omitempty"` // what keeps room in a log that is full; nil where nothing does but what consumers have yet to take
	FarIn       int64         `json:"far_in"`            // events that Look saw taken in other processes
	FarOut      int64         `json:"far_out"`
	StepP50     time.Duration `json:"step_p50_ns"`
	StepP95     time.Duration `json:"step_p95_ns"`
	StepTotal   time.Duration `json:"step_total_ns"`
	DecodeTotal time.Duration `json:"decode_total_ns"`
	EncodeTotal time.Duration `json:"encode_total_ns"`
	AppendTotal time.Duration `json:"append_total_ns"`
}

// Status describes every node of the file, inputs before consumers. Rates are the caller's: two calls and the time between.
func (e *Engine) Status() []NodeStatus {
	list := make([]NodeStatus, 0, len(e.nodes))
	for _, n := range e.nodes {
		if !n.hidden || n.alias != "" {
			list = append(list, n.statuses()...)
		}
	}
	return list
}

// Totals is Status with the nodes that are not of the file: the result store behind each stage, under "dashboard@<stage>".
func (e *Engine) Totals() []NodeStatus {
	list := make([]NodeStatus, 0, len(e.nodes))
	for _, n := range e.nodes {
		list = append(list, n.statuses()...)
	}
	return list
}

// statuses are those of the node or, of a group, of its members.
func (n *node) statuses() (list []NodeStatus) {
	last := n.status()
	for k, m := range n.members {
		if k == len(n.members)-1 {
			last.Inputs, last.Role, last.In, last.InBytes, last.Takes = m.inputs, m.info.Role, m.meter.In.Load(), 0, false
			break
		}
		s := NodeStatus{Pipeline: n.pipeline, Stage: m.name, Node: n.name, Uses: m.info.Name, Role: m.info.Role, Inputs: m.inputs, Parallelism: last.Parallelism,
			Chained: true, Local: last.Local, Active: last.Active, In: m.meter.In.Load(), Out: m.meter.Out.Load(),
			OutBytes: m.meter.OutBytes.Load(), Rows: m.meter.Rows.Load()}
		if k == 0 {
			s.In, s.InBytes, s.Takes, s.Inputs = last.In, last.InBytes, true, last.Inputs
		}
		list = append(list, s)
	}
	return append(list, last)
}

func (n *node) status() NodeStatus {
	m := n.meter
	s := NodeStatus{
		Pipeline: n.pipeline, Stage: cmp.Or(n.alias, n.name), Node: n.name, Takes: true, Uses: n.info.Name, Role: n.info.Role, Inputs: []string{},
		Parallelism: n.settings.Parallelism, Local: slices.Contains(n.e.mine, n), Active: m.Active.Load(),
		In: m.In.Load(), Out: m.Out.Load(), InBytes: m.InBytes.Load(), OutBytes: m.OutBytes.Load(), Rows: m.Rows.Load(),
		Appends: m.Appends.Load(), Checkpoints: m.Checkpoints.Load(), Errors: m.Errors.Load(), Retries: m.Retries.Load(),
		DeadLetters: m.DeadLetters.Load(), Reruns: m.Reruns.Load(), Full: n.full.stands(), HeldBy: n.full.heldBy(),
		StepP50: m.Step.Quantile(0.5), StepP95: m.Step.Quantile(0.95), StepTotal: m.Step.Total(),
		DecodeTotal: m.Decode.Total(), EncodeTotal: m.Encode.Total(), AppendTotal: m.Append.Total(),
	}
	for _, in := range n.inputs {
		s.Inputs = append(s.Inputs, in.key())
	}
	s.FarIn, s.FarOut = n.reach.far()
	return s
}

// Meter returns the counters of a node; nil when the file has none of that name.
func (e *Engine) Meter(pipelineName, stage string) *Meter {
	for _, n := range e.nodes {
		if n.pipeline == pipelineName && n.name == stage {
			return n.meter
		}
	}
	return nil
}
