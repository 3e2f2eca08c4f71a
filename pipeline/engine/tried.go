package engine

import (
	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
)

// tried is what a chain shows of inputs that were taken before it was opened: out events up to a sequence, and attempt records.
type tried struct {
	out    uint64
	inputs map[schemas.InputRef]bool
}

func triedBefore(st *settle.State) tried {
	t := tried{out: st.Out, inputs: map[schemas.InputRef]bool{}}
	for k := range st.Behind {
		if c := st.Behind[k].Control; c != nil && c.Kind == schemas.ControlAttempt {
			t.inputs[c.Input] = true
		}
	}
	return t
}

// again says whether the step's input was taken before: its outputs are stored, or a record says so. A step that emitted
// nothing and was not counted leaves no trace, so there may be more of them.
func (t *tried) again(c settle.Call, ref schemas.InputRef) bool {
	return c.First <= t.out || t.inputs[ref]
}
