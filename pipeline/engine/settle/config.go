package settle

import (
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// Role is what the core has to know of a stage's kind.
type Role uint8

// The three roles.
const (
	Processor Role = iota // takes events of one or more edges, its state is in checkpoints
	Reader                // has no edges: its n-th input is its n-th Read
	Sink                  // its own store is its checkpoint; its chain holds dead letters and controls only
)

// A Config says how one (job, stage) is settled. All of it but the times is part of what decides the results: two holders
// of a job must have the same.
type Config struct {
	Role             Role
	Nondeterministic bool             // rule 8: exactly one out event a step, no state across inputs, stored inputs never run again
	Edges            []string         // upstream stage names in the order of `from`; none for a reader
	OnError          schemas.Decision // what a dead letter decides; empty is Halt. A reader cannot skip a read: Skip is Halt there
	Attempts         int              // tries of one input before it is given up; at least 1, 0 is 3
	Backoff          time.Duration    // before the second try, doubled for each further one; 0 is at once
	MaxBackoff       time.Duration    // the longest; 0 is no limit
	CheckpointInputs uint64           // a checkpoint after so many inputs; 0 is DefaultCheckpointInputs
	CheckpointBytes  uint64           // or after so many bytes of inputs; 0 is no limit
	// ProgressEvery is K of rule 7, for a stage with a path into a join: each K-th input that emits nothing, skipped ones
	// too, and each progress event taken, ends in a progress event. K must not exceed the events that may wait on an edge, or
	// the join's other edge fills up first. 0: never.
	ProgressEvery uint64
	// Naive is the negative control: at least once, as everybody does it. No fence, no comparison, no stored attempts, state
	// is not restored, events are numbered on from the end. It gives wrong results after a crash; tests show that they see it.
	Naive bool
}

// Defaults of Config.
const (
	DefaultAttempts         = 3
	DefaultCheckpointInputs = 256
)

func (c Config) withDefaults() Config {
	if c.OnError == "" || c.Role == Reader && c.OnError == schemas.Skip {
		c.OnError = schemas.Halt
	}
	if c.Attempts < 1 {
		c.Attempts = DefaultAttempts
	}
	if c.CheckpointInputs == 0 {
		c.CheckpointInputs = DefaultCheckpointInputs
	}
	c.Naive = c.Naive && c.Role != Sink
	if c.Role == Reader {
		c.Edges = []string{""}
	}
	return c
}

// backoff is the pause before try n+1, after n failed ones.
func (c *Config) backoff(n int) time.Duration {
	d := c.Backoff
	for ; n > 1 && d < time.Hour; n-- {
		d *= 2
	}
	if c.MaxBackoff > 0 && d > c.MaxBackoff {
		d = c.MaxBackoff
	}
	return d
}
