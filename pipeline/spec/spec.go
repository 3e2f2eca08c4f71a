package spec

import (
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// A Spec is a pipelines.yaml as resolved: layered, defaults filled in, every name and edge checked. It is read-only.
type Spec struct {
	Files     []string    // as given, the last wins
	Transport Transport   // exactly one of its pointers is set
	DLQ       DLQ         // defaults.dlq, which holds for sinks; stages have theirs in Settings
	Sinks     []*Sink     // in order of name
	Pipelines []*Pipeline // upstream before downstream, otherwise in order of the file

	root *node // the tree it was decoded from, which knows what is secret
}

// A Ref names a stage: its pipeline and its name therein.
type Ref struct {
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
}

// String is "<pipeline>/<stage>".
func (r Ref) String() string { return r.Pipeline + "/" + r.Stage }

// A Pipeline is a graph of stages. Without From its first stage is a reader; with From its jobs derive from those of the
// upstream pipeline (all of From name stages of one pipeline).
type Pipeline struct {
	Name        string
	Description string
	From        []Ref    // of the first stage, in another pipeline; empty if the pipeline reads items of its own
	Stages      []*Stage // inputs before consumers, otherwise in order of the file
	node        *node
}

// A Stage is one node of a pipeline with everything resolved.
type Stage struct {
	Pipeline string
	Name     string
	Uses     string             // as in the registry: role/type, aliases replaced
	Type     pipeline.StageType // never nil
	Info     pipeline.Info
	Config   any        // what Type.NewConfig returned, decoded over and validated; for Type.Assemble
	Inputs   []Ref      // in the order of `from`; empty for a reader
	Sinks    []*Sink    // in the order of `to`
	When     *Condition // nil: every event
	// Chained: what the stage emits is not stored (`durable: false`) but handed to its one consumer in the same process. Both,
	// and what is chained to them, are one stage for settlement, with the settings of the last.
	Chained  bool
	Settings Settings

	node, with *node
}

// Ref is the stage's full name.
func (s *Stage) Ref() Ref { return Ref{s.Pipeline, s.Name} }

// A Sink is one entry of `sinks:`.
type Sink struct {
	Name   string
	Uses   string // as in the registry: sink/<type>
	Type   pipeline.StageType
	Info   pipeline.Info
	Config any   // for Type.Assemble
	UsedBy []Ref // stages that have it in `to`

	node, with *node
}

// Settings are what the engine knows of a stage besides its configuration: the stage's own, else `defaults:`, else ours.
type Settings struct {
	Parallelism  int           `yaml:"parallelism" min:"1" max:"1024" doc:"Workers of this stage; one recording stays in order on one worker."`
	Retry        Retry         `yaml:"retry" doc:"Tries of one input before it is given up."`
	Timeout      time.Duration `yaml:"timeout" doc:"Longest time for one step; 0 is none."`
	OnError      OnError       `yaml:"on_error" enum:"fail,skip,stop" doc:"What an input that was given up does: fail halts its job, skip goes on behind it, stop ends the run."`
	MaxStepBytes pipeline.Size `yaml:"max_step_bytes" doc:"Most that one step may emit."`
	Checkpoint   Checkpoint    `yaml:"checkpoint" doc:"How often state is made durable."`
	DLQ          DLQ           `yaml:"dlq" doc:"What holds for dead letters."`
}

// Retry says how often and how fast one input is tried.
type Retry struct {
	Attempts   int           `yaml:"attempts" min:"1" doc:"Tries of one input, the first included; then the DLQ."`
	Backoff    time.Duration `yaml:"backoff" doc:"Wait before the second try; it doubles each time."`
	MaxBackoff time.Duration `yaml:"max_backoff" doc:"Longest wait between two tries."`
}

// Checkpoint says after how many inputs, and at the latest after how long, a checkpoint is written.
type Checkpoint struct {
	Inputs   int           `yaml:"inputs" min:"1" doc:"Inputs between two checkpoints."`
	Interval time.Duration `yaml:"interval" doc:"Longest time between two checkpoints."`
}

// DLQ is what holds for dead letters.
type DLQ struct {
	MaxAge time.Duration `yaml:"max_age" doc:"How long dead letters of closed jobs are kept."`
}

// OnError is the decision that a dead letter carries.
type OnError string

// The decisions (design.md §6 rule 6).
const (
	Fail OnError = "fail" // the job halts before the input and shows failed
	Skip OnError = "skip" // the job goes on behind the input, as if it had never come
	Stop OnError = "stop" // the run ends
)

// DefaultSettings are those of a stage that says nothing in a file without `defaults:`.
func DefaultSettings() Settings {
	return Settings{
		Parallelism: 1,
		Retry:       Retry{Attempts: 5, Backoff: time.Second, MaxBackoff: 30 * time.Second},
		Timeout:     time.Minute, OnError: Fail, MaxStepBytes: 64 << 20,
		Checkpoint: Checkpoint{Inputs: 4096, Interval: time.Second}, DLQ: DLQ{MaxAge: 30 * 24 * time.Hour},
	}
}

// Pipeline returns the pipeline of that name, nil if there is none.
func (s *Spec) Pipeline(name string) *Pipeline {
	for _, p := range s.Pipelines {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Stage returns the stage that r names, nil if there is none.
func (s *Spec) Stage(r Ref) *Stage {
	if p := s.Pipeline(r.Pipeline); p != nil {
		return p.Stage(r.Stage)
	}
	return nil
}

// Stage returns the stage of that name, nil if there is none.
func (p *Pipeline) Stage(name string) *Stage {
	for _, s := range p.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Consumers lists the stages that read r, of all pipelines, in order of pipelines and stages.
func (s *Spec) Consumers(r Ref) []*Stage {
	var out []*Stage
	for _, p := range s.Pipelines {
		for _, st := range p.Stages {
			for _, in := range st.Inputs {
				if in == r {
					out = append(out, st)
				}
			}
		}
	}
	return out
}
